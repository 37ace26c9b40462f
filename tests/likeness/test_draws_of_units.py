"""Draws of molecules as weights, and replicates of means over rows."""

import numpy as np
import pytest
from helpers import one_line

from cpdjax import InputError
from cpdjax.likeness.draws import by_unit, interval, mean_replicates, weights


def test_weights_are_counts_of_a_draw_with_replacement():
    drawn = weights(200, draws=500, seed=3)
    assert (drawn.sum(1) == 200).all()
    assert (drawn == drawn.round()).all()
    # Each is binomial: mean 1, variance 1 − 1/n, and left out with probability 1/e.
    assert drawn.var() == pytest.approx(1 - 1 / 200, rel=0.02)
    assert (drawn == 0).mean() == pytest.approx(np.exp(-1), rel=0.02)
    np.testing.assert_array_equal(drawn, weights(200, draws=500, seed=3))
    assert (drawn != weights(200, draws=500, seed=4)).any()


def test_sums_by_unit_take_rows_in_any_order():
    rng = np.random.default_rng(0)
    unit = rng.permutation(np.repeat(np.arange(7), [1, 3, 2, 5, 1, 4, 2]))
    values = rng.normal(size=(len(unit), 3, 2))
    found = by_unit(values, unit)
    np.testing.assert_allclose(found, [values[unit == u].sum(0) for u in range(7)], rtol=1e-13)


def test_replicates_of_a_mean_are_means_of_whole_units_drawn():
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(30), rng.integers(1, 5, 30))
    values = rng.normal(size=(len(unit), 4))
    drawn = weights(30, draws=9, seed=0)
    found = mean_replicates(values, unit, drawn)
    copies = [np.repeat(values, w[unit].astype(int), 0).mean(0) for w in drawn]
    np.testing.assert_allclose(found, copies, rtol=1e-12)
    assert mean_replicates(values[:, 0], unit, drawn).shape == (9,)


def test_the_interval_holds_the_middle_of_the_replicates():
    replicates = np.random.default_rng(0).permutation(1001.0 * np.ones((2, 1)) - np.arange(1001)).T
    low, high = interval(replicates)
    np.testing.assert_allclose(low, [26, 26])
    np.testing.assert_allclose(high, [976, 976])
    replicates[5, 1] = np.nan
    np.testing.assert_array_equal(np.isnan(interval(replicates).low), [False, True])
    with pytest.raises(InputError) as caught:
        interval(replicates, 95)
    one_line(caught, "95")


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = mean_replicates(values, np.arange(400), weights(400, draws=2000, seed=0))
    low, high = interval(found)
    error = values.std() / 20
    np.testing.assert_allclose(
        [low, high], values.mean() + 1.96 * error * np.array([-1, 1]), atol=0.1 * error * 1.96
    )


@pytest.mark.parametrize(("units", "draws"), [(0, 5), (5, 0)])
def test_nothing_to_draw_is_refused(units, draws):
    with pytest.raises(InputError):
        weights(units, draws, seed=0)
