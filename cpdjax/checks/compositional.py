"""Targets that composition alone decides: nothing of them may be left in the residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks.criterion import Criterion, mean_predictor, reported, within
from cpdjax.checks.procedures import Alpha, Procedure, composition_only, in_fold, untouched
from cpdjax.errors import InputError
from cpdjax.probes.folds import group_folds, kfold

LINEAR = ("heavy atoms", "random linear")
"""Targets that are linear in the counts."""
NONLINEAR = ("heavy atoms squared", "product of counts", "mixing entropy")
"""Targets that are not."""
FOLDS = ("random", "grouped")
"""Folds drawn at random, and folds that share no formula."""

TOLERANCE = 1e-4
"""Our choice: what a score may move by rounding, on features of any scale."""

_CHECK = "compositional"
_SLACK = 0.05


@dataclass(frozen=True)
class Compositional:
    """Scores with axes (kind of folds, fold, target)."""

    targets: tuple[str, ...]
    r2_geom: Float[np.ndarray, "kind fold target"]
    r2_full: Float[np.ndarray, "kind fold target"]
    r2_comp: Float[np.ndarray, "kind fold target"]
    r2_mean: Float[np.ndarray, "kind fold target"]
    """Of predicting the mean of the training rows."""
    criteria: tuple[Criterion, ...]


def compositional_targets(
    C: Float[np.ndarray, "molecule element"], elements: tuple[str, ...], *, seed: int = 0
) -> dict[str, Float[np.ndarray, " molecule"]]:
    """Targets that are functions of the counts alone; those that are constant are left out.

    Linear: the number of heavy atoms (of all but H), a random linear function with standard
    normal weights. Nonlinear: the square of the number of heavy atoms; the product of the counts
    of the two elements whose counts vary most; the mixing entropy −Σ p log p of the fractions p.

    >>> made = compositional_targets(np.array([[4.0, 1.0], [6.0, 2.0]]), ("H", "C"))
    >>> made["heavy atoms"].tolist(), made["product of counts"].tolist()
    ([1.0, 2.0], [4.0, 12.0])
    """
    heavy = C[:, [symbol != "H" for symbol in elements]].sum(1)
    weights = np.random.default_rng(seed).normal(size=C.shape[1])
    first, second = np.argsort(-C.var(0), kind="stable")[[0, min(1, C.shape[1] - 1)]]
    p = C / C.sum(1, keepdims=True)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(1)
    values = (heavy, C @ weights, heavy**2, C[:, first] * C[:, second], entropy)
    made = dict(zip(LINEAR + NONLINEAR, values, strict=True))
    return {name: y for name, y in made.items() if np.ptp(y) > 1e-9 * np.abs(y).max()}


def check_compositional(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    formulas: np.ndarray,
    elements: tuple[str, ...],
    *,
    folds: int = 5,
    alpha: Alpha = 1.0,
    seed: int = 0,
    procedure: Procedure = in_fold,
) -> Compositional:
    """Linear R² on the residual of targets that are functions of composition alone.

    Verdict (our choice). A target linear in the counts: the training residual is orthogonal to
    it, so the probe can only predict the training mean; in the median over folds, random or
    grouped by formula, R² must equal that predictor's to `TOLERANCE`. (It is not 0 exactly: folds
    differ in their means, those grouped by formula more so.) A target that is not linear: least
    squares leaves 1 − R²_comp of it, and a feature nonlinear in the counts, such as any mean over
    atoms, may rightly hold some of that; the median of R²_geom must not exceed it by over 0.05.
    Folds in which a target is constant have no score and do not count.

    Raises:
        InputError: all molecules are of one composition; what `cpd` refuses.
    """
    made = compositional_targets(C, elements, seed=seed)
    if not made:
        raise InputError("the check of compositional targets needs molecules of unlike composition")
    Y = np.stack(list(made.values()), axis=1)
    Y = (Y - Y.mean(0)) / Y.std(0)
    ids = (kfold(len(X), folds, seed=seed), group_folds(formulas, folds, seed=seed))
    geom, full = (
        np.stack([probe(X, C, Y, i, alpha) for i in ids]) for probe in (procedure, untouched)
    )
    comp = np.stack([_r2(Y, composition_only(C, Y, i), i) for i in ids])
    mean = np.stack([mean_predictor(Y, i) for i in ids])
    lines = [
        line
        for k, kind in enumerate(FOLDS)
        for line in _criteria(tuple(made), kind, geom[k], full[k], comp[k], mean[k])
    ]
    return Compositional(tuple(made), geom, full, comp, mean, tuple(lines))


def _r2(y: np.ndarray, prediction: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """R² with axes (fold, target)."""
    scores = []
    for fold in range(ids.max() + 1):
        own = ids == fold
        variance = y[own].var(0)
        error = np.square(y[own] - prediction[own]).mean(0)
        ratio = error / np.where(variance > 0, variance, 1)
        scores.append(np.where(variance > 0, 1 - ratio, np.nan))
    return np.stack(scores)


def _criteria(
    targets: tuple[str, ...],
    kind: str,
    geom: np.ndarray,
    full: np.ndarray,
    comp: np.ndarray,
    mean: np.ndarray,
) -> list[Criterion]:
    lines = []
    for t, target in enumerate(targets):
        where = f"{target}, {kind} folds"
        if target in LINEAR:
            excess = np.nanmedian(np.abs(geom - mean)[:, t])
            rule = f"at most {TOLERANCE}"
            quantity = f"{where}: R²_geom less that of the mean"
            lines.append(within(_CHECK, quantity, excess, (0, TOLERANCE), rule))
        else:
            left = 1 - np.nanmedian(comp[:, t])
            score = np.nanmedian(geom[:, t])
            rule = f"at most 1 − R²_comp = {left:.3f} (+ {_SLACK})"
            bounds = (-np.inf, left + _SLACK)
            lines.append(within(_CHECK, f"{where}: R²_geom", score, bounds, rule))
        quantity = f"{where}: R² of the untouched features"
        lines.append(reported(_CHECK, quantity, np.nanmedian(full[:, t]), "reported"))
    return lines
