"""CHGNet beside its goldens: room for angles, training from the start, options refused."""

import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from cpdjax import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models import Encoder, from_state_dict
from cpdjax.models.architectures import chgnet
from cpdjax.models.weights.translate import example, shapes


@pytest.fixture(scope="module")
def small():
    module = chgnet.CHGNet(
        atom_channels=5,
        bond_channels=4,
        angle_channels=3,
        num_radial=4,
        num_angular=5,
        interactions=3,
        atom_hidden=6,
        bond_hidden=0,
        angle_hidden=4,
        readout_hidden=(7,),
        out_bias=True,
    )
    draw = np.random.default_rng(1)
    variables = jax.tree.map(
        lambda leaf: (draw.normal(size=leaf.shape) / 2).astype(np.float32), shapes(module)
    )
    return Encoder("small", module, variables)


def batch_of(encoder, frames):
    structures = Structures.from_atoms(frames)
    atoms = int(structures.sizes.max())
    return padded(encoder, structures, np.arange(len(frames)), atoms)


@pytest.mark.slow
def test_room_for_angles_does_not_matter(small, monkeypatch):
    """Every branch that has room for all angles gives the same, in molecules and in crystals."""
    frames = [molecule("CH3CONH2"), molecule("H2O"), bulk("Fe", "bcc", a=2.87)]
    batch = batch_of(small, frames)

    def features(sizes):
        monkeypatch.setattr(chgnet, "_ANGLES", sizes)
        run = Encoder.features_and_output.__wrapped__  # anew, not what was compiled before
        found, _ = jax.jit(lambda e, b: run(e, b))(small, batch)
        return {k: np.asarray(f.array)[batch.mask] for k, f in found.items()}

    found = features((60, 9999))
    for layer, expected in features((9999,)).items():
        np.testing.assert_allclose(found[layer], expected, rtol=1e-11, atol=1e-12)
    assert np.isnan(features((2,))["readout"]).all()  # no room: seen, not silently wrong


@pytest.mark.slow
def test_trains_from_its_initial_weights(small, monkeypatch):
    monkeypatch.setattr(chgnet, "_ANGLES", (9999,))  # one branch compiles faster than three
    batch = batch_of(small, [molecule("H2O")])
    module = small.architecture.clone(interactions=2)
    start = jax.jit(module.init)(jax.random.key(1), example())

    def loss(variables):
        return (Encoder("small", module, variables).output(batch) ** 2).sum()

    both = jax.jit(jax.value_and_grad(loss))
    value, gradient = both(start)
    step = jax.tree.map(lambda w, g: w - np.float32(1e-4) * g, start, gradient)
    assert 0 < both(step)[0] < value


@pytest.mark.parametrize(
    "option",
    [
        {"mlp_first": False},
        {"update_bond": False},
        {"update_angle": False},
        {"conv_norm": "layer"},
        {"gMLP_norm": "batch"},
        {"readout_norm": "batch"},
        {"atom_conv_hidden_dim": [64, 32]},
    ],
)
def test_options_that_are_not_ported_are_refused(option):
    with pytest.raises(InputError, match=next(iter(option))):
        from_state_dict("chgnet", option, {})


def test_unknown_activations_and_other_state_dicts_are_refused():
    rows = {"atom_embedding.embedding.weight": np.ones((94, 64))}
    with pytest.raises(UnknownNameError, match="activation 'mish'"):
        from_state_dict("chgnet", {"non_linearity": "mish"}, rows)
    with pytest.raises(InputError, match="no CHGNet"):
        from_state_dict("chgnet", {}, {"weight": np.ones(3)})
    with pytest.raises(InputError, match="lacks"):
        from_state_dict("chgnet", {}, rows)


def test_angles_are_all_ordered_pairs_of_an_atoms_bonds():
    short = np.array([[1, 0, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]], bool)
    angles = chgnet.Angles.of(jax.numpy.asarray(short), room=11)
    found = [tuple(map(int, row)) for row in zip(*angles[:3], strict=True)]
    assert [bool(m) for m in angles.mask] == [True] * 8 + [False] * 3
    assert found[:8] == [
        (4 * a + i, 4 * a + j, a)
        for a in range(4)
        for i in range(4)
        for j in range(4)
        if i != j and short[a, i] and short[a, j]
    ]
