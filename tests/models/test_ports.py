"""Every port against its reference, under every symmetry, for every backend.

The parameters are the goldens themselves; see `tests/goldens/common.py`.
"""

import contextlib
import json
from fnmatch import fnmatchcase
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from examples import PORTS, architecture_of, common, every_architecture, load, ports, small_model
from helpers import GOLDENS

from cpdjax import Structures, assert_equivariant, models
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models.architectures.ani import ANI
from cpdjax.models.weights import translate as weights


def from_config():
    """Goldens of a configuration; the slow run takes all but the first of each architecture."""
    seen, marked = set(), []
    for name in PORTS:
        with np.load(GOLDENS / f"{name}.npz") as golden:
            architecture = str(golden["architecture"])
        if architecture:
            marks = [pytest.mark.slow] if architecture in seen else []
            marked.append(pytest.param(name, marks=marks))
            seen.add(architecture)
    return marked


def whole(encoder, structures):
    """All structures in one batch."""
    return padded(encoder, structures, np.arange(len(structures)), int(structures.sizes.max()))


class Whole:
    """A model whose features and output are compiled together, once for every shape."""

    def __init__(self, encoder):
        self.encoder = encoder

    def __getattr__(self, name):
        return getattr(self.encoder, name)

    def features(self, batch):
        return self.encoder.features_and_output(batch)[0]


def together(names):
    """The structures of several goldens, and of each golden its places among them."""
    frames, places = [], {}
    for name in names:
        structures = load(name)[2]
        places[name] = np.arange(len(frames), len(frames) + len(structures))
        frames += frames_of(structures)
    return Structures.from_atoms(frames, targets=[]), places


def frames_of(structures):
    """As a list, for more to be added."""
    frames = [structures.atoms(i) for i in range(len(structures))]
    for frame in frames:
        del frame.info["id"]
    return frames


def mates(name):
    """The goldens of the same architecture, whose weights are installed."""
    for other in PORTS:
        if architecture_of(other) == architecture_of(name):
            with contextlib.suppress(pytest.skip.Exception):
                if load(other)[1].architecture == load(name)[1].architecture:
                    yield other


@cache
def computed(name):
    """Features (rows of real atoms) and output of a golden's structures.

    Goldens of one architecture go through it together, so that it is compiled once.
    """
    encoder = load(name)[1]
    structures, places = together(mates(name))
    batch = whole(encoder, structures)
    features, output = encoder.features_and_output(batch)
    mask = np.zeros_like(batch.mask)
    mask[places[name]] = batch.mask[places[name]]
    arrays = {k: (x.irreps, np.asarray(x.array)[mask]) for k, x in features.items()}
    return arrays, np.asarray(output)[places[name]]


@pytest.mark.parametrize("name", ports())
def test_equals_reference(name):
    golden, encoder, _ = load(name)
    features, output = computed(name)
    layers = {k.removeprefix("layer/") for k in golden if k.startswith("layer/")}
    assert layers == set(features) == set(encoder.irreps)
    for layer, (irreps, got) in features.items():
        assert irreps == encoder.irreps[layer]
        expected = golden[f"layer/{layer}"]
        error = np.abs(got - expected).max() / np.abs(expected).max()
        assert error <= golden["tolerance"], (layer, error)
    error = np.abs(output - golden["output"]).max() / np.abs(golden["output"]).max()
    assert error <= golden["tolerance"], ("output", error)


def attempt(architecture, config, state):
    """The model and nothing, or nothing and why not."""
    try:
        return models.from_state_dict(architecture, config, state), ""
    except InputError as error:
        return None, str(error)


# SevenNet's frequencies: a checkpoint has none where they were not learned.
DEFAULTED = "edge_embedding.basis_function.coeffs"


@pytest.mark.slow
@pytest.mark.parametrize("name", from_config())
def test_a_missing_or_misshapen_array_is_refused(name, monkeypatch):
    """In one line; arrays that carry nothing of their own may be missing, and nothing changes."""
    golden, encoder, _ = load(name)
    state, config = common.state_of(golden), json.loads(str(golden["config"]))
    monkeypatch.setattr(weights, "shapes", cache(weights.shapes))
    refused = 0
    for changed, array in state.items():
        rest = {k: v for k, v in state.items() if k != changed}
        altered = [rest] if changed != DEFAULTED else []
        for other in (array[..., :-1] if array.ndim else np.stack([array] * 2), np.ones(0)):
            altered.append(rest | {changed: other})
        for mine in altered:
            found, error = attempt(str(golden["architecture"]), config, mine)
            refused += found is None
            assert "\n" not in error
            if found is not None:
                jax.tree.map(np.testing.assert_array_equal, found.variables, encoder.variables)
    assert refused > len(state)


@pytest.mark.parametrize("name", from_config())
def test_unknown_options_are_refused(name):
    golden, _, _ = load(name)
    config = json.loads(str(golden["config"])) | {"no_such_option": 1}
    with pytest.raises(UnknownNameError, match="'no_such_option'") as caught:
        models.from_state_dict(str(golden["architecture"]), config, common.state_of(golden))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", every_architecture())
def test_equivariant(name, dtype):
    encoder, structures = small_model(name)
    assert_equivariant(Whole(encoder), structures, dtype=dtype)


@pytest.mark.parametrize("name", ports())
def test_lowers_for_every_platform(name):
    _, encoder, structures = load(name)
    batch = whole(encoder, structures.select([0]))
    platforms = ("cuda", "tpu")
    compiled = jax.jit(type(encoder).features_and_output)
    assert jax.export.export(compiled, platforms=platforms)(encoder, batch).platforms == platforms


@pytest.mark.slow
@pytest.mark.parametrize("name", ports())
def test_the_embedding_alone_costs_little(name):
    """Who asks for an early layer pays for no later one, branches and loops or not.

    JAX drops what no output needs before XLA sees it, so nothing has to be compiled.
    """
    _, encoder, structures = load(name)
    batch = whole(encoder, structures.select([int(structures.sizes.argmax())]))

    def flops(*layers):
        def only(encoder, batch):
            features = encoder.features(batch)
            return [features[layer].array for layer in layers]

        return jax.jit(only).lower(encoder, batch).cost_analysis()["flops"]

    # ANI's environment vector is itself the main cost where neighbours are many or networks small.
    share = 1 if isinstance(encoder.architecture, ANI) else 0.2
    assert 0 < flops("embedding") < share * flops(*encoder.irreps)


@pytest.mark.slow
@pytest.mark.parametrize("name", ports())
def test_padding_changes_nothing_and_a_small_cell_equals_its_supercell(name):
    """More room for atoms and images moves no feature beyond rounding; with one compilation.

    The supercell is of a cell smaller than the cutoff, where the model knows cells.
    """
    _, encoder, structures = load(name)
    frames = frames_of(structures)
    if encoder.periodic:
        small = bulk("C", "diamond", a=3.57)
        small.positions[1] += [0.1, -0.05, 0.02]
        frames += [small, small.repeat((3, 2, 1))]
    more = Structures.from_atoms(frames, targets=[])
    rows, roomy = np.arange(len(more)), int(more.sizes.max()) + 3
    batch = padded(encoder, more, rows, roomy)
    features, output = encoder.features_and_output(batch)
    count = len(structures)
    tight, expected = encoder.features_and_output(whole(encoder, structures))
    mask = whole(encoder, structures).mask
    for layer, found in features.items():
        wanted = np.asarray(tight[layer].array)[mask]
        scale = np.abs(wanted).max()
        got = np.asarray(found.array)
        assert np.abs(got[:count][batch.mask[:count]] - wanted).max() <= 1e-12 * scale, layer
        if encoder.periodic:
            few, many = (got[count + k][batch.mask[count + k]] for k in range(2))
            np.testing.assert_allclose(many, np.tile(few, (6, 1)), rtol=0,
                                       atol=1e-10 * np.abs(few).max())  # fmt: skip
    np.testing.assert_allclose(output[:count], expected, rtol=1e-11)
    if encoder.periodic:
        factor = 6 if encoder.aggregate == "sum" else 1
        once = encoder.variables.get("constants", {}).get("mean", 0.0)  # ViSNet's, a molecule's own
        few, many = output[count : count + 2] - np.asarray(once)
        np.testing.assert_allclose(many, factor * few, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", PORTS)
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
        layers, output = moved.features_and_output(batch)
        squares = [jnp.where(mask[:, :, None], f.array**2, 0).sum() for f in layers.values()]
        return sum(squares) + (output**2).sum()

    gradients = jax.grad(size, allow_int=True)(encoder.variables)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        weight = jax.tree_util.keystr(path, simple=True, separator="/")
        if gradient.dtype != jax.dtypes.float0:
            assert np.isfinite(gradient).all(), weight
            dead = any(fnmatchcase(weight, pattern) for pattern in unused)
            assert (np.abs(gradient).max() > 0) != dead, weight
    jax.clear_caches()  # derivatives of all goldens together are more code than a process may map


@pytest.mark.parametrize("name", ports())
def test_one_scheme_of_names(name):
    _, encoder, _ = load(name)
    layers = list(encoder.irreps)
    interactions = [layer for layer in layers if layer.startswith("interaction_")]
    assert interactions == [f"interaction_{i}" for i in range(len(interactions))]
    assert set(layers) - set(interactions) <= {"embedding", "readout"}
    assert layers == sorted(
        layers, key=lambda k: ("embedding", "interaction", "readout").index(k.split("_")[0])
    )
