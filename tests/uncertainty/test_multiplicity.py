"""Test adjusted p-values by hand, by brute force and by their family-wise error."""

import numpy as np
import pytest

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.uncertainty.multiplicity import adjust, max_t, needed, smallest
from cpdjax.uncertainty.permutation import permutation_test
from cpdjax.uncertainty.resampling import p_values

RNG = np.random.default_rng(0)
P = [0.005, 0.3, 0.02, 0.009, 0.9, 0.02]


def test_holm_by_hand():
    # The sorted values 0.005, 0.009, 0.02, 0.02, 0.3, 0.9 are multiplied by 6, 5, 4, 3, 2, 1, and
    # none may be less than the one before.
    np.testing.assert_allclose(adjust(P), [0.03, 0.6, 0.08, 0.045, 0.9, 0.08])
    np.testing.assert_allclose(adjust([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(adjust([0.01, 0.011]), [0.02, 0.02])


def test_benjamini_hochberg_by_hand():
    # The sorted values are multiplied by 6/1, 6/2, 6/3, 6/4, 6/5, 6/6, and none may be greater than
    # the one after.
    np.testing.assert_allclose(adjust(P, "bh"), [0.027, 0.36, 0.03, 0.027, 0.9, 0.03])


@pytest.mark.parametrize("method", ["holm", "bh"])
def test_shape_and_nan_pass_through(method):
    p = RNG.random((2, 3, 4))
    p[0, 1, 2] = p[1, 0, 0] = np.nan
    found = adjust(p, method)
    known = ~np.isnan(p)
    np.testing.assert_array_equal(np.isnan(found), ~known)
    np.testing.assert_array_equal(found[known], adjust(p[known], method))
    assert (found[known] >= p[known]).all()
    assert np.isnan(adjust([np.nan], method)).all()
    assert adjust([0.2], method).tolist() == [0.2]


@pytest.mark.parametrize(
    ("p", "method", "error", "words"),
    [
        ([0.1, 1.5], "holm", InputError, "between 0 and 1, got 0.1 to 1.5"),
        ([-0.1], "bh", InputError, "between 0 and 1"),
        ([0.1], "holms", UnknownNameError, "did you mean holm"),
    ],
)
def test_bad_input(p, method, error, words):
    with pytest.raises(error, match=words):
        adjust(p, method)


def test_max_t_by_brute_force():
    null = RNG.normal(size=(19, 2, 3)) * [1.0, 5.0, 0.1]
    observed = np.array([[2.5, 3.0, 0.0], [0.1, -9.0, 0.4]])
    everything = np.concatenate([observed[None], null]).reshape(20, 6)
    t = (everything - everything.mean(0)) / everything.std(0)
    for place, expected in enumerate(t[0]):
        at_least = sum(max(row) >= expected for row in t[1:])
        assert max_t(observed, null).ravel()[place] == (1 + at_least) / 20


def test_max_t_of_one_score_is_its_p():
    null = RNG.normal(size=(99, 1))
    for observed in (np.array([0.5]), np.array([9.0])):
        assert max_t(observed, null) == p_values(observed, null)


def test_max_t_is_the_same_in_other_units():
    observed, null = RNG.normal(size=4) + 1, RNG.normal(size=(49, 4))
    scale, shift = np.array([1, 10, 1e3, 1e-2]), np.array([0, 3, -50, 1])
    np.testing.assert_array_equal(
        max_t(observed, null), max_t(observed * scale + shift, null * scale + shift)
    )


def test_max_t_reaches_what_holm_cannot():
    observed, null = np.full(50, 9.0), RNG.normal(size=(99, 50))
    assert (max_t(observed, null) == 0.01).all()
    np.testing.assert_allclose(adjust(p_values(observed, null)), 0.5)


def test_max_t_without_scatter_or_score():
    null = RNG.normal(size=(19, 3))
    null[:, 1], null[:, 2] = 0.3, np.nan
    found = max_t(np.array([9.0, 0.3, np.nan]), null)
    np.testing.assert_array_equal(found, [0.05, 1.0, np.nan])
    null[4, 0] = np.nan  # a permutation without a score counts against significance
    np.testing.assert_array_equal(max_t(np.array([9.0, 0.3, np.nan]), null), [0.1, 1.0, np.nan])
    assert np.isnan(max_t(np.array([np.nan]), null[:, 2:])).all()
    with pytest.raises(InputError, match="permutation axis over scores of shape"):
        max_t(np.zeros(2), null)


@pytest.mark.parametrize("scores", [1, 4, 20, 468])
def test_the_smallest_p_is_reached_and_no_fewer_permutations_reach_a_twentieth(scores):
    for method in ("holm", "bh", "max-t"):
        count = needed(method, scores)
        assert smallest(method, scores, count) <= 0.05 < smallest(method, scores, count - 1)
    p = np.full(scores, 1 / 1000)
    assert adjust(p).min() == pytest.approx(smallest("holm", scores, 999))
    assert adjust(p, "bh").min() == pytest.approx(smallest("bh", scores, 999))
    null = RNG.normal(size=(99, scores))
    assert max_t(np.full(scores, 1e3), null).min() == smallest("max-t", scores, 99)


def test_one_wide_null_takes_no_power_from_the_others():
    null = RNG.normal(size=(199, 3))
    null[:, 2] = -np.abs(1000 * RNG.standard_cauchy(199))  # a probe that fails in some folds
    alone = max_t(np.array([8.0, 8.0]), null[:, :2])
    assert (alone == 0.005).all()
    np.testing.assert_array_equal(max_t(np.array([8.0, 8.0, -500]), null)[:2], alone)


@pytest.mark.slow
def test_the_family_wise_error_is_honest():
    """Test 400 families of 5 correlated targets that do not depend on the features.

    Four standard errors of a binomial proportion of 0.05 are then 0.044.
    """
    n, families = 60, 400
    c = RNG.poisson(4, (n, 2)).astype(float)
    x = RNG.normal(size=(n, 5)) + c[:, :1]
    shared = RNG.normal(size=(n, families, 1))
    y = 2 * c[:, :1, None] + shared + 0.5 * RNG.normal(size=(n, families, 5))
    test = permutation_test(x, c, y.reshape(n, -1), permutations=199)
    p = test.p_value.reshape(families, 5)
    null = test.null.reshape(199, families, 5)
    observed = test.observed.reshape(families, 5)
    errors = {
        "none": (p <= 0.05).any(1).mean(),
        "holm": np.mean([(adjust(one) <= 0.05).any() for one in p]),
        "max-t": np.mean([(max_t(observed[f], null[:, f]) <= 0.05).any() for f in range(families)]),
    }
    assert errors["none"] > 0.1
    assert errors["holm"] <= errors["max-t"]  # max-T takes into account that the targets are alike
    assert abs(errors["max-t"] - 0.05) < 0.044
