"""What composition explains, and so is taken from the features: by least squares or otherwise.

A projection is a matrix of concepts and a regression on it. The matrix is composition, or
composition and further columns (`concepts`); the regression is `least_squares`, or one of those
below. LEACE alone needs the features as well: see `leace`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.kernel.moments import Moments, Regression, about_mean, einsum, matmul

#: What `cpdjax.cpd` can take from the features; it says what each of them means.
Projection = Literal["ols", "none", "ridge", "quadratic", "formula", "leace", "oracle-leace"]
PROJECTIONS: tuple[str, ...] = get_args(Projection)

#: Of "ridge", in units of standardised composition columns: our choice, that of matscope.
PENALTY = 1.0


def concepts(
    C: Shaped[Any, "molecule element"], projection: str
) -> Shaped[Array, "molecule concept"] | np.ndarray:
    """Composition first, then the further columns that a projection regresses on.

    "quadratic": the products of all pairs of columns, squares included. "formula": a column of
    ones and zeros for every distinct row of C.

    Raises:
        UnknownNameError: none of `PROJECTIONS`.
        InputError: "formula" of a traced C, whose rows cannot be told apart.

    >>> concepts(np.array([[4, 1], [2, 0], [4, 1]]), "quadratic")
    array([[ 4.,  1., 16.,  4.,  1.],
           [ 2.,  0.,  4.,  0.,  0.],
           [ 4.,  1., 16.,  4.,  1.]])
    >>> concepts(np.array([[4, 1], [2, 0], [4, 1]]), "formula")
    array([[4., 1., 0., 1.],
           [2., 0., 1., 0.],
           [4., 1., 0., 1.]])
    """
    if projection not in PROJECTIONS:
        raise UnknownNameError("projection", projection, PROJECTIONS)
    if projection not in ("quadratic", "formula"):
        return C
    traced = isinstance(C, jax.core.Tracer)
    c = C if traced else np.asarray(C, np.float64)
    xp: Any = jnp if traced else np
    if projection == "quadratic":
        first, second = np.triu_indices(c.shape[1])
        return xp.concatenate([c, c[:, first] * c[:, second]], axis=1)
    if traced:
        raise InputError(
            'projection="formula" needs a concrete C: formulas are found by their values, which '
            "cannot be traced; close over C instead"
        )
    names, which = np.unique(c, axis=0, return_inverse=True)
    return np.concatenate([c, which.reshape(-1, 1) == np.arange(len(names))], axis=1)


def regression(
    projection: str, blocks: Moments, include: Float[Array, " block"], elements: int
) -> Regression:
    """How a projection finds its coefficients on the training rows that `include` names.

    Of the columns of C the first `elements` are composition itself.
    """
    rows = blocks.n * include
    if projection == "ridge":
        return partial(penalised, rows=rows.sum(), features=blocks.features)
    if projection == "formula":
        return partial(within_formula, count=matmul(rows, blocks.mean_c[:, elements:]))
    return least_squares


def least_squares(
    cc: Float[Array, "element element"], cr: Float[Array, "element response"]
) -> Float[Array, "element response"]:
    """The minimum-norm solution B of  min ‖R − C B‖²  from centred moments CᵀC and CᵀR.

    Rank-deficient composition is normal: an element absent from a training fold, fractions
    that sum to one. Columns are scaled to unit variance before the rank is decided (a rare
    element is not a small one): directions with an eigenvalue below `8 · element · eps` count
    as absent. The solution is then projected off the null space in the original units, which
    makes it the one that scikit-learn's `LinearRegression` returns.
    """
    eps = jnp.finfo(cc.dtype).eps
    variance = jnp.diagonal(cc)
    present = variance > 0
    scale = jnp.where(present, 1 / jnp.sqrt(jnp.where(present, variance, 1)), 0)
    scaled = cc * scale[:, None] * scale[None] + jnp.diag((~present).astype(cc.dtype))
    eigenvalues, vectors = jnp.linalg.eigh(scaled)
    kept = eigenvalues > 8 * cc.shape[0] * eps
    inverse = jnp.where(kept, 1 / jnp.where(kept, eigenvalues, 1), 0)
    half = einsum("ed,er->dr", vectors, scale[:, None] * cr)
    solution = scale[:, None] * einsum("ed,dr->er", vectors, inverse[:, None] * half)
    null = jnp.where(kept[None], 0, scale[:, None] * vectors)  # CᵀC null = 0, original units
    null = null / jnp.where(kept, 1, jnp.linalg.norm(null, axis=0))[None]
    overlap = matmul(null.T, null) + jnp.diag(kept.astype(cc.dtype))
    for _ in range(2):  # twice is enough: the second takes away what rounding left of the first
        along = jnp.linalg.solve(overlap, matmul(null.T, solution))
        solution = solution - matmul(null, along)
    return solution


def penalised(
    cc: Float[Array, "element element"],
    cr: Float[Array, "element response"],
    *,
    rows: Float[Array, ""],
    features: int,
) -> Float[Array, "element response"]:
    """The solution B of  min ‖R − C B‖² + `PENALTY` ‖S B‖²,  S the standard deviations of C.

    That is Ridge on standardised composition. Targets, the responses after the `features`, stay
    as they are: what Ridge leaves of the features is not orthogonal to what it would take away.
    """
    variance = jnp.diagonal(cc)
    present = variance > 0
    scale = jnp.where(present, 1 / jnp.sqrt(jnp.where(present, variance, 1)), 0)
    scaled = cc * scale[:, None] * scale[None]
    shift = jnp.where(present, PENALTY / rows, 1)
    solution = scale[:, None] * jnp.linalg.solve(scaled + jnp.diag(shift), scale[:, None] * cr)
    return jnp.where(jnp.arange(cr.shape[1])[None] < features, solution, 0)


def within_formula(
    cc: Float[Array, "concept concept"],
    cr: Float[Array, "concept response"],
    *,
    count: Float[Array, " formula"],
) -> Float[Array, "concept response"]:
    """Least squares on composition, then the mean residual of every formula with `count` rows.

    Together a least-squares solution on both, with the mean of its formula for every training
    row. Of all such solutions it is the one that predicts a formula without a row by least squares
    from composition: its own column is zero.
    """
    elements = len(cc) - len(count)
    b = least_squares(cc[:elements, :elements], cr[:elements])
    left = cr[elements:] - matmul(cc[elements:, :elements], b)  # summed over a formula's rows
    seen = count > 0.5
    means = jnp.where(seen, 1 / jnp.where(seen, count, 1), 0)[:, None] * left
    return jnp.concatenate([b, means])


def from_composition(
    projection: str, train: Moments, c: Float[Array, "concept row"], elements: int
) -> Float[Array, "target row"]:
    """Targets of any rows, by least squares from composition, the first `elements` of c."""
    own, targets = slice(elements), slice(train.features, None)
    if projection in ("ridge", "quadratic", "formula"):
        b = least_squares(train.cc[own, own], about_mean(train).cr[own, targets])
    else:
        b = train.b[:, targets]
    return train.mean[targets, None] + matmul(b.T, c[own] - train.mean_c[own, None])
