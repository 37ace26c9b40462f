"""Score training runs, not a run: intervals over runs, molecules and folds together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

from cpdjax.errors import InputError
from cpdjax.uncertainty.comparison import Estimate, corrected_variance, t_estimate


def hierarchical(
    scores: Float[ArrayLike, "run repeat fold"],
    level: float = 0.95,
    *,
    overlap: float | None = None,
) -> Estimate:
    """Return the mean over runs, repeats and folds, with an interval that counts all three.

    The question is what a model scores that is trained once more, with another random seed, and
    probed on other molecules of the same kind. The score of run r in repeat i and fold j is taken
    as μ + a_r + d_ij + e_rij: a_r differs from run to run, d_ij from molecules to molecules and is
    shared by all runs, which see the same folds. The variance of the mean of R runs is

        s²(run means) / R + (1/J + 1/(folds − 1)) s²(scores averaged over runs)

    with J scores a run. The second term is the corrected resampled variance (Nadeau and Bengio,
    Machine Learning 52, 239, 2003), as in `compare`. The scatter e is in both terms, which makes
    the interval a little too wide, not too narrow. The t distribution has the degrees of freedom of
    Welch and Satterthwaite (Biometrics Bulletin 2, 110, 1946), of R − 1 and J − 1. With three runs
    whose spread prevails these are about 2, and the interval is 4.3 standard errors wide on either
    side: so little is known of a spread from three numbers. In simulations of three runs or more
    the nominal 95 % covers the truth in 94 % to 97 % of the cases; of two runs, whose spread has
    one degree of freedom, in 91 % to 97 %. These draw normal scores, correlated as the correction
    takes them to be. With `cpd` on simulated molecules, three runs covered 98 % to 100 % where the
    scatter of molecules counted, for which the correction is cautious; and 89 % where the spread of
    runs prevailed and was far from normal.

    Of a single run the spread is unknown: the interval is that over molecules and folds, and speaks
    of this run's weights alone.

    Args:
        scores: one score per run, repeat and fold, all runs on the same repeats and folds. The axis
            of repeats may be missing where there is only one.
        level: the confidence level of the interval.
        overlap: as in `compare`, where all repeats share one test set.

    Raises:
        InputError: the scores have other axes, no run, fewer than two folds; or the level is
            outside (0, 1).

    >>> runs = np.array([[0.50, 0.60, 0.55], [0.56, 0.64, 0.63], [0.47, 0.55, 0.51]])
    >>> print(hierarchical(runs))
    0.557 (0.414, 0.699)
    """
    own = _read(scores, level, overlap)
    return _combined(own.mean(), own.mean(0), [own], level, overlap)


def hierarchical_difference(
    a: Float[ArrayLike, "run repeat fold"],
    b: Float[ArrayLike, "other repeat fold"],
    level: float = 0.95,
    *,
    overlap: float | None = None,
) -> Estimate:
    """Return the mean score of the runs `a` less that of the runs `b`, on the same folds.

    The runs of the two models are independent of each other, their numbers may differ, and each
    adds its own spread. Molecules and folds are shared, so that their part is the corrected
    resampled variance of the difference of both averages over runs. See `hierarchical`.

    Args:
        a, b: one score per run, repeat and fold, on the same repeats and folds. The axis of repeats
            may be missing where there is only one.
        level: the confidence level of the interval.
        overlap: as in `compare`, where all repeats share one test set.

    Raises:
        InputError: as `hierarchical`; or the two have other repeats or folds.

    >>> a, b = np.full((3, 1, 5), 0.5), np.full((2, 1, 5), 0.3)
    >>> print(hierarchical_difference(a, b))
    0.200 (0.200, 0.200)
    """
    first, second = _read(a, level, overlap), _read(b, level, overlap)
    if first.shape[1:] != second.shape[1:]:
        raise InputError(
            "both scores must have axes (run, repeat, fold) with the same repeats and folds, got "
            f"shapes {np.shape(a)} and {np.shape(b)}"
        )
    return hierarchical_contrast([(1.0, first), (-1.0, second)], level, overlap=overlap)


def hierarchical_contrast(
    terms: Sequence[tuple[float, Float[ArrayLike, "run repeat fold"]]],
    level: float = 0.95,
    *,
    overlap: float | None = None,
) -> Estimate:
    """Return a weighted sum of several models' mean scores, on the same folds.

    With the weights 1 and −1 this is `hierarchical_difference`; with others, such as a fifth for
    each of five models, the runs of every model add their own spread, weighted.

    Args:
        terms: a weight and the scores of each model's runs.
        level: the confidence level of the interval.
        overlap: as in `compare`, where all repeats share one test set.

    Raises:
        InputError: as `hierarchical_difference`.

    >>> a, b = np.full((3, 1, 5), 0.5), np.full((2, 1, 5), 0.3)
    >>> print(hierarchical_contrast([(0.5, a), (0.5, b)]))
    0.400 (0.400, 0.400)
    """
    weighted = [weight * _read(scores, level, overlap) for weight, scores in terms]
    if len({scores.shape[1:] for scores in weighted}) != 1:
        raise InputError(
            "the scores of all models must have axes (run, repeat, fold) with the same repeats and "
            f"folds, got shapes {', '.join(str(np.shape(scores)) for _, scores in terms)}"
        )
    shared = np.sum([scores.mean(0) for scores in weighted], axis=0)
    return _combined(shared.mean(), shared, weighted, level, overlap)


def _read(
    scores: ArrayLike, level: float, overlap: float | None = None
) -> Float[np.ndarray, "run repeat fold"]:
    own = np.asarray(scores, np.float64)
    own = own[:, None] if own.ndim == 2 else own
    if own.ndim != 3 or not own.size or own.shape[2] < (2 if overlap is None else 1):
        raise InputError(
            "scores of runs must have axes (run, repeat, fold) with at least one run and two "
            f"folds, got shape {np.shape(scores)}"
        )
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95, got {level!r}")
    return own


def _combined(
    mean: float,
    shared: Float[np.ndarray, "repeat fold"],
    models: list[Float[np.ndarray, "run repeat fold"]],
    level: float,
    overlap: float | None = None,
) -> Estimate:
    """Add the variances of what is shared and of every model's runs."""
    parts = [(corrected_variance(shared, overlap), shared.size - 1)]
    for scores in models:
        if len(scores) > 1:
            parts.append((scores.mean((1, 2)).var(ddof=1) / len(scores), len(scores) - 1))
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / freedom for variance, freedom in parts)
    # Without any scatter the degrees of freedom change nothing.
    freedom = total**2 / spread if spread > 0 else float(parts[0][1])
    return t_estimate(float(mean), float(np.sqrt(total)), float(freedom), level)
