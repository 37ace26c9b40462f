"""DimeNet++ beside its goldens: Bessel functions against SciPy, training, forces, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from scipy.special import spherical_jn

from cpdjax import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models import Encoder, from_state_dict
from cpdjax.models.architectures import dimenet
from cpdjax.models.blocks import bessel
from cpdjax.models.weights.translate import example


@pytest.fixture(scope="module")
def small():
    module = dimenet.DimeNetPlusPlus(
        hidden_channels=8,
        num_blocks=1,
        int_emb_size=4,
        basis_emb_size=3,
        out_emb_channels=6,
        num_spherical=4,
        num_radial=3,
        num_output_layers=1,
    )
    return Encoder("small", module, jax.jit(module.init)(jax.random.key(1), example()))


def batch_of(encoder, frames):
    structures = Structures.from_atoms(frames)
    return padded(encoder, structures, np.arange(len(frames)), int(structures.sizes.max()))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_spherical_bessel_functions(dtype, tolerance):
    """From where closed forms cancel to where functions wave; relative to the largest so far."""
    x = np.concatenate([np.geomspace(0.05, 2, 50), np.linspace(2, 40, 400)]).astype(dtype)
    find = jax.jit(lambda order: bessel.spherical_bessel(order, jnp.asarray(x), 7))
    for order in range(8):
        expected = spherical_jn(order, x.astype(np.float64))
        error = np.abs(np.asarray(find(np.int32(order))) - expected)
        assert (error <= tolerance * np.maximum.accumulate(np.abs(expected))).all(), order


def test_zeros_of_spherical_bessel_functions():
    found = bessel.zeros(12, 20)
    assert found.shape == (12, 20)
    np.testing.assert_allclose(found[1, :3], [4.493409457909, 7.725251836938, 10.904121659429])
    for order, roots in enumerate(found):
        slope = spherical_jn(order, roots, derivative=True)
        assert np.abs(spherical_jn(order, roots) / slope).max() < 2e-14 * roots.max()
        grid = spherical_jn(order, np.linspace(0.5, roots[-1] + 0.1, 10_000))
        changes = np.count_nonzero(np.diff(np.sign(grid)))
        assert changes == len(roots), order  # and so none is missed


def test_the_basis_is_orthonormal_in_its_sphere():
    """Apart from the envelope: ∫ f_n f_m x² dx = δ_nm for the waves of one order."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r, weights = (nodes + 1) * 1.5, weights / 2
    waves = jax.jit(lambda r: bessel.spherical_basis(r, 5, 4, 3.0, 6))(jnp.asarray(r))
    x = r / 3
    envelope = np.asarray(bessel.polynomial_cutoff(jnp.asarray(r), 3.0, 6)) / x
    plain = np.asarray(waves) / envelope[:, None]
    gram = np.einsum("lrn,lrm,r->lnm", plain, plain, weights * x**2)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(4), gram.shape), atol=1e-9)


@pytest.mark.slow
def test_trains_from_its_initial_weights(small):
    """The last maps begin at zero, as in the reference: they move first, all others then."""
    batch = batch_of(small, [molecule("H2O")])

    @jax.jit
    @jax.value_and_grad
    def loss(variables):
        return ((Encoder("small", small.architecture, variables).output(batch) - 1) ** 2).sum()

    variables, losses = small.variables, []
    for _ in range(3):
        value, gradient = loss(variables)
        losses.append(value)
        square = sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient))
        step = np.float32(0.05 * value) / square
        variables = jax.tree.map(lambda w, g, step=step: w - step * g, variables, gradient)
    assert losses[0] == 1
    assert losses[2] < losses[1] < losses[0]
    assert all((np.abs(leaf) > 0).any() for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_forces_are_derivatives(small):
    """Finite beside padding and at the cutoff, and equal to differences of the output."""
    variables = jax.tree.map(lambda w: w + np.float32(0.1), small.variables)
    encoder = Encoder("small", small.architecture, variables)
    far = molecule("CH4")
    far.positions[1] += [small.architecture.cutoff - 1, 0, 0]
    batch = batch_of(encoder, [far, molecule("HF")])

    @jax.jit
    def energy(positions):
        return encoder.output(batch._replace(positions=positions)).sum()

    positions = np.asarray(batch.positions)
    forces = np.asarray(jax.jit(jax.grad(energy))(positions))
    assert np.isfinite(forces).all()
    direction = np.random.default_rng(0).normal(size=positions.shape) * batch.mask[:, :, None]
    step = 1e-5 * direction
    difference = (energy(positions + step) - energy(positions - step)) / 2e-5
    np.testing.assert_allclose((forces * direction).sum(), difference, rtol=1e-6)


def test_options_and_weights_that_are_not_ported_are_refused(small):
    with pytest.raises(InputError, match="out_channels=3"):
        from_state_dict("dimenet++", {"out_channels": 3}, {})
    with pytest.raises(UnknownNameError, match="unknown activation 'selu'"):
        from_state_dict("dimenet++", {"act": "selu"}, {})
    with pytest.raises(InputError, match="another architecture"):
        from_state_dict("dimenet++", {}, {"embedding.weight": np.zeros((95, 128))})
