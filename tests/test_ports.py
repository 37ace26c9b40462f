"""Every port against its reference, under every symmetry, for every backend.

The parameters are the goldens themselves; see `tests/goldens/common.py`.
"""

import importlib.util
import json
from fnmatch import fnmatchcase
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from cpdjax import Structures, assert_equivariant, models
from cpdjax.errors import FileError
from cpdjax.extraction import padded

FOLDER = Path(__file__).parent / "goldens"
_spec = importlib.util.spec_from_file_location("goldens_common", FOLDER / "common.py")
common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(common)


def _is_port(path):
    with np.load(path) as golden:
        return any(name.startswith("layer/") for name in golden.files)


GOLDENS = sorted(path.stem for path in FOLDER.glob("*.npz") if _is_port(path))


def one_of_each():
    """Every golden; the slow run takes all but the first of each architecture's file."""
    seen, marked = set(), []
    for name in GOLDENS:
        with np.load(FOLDER / f"{name}.npz") as golden:
            model, architecture = str(golden["model"]), str(golden["architecture"])
        file = models._REGISTRY[model] if model else models._ARCHITECTURES[architecture]
        marked.append(pytest.param(name, marks=[pytest.mark.slow] if file in seen else []))
        seen.add(file)
    return marked


def load(name):
    """A golden's arrays, its model and its structures."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as stored:
        golden = {key: stored[key] for key in stored.files}
    if str(golden["model"]):
        try:
            encoder = models.load(str(golden["model"]))
        except FileError as absent:
            pytest.skip(str(absent))
    else:
        config = json.loads(str(golden["config"]))
        state = common.state_of(golden)
        encoder = models.from_state_dict(str(golden["architecture"]), config, state)
    more = {k: golden[k] for k in ("cells", "pbc", "charge", "unpaired") if k in golden}
    arrays = (golden[k] for k in ("numbers", "positions", "offsets"))
    return golden, encoder, Structures(name, *arrays, **more)


def whole(encoder, structures):
    """All structures in one batch."""
    return padded(encoder, structures, np.arange(len(structures)), int(structures.sizes.max()))


@pytest.mark.parametrize("name", GOLDENS)
def test_equals_reference(name):
    golden, encoder, structures = load(name)
    batch = whole(encoder, structures)
    features = encoder.features(batch)
    layers = {k.removeprefix("layer/") for k in golden if k.startswith("layer/")}
    assert layers == set(features) == set(encoder.irreps)
    for layer, found in features.items():
        assert found.irreps == encoder.irreps[layer]
        expected, got = golden[f"layer/{layer}"], np.asarray(found.array)[batch.mask]
        error = np.abs(got - expected).max() / np.abs(expected).max()
        assert error <= golden["tolerance"], (layer, error)
    output = np.asarray(encoder.output(batch))
    error = np.abs(output - golden["output"]).max() / np.abs(golden["output"]).max()
    assert error <= golden["tolerance"], ("output", error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", one_of_each())
def test_equivariant(name, dtype):
    _, encoder, structures = load(name)
    assert_equivariant(encoder, structures, dtype=dtype)


@pytest.mark.parametrize("name", one_of_each())
def test_lowers_for_every_platform(name):
    _, encoder, structures = load(name)
    batch = whole(encoder, structures.select([0]))
    for platform in ("cuda", "tpu"):
        exported = jax.export.export(
            jax.jit(type(encoder).features),
            platforms=[platform],
        )(encoder, batch)
        assert exported.platforms == (platform,)


@pytest.mark.parametrize("name", one_of_each())
def test_padding_changes_nothing(name):
    """More room for atoms moves no feature beyond rounding, and gradients stay finite."""
    _, encoder, structures = load(name)
    atoms = int(structures.sizes.max())
    rows = np.arange(len(structures))
    tight, roomy = (padded(encoder, structures, rows, n) for n in (atoms, atoms + 3))
    for layer, found in encoder.features(tight).items():
        other = np.asarray(encoder.features(roomy)[layer].array)[roomy.mask]
        expected = np.asarray(found.array)[tight.mask]
        assert np.abs(other - expected).max() <= 1e-12 * np.abs(expected).max(), layer


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDENS)
def test_every_weight_matters(name):
    """The golden can fail: each array of weights moves a feature or the output."""
    golden, encoder, structures = load(name)
    unused = json.loads(str(golden["unused"])) if "unused" in golden else []
    batch = whole(encoder, structures)
    mask = jnp.asarray(batch.mask)

    def size(variables):
        moved = models.Encoder(
            encoder.name, encoder.architecture, variables, aggregate=encoder.aggregate
        )
        layers = moved.features(batch).values()
        squares = [jnp.where(mask[:, :, None], f.array**2, 0).sum() for f in layers]
        return sum(squares) + (moved.output(batch) ** 2).sum()

    gradients = jax.grad(size, allow_int=True)(encoder.variables)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        weight = jax.tree_util.keystr(path, simple=True, separator="/")
        if gradient.dtype != jax.dtypes.float0:
            assert np.isfinite(gradient).all(), weight
            dead = any(fnmatchcase(weight, pattern) for pattern in unused)
            assert (np.abs(gradient).max() > 0) != dead, weight


@pytest.mark.parametrize("name", one_of_each())
def test_one_scheme_of_names(name):
    _, encoder, _ = load(name)
    layers = list(encoder.irreps)
    interactions = [layer for layer in layers if layer.startswith("interaction_")]
    assert interactions == [f"interaction_{i}" for i in range(len(interactions))]
    assert set(layers) - set(interactions) <= {"embedding", "readout"}
    assert layers == sorted(
        layers, key=lambda k: ("embedding", "interaction", "readout").index(k.split("_")[0])
    )


@pytest.mark.parametrize("name", one_of_each())
def test_a_cell_smaller_than_the_cutoff_equals_its_supercell(name):
    _, encoder, _ = load(name)
    if not encoder.periodic:
        pytest.skip(f"{encoder.name} knows no cells")
    small = bulk("C", "diamond", a=3.57)
    small.positions[1] += [0.1, -0.05, 0.02]
    big = small.repeat((3, 2, 1))
    features = {}
    for frame in (small, big):
        structures = Structures.from_atoms([frame])
        features[len(frame)] = encoder.features(whole(encoder, structures))
    for layer, few in features[len(small)].items():
        expected = np.tile(few.array[0], (6, 1))
        got = np.asarray(features[len(big)][layer].array[0])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
