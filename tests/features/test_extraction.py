"""Extraction: order, buckets, pooling, precision, and one clear line for bad input."""

import gc
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vesin
from ase import Atoms
from ase.build import bulk, molecule
from helpers import Toy, random_structures

from cpdjax import models
from cpdjax.data.padding import MAX_BUCKETS
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features import programs
from cpdjax.features.extraction import Extraction, extract
from cpdjax.machine.threads import cores
from cpdjax.models.cards import card_of

NAMES = ["C6H6", "H2O", "CH3CONH2", "CO2", "H", "CH3Cl", "C4H4S"]
SMILES = ["c1ccccc1", "O", "CC(=O)N", "O=C=O", "[H]", "CCl", "c1ccsc1"]
ORGANIC = [0, 1, 2, 3, 4]  # of C, H, N, O


@pytest.fixture(scope="module")
def structures():
    atoms = [molecule(name) for name in NAMES]
    for frame, smiles in zip(atoms, SMILES, strict=True):
        frame.info["smiles"] = smiles
    return Structures.from_atoms(atoms)


def qm9_like(molecules=3000):
    sizes = np.random.default_rng(1).normal(18, 3, molecules).round().clip(1, 29).astype(int)
    return random_structures(sizes)


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_order_and_pooling(pool):
    structures = random_structures(np.random.default_rng(2).integers(1, 12, 700))
    feats = extract(Toy(), structures, pool=pool, batch_size=32)
    reduce = {"mean": np.mean, "sum": np.sum}[pool]
    for i, (start, stop) in enumerate(
        zip(structures.offsets, structures.offsets[1:], strict=False)
    ):
        expected = reduce(structures.positions[start:stop], axis=0)
        np.testing.assert_allclose(feats["position"].array[i], expected, atol=1e-12)
        expected = reduce(structures.numbers[start:stop])
        np.testing.assert_allclose(feats["number"].array[i], [expected], rtol=1e-14)
    assert (feats.pool, feats.model, feats.structures_hash) == (
        pool,
        "toy",
        structures.geometry_hash,
    )


def test_a_shape_is_compiled_once_for_all_molecules_and_calls():
    toy, structures = Toy(numbers=10_000), qm9_like()
    extract(toy, structures)
    assert 1 < toy.traces <= MAX_BUCKETS
    again = toy.traces
    extract(toy, structures)
    assert toy.traces == again


FAMILIES = (
    *("coulomb-spectrum", "ani-2x-aev", "ani-1x", "schnet-qm9-gap", "painn-qm9-gap", "so3lr"),
    *("dimenet++-qm9-gap", "visnet-qm9-gap", "mace-qm9-gap", "sevennet-0", "chgnet-0.3.0"),
)


def test_few_shapes_for_qm9(monkeypatch):
    """Shapes are what is traced and compiled; accelerators have time to compute padding."""
    known = [models.load(name) for name in FAMILIES if card_of(name).installed]
    for molecules, most in ((100, 2), (12_000, MAX_BUCKETS)):
        structures = qm9_like(molecules)
        carbon, far = np.full_like(structures.numbers, 6), 100 * structures.positions
        structures = replace(structures, numbers=carbon, positions=far)
        shapes = {m.name: len(Extraction.of(m, structures)._buckets) for m in known}
        assert max(shapes.values()) <= most
        assert shapes["painn-qm9-gap"] == {100: 1, 12_000: 4}[molecules]
        with monkeypatch.context() as patch:
            patch.setattr(Extraction, "_on_cpu", False)
            assert max(len(Extraction.of(m, structures)._buckets) for m in known) <= 2


def test_every_core_gets_a_batch():
    buckets = Extraction.of("schnet-qm9-gap", qm9_like(2 * cores()))._buckets
    assert sum(-(-2 * cores() // bucket.molecules) for bucket in buckets) >= cores()


def test_molecules_need_no_neighbour_list(structures, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("a list was made")

    monkeypatch.setattr(vesin, "NeighborList", refuse)
    extract("schnet-qm9-gap", structures.select(ORGANIC), layers=["embedding"])


@pytest.mark.slow
def test_programs_are_let_go():
    """Both the programs and their memory maps, after many models of several shapes each."""
    structures = random_structures(np.random.default_rng(3).integers(1, 12, 100))
    alive = jax.devices()[0].client.live_executables
    before, maps = len(alive()), memory_maps()
    for number in range(8):
        toy = Toy(name=f"toy-{number}", numbers=10_000_000)
        extract(toy, structures)
        assert toy.traces > 3
    gc.collect()
    assert len(alive()) - before <= programs.KEPT + 1  # the one tries whether XLA knows our options
    assert memory_maps() - maps < 100 * programs.KEPT


def memory_maps():
    """How many there are of this process, or 0 where nothing tells."""
    try:
        return len(Path("/proc/self/maps").read_text().splitlines())
    except OSError:
        return 0


def test_batched_lapack_is_never_called_twice_at_once(structures):
    """Two calls can wait for each other for ever."""
    run = Extraction.of("coulomb-spectrum", structures, batch_size=1)
    run.rows(np.arange(len(structures)))
    assert {bucket.program.turn for bucket in run._buckets} == {programs._ALONE}
    run = Extraction.of("ani-2x-aev", structures.select([0, 1]), ["radial"])
    run.rows(np.arange(2))
    assert all(bucket.program.turn is not programs._ALONE for bucket in run._buckets)


EIGHT = """
import sys, numpy as np, jax
from cpdjax import Structures, extract
assert jax.local_device_count() == 8
data = np.load(sys.argv[1])
structures = Structures("mine", data["numbers"], data["positions"], data["offsets"])
np.savez(sys.argv[2], **{
    f"{model} {pool}": extract(model, structures, layers=[layer], pool=pool)[layer].array
    for model, layer, pool in [
        ("schnet-qm9-gap", "interaction_0", "atom"),
        ("coulomb-spectrum", "spectrum", "mean"),
    ]
})
"""


@pytest.mark.slow
def test_several_devices_give_the_same_features(structures, tmp_path):
    """Eight virtual devices, in a process of its own."""
    structures = structures.select(ORGANIC)
    given = {k: getattr(structures, k) for k in ("numbers", "positions", "offsets")}
    np.savez(tmp_path / "in.npz", **given)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-c", EIGHT, tmp_path / "in.npz", tmp_path / "out.npz"]
    subprocess.run(command, check=True, env={**os.environ, "XLA_FLAGS": flags})
    with np.load(tmp_path / "out.npz") as found:
        for key in found:
            model, pool = key.split()
            [expected] = extract(model, structures, layers=LAYERS[model], pool=pool).values()
            np.testing.assert_allclose(found[key], expected.array, rtol=1e-12, atol=1e-12)


LAYERS = {"schnet-qm9-gap": ["interaction_0"], "coulomb-spectrum": ["spectrum"]}


def test_a_caller_may_choose_the_device(structures):
    with jax.default_device(jax.devices("cpu")[0]):
        assert list(Extraction.of("ani-2x-aev", structures)._mesh.devices) == jax.devices("cpu")[:1]


def test_batch_size_does_not_change_features(structures):
    whole = extract("ani-2x-aev", structures, layers=["aev"], batch_size=100)
    parts = extract("ani-2x-aev", structures, layers=["aev"], batch_size=2)
    np.testing.assert_allclose(whole["aev"].array, parts["aev"].array, rtol=0, atol=1e-13)


def test_molecules_do_not_see_each_other(structures):
    together = extract("ani-2x-aev", structures, layers=["radial"])["radial"].array
    alone = extract("ani-2x-aev", structures.select([2]), layers=["radial"])["radial"].array
    np.testing.assert_allclose(together[2], alone[0], rtol=0, atol=1e-13)


def test_float64_on_the_host_whatever_the_callers_flags(structures):
    results = []
    for flag in (False, True):
        with jax.enable_x64(flag):
            results.append(extract("coulomb-spectrum", structures))
            assert jax.config.jax_enable_x64 is flag
    array = results[0]["spectrum"].array
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float64
    assert results[0].pool == "none"
    assert results[0] == results[1]


def test_float32_on_request(structures):
    single = extract("coulomb-spectrum", structures, dtype="float32")["spectrum"].array
    double = extract("coulomb-spectrum", structures)["spectrum"].array
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, atol=2e-3)


def test_only_asked_layers(structures):
    toy = Toy()
    assert list(extract(toy, structures, layers=["position"])) == ["position"]
    assert list(extract(toy, structures)) == ["number", "position"]


def test_progress_goes_to_standard_error(structures, capsys):
    extract(Toy(), structures, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "toy" in err
    extract(Toy(), structures)
    assert capsys.readouterr().err == ""


def refused(match, frames, model="ani-2x-aev", error=InputError, **options):
    with pytest.raises(error, match=match) as caught:
        extract(model, Structures.from_atoms(frames, name="mine"), **options)
    assert "\n" not in str(caught.value)


def test_unknown_names():
    water = [molecule("H2O")]
    unknown = UnknownNameError
    refused(r"unknown model 'ani-2x'; did you mean .*ani-2x-aev", water, "ani-2x", unknown)
    refused(r"unknown layer of ani-2x-aev 'readout'", water, error=unknown, layers=["readout"])
    refused(r"layers must be a list of names, such as \['aev', 'x'\], got", water, layers="aev,x")
    refused("layers must be a list", water, layers="aev")
    refused("layers is empty; ani-2x-aev has radial, ", water, layers=[])
    refused(r"unknown pooling 'max'", water, error=unknown, pool="max")


def test_structures_that_a_model_cannot_take_are_named():
    water = molecule("H2O")
    refused(r"molecule 'mine_1' has Si; ani-2x-aev knows H, C–F, S, Cl$", [water, molecule("SiH4")])
    refused(r"molecule 'mine_1' is periodic; ani-2x-aev knows no cells", [water, bulk("C")])
    chain = Atoms("H30", [[i, 0, 0] for i in range(30)])
    refused(r"molecule 'mine_1' has 30 atoms; .* at most 29", [water, chain], "coulomb-spectrum")
    overlap = Atoms("OHH", [[0, 0, 0], [0, 0, 1], [0, 0, 1.0001]])
    with pytest.warns(UserWarning, match="closer than any bond"):
        refused(r"molecule 'mine_1' has atoms 1 and 2 at 0.0001 Å", [water, overlap, water])


@jax.tree_util.register_static
@dataclass(eq=False)
class Overflowing(Toy):
    """NaN for every carbon."""

    def features(self, batch):
        found = super().features(batch)
        bad = jnp.where(batch.numbers == 6, jnp.nan, 1.0)[:, :, None]
        return found | {"position": found["position"] * bad}


@pytest.mark.parametrize("pool", ["mean", "atom"])
def test_features_that_are_not_finite_are_refused(pool):
    frames = [molecule("H2O"), molecule("CH4"), molecule("NH3")]
    match = r"^toy gives NaN or infinity in layer 'position' for molecule 'mine_1' .*batch_size=1"
    refused(match, frames, Overflowing(), pool=pool)
    good = Structures.from_atoms([frames[0], frames[2]])
    assert np.isfinite(extract(Overflowing(), good, pool=pool)["position"].array).all()


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"dtype": "x"}, {"batch_size": 0}])
def test_bad_options(options):
    refused(next(iter(options)), [molecule("H2O")], **options)


QUICK = {"coulomb-spectrum", "ani-2x-aev", "schnet-qm9-gap", "painn-qm9-gap", "so3lr"}


@pytest.mark.parametrize(
    "name",
    [
        n if n in QUICK else pytest.param(n, marks=pytest.mark.slow)
        for n in models.names()
        if not n.endswith("-qm9-energy")  # the same networks as the zoo's others
    ],
)
def test_every_model_keeps_its_promises(name, structures):
    if not card_of(name).installed:
        pytest.skip(f"the weights of {name} are not installed")
    model = models.load(name)
    assert model.name == name
    if model.elements is not None:
        parts = np.split(structures.numbers, structures.offsets[1:-1])
        structures = structures.select([set(part) <= set(model.elements) for part in parts])
    feats = extract(model, structures)
    assert set(feats) == set(model.irreps)
    for layer, array in feats.items():
        assert array.irreps == model.irreps[layer]
        assert array.shape == (len(structures), model.irreps[layer].dim)
        assert np.isfinite(array.array).all()
