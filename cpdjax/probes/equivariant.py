"""Predict vectors and tensors from channels of their own irrep, equivariantly.

The only linear maps from channels of an irrep to a target of the same irrep that turn with the
molecule are those with one weight a channel, shared by all 2l+1 components (Schur's lemma):

    ŷ_m = Σ_c w_c x_cm,   w = argmin Σ‖y − ŷ‖² + α‖w‖²,   over molecules and components

This is Ridge on stacked rows (molecule, m), without intercept and without centring: there is no
vector that turns with nothing. For the same reason composition, which is invariant, explains
nothing of a vector or a tensor, linearly: there is nothing to project out, `r2_comp` is zero, and
`r2_full` equals `r2_geom`. (Composition can still scale a vector, in products of the two: those are
features of geometry as well, and no part of this probe.)

Second moments do not change when a molecule turns, each by itself: neither do weights and scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import ArrayLike, Float

from cpdjax.errors import InputError
from cpdjax.irreps import components
from cpdjax.kernel.equivariant_probe import equivariant_probe
from cpdjax.kernel.nested import of_one_size
from cpdjax.kernel.scores import Scores
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_folds, read_ids
from cpdjax.real_arrays import real_arrays


@takes_choices(without=["projection"])
def equivariant_cpd(
    X: IrrepsArray | Float[ArrayLike, "molecule channel m"],
    Y: IrrepsArray | Float[ArrayLike, "molecule m"] | Float[ArrayLike, "molecule target m"],
    *,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    predictions: bool = False,
    dtype: Any = None,
    **choices: Any,
) -> Scores:
    """Predict vectors and tensors by Ridge with one weight a channel, which is equivariant.

    The score of the held-out rows is R² = 1 − Σ‖y − ŷ‖² / Σ‖y‖², about zero (see
    `scores.tensor_r2`).

    Args:
        X: channels of one irrep, m counting its 2l+1 components; or an `IrrepsArray`, of which the
            channels of the target's irrep are taken.
        Y: targets of the same irrep, likewise; an `IrrepsArray` where `X` is one. Rows may be atoms
            as well, with `folds` ids that keep molecules whole.
        folds: as in `cpd`.
        alphas: one Ridge penalty, a grid, or "loo": per target and fold the α of
            `ridge.LOO_ALPHAS` with the smallest leave-one-molecule-out error (all 2l+1 rows at
            once, or the choice would depend on how molecules are turned) on the training rows.
        standardize: divide channels by their root mean square over the components and the training
            rows of each fold. A channel whose root mean square is below 100 eps of the largest
            one's is rounding and drops out: so the unit of all channels does not matter, but they
            must share it.
        components: as in `cpd`, principal components of the channels about zero, which turn with
            the molecule as the channels do.
        seed, predictions, dtype: as in `cpd`.

    Returns:
        Scores with axes (fold, alpha, target); `prediction` with axes (alpha, molecule, target, m).

    Raises:
        InputError: irreps or shapes that disagree, scalars (which are for `cpd`), NaN or infinity,
            negative α, impossible folds.

    >>> rng = np.random.default_rng(0)
    >>> X = IrrepsArray("4x0e + 3x1o", rng.normal(size=(100, 13)))
    >>> Y = IrrepsArray("1o", X.array[:, 4:7] - 2 * X.array[:, 7:10])
    >>> scores = equivariant_cpd(X, Y)
    >>> scores.r2_geom.shape, bool(scores.r2_geom.min() > 0.99)
    ((5, 1, 1), True)
    """
    x, y = matched(X, Y)
    arguments = Arguments.of_tensors(x, y, alphas, dtype, predictions=predictions, **choices)
    read = partial(read_ids, what="predictions=True") if predictions else read_folds
    layout = cross_validation(len(x), read(folds, x), seed=seed)
    return of_one_size(arguments.scores(equivariant_probe, layout))


def matched(X: Any, Y: Any) -> tuple[Any, Any]:
    """Return features (molecule, channel, m) and targets (molecule, target, m) of one irrep."""
    if isinstance(X, IrrepsArray) != isinstance(Y, IrrepsArray):
        raise InputError("X and Y must both be an IrrepsArray, or both arrays of one irrep")
    if isinstance(Y, IrrepsArray):
        return _channels_of_target(X, Y)
    x, y = real_arrays(X=X, Y=Y)
    y = y[:, None] if y.ndim == 2 else y
    if x.ndim != 3 or y.ndim != 3 or x.shape[::2] != y.shape[::2]:
        raise InputError(
            "X must have axes (molecule, channel, m) and Y (molecule, m) or (molecule, target, m), "
            f"m and molecules the same in both, got shapes {x.shape} and {np.shape(Y)}"
        )
    if x.shape[2] == 1:
        raise InputError("targets with one component are scalars: use cpd")
    return x, y


def _channels_of_target(X: IrrepsArray, Y: IrrepsArray) -> tuple[Any, Any]:
    kinds = {str(ir) for _, ir in Y.irreps}
    if len(kinds) != 1:
        raise InputError(f"Y must be of one irrep, got {Y.irreps}")
    [kind] = kinds
    if kind not in {str(ir) for _, ir in X.irreps}:
        raise InputError(
            f"X ({X.irreps}) has no channel of the target's irrep {kind}: what is not of its "
            "irrep cannot turn with it (where labels hold for rotations only, pass arrays)"
        )
    return matched(components(X, kind)[0], components(Y, kind)[0])
