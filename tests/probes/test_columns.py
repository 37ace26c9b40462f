"""One look at the columns: their ends, what is not finite, where arrays lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cpdjax
from cpdjax.errors import InputError
from cpdjax.probes import columns
from cpdjax.probes.columns import ALL_OF_TENSORS, ROWS, ROWS_AND_COMPONENTS, Columns
from cpdjax.probes.powers import exponent_of

RNG = np.random.default_rng(0)
WIDE = RNG.normal(size=(300, 500)) * 10.0 ** RNG.integers(-9, 9, 500) + 3


@pytest.mark.parametrize(
    ("array", "axes"),
    [
        (WIDE, ROWS),
        (WIDE[:, :3], ROWS),
        (np.asfortranarray(WIDE), ROWS),
        (WIDE.astype(np.float32)[::-1, ::2], ROWS),
        (RNG.integers(-5, 9, (70_000, 2)), ROWS),
        (RNG.random((9, 4)) < 0.5, ROWS),
        (WIDE.reshape(3, 100, 500), ROWS),
        (WIDE.reshape(300, 100, 5), ROWS_AND_COMPONENTS),
        (WIDE.reshape(300, 100, 5), ALL_OF_TENSORS),
    ],
)
def test_ends_are_those_of_numpy(array, axes):
    found = Columns.of("X", array, axes)
    np.testing.assert_array_equal(found.high, array.max(axes, keepdims=True))
    np.testing.assert_array_equal(found.low, array.min(axes, keepdims=True))
    np.testing.assert_array_equal(found.size, np.abs(array.astype(float)).max(axes, keepdims=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 298])
def test_the_first_value_that_is_not_finite_is_named(bad, row):
    array = WIDE.copy()
    array[row, 7] = array[299, 9] = bad
    with pytest.raises(InputError, match=f"X has 2 NaN .* molecule {row}, column 7;"):
        Columns.of("X", array, ROWS)
    with pytest.raises(InputError, match=f"Y has 2 NaN .* molecule {row}, column 7;"):
        Columns.of("Y", array.reshape(300, 100, 5), ROWS_AND_COMPONENTS)


def test_centred_columns_know_their_size():
    """From the ends alone, to the bit, and no matter where the shift lies."""
    constant = np.where(RNG.random(300) < 0.5, 0.1, np.nextafter(0.1, 1))
    array = np.column_stack([WIDE[:, :5], constant])
    found = Columns.of("X", array, ROWS).centred()
    left = array - found.shift
    np.testing.assert_array_equal(found.size[:, :5], np.abs(left).max(0, keepdims=True)[:, :5])
    assert found.size[0, 5] == 0
    narrow = found.narrowed(np.zeros((1, 6), np.int32), np.dtype(np.float32))
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow[:, :5], left[:, :5].astype(np.float32))
    np.testing.assert_array_equal(narrow[:, 5], 0)


@pytest.fixture
def elsewhere(monkeypatch):
    """Take JAX's arrays for those of an accelerator, and see what is brought to the host."""
    brought = []
    asarray = np.asarray

    def watched(a, *rest, **named):
        if isinstance(a, jax.Array):
            brought.append(a.shape)
        return asarray(a, *rest, **named)

    monkeypatch.setattr(columns, "_on_accelerator", lambda a: isinstance(a, jax.Array))
    monkeypatch.setattr(columns.np, "asarray", watched)
    return brought


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_arrays_stay_on_an_accelerator(dtype, given, elsewhere):
    array = WIDE[:, :40].astype(given)
    here = Columns.of("X", array, ROWS)
    there = Columns.of("X", jnp.asarray(array), ROWS)
    np.testing.assert_array_equal(there.high, here.high)
    np.testing.assert_array_equal(there.low, here.low)
    exponent = exponent_of(here.centred().size)
    narrow = there.centred().narrowed(exponent, np.dtype(dtype))
    assert isinstance(narrow, jax.Array)
    expected = here.centred().narrowed(exponent, np.dtype(dtype))
    np.testing.assert_allclose(narrow, expected, rtol=1e-6, atol=1e-6)


def test_a_call_brings_no_features_of_an_accelerator_to_the_host(elsewhere):
    C, Y = RNG.integers(0, 5, (600, 2)).astype(float), RNG.normal(size=(600, 2))
    X = RNG.normal(size=(600, 8)) + 3
    for dtype in (np.float64, np.float32):
        found = cpdjax.cpd(jnp.asarray(X), C, Y, dtype=dtype).r2_geom
        assert X.shape not in elsewhere
        np.testing.assert_allclose(found, cpdjax.cpd(X, C, Y, dtype=dtype).r2_geom, atol=1e-5)
    with pytest.raises(InputError, match="molecule 9, column 3"):
        cpdjax.cpd(jnp.asarray(X).at[9, 3].set(np.nan), C, Y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_at_the_end_of_its_range(dtype):
    """Differences of such values are beyond float32, and their scores are not."""
    signs = np.where(RNG.random((60, 3)) < 0.2, -1, 1) * RNG.uniform(0.5, 1, (60, 3))
    C, Y = RNG.integers(0, 5, (60, 2)).astype(float), RNG.normal(size=60)
    large = (signs * 3e38).astype(np.float32)
    found = cpdjax.cpd(large, C, Y, dtype=dtype).r2_geom
    expected = cpdjax.cpd(large / np.float32(2.0**100), C, Y, dtype=dtype).r2_geom
    np.testing.assert_allclose(found, expected, atol=1e-5)
