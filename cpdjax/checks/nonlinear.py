"""Nonlinear probes of the residual, on targets that composition alone decides.

Composition is taken out by least squares, that is, linearly: what is left is uncorrelated with
the counts, but not independent of them. Three kinds of composition are left. First, whatever the
features hold of composition that is not linear in the counts: a mean over atoms is a function of
fractions, and a learned feature can be any function. Second, what the projection itself puts into
the residual: X − CB holds the counts wherever X did not hold CB (a feature that is zero in some
molecules leaves −CB there), so the residual can know more of composition than X did. Third, all
higher moments: the spread of the residual differs from formula to formula. A linear probe cannot
see any of these in a target that is linear in the counts. A nonlinear probe can, and its score on
the residual is then no measure of geometry. Taking out more than the counts lowers it, step by step
(`residualisation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks import mlp
from cpdjax.checks.compositional import FOLD_KINDS, LINEAR, TOLERANCE, compositional_targets
from cpdjax.checks.nonlinear_probes import PROBES, Case, Probe, make_probes
from cpdjax.checks.outcome import Outcome, reported, required
from cpdjax.checks.residualisation import RESIDUALS, residualise
from cpdjax.errors import InputError
from cpdjax.probes.folds import group_folds, kfold
from cpdjax.probes.least_squares import beyond_rounding
from cpdjax.probes.r2 import r2_of_training_mean

TARGETS = ("heavy atoms", "random linear", "product of counts", "mixing entropy")
PAPER_TREES_R2 = (0.68, 0.95)
"""The paper's range of R² of gradient-boosted trees on the residual."""

_CHECK = "nonlinear probes"
_HIGHEST_CONTROL = 0.05  # our choice
_CONTROL_FEATURES = 32


@dataclass(frozen=True)
class Nonlinear:
    """Hold R² of every probe on every residual of the features, and on a control.

    The control is a representation that is linear in the counts plus noise. Its residual holds
    nothing of composition, neither in its mean nor in its spread.
    """

    targets: tuple[str, ...]
    r2: Float[np.ndarray, "kind probe residual fold target"]
    control: Float[np.ndarray, "probe fold target"]
    """R² from the "linear" residual of the control, in random folds."""
    r2_mean: Float[np.ndarray, "kind fold target"]
    """R² of predicting the mean of the training rows."""

    @property
    def medians(self) -> Float[np.ndarray, "kind probe residual target"]:
        """Return the median of `r2` over folds."""
        return np.nanmedian(self.r2, axis=3)

    @property
    def on_linear_residual(self) -> Float[np.ndarray, "kind probe target"]:
        """Return the median over folds of R² from the residual that CPD uses."""
        return self.medians[:, :, RESIDUALS.index("linear")]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Compare Ridge and the control with their requirements, and report all other probes."""
        linear = [t for t, name in enumerate(self.targets) if name in LINEAR]
        ridge = self.r2[:, PROBES.index("ridge"), RESIDUALS.index("linear")]
        excess = np.nanmedian(np.abs(ridge - self.r2_mean), axis=1)[:, linear].max()
        quantity = "ridge, targets linear in the counts: |R² − R² of the training mean|"
        outcomes = [required(_CHECK, quantity, excess, (0, TOLERANCE), f"at most {TOLERANCE}")]
        for probe, control in zip(PROBES, self.control, strict=True):
            highest = np.nanmedian(control, axis=0)[linear].max()
            quantity = f"{probe}, control features: highest R² of targets linear in the counts"
            bounds, requirement = (-np.inf, _HIGHEST_CONTROL), f"at most {_HIGHEST_CONTROL}"
            outcomes.append(required(_CHECK, quantity, highest, bounds, requirement))
        return (*outcomes, *self._reported())

    def _reported(self) -> Iterator[Outcome]:
        low, high = PAPER_TREES_R2
        requirement = (
            f"none (brackets: range over targets; the paper's trees reach {low} to {high})"
        )
        for p, probe in enumerate(PROBES[1:], 1):
            for k, kind in enumerate(FOLD_KINDS):
                scores = self.on_linear_residual[k, p]
                quantity = f"{probe} on the residual, {kind} folds: R², median over targets"
                spread = (float(scores.min()), float(scores.max()))
                yield reported(_CHECK, quantity, np.nanmedian(scores), requirement, spread)


def check_nonlinear(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    formulas: np.ndarray,
    elements: tuple[str, ...],
    *,
    folds: int = 5,
    seeds: int = 3,
    seed: int = 0,
    training: mlp.Training = mlp.TRAINING,
) -> Nonlinear:
    """Score Ridge, boosted trees, MLPs and kernel ridge on compositional targets.

    All probes see the same matrices: the residual of each fold at unit variance, held-out values
    clipped to the range of the training rows (which changes nothing for trees, and keeps the other
    probes from extrapolating). The trees are scikit-learn's HistGradientBoostingRegressor with its
    default settings. An MLP is trained as `training` says, and R² is the mean over `seeds`
    initialisations. Kernel ridge is `kernel_ridge.predict`.

    Both requirements are our choice. Ridge on the linear residual must score as the training mean
    does, for targets linear in the counts, to `TOLERANCE`. On the control no probe may score above
    0.05, so that what the nonlinear probes find in the features is there. The scores of the
    nonlinear probes are reported beside the paper's.

    Raises:
        InputError: scikit-learn is not installed, or the other checks refuse the input.
    """
    made = compositional_targets(C, elements, seed=seed)
    targets = tuple(name for name in TARGETS if name in made)
    if not targets:
        raise InputError("nonlinear probes need molecules of different composition")
    Y = np.stack([made[name] for name in targets], axis=1)
    Y = (Y - Y.mean(0)) / Y.std(0)
    both_ids = (kfold(len(X), folds, seed=seed), group_folds(formulas, folds, seed=seed))
    probes = make_probes(seeds, seed, training)
    control = _control(C, seed)
    return Nonlinear(
        targets,
        np.stack([scores_of(probes, X, C, formulas, Y, ids, RESIDUALS) for ids in both_ids]),
        scores_of(probes, control, C, formulas, Y, both_ids[0], ("linear",))[:, 0],
        np.stack([r2_of_training_mean(Y, ids) for ids in both_ids]),
    )


def scores_of(
    probes: Mapping[str, Probe],
    X: np.ndarray,
    C: np.ndarray,
    formulas: np.ndarray,
    Y: np.ndarray,
    ids: np.ndarray,
    residuals: tuple[str, ...],
) -> Float[np.ndarray, "probe residual fold target"]:
    """Return R² of every probe on held-out rows, from the residual of each fold."""
    cases = [
        _case(X, residualise(X, C, formulas, ids != fold, how), Y, ids != fold)
        for how in residuals
        for fold in range(ids.max() + 1)
    ]
    shape = (len(residuals), -1, Y.shape[1])
    return np.stack([score(cases).reshape(shape) for score in probes.values()])


def _case(X: np.ndarray, left: np.ndarray, Y: np.ndarray, train: np.ndarray) -> Case:
    """Standardise the residual `left` by its training rows, and clip its held-out rows."""
    x = left[train]
    kept, variance = beyond_rounding(x, X[train]), x.var(0)
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, variance, 1)), 0)
    x, held_out = (x - x.mean(0)) * scale, (left[~train] - x.mean(0)) * scale
    return Case(x, Y[train], np.clip(held_out, x.min(0), x.max(0)), Y[~train])


def _control(C: np.ndarray, seed: int) -> Float[np.ndarray, "molecule feature"]:
    rng = np.random.default_rng(seed)
    linear = (C - C.mean(0)) @ rng.normal(size=(C.shape[1], _CONTROL_FEATURES))
    return linear / linear.std(0) + rng.normal(size=linear.shape)
