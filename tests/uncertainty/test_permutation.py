"""Permutation p-values: the kernel's own score of every permuted target, and an honest level."""

import jax
import numpy as np
import pytest

import cpdjax
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.uncertainty.permutation import _composition, permutation_test
from cpdjax.uncertainty.resampling import orders, p_values

N, D = 120, 10
RNG = np.random.default_rng(0)
C = RNG.poisson(4, (N, 3)).astype(float)
GEOMETRY = RNG.normal(size=(N, D))
X = GEOMETRY + C @ RNG.normal(size=(3, D))
GROUPS = np.arange(N) % 20


def rejected(y, x=X, c=C, **options):
    """The share of targets with p ≤ 0.05."""
    return np.mean(permutation_test(x, c, y, permutations=99, **options).p_value <= 0.05)


@pytest.mark.parametrize("scheme", ["residual", "marginal"])
def test_every_permuted_target_has_the_kernels_own_score(scheme):
    y = C[:, :2] + RNG.normal(size=(N, 2))
    options = {"alphas": [0.1, 10.0], "seed": 3}
    test = permutation_test(X, C, y, permutations=7, scheme=scheme, **options)
    order = orders(N, 7, None, 3)
    fitted = _composition(C, y) * (scheme == "residual")
    for i, scores in enumerate([test.observed, *test.null]):
        one = cpdjax.cpd(X, C, fitted + (y - fitted)[order[i]], **options)
        np.testing.assert_allclose(scores, one.r2_geom.mean(0), atol=1e-12)


@pytest.mark.slow
def test_chunks_change_nothing(monkeypatch):
    y = RNG.normal(size=(N, 2))
    whole = permutation_test(X, C, y, permutations=10)
    monkeypatch.setattr("cpdjax.uncertainty.resampling._CHUNK", y.size * 4)
    np.testing.assert_allclose(permutation_test(X, C, y, permutations=10).null, whole.null)


def test_p_counts_ties_and_what_is_undefined():
    observed = np.array([0.5, 0.5, np.nan])
    null = np.array([[0.5 - 1e-12, 0.4, 0.0], [0.6, 0.1, 0.0], [0.1, np.nan, 0.0]])
    np.testing.assert_array_equal(p_values(observed, null), [3 / 4, 2 / 4, np.nan])


def test_groups_keep_their_members():
    order = orders(N, 50, GROUPS, 0)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(N), (51, 1)))
    np.testing.assert_array_equal(GROUPS[order], np.tile(GROUPS, (51, 1)))
    assert len(np.unique(order, axis=0)) == 51
    alone = permutation_test(X, C, X[:, 0], permutations=9, groups=np.arange(N))
    assert alone.p_value.item() == 1  # nothing can change places


# 600 targets without geometry, independent given X: four standard errors of a binomial of 0.05
# are 0.036.


@pytest.mark.slow
def test_the_default_has_its_level_and_power():
    y = 3 * C[:, :1] + RNG.normal(size=(N, 600))
    assert abs(rejected(y) - 0.05) < 0.036
    assert rejected(GEOMETRY[:, :1] + RNG.normal(size=(N, 600))) > 0.9


@pytest.mark.slow
def test_permuting_the_target_itself_is_no_test_where_composition_matters():
    """Permuted, the variance of composition is there to be overfitted by the 60 features."""
    wide = RNG.normal(size=(N, 60))
    y = 3 * C[:, :1] + RNG.normal(size=(N, 600))
    assert rejected(y, wide, scheme="marginal", alphas=1.0) > 0.5
    assert abs(rejected(y, wide) - 0.05) < 0.036
    assert abs(rejected(RNG.normal(size=(N, 600)), wide, scheme="marginal") - 0.05) < 0.036


@pytest.mark.slow
def test_within_formulas_what_is_not_linear_in_composition_is_no_geometry():
    c = RNG.integers(0, 3, (N, 2)).astype(float)
    product = c[:, 0] * c[:, 1]
    x = np.column_stack([product + 0.1 * RNG.normal(size=N), RNG.normal(size=(N, 4))])
    y = 1.5 * product[:, None] + RNG.normal(size=(N, 600))
    assert rejected(y, x, c) > 0.9
    assert abs(rejected(y, x, c, groups=c[:, 0] + 10 * c[:, 1]) - 0.05) < 0.036


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"permutations": 0}, InputError, "permutations must be at least 1"),
        ({"scheme": "residuals"}, UnknownNameError, "did you mean residual"),
        ({"groups": ["a"]}, InputError, "one label for each of 120 molecules"),
    ],
)
def test_bad_input(change, error, words):
    with pytest.raises(error, match=words):
        permutation_test(X, C, X[:, 0], **change)


def test_tracing_is_refused():
    with pytest.raises(InputError, match="cannot be traced"):
        jax.jit(lambda x: permutation_test(x, C, X[:, 0]).null)(X)
