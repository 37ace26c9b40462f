"""CHGNet beside its goldens: room for angles, training from the start, options refused."""

import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from cpdjax import Structures
from cpdjax.errors import InputError
from cpdjax.extraction import padded
from cpdjax.models import Encoder, chgnet, from_state_dict
from cpdjax.models.weights import example, shapes


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


@pytest.mark.parametrize(
    "frames", [[molecule("CH3CONH2"), molecule("H2O")], [bulk("Fe", "bcc", a=2.87)]]
)
def test_room_for_angles_does_not_matter(small, frames, monkeypatch):
    """Every branch that has room for all bonds within the bond cutoff gives the same."""
    batch, found = batch_of(small, frames), []
    for sizes in ((), (5, 14)):
        monkeypatch.setattr(chgnet, "_NEAR", sizes)
        features = jax.jit(lambda e, b: Encoder.features.__wrapped__(e, b))(small, batch)
        found.append({k: np.asarray(f.array)[batch.mask] for k, f in features.items()})
    for layer, expected in found[0].items():
        np.testing.assert_allclose(found[1][layer], expected, rtol=1e-11, atol=1e-12)


def test_trains_from_its_initial_weights(small):
    batch = batch_of(small, [molecule("H2O")])
    start = jax.jit(small.architecture.init)(jax.random.key(1), example())

    def loss(variables):
        return (Encoder("small", small.architecture, variables).output(batch) ** 2).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(start)
    step = jax.tree.map(lambda w, g: w - np.float32(1e-4) * g, start, gradient)
    assert 0 < loss(step) < value


@pytest.mark.parametrize("option", [{"mlp_first": False}, {"gMLP_norm": "batch"}])
def test_options_that_are_not_ported_are_refused(option):
    with pytest.raises(InputError, match=next(iter(option))):
        from_state_dict("chgnet", option, {})


def test_bonds_find_their_reverse():
    """Also where an atom has several images of one neighbour, and of itself."""
    frames = [bulk("NaCl", "rocksalt", a=5.64)]
    encoder = Encoder("cutoffs", chgnet.CHGNet(), {})
    batch = batch_of(encoder, frames)
    bonds = chgnet.Bonds.of(chgnet.Graph.of(batch))
    place, found = map(np.asarray, bonds.reverse)
    mask, vectors = np.asarray(bonds.mask), np.asarray(bonds.vectors)
    np.testing.assert_array_equal(found, mask)
    back = vectors.reshape(-1, 3)[place]
    np.testing.assert_allclose(back[mask], -vectors[mask], rtol=0, atol=1e-12)
    atoms = np.broadcast_to(np.arange(len(mask))[:, None], mask.shape)
    np.testing.assert_array_equal(np.asarray(bonds.neighbours).ravel()[place][mask], atoms[mask])
