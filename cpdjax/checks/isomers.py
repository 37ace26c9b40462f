"""Structural isomers: molecules of one formula, which composition cannot tell apart.

The share of pairs in the right order is hardly evidence of its own. Where the differences of target
and prediction within formulas are jointly normal and correlate by ρ, it is ½ + arcsin(ρ)/π
(Sheppard, Phil. Trans. R. Soc. A 192, 101, 1899): so it says what a correlation says. It stands
beside every accuracy. An accuracy also grows with how far apart the targets of a pair are, which
`Accuracy.by_threshold` shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cpdjax.checks.outcome import Outcome, reported, required
from cpdjax.checks.procedures import Alpha
from cpdjax.errors import InputError
from cpdjax.probes.cpd import cpd
from cpdjax.probes.folds import group_folds
from cpdjax.probes.least_squares import predict_from_composition
from cpdjax.real_arrays import real_arrays

PAPER_ACCURACY = 0.946
"""The paper's accuracy of the geometric residual; its model, target and pairs are its own."""

THRESHOLDS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""By how much the targets of a pair must differ at least, in the target's unit: eV for the gap."""

_CHECK = "isomers"
_RESAMPLES = 2000  # of the bootstrap


@dataclass(frozen=True)
class Accuracy:
    """Hold the share of isomer pairs that predictions order as the target does.

    A pair whose predictions are equal counts as half.
    """

    value: Float[np.ndarray, " target"]
    interval: Float[np.ndarray, "2 target"]
    """The 95 % interval of a bootstrap over formulas, since pairs of one formula are dependent."""
    error: Float[np.ndarray, " target"]
    """The standard error: the standard deviation over the bootstrap."""
    correlation: Float[np.ndarray, " target"]
    """The correlation ρ of the differences of target and prediction over these pairs, about zero,
    since either molecule of a pair may come first; 0 where all predictions are equal."""
    by_threshold: Float[np.ndarray, "threshold target"]
    """The same share of the pairs whose targets differ by more than each of `Isomers.thresholds`;
    NaN where there is none."""
    threshold_interval: Float[np.ndarray, "2 threshold target"]

    @property
    def law(self) -> Float[np.ndarray, " target"]:
        """Return the accuracy ½ + arcsin(ρ)/π that normal differences of this ρ would have.

        >>> law_of(np.array([0.0, 0.5, 1.0])).round(3).tolist()
        [0.5, 0.667, 1.0]
        """
        return law_of(self.correlation)


def law_of(correlation: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Return how often two normal variables of mean zero have one sign: ½ + arcsin(ρ)/π."""
    return 0.5 + np.arcsin(np.clip(correlation, -1, 1)) / np.pi


@dataclass(frozen=True)
class Isomers:
    """Hold how well four predictions order isomer pairs."""

    targets: tuple[str, ...]
    pairs: Int[np.ndarray, " target"]
    """The number of pairs whose target values differ."""
    formulas: Int[np.ndarray, " target"]
    """The number of formulas with at least one such pair."""
    composition: Accuracy
    residual: Accuracy
    features: Accuracy
    """The accuracy of Ridge from the raw features."""
    shuffled: Accuracy
    """The accuracy from the residual after shuffling features among molecules of one formula."""
    thresholds: tuple[float, ...]
    threshold_pairs: Int[np.ndarray, "threshold target"]
    """The number of pairs whose targets differ by more than each threshold."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Compare every accuracy with its requirement, target by target."""
        return tuple(
            outcome for t, target in enumerate(self.targets) for outcome in self._of(t, target)
        )

    def _of(self, t: int, target: str) -> tuple[Outcome, ...]:
        def of(accuracy: Accuracy) -> tuple[float, tuple[float, float]]:
            low, high = accuracy.interval[:, t]
            return float(accuracy.value[t]), (float(low), float(high))

        value, interval = of(self.composition)
        tied = required(
            _CHECK, f"{target}: accuracy from composition", value, (0.5 - 1e-9, 0.5 + 1e-9),
            "0.5, since isomers have equal composition", interval,
        )  # fmt: skip
        value, interval = of(self.shuffled)
        reach = 4 * float(self.shuffled.error[t])
        chance = required(
            _CHECK, f"{target}: accuracy from the residual, features shuffled among isomers", value,
            (0.5 - reach, 0.5 + reach), "0.5 within 4 standard errors", interval,
        )  # fmt: skip
        value, interval = of(self.residual)
        residual = reported(
            _CHECK, f"{target}: accuracy from the residual", value,
            f"none (the paper finds {PAPER_ACCURACY})", interval,
        )  # fmt: skip
        rho, law = (float(a[t]) for a in (self.residual.correlation, self.residual.law))
        told = reported(_CHECK, f"{target}: accuracy that ρ = {rho:.3f} of the residual gives", law,
                        "none (½ + arcsin(ρ)/π)")  # fmt: skip
        value, interval = of(self.features)
        raw = reported(
            _CHECK, f"{target}: accuracy from the raw features", value, interval=interval
        )
        return tied, chance, residual, told, raw


def check_isomers(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    formulas: np.ndarray,
    Y: Float[np.ndarray, " molecule"] | Float[np.ndarray, "molecule target"],
    *,
    targets: tuple[str, ...] = ("target",),
    folds: int = 5,
    alpha: Alpha = 1.0,
    seed: int = 0,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Isomers:
    """Predict which of two isomers has the larger target, from composition and from the residual.

    Folds are grouped by formula, so that both molecules of a pair are held out together and the
    probe is trained on none of their isomers. Pairs with equal target values are left out.

    Both requirements are our choice. Composition gives isomers equal predictions, so its accuracy
    is 0.5 by construction, and must be so to 1e-9. With features shuffled among isomers nothing is
    left to find, and the accuracy must lie within four standard errors of 0.5 (the bootstrap takes
    the fitted weights as given, which makes its errors a little small). The residual's accuracy is
    reported: a poor representation is no fault of the method.

    Args:
        thresholds: by how much the targets of a pair differ at least, in the targets' unit, for
            `Accuracy.by_threshold`.

    Raises:
        InputError: no two molecules of one formula differ in a target, thresholds are negative, or
            `cpd` refuses the input.

    >>> rng = np.random.default_rng(0)
    >>> C = np.repeat(rng.integers(1, 9, (60, 3)), 4, axis=0).astype(float)
    >>> geometry = rng.normal(size=(240, 2))
    >>> found = check_isomers(geometry, C, np.array([str(c) for c in C]), geometry[:, 0] + C[:, 0])
    >>> found.composition.value.tolist(), bool(found.residual.value[0] > 0.9)
    ([0.5], True)
    """
    X, C, Y = real_arrays(X=X, C=C, Y=Y)
    Y = np.asarray(Y, np.float64).reshape(len(X), -1)
    ids = group_folds(formulas, folds, seed=seed)
    rng = np.random.default_rng(seed)
    predictions = {
        "composition": predict_from_composition(C, Y, ids),
        "residual": _predict(X, C, Y, ids, alpha),
        "features": _predict(X, np.zeros_like(C), Y, ids, alpha),
        "shuffled": _predict(X[_shuffle_within(formulas, rng)], C, Y, ids, alpha),
    }
    first, second, group = pairs(formulas)
    truth = Y[first] - Y[second]
    if not truth.any(0).all():
        raise InputError(
            "the isomer check needs molecules of equal formula and unequal target; "
            "every target must have at least one such pair"
        )
    levels = _levels(thresholds)
    accuracies = {
        name: _accuracy(p[first] - p[second], p.std(0), truth, group, rng, levels)
        for name, p in predictions.items()
    }
    formulas_with_pairs = np.array([np.unique(group[d != 0]).size for d in truth.T])
    apart = (np.abs(truth)[None] > levels[:, None, None]).sum(1)
    return Isomers(
        targets,
        (truth != 0).sum(0),
        formulas_with_pairs,
        **accuracies,
        thresholds=tuple(levels[1:].tolist()),
        threshold_pairs=apart[1:],
    )


def _levels(thresholds: Sequence[float]) -> Float[np.ndarray, " level"]:
    """Return zero, at which every pair with unequal targets counts, then the thresholds."""
    levels = np.array([0.0, *thresholds])
    if not (levels >= 0).all():
        raise InputError(f"thresholds must be numbers, at least 0, got {list(thresholds)}")
    return levels


def pairs(
    formulas: np.ndarray,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Return all pairs of molecules of equal formula: first, second, the number of their formula.

    >>> first, second, group = pairs(np.array(["C2H6O", "H2O", "C2H6O"]))
    >>> first.tolist(), second.tolist(), group.tolist()
    ([0], [2], [0])
    """
    _, group = np.unique(np.asarray(formulas), return_inverse=True)
    order = np.argsort(group, kind="stable")
    found = []
    for members in np.split(order, np.cumsum(np.bincount(group))[:-1]):
        i, j = np.triu_indices(len(members), 1)
        found.append((members[i], members[j]))
    first, second = (np.concatenate(side) for side in zip(*found, strict=True))
    return first, second, group[first]


def _predict(
    X: np.ndarray, C: np.ndarray, Y: np.ndarray, ids: np.ndarray, alpha: Alpha
) -> Float[np.ndarray, "molecule target"]:
    prediction = cpd(X, C, Y, folds=ids, alphas=alpha, predictions=True).prediction
    return np.asarray(prediction)[0]


def _shuffle_within(formulas: np.ndarray, rng: np.random.Generator) -> Int[np.ndarray, " molecule"]:
    """Return a permutation that exchanges molecules of one formula only."""
    _, group = np.unique(np.asarray(formulas), return_inverse=True)
    rows = np.empty(len(group), np.int64)
    rows[np.lexsort((np.arange(len(group)), group))] = np.lexsort((rng.random(len(group)), group))
    return rows


def _accuracy(
    difference: Float[np.ndarray, "pair target"],
    spread: Float[np.ndarray, " target"],
    truth: Float[np.ndarray, "pair target"],
    group: Int[np.ndarray, " pair"],
    rng: np.random.Generator,
    levels: Float[np.ndarray, " level"],
) -> Accuracy:
    """Count the pairs whose predicted difference has the sign of the target's, level by level."""
    tied = np.abs(difference) <= 1e-9 * spread  # equal but for rounding
    correct = np.where(tied, 0.5, np.sign(difference) == np.sign(truth))
    counts = (np.abs(truth)[None] > levels[:, None, None]).astype(np.float64)
    _, group = np.unique(group, return_inverse=True)
    n = group.max() + 1
    hits, all_pairs = (
        np.stack([[np.bincount(group, column, n) for column in a.T] for a in of_levels], axis=-1)
        for of_levels in (correct[None] * counts, counts)
    )  # target, formula, level
    drawn = rng.multinomial(n, np.full(n, 1 / n), _RESAMPLES).astype(np.float64)
    total = drawn @ all_pairs
    resampled = np.where(total > 0, (drawn @ hits) / np.where(total > 0, total, 1), 0.5)
    known = all_pairs.sum(1)
    value = np.where(known > 0, hits.sum(1) / np.where(known > 0, known, 1), np.nan).T
    ends = np.quantile(resampled, [0.025, 0.975], axis=1).swapaxes(1, 2)  # end, level, target
    return Accuracy(
        value[0],
        ends[:, 0],
        resampled[..., 0].std(1),
        _correlation(truth, np.where(tied, 0, difference)),
        value[1:],
        np.where(np.isnan(value[1:]), np.nan, ends[:, 1:]),
    )


def _correlation(
    truth: Float[np.ndarray, "pair target"], difference: Float[np.ndarray, "pair target"]
) -> Float[np.ndarray, " target"]:
    """Return the correlation about zero over the pairs with unequal targets."""
    difference = np.where(truth != 0, difference, 0)
    length = np.sqrt(np.square(truth).sum(0) * np.square(difference).sum(0))
    return (truth * difference).sum(0) / np.where(length > 0, length, 1)
