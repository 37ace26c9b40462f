"""Targets that composition alone decides: nothing of them may be left in the residual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks.outcome import Outcome, reported, required
from cpdjax.checks.procedures import Alpha, Procedure, projection_per_fold, raw_features
from cpdjax.errors import InputError
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.probes.least_squares import predict_from_composition
from cpdjax.probes.r2 import r2_by_fold, r2_of_training_mean

LINEAR = ("heavy atoms", "random linear")
"""Targets that are linear in the counts of the elements."""
NONLINEAR = ("heavy atoms squared", "product of counts", "mixing entropy")
"""Targets that are functions of the counts, but not linear ones."""
FOLD_KINDS = ("random", "grouped")
"""Folds of molecules at random, and folds that share no formula."""

TOLERANCE = 1e-4
"""How far rounding may move a score, on features of any scale. The value is our choice."""

_CHECK = "compositional targets"
_SLACK = 0.05


@dataclass(frozen=True)
class Compositional:
    """Hold R² of the compositional targets with axes (kind of folds, fold, target)."""

    targets: tuple[str, ...]
    r2_geom: Float[np.ndarray, "kind fold target"]
    r2_full: Float[np.ndarray, "kind fold target"]
    r2_comp: Float[np.ndarray, "kind fold target"]
    r2_mean: Float[np.ndarray, "kind fold target"]
    """R² of predicting the mean of the training rows."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Compare the median over folds of every target with its requirement."""
        return tuple(
            outcome
            for k, kind in enumerate(FOLD_KINDS)
            for t, target in enumerate(self.targets)
            for outcome in self._of_target(k, t, f"{target}, {kind} folds")
        )

    def _of_target(self, kind: int, target: int, where: str) -> tuple[Outcome, Outcome]:
        geom, full, comp, mean = (
            scores[kind, :, target]
            for scores in (self.r2_geom, self.r2_full, self.r2_comp, self.r2_mean)
        )
        raw = reported(_CHECK, f"{where}: R² of the raw features", np.nanmedian(full))
        if self.targets[target] in LINEAR:
            quantity = f"{where}: |R²_geom − R² of the training mean|"
            excess = np.nanmedian(np.abs(geom - mean))
            bounds, requirement = (0.0, TOLERANCE), f"at most {TOLERANCE}"
            return required(_CHECK, quantity, excess, bounds, requirement), raw
        highest = 1 - np.nanmedian(comp) + _SLACK
        requirement = f"at most {highest:.3f} (1 − R²_comp + {_SLACK})"
        score, bounds = np.nanmedian(geom), (-np.inf, float(highest))
        return required(_CHECK, f"{where}: R²_geom", score, bounds, requirement), raw


def compositional_targets(
    C: Float[np.ndarray, "molecule element"], elements: tuple[str, ...], *, seed: int = 0
) -> dict[str, Float[np.ndarray, " molecule"]]:
    """Compute targets that are functions of the counts alone; constant ones are left out.

    Linear in the counts are the number of heavy atoms (all but H) and a random linear function
    with standard normal weights. Nonlinear are the square of the number of heavy atoms, the
    product of the counts of the two elements whose counts vary most, and the mixing entropy
    −Σ p log p of the fractions p.

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
    procedure: Procedure = projection_per_fold,
) -> Compositional:
    """Score the residual on targets that are functions of composition alone.

    Both requirements are our choice. The first is of targets that are linear in the counts. The
    training residual is orthogonal to such a target, so the probe can only predict the training
    mean; in the median over folds, random or grouped by formula, R² must equal that of the
    training mean to `TOLERANCE`. (It is not 0 exactly: folds differ in their means, and more so
    when they are grouped by formula.) The second is of targets that are not linear in the counts.
    Least squares leaves 1 − R²_comp of such a target, and a feature that is nonlinear in the
    counts, such as any mean over atoms, may rightly hold some of that; the median of R²_geom must
    not exceed 1 − R²_comp by more than 0.05. Folds in which a target is constant have no score and
    do not count.

    Raises:
        InputError: all molecules have the same composition, or `cpd` refuses the input.
    """
    made = compositional_targets(C, elements, seed=seed)
    if not made:
        raise InputError(
            "the check of compositional targets needs molecules of different composition"
        )
    Y = np.stack(list(made.values()), axis=1)
    Y = (Y - Y.mean(0)) / Y.std(0)
    both_ids = (kfold(len(X), folds, seed=seed), group_folds(formulas, folds, seed=seed))
    return Compositional(
        tuple(made),
        np.stack([procedure(X, C, Y, ids, alpha) for ids in both_ids]),
        np.stack([raw_features(X, C, Y, ids, alpha) for ids in both_ids]),
        np.stack([r2_by_fold(Y, predict_from_composition(C, Y, ids), ids) for ids in both_ids]),
        np.stack([r2_of_training_mean(Y, ids) for ids in both_ids]),
    )
