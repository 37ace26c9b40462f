"""The Coulomb spectrum: against NumPy's eigenvalues and closed forms, and its symmetries."""

import jax
import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr
from scipy.spatial.transform import Rotation

from cpdjax.data.batch import Batch
from cpdjax.data.structures import Structures
from cpdjax.models.descriptors.coulomb import CoulombSpectrum


def spectrum(batch, model=None):
    with jax.enable_x64(True):
        features = (model or CoulombSpectrum()).features(batch)
        return np.asarray(features["spectrum"].array)


def batch_of(*names):
    frames = [molecule(name) for name in names]
    return Structures.from_atoms(frames).pad(range(len(frames)), max(map(len, frames)))


@pytest.mark.parametrize("name", ["H", "H2O", "CO2", "C6H6", "CH3Cl"])
def test_equals_numpy(name):
    batch = batch_of(name)
    z, x = batch.numbers[0].astype(float), batch.positions[0] / Bohr
    distances = np.linalg.norm(x[:, None] - x[None, :], axis=-1)
    matrix = np.outer(z, z) / (distances + np.eye(len(z)))
    np.fill_diagonal(matrix, 0.5 * z**2.4)
    values = np.linalg.eigvalsh(matrix)
    expected = np.zeros(29)
    expected[: len(z)] = values[np.argsort(-np.abs(values))]
    np.testing.assert_allclose(spectrum(batch)[0], expected, rtol=1e-8, atol=1e-10)


def test_h2_in_closed_form():
    batch = batch_of("H2")
    r = np.linalg.norm(np.diff(batch.positions[0], axis=0)) / Bohr
    np.testing.assert_allclose(spectrum(batch)[0, :3], [0.5 + 1 / r, 0.5 - 1 / r, 0], atol=1e-9)


def test_sorted_by_absolute_value_and_padded_with_zeros():
    values = spectrum(batch_of("H2O", "C6H6"))
    assert values.shape == (2, 29)
    assert (np.diff(np.abs(values)) <= 1e-12).all()
    np.testing.assert_allclose(values[0, 3:], 0, atol=1e-12)


def test_invariant_to_motion_order_and_padding():
    batch = batch_of("CH3CONH2")
    rng = np.random.default_rng(0)
    turn = Rotation.random(random_state=rng).as_matrix()
    moved = batch._replace(positions=batch.positions @ turn.T + 3)
    order = rng.permutation(9)
    shuffled = Batch(*(array[:, order] for array in batch[:3]))
    padded = batch_of("CH3CONH2", "C6H6")
    for other in (moved, shuffled, padded):
        np.testing.assert_allclose(spectrum(other)[0], spectrum(batch)[0], atol=1e-10)


def test_gradient_is_finite_with_padding():
    batch = batch_of("H2O", "C6H6")
    with jax.enable_x64(True):

        def score(positions):
            return (
                CoulombSpectrum()
                .features(batch._replace(positions=positions))["spectrum"]
                .array.sum()
            )

        assert np.isfinite(np.asarray(jax.jit(jax.grad(score))(batch.positions))).all()


def test_number_of_columns_is_a_choice():
    wide = spectrum(batch_of("C6H6"), CoulombSpectrum(max_atoms=40))
    assert wide.shape == (1, 40)
    np.testing.assert_allclose(wide[0, :29], spectrum(batch_of("C6H6"))[0], atol=1e-12)
