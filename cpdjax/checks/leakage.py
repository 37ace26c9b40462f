"""Leakage: what a projection that has seen the held-out rows does to the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from cpdjax.checks.compositional import TOLERANCE
from cpdjax.checks.criterion import Criterion, mean_predictor, reported, within
from cpdjax.checks.procedures import Alpha, Procedure, all_rows, in_fold, untouched
from cpdjax.errors import InputError
from cpdjax.probes.folds import kfold

SIZES = (50, 100, 200, 500, 1000)
"""Numbers of molecules: few, where a leak matters most."""
PROCEDURES = ("in fold", "all rows", "none")
"""Which rows the projection was fitted on."""
COMPOSITION = "random linear function of counts"
"""The target whose true R²_geom is nothing."""

_CHECK = "leakage"


@dataclass(frozen=True)
class Leakage:
    """Scores of the same molecules, folds and targets under three procedures.

    The last target is `COMPOSITION`; for it the truth is known: the score of the training mean.
    """

    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    r2: Float[np.ndarray, "procedure size repeat fold target"]
    r2_mean: Float[np.ndarray, "size repeat fold target"]
    criteria: tuple[Criterion, ...]

    @property
    def bias(self) -> Float[np.ndarray, "procedure size target"]:
        """Of every procedure against the truth where it is known, else against "in fold".

        The median over repeats and folds of the differences, fold by fold.
        """
        reference = np.concatenate([self.r2[0, ..., :-1], self.r2_mean[..., -1:]], axis=-1)
        return np.nanmedian(self.r2 - reference, axis=(2, 3))


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
    procedure: Procedure = in_fold,
) -> Leakage:
    """The projection fitted in each fold, on all rows, and not at all, on the same data.

    Each repeat shuffles the molecules; a subset is the first N. Beside the given targets, one that
    is linear in composition, drawn anew in each repeat.

    Verdict (our choice): what the procedure scores on the compositional target equals the score
    of the training mean, the truth, to `TOLERANCE` in 95 % of all folds (not in each: a held-out
    molecule far outside what training saw multiplies even the rounding of a weight that is zero).
    Any fit that has seen a held-out row breaks this in nearly all: residuals that are orthogonal
    to composition over all rows are correlated with it among the training rows, and with the
    opposite sign among those held out. The bias of the two wrong procedures is reported.

    Raises:
        InputError: fewer molecules than the smallest size; what `cpd` refuses.
    """
    Y = np.asarray(Y, np.float64).reshape(len(X), -1)
    fitting = tuple(s for s in sizes if s <= len(X))
    if not fitting:
        raise InputError(f"the check of leakage needs {min(sizes)} molecules, got {len(X)}")
    rng = np.random.default_rng(seed)
    shape = (len(fitting), repeats, folds, Y.shape[1] + 1)
    r2, mean = np.empty((3, *shape)), np.empty(shape)
    for r in range(repeats):
        order = rng.permutation(len(X))
        truth_known = C @ rng.normal(size=C.shape[1])
        for s, size in enumerate(fitting):
            rows = order[:size]
            y = np.column_stack([Y[rows], truth_known[rows]])
            y = (y - y.mean(0)) / np.where(y.std(0) > 0, y.std(0), 1)
            ids = kfold(size, folds, seed=r)
            mean[s, r] = mean_predictor(y, ids)
            for p, probe in enumerate((procedure, all_rows, untouched)):
                r2[p, s, r] = probe(X[rows], C[rows], y, ids, alpha)
    found = Leakage((*targets, COMPOSITION), fitting, r2, mean, ())
    return Leakage(found.targets, fitting, r2, mean, _criteria(found))


def _criteria(found: Leakage) -> tuple[Criterion, ...]:
    excess = np.abs(found.r2[0, ..., -1] - found.r2_mean[..., -1])
    worst = np.nanquantile(excess, 0.95, method="higher")
    rule = f"at most {TOLERANCE} in 95 % of the folds"
    quantity = "compositional target: R²_geom less the truth, in fold"
    lines = [within(_CHECK, quantity, worst, (0, TOLERANCE), rule)]
    bias = found.bias
    for t, target in enumerate(found.targets):
        against = "the truth" if t == len(found.targets) - 1 else "in fold"
        for p in (1, 2):
            for s in sorted({0, len(found.sizes) - 1}):
                quantity = (
                    f"{target}: bias against {against}, {PROCEDURES[p]}, N = {found.sizes[s]}"
                )
                lines.append(reported(_CHECK, quantity, bias[p, s, t], "reported"))
    return tuple(lines)
