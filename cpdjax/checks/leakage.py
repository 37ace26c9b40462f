"""Leakage: what a projection that has seen the held-out rows does to the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks.compositional import TOLERANCE
from cpdjax.checks.outcome import Outcome, reported, required
from cpdjax.checks.procedures import (
    Alpha,
    Procedure,
    projection_on_all_rows,
    projection_per_fold,
    raw_features,
)
from cpdjax.errors import InputError
from cpdjax.probes.folds import kfold
from cpdjax.probes.r2 import r2_of_training_mean
from cpdjax.real_arrays import real_arrays

SIZES = (50, 100, 200, 500, 1000)
"""Numbers of molecules; a leak matters most where they are few."""
PROCEDURES = ("projection per fold", "projection on all rows", "raw features")
"""How composition is taken out, in the order of the procedures' axis."""
COMPOSITION = "random linear function of the counts"
"""The target whose true R²_geom is known."""

_CHECK = "leakage"


@dataclass(frozen=True)
class Leakage:
    """Hold R² of the same molecules, folds and targets under three procedures.

    The last target is `COMPOSITION`. Its true score is that of predicting the training mean.
    """

    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    r2: Float[np.ndarray, "procedure size repeat fold target"]
    r2_mean: Float[np.ndarray, "size repeat fold target"]
    """R² of predicting the training mean."""

    @property
    def bias(self) -> Float[np.ndarray, "procedure size target"]:
        """Return the median over repeats and folds of R² minus a reference, taken fold by fold.

        The reference is the true score where it is known, else the projection per fold.
        """
        reference = np.concatenate([self.r2[0, ..., :-1], self.r2_mean[..., -1:]], axis=-1)
        return np.nanmedian(self.r2 - reference, axis=(2, 3))

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Compare the score of `COMPOSITION` with the truth, and report the wrong procedures."""
        excess = np.abs(self.r2[0, ..., -1] - self.r2_mean[..., -1])
        highest = np.nanquantile(excess, 0.95, method="higher")
        quantity = f"{COMPOSITION}, {PROCEDURES[0]}: |R² − R² of the training mean|"
        requirement = f"at most {TOLERANCE} in 95 % of the folds"
        first = required(_CHECK, quantity, highest, (0, TOLERANCE), requirement)
        return first, *self._biases()

    def _biases(self) -> list[Outcome]:
        bias, ends = self.bias, sorted({0, len(self.sizes) - 1})
        return [
            reported(
                _CHECK,
                f"{target}, {PROCEDURES[p]}, {self.sizes[s]} molecules: R² minus "
                + ("the true R²" if target == COMPOSITION else f"R² of the {PROCEDURES[0]}"),
                bias[p, s, t],
            )
            for t, target in enumerate(self.targets)
            for p in (1, 2)
            for s in ends
        ]


def check_leakage(
    X: Float[np.ndarray, "molecule feature"],
    C: Float[np.ndarray, "molecule element"],
    Y: Float[np.ndarray, " molecule"] | Float[np.ndarray, "molecule target"],
    *,
    targets: tuple[str, ...] = ("target",),
    sizes: tuple[int, ...] = SIZES,
    repeats: int = 5,
    folds: int = 5,
    alpha: Alpha = 1.0,
    seed: int = 0,
    procedure: Procedure = projection_per_fold,
) -> Leakage:
    """Compare a projection per fold, one projection on all rows, and none, on the same data.

    Each repeat shuffles the molecules, and a subset is the first N of them. One more target,
    linear in composition with random weights of each repeat, stands beside the given ones.

    The requirement is our choice. The score of the procedure on the compositional target must
    equal the truth, which is the score of the training mean, to `TOLERANCE` in 95 % of all folds.
    (It cannot be asked of every fold: a held-out molecule far outside the range of the training
    rows multiplies even the rounding error of a weight that is zero.) Any fit that has seen a
    held-out row misses the requirement in nearly all folds: residuals that are orthogonal to
    composition over all rows are correlated with it among the training rows, and with the opposite
    sign among the held-out rows. The bias of the two wrong procedures is reported.

    Raises:
        InputError: there are fewer molecules than the smallest size, or `cpd` refuses the input.
    """
    X, C, Y = real_arrays(X=X, C=C, Y=Y)
    Y = np.asarray(Y, np.float64).reshape(len(X), -1)
    fitting = tuple(s for s in sizes if s <= len(X))
    if not fitting:
        raise InputError(
            f"the check of leakage needs at least {min(sizes)} molecules, got {len(X)}"
        )
    rng = np.random.default_rng(seed)
    shape = (len(fitting), repeats, folds, Y.shape[1] + 1)
    r2, mean = np.empty((len(PROCEDURES), *shape)), np.empty(shape)
    for r in range(repeats):
        order = rng.permutation(len(X))
        compositional = C @ rng.normal(size=C.shape[1])
        for s, size in enumerate(fitting):
            rows = order[:size]
            y = np.column_stack([Y[rows], compositional[rows]])
            y = (y - y.mean(0)) / np.where(y.std(0) > 0, y.std(0), 1)
            ids = kfold(size, folds, seed=r)
            mean[s, r] = r2_of_training_mean(y, ids)
            for p, score in enumerate((procedure, projection_on_all_rows, raw_features)):
                r2[p, s, r] = score(X[rows], C[rows], y, ids, alpha)
    return Leakage((*targets, COMPOSITION), fitting, r2, mean)
