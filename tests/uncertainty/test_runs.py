"""Intervals over training runs, molecules and folds; and the one rule for verdicts."""

import numpy as np
import pytest
from scipy import stats

import cpdjax
from cpdjax.errors import InputError
from cpdjax.uncertainty.comparison import Estimate, compare, estimate
from cpdjax.uncertainty.runs import hierarchical, hierarchical_difference
from cpdjax.uncertainty.verdict import verdict

TRUTH, FOLDS = 0.4, 5


def drawn(rng, runs, repeats, of_runs, of_molecules, rest=0.0):
    """Scores whose molecules' part is correlated as training sets that overlap make it."""
    shared = np.sqrt(1 / FOLDS) * rng.normal()
    own = np.sqrt(1 - 1 / FOLDS) * rng.normal(size=(repeats, FOLDS))
    molecules = of_molecules * (shared + own)
    spread = of_runs * rng.normal(size=(runs, 1, 1))
    return TRUTH + spread + molecules + rest * rng.normal(size=(runs, repeats, FOLDS)), molecules


def covers(found, truth):
    return found.low <= truth <= found.high


@pytest.mark.parametrize(
    ("runs", "repeats", "of_runs", "of_molecules", "rest"),
    [
        (3, 5, 0.03, 0.0, 0.0),
        (3, 5, 0.03, 0.03, 0.0),
        (3, 1, 0.03, 0.06, 0.01),
        (3, 5, 0.0, 0.05, 0.0),
        (5, 5, 0.03, 0.03, 0.0),
        (5, 1, 0.005, 0.05, 0.0),
        (2, 5, 0.03, 0.0, 0.0),
    ],
)
def test_an_interval_over_runs_covers_the_truth(runs, repeats, of_runs, of_molecules, rest):
    rng = np.random.default_rng(0)
    cases = (drawn(rng, runs, repeats, of_runs, of_molecules, rest)[0] for _ in range(600))
    hits = np.mean([covers(hierarchical(case), TRUTH) for case in cases])
    assert hits == pytest.approx(0.95, abs=0.03)


def test_an_interval_over_molecules_alone_does_not():
    rng = np.random.default_rng(1)
    cases = [drawn(rng, 3, 5, 0.03, 0.03)[0] for _ in range(200)]
    assert np.mean([covers(estimate(case[0]), TRUTH) for case in cases]) < 0.8


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (5, 2), (2, 5)])
def test_a_difference_covers_the_truth_whatever_the_numbers_of_runs(ours, theirs):
    rng, hits = np.random.default_rng(2), 0
    for _ in range(600):
        a, molecules = drawn(rng, ours, 5, 0.03, 0.05)
        b = TRUTH - 0.1 + 0.02 * rng.normal(size=(theirs, 1, 1)) + molecules
        b = b + 0.02 * rng.normal(size=molecules.shape)  # what differs from fold to fold
        hits += covers(hierarchical_difference(a, b), 0.1)
    assert hits / 600 == pytest.approx(0.95, abs=0.03)


def test_molecules_that_both_models_share_fall_out_of_a_difference():
    rng = np.random.default_rng(3)
    a, molecules = drawn(rng, 3, 5, 0.001, 0.1)
    b = TRUTH + 0.001 * rng.normal(size=(3, 1, 1)) + molecules
    found, one = hierarchical_difference(a, b), hierarchical(a)
    assert found.high - found.low < (one.high - one.low) / 10


def test_the_parts_are_those_of_welch_and_satterthwaite():
    rng = np.random.default_rng(4)
    scores = rng.normal(0.5, 0.1, size=(4, 3, 5))
    shared = scores.mean(0).ravel()
    of_runs = np.var([run.mean() for run in scores], ddof=1) / 4
    of_molecules = np.var(shared, ddof=1) * (1 / 15 + 1 / 4)
    error = np.sqrt(of_runs + of_molecules)
    freedom = error**4 / (of_runs**2 / 3 + of_molecules**2 / 14)
    reach = stats.t.ppf(0.95, freedom) * error
    found = hierarchical(scores, level=0.9)
    assert (found.low, found.high) == pytest.approx((scores.mean() - reach, scores.mean() + reach))
    assert found.p_value == pytest.approx(2 * stats.t.sf(scores.mean() / error, freedom))


def test_equal_runs_without_molecules_scatter_are_a_t_test_of_run_means():
    of_runs = np.array([0.3, 0.4, 0.5])
    found = hierarchical(np.broadcast_to(of_runs[:, None, None], (3, 2, 5)))
    plain = stats.ttest_1samp(of_runs, 0)
    assert found.p_value == pytest.approx(plain.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(plain.confidence_interval(0.95)))


def test_a_single_run_has_the_interval_of_its_molecules():
    scores = np.random.default_rng(5).normal(size=(2, 2, 5))
    assert hierarchical(scores[:1]) == estimate(scores[0])
    assert hierarchical_difference(scores[:1], scores[1:]) == compare(scores[0], scores[1])


def test_it_turns_with_the_sign_and_takes_runs_without_repeats():
    a, b = np.random.default_rng(6).normal(size=(2, 3, 5))
    found, turned = hierarchical_difference(a, b), hierarchical_difference(b, a)
    assert (turned.value, turned.low, turned.high) == (-found.value, -found.high, -found.low)
    assert hierarchical(a) == hierarchical(a[:, None])


def test_without_scatter_the_mean_is_certain():
    found = hierarchical(np.full((3, 2, 5), 0.25))
    assert (found.value, found.low, found.high, found.p_value) == (0.25, 0.25, 0.25, 0)
    spoiled = hierarchical(np.where(np.arange(5) == 1, np.nan, np.full((3, 2, 5), 0.25)))
    assert np.isnan(spoiled.low)
    assert verdict(spoiled) == "not decided"


@pytest.mark.parametrize("scores", [np.zeros(5), np.zeros((0, 2, 5)), np.zeros((3, 2, 1)), 0.5])
def test_other_axes_are_refused(scores):
    with pytest.raises(InputError, match=r"\(run, repeat, fold\)") as caught:
        hierarchical(scores)
    assert "\n" not in str(caught.value)


def test_other_folds_and_levels_are_refused():
    with pytest.raises(InputError, match="same repeats and folds"):
        hierarchical_difference(np.zeros((3, 2, 5)), np.zeros((3, 2, 4)))
    with pytest.raises(InputError, match="between 0 and 1"):
        hierarchical(np.zeros((3, 2, 5)), level=95)


@pytest.mark.parametrize(
    ("low", "high", "bound", "words"),
    [
        (0.1, 0.3, 0.0, "holds"),
        (0.1, 0.3, 0.1, "not decided"),
        (-0.3, -0.1, 0.0, "does not hold"),
        (-0.86, 1.251, 0.0, "not decided"),
        (0.0, 0.0, 0.0, "not decided"),
        (0.2, 0.4, 0.5, "does not hold"),
        (np.nan, np.nan, 0.0, "not decided"),
        (-0.3, np.nan, 0.0, "not decided"),
    ],
)
def test_verdicts(low, high, bound, words):
    assert verdict(Estimate((low + high) / 2, low, high), bound) == words


@pytest.mark.slow
def test_scores_of_simulated_molecules_are_covered():
    """Every run sees the target through noise of another level; molecules are drawn anew."""
    rng = np.random.default_rng(7)
    molecules, runs = 300, 3

    def features(x, noise):
        """A run: signals of the same molecules, more or less of it drowned in noise of its own."""
        return np.concatenate([x + noise * rng.normal(size=x.shape), rng.normal(size=x.shape)], 1)

    def scores(levels):
        c = rng.integers(1, 6, (molecules, 2)).astype(float)
        x = rng.normal(size=(molecules, 2))
        y = x.sum(1) + 0.3 * c.sum(1) + 0.3 * rng.normal(size=molecules)
        found = [cpdjax.cpd(features(x, n), c, y, alphas=1.0) for n in levels]
        return np.stack([np.asarray(one.r2_geom)[:, 0, 0] for one in found])

    def levels(count):
        return 0.8 + 0.2 * rng.normal(size=count)

    truth = np.mean([scores(levels(1)).mean() for _ in range(400)])
    hits = np.mean([covers(hierarchical(scores(levels(runs))), truth) for _ in range(300)])
    assert hits >= 0.92  # the correction for overlapping training sets is cautious here
