"""Extraction: order, buckets, pooling, precision, and one clear line for bad input."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers import Toy, random_structures

from cpdjax import models
from cpdjax.data.padding import MAX_BUCKETS
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import extract
from cpdjax.models.cards import card_of

NAMES = ["C6H6", "H2O", "CH3CONH2", "CO2", "H", "CH3Cl", "C4H4S"]


@pytest.fixture(scope="module")
def structures():
    return Structures.from_atoms([molecule(name) for name in NAMES])


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


def test_few_compilations_on_sizes_like_qm9s():
    toy, structures = Toy(), qm9_like()
    extract(toy, structures)
    assert 1 < toy.traces <= MAX_BUCKETS
    again = toy.traces
    extract(toy, structures)
    assert toy.traces == again


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
