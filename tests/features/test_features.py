"""Pooling and scalars of irrep-tagged arrays, and what a `Features` object promises."""

import dataclasses

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from e3nn_jax import IrrepsArray
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.irreps import INVARIANTS, blocks, invariants, pool

IRREPS = e3nn.Irreps("3x0e + 2x0o + 2x1o + 1x1e + 2x2e")


transform = jax.jit(IrrepsArray.transform_by_matrix)


def random_array(*shape, seed=0):
    values = np.random.default_rng(seed).normal(size=(*shape, IRREPS.dim))
    return IrrepsArray(IRREPS, values)


def make(**changes):
    layers = {"first": random_array(4), "second": random_array(4, seed=1)}
    return Features(
        **{"layers": layers, "model": "toy", "pool": "mean", "structures_hash": "x"} | changes
    )


def test_pool_is_the_mean_or_sum_of_real_atoms():
    array = random_array(2, 3)
    mask = np.array([[True, True, False], [True, False, False]])
    mean, total = pool(array, mask), pool(array, mask, "sum")
    np.testing.assert_allclose(mean.array[0], array.array[0, :2].mean(0))
    np.testing.assert_allclose(total.array[0], array.array[0, :2].sum(0))
    np.testing.assert_allclose(mean.array[1], array.array[1, 0])
    assert mean.irreps == total.irreps == IRREPS


def test_pool_ignores_even_nan_in_padding():
    array = random_array(1, 2)
    array.array[0, 1] = np.nan
    mask = np.array([[True, False]])
    np.testing.assert_allclose(pool(array, mask).array, array.array[:, 0])


def test_pool_refuses_other_names():
    with pytest.raises(UnknownNameError, match=r"unknown pooling 'men'; did you mean mean\?"):
        pool(random_array(1, 2), np.ones((1, 2), bool), "men")


def test_invariants_by_hand():
    array = IrrepsArray(
        "2x0e + 1x0o + 2x1o", np.array([[1.0, -2.0, -3.0, 3.0, 0.0, 4.0, 0.0, 0.0, 0.0]])
    )
    np.testing.assert_array_equal(invariants(array), [[1, -2, 3, 5, 0]])
    np.testing.assert_array_equal(invariants(array, "1o"), [[5, 0]])
    np.testing.assert_array_equal(invariants(array, "0o"), [[3]])


def test_one_irrep_in_several_blocks_is_taken_whole():
    array = IrrepsArray("1x0e + 1x1o + 1x0e", np.array([[1.0, 0.0, 2.0, 0.0, 3.0]]))
    np.testing.assert_array_equal(invariants(array, "0e"), [[1, 3]])


def test_invariants_refuse_an_irrep_that_is_not_there():
    with pytest.raises(UnknownNameError, match="unknown irrep '3o'; did you mean 1o or 0o"):
        invariants(random_array(2), "3o")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), inverted=st.booleans())
def test_invariants_do_not_see_rotation_or_inversion(seed, inverted):
    with jax.enable_x64(True):
        array = random_array(5, seed=seed)
        turn = Rotation.random(random_state=seed % 2**31).as_matrix()
        matrix = jnp.asarray(-turn if inverted else turn)
        turned = IrrepsArray(IRREPS, np.asarray(transform(array, matrix).array))
        assert np.abs(turned.array - array.array).max() > 1e-3  # the test can fail
    np.testing.assert_allclose(invariants(turned), invariants(array), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (3, 5), elements=st.floats(-1e100, 1e100)))
def test_invariants_count_channels_and_are_finite(values):
    found = invariants(IrrepsArray("2x0e + 1x1o", values))
    assert found.shape == (3, 3)
    assert np.isfinite(found).all()


def test_numpy_stays_float64_and_jax_stays_differentiable():
    with jax.enable_x64(False):
        found = invariants(random_array(2))
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float64
        zero = jnp.zeros((2, IRREPS.dim))
        gradient = jax.jit(jax.grad(lambda x: invariants(IrrepsArray(IRREPS, x)).sum()))(zero)
    assert np.isfinite(np.asarray(gradient)).all()


def test_features_are_a_mapping():
    feats = make()
    assert list(feats) == ["first", "second"]
    assert len(feats) == 2
    assert feats["first"].irreps == IRREPS
    assert "third" not in feats
    assert feats.get("third") is None
    with pytest.raises(UnknownNameError, match=r"unknown layer 'frist'; did you mean first\?"):
        feats["frist"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        feats.pool = "sum"


def test_hash_follows_content():
    feats = make()
    assert feats == make()
    assert len({feats, make()}) == 1
    assert make(layers=dict(reversed(feats.layers.items()))).hash == feats.hash
    changed = random_array(4)
    changed.array[0, 0] += 1e-12
    retagged = IrrepsArray(str(IRREPS).replace("1x1e", "1x1o"), random_array(4).array)
    others = [
        make(model="other"),
        make(pool="sum"),
        make(structures_hash="y"),
        make(layers=feats.layers | {"first": changed}),
        make(layers=feats.layers | {"first": retagged}),
        make(layers={"a": feats["first"], "second": feats["second"]}),
    ]
    assert len({feats.hash, *(other.hash for other in others)}) == 7


def test_layers_must_agree_in_molecules():
    with pytest.raises(InputError, match="disagree in their molecules"):
        make(layers={"first": random_array(4), "second": random_array(5)})


@pytest.mark.parametrize("how", INVARIANTS)
def test_scalars_are_invariant(how):
    array = random_array(5)
    for matrix in (Rotation.random(random_state=1).as_matrix(), -np.eye(3)):
        turned = transform(array, matrix)
        first, second = (np.asarray(invariants(a, how=how)) for a in (array, turned))
        assert np.abs(first - second).max() <= 1e-12 * np.abs(first).max()


def test_norms_before_and_after_pooling_differ_as_they_should():
    opposite = np.array([[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]])
    atoms, mask = IrrepsArray("1x1o", opposite), np.ones((1, 2), bool)
    assert invariants(pool(atoms, mask)) == 0
    norms = IrrepsArray("1x0e", invariants(atoms, how="norm-then-pool"))
    assert pool(norms, mask).array == 1


def test_power_spectrum_by_hand():
    array = IrrepsArray("2x0e + 2x1o", np.array([[5.0, 6.0, 1.0, 0.0, 2.0, 0.0, 3.0, 4.0]]))
    np.testing.assert_allclose(invariants(array, how="power-spectrum"), [[5, 6, 5, 8, 25]])
    assert blocks(array.irreps, "power-spectrum") == (("0e", 2), ("1o", 3))


def test_one_irrep_in_several_blocks():
    split = e3nn.Irreps("1x1o + 1x0e + 1x1o")
    array = IrrepsArray(split, np.array([[3.0, 0, 4, 7, 0, 5, 0]]))
    np.testing.assert_allclose(invariants(array), [[5, 5, 7]])
    np.testing.assert_allclose(invariants(array, "1o", "power-spectrum"), [[25, 0, 25]])


def test_pooled_features_cannot_be_normed_before_pooling():
    with pytest.raises(InputError, match="pooled already"):
        make().scalars("first", how="norm-then-pool")
    with pytest.raises(UnknownNameError, match="way of making scalars"):
        invariants(random_array(2), how="norms")


@pytest.mark.parametrize("exponent", [-1000, -600, 600, 1000])
def test_norms_of_very_large_and_small_numbers(exponent):
    """Their squares would leave the range of float64."""
    array = random_array(5)
    scaled = IrrepsArray(array.irreps, np.ldexp(np.asarray(array.array, np.float64), exponent))
    plain = IrrepsArray(array.irreps, np.asarray(array.array, np.float64))
    for how in ("pool-then-norm", "norm-then-pool"):
        expected = np.ldexp(invariants(plain, how=how), exponent)
        np.testing.assert_array_equal(invariants(scaled, how=how), expected)
