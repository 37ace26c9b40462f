"""Structural isomers: molecules of one formula, which composition cannot tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cpdjax.checks.criterion import Criterion, reported, within
from cpdjax.checks.procedures import Alpha, composition_only
from cpdjax.errors import InputError
from cpdjax.probes.cpd import cpd
from cpdjax.probes.folds import group_folds

PAPER = 0.946
"""The paper's accuracy of the geometric residual (its model, target and pairs are its own)."""

_CHECK = "isomers"
_REPEATS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Accuracy:
    """Share of isomer pairs put into the target's order; a tie counts as half."""

    value: Float[np.ndarray, " target"]
    interval: Float[np.ndarray, "2 target"]
    """95 %, by a bootstrap over formulas: pairs of one formula are not independent."""
    error: Float[np.ndarray, " target"]
    """The bootstrap's standard deviation."""


@dataclass(frozen=True)
class Isomers:
    """What the isomer check found."""

    targets: tuple[str, ...]
    pairs: Int[np.ndarray, " target"]
    formulas: Int[np.ndarray, " target"]
    """Formulas with at least one pair."""
    composition: Accuracy
    residual: Accuracy
    features: Accuracy
    """Ridge from the untouched features."""
    shuffled: Accuracy
    """The residual's, after features have been shuffled among the molecules of each formula."""
    criteria: tuple[Criterion, ...]


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
) -> Isomers:
    """Which of two isomers has the larger target? Asked of composition and of the residual.

    Folds are grouped by formula, so both molecules of a pair are held out together and no isomer
    of theirs was trained on. Pairs of equal target are left out.

    Verdict (our choice): composition gives isomers equal predictions, so its accuracy is 0.5 by
    construction, and must be to 1e-9; with features shuffled among isomers, nothing is left to
    find, and the accuracy must lie within four standard errors of 0.5 (the bootstrap takes the
    fitted weights as given, which makes its errors a little small). The residual's accuracy is
    reported: a poor representation is no fault of the method.

    Raises:
        InputError: no two molecules of one formula differ in a target; what `cpd` refuses.

    >>> rng = np.random.default_rng(0)
    >>> C = np.repeat(rng.integers(1, 9, (60, 3)), 4, axis=0).astype(float)
    >>> geometry = rng.normal(size=(240, 2))
    >>> found = check_isomers(geometry, C, np.array([str(c) for c in C]), geometry[:, 0] + C[:, 0])
    >>> found.composition.value.tolist(), bool(found.residual.value[0] > 0.9)
    ([0.5], True)
    """
    Y = np.asarray(Y, np.float64).reshape(len(X), -1)
    ids = group_folds(formulas, folds, seed=seed)
    own = np.random.default_rng(seed)
    predictions = {
        "composition": composition_only(C, Y, ids),
        "residual": _predict(X, C, Y, ids, alpha),
        "features": _predict(X, np.zeros_like(C), Y, ids, alpha),
        "shuffled": _predict(X[_shuffle_within(formulas, own)], C, Y, ids, alpha),
    }
    first, second, group = pairs(formulas)
    sign = np.sign(Y[first] - Y[second])
    if not sign.any(0).all():
        raise InputError("the isomer check needs molecules of equal formula and unequal target")
    accuracies = {
        name: _accuracy(p[first] - p[second], p.std(0), sign, group, own)
        for name, p in predictions.items()
    }
    counted = [np.unique(group[s != 0]).size for s in sign.T]
    return Isomers(
        targets,
        (sign != 0).sum(0),
        np.array(counted),
        **accuracies,
        criteria=tuple(_criteria(targets, **accuracies)),
    )


def pairs(
    formulas: np.ndarray,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """All pairs of molecules of equal formula: first, second, and the number of their formula.

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


def _shuffle_within(formulas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A permutation of the molecules that keeps every formula in its place."""
    _, group = np.unique(np.asarray(formulas), return_inverse=True)
    rows = np.empty(len(group), np.int64)
    rows[np.lexsort((np.arange(len(group)), group))] = np.lexsort((rng.random(len(group)), group))
    return rows


def _accuracy(
    difference: Float[np.ndarray, "pair target"],
    spread: Float[np.ndarray, " target"],
    sign: Float[np.ndarray, "pair target"],
    group: Int[np.ndarray, " pair"],
    rng: np.random.Generator,
) -> Accuracy:
    tied = np.abs(difference) <= 1e-9 * spread  # equal but for rounding
    correct = np.where(tied, 0.5, np.sign(difference) == sign)
    counts = (sign != 0).astype(np.float64)
    _, group = np.unique(group, return_inverse=True)
    clusters = group.max() + 1
    hits, all_pairs = (
        np.stack([np.bincount(group, column, clusters) for column in a.T], axis=1)
        for a in (correct * counts, counts)
    )
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), _REPEATS).astype(np.float64)
    total = drawn @ all_pairs
    resampled = np.where(total > 0, (drawn @ hits) / np.where(total > 0, total, 1), 0.5)
    return Accuracy(
        hits.sum(0) / all_pairs.sum(0),
        np.quantile(resampled, [0.025, 0.975], axis=0),
        resampled.std(0),
    )


def _criteria(
    targets: tuple[str, ...],
    composition: Accuracy,
    residual: Accuracy,
    features: Accuracy,
    shuffled: Accuracy,
) -> list[Criterion]:
    lines = []
    for t, target in enumerate(targets):
        value = composition.value[t]
        lines.append(
            within(
                _CHECK, f"{target}: accuracy from composition", value, (0.5 - 1e-9, 0.5 + 1e-9),
                "0.5: isomers are tied", _interval(composition, t),
            )
        )  # fmt: skip
        four = 4 * shuffled.error[t]
        lines.append(
            within(
                _CHECK, f"{target}: from the residual, features shuffled among isomers",
                shuffled.value[t], (0.5 - four, 0.5 + four), "0.5 within 4 standard errors",
                _interval(shuffled, t),
            )
        )  # fmt: skip
        for name, found in (("the residual", residual), ("the untouched features", features)):
            rule = f"reported (the paper: {PAPER})" if found is residual else "reported"
            quantity = f"{target}: accuracy from {name}"
            lines.append(reported(_CHECK, quantity, found.value[t], rule, _interval(found, t)))
    return lines


def _interval(accuracy: Accuracy, target: int) -> tuple[float, float]:
    low, high = accuracy.interval[:, target]
    return float(low), float(high)
