"""Find what composition explains of the features, which is what CPD takes from them.

A projection consists of a matrix of concepts and a regression on it. The matrix is composition,
or composition and further columns (see `concepts`). The regression is `least_squares` or one of
the other functions below. LEACE alone needs the features as well: see `leace`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.kernel import lapack
from cpdjax.kernel.moments import (
    Moments,
    Regression,
    about_mean,
    diagonal,
    einsum,
    gauss_jordan,
    matmul,
)
from cpdjax.kernel.options import PROJECTIONS

#: The penalty of the projection "ridge", for composition columns of unit variance. The value is
#: our choice and that of the package matscope.
PENALTY = 1.0


def concepts(
    C: Shaped[Any, "molecule element"], projection: str
) -> Shaped[Array, "molecule concept"] | np.ndarray:
    """Return the columns that a projection regresses on: composition, then any further ones.

    The projections "bonds" and "groups" have theirs in C already, behind composition. The
    projection "quadratic" adds the products of all pairs of columns, squares included. The
    projection "formula" adds one column for every distinct row of C: 1 for molecules with that
    formula, 0 for all others. Every other projection adds nothing.

    Raises:
        UnknownNameError: when the name is none of `PROJECTIONS`.
        InputError: when the projection is "formula" and C is traced, so that its rows have no
            values yet by which to tell formulas apart.

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
            'projection="formula" needs a concrete C, since it compares the values of its rows, '
            "which do not exist while JAX traces the function; close over C instead of passing it "
            "as a traced argument"
        )
    names, which = np.unique(c, axis=0, return_inverse=True)
    return np.concatenate([c, which.reshape(-1, 1) == np.arange(len(names))], axis=1)


def regression(
    projection: str, blocks: Moments, include: Float[Array, " block"], elements: int
) -> Regression:
    """Return the regression by which a projection is fitted on the blocks that `include` names.

    The first `elements` columns of C are composition itself; the rest are those of `concepts`.
    """
    rows = blocks.n * include
    if projection == "ridge":
        return partial(penalised, rows=rows.sum(), features=blocks.features)
    if projection == "formula":
        return partial(within_formula, count=matmul(rows, blocks.mean_c[:, elements:]))
    return least_squares


def hat(projection: str, train: Moments, fitted: Regression) -> Float[Array, "concept concept"]:
    """Return the matrix H by which a row's leverage in a regression on concepts is cᵀ H c.

    The row's concepts c are about the mean of the training rows, whose moments are `train`. Where a
    projection leaves the targets as they are, there is no such leverage, and H is zero.
    """
    if projection in ("none", "ridge"):
        return jnp.zeros_like(train.cc)
    # Coefficients are linear in the moments CᵀR, so those of unit moments are the map itself.
    return fitted(train.cc, jnp.eye(len(train.cc), dtype=train.cc.dtype))


def from_concepts(train: Moments, c: Float[Array, "concept row"]) -> Float[Array, "target row"]:
    """Return what the regression that `train` holds predicts for the targets of any rows."""
    targets = slice(train.features, None)
    return train.mean[targets, None] + matmul(train.b[:, targets].T, c - train.mean_c[:, None])


def least_squares(
    cc: Float[Array, "element element"], cr: Float[Array, "element response"]
) -> Float[Array, "element response"]:
    """Return the minimum-norm solution B of  min ‖R − C B‖²  from centred moments CᵀC and CᵀR.

    Rank-deficient composition is normal: an element can be absent from a training fold, and
    fractions sum to one. A direction of composition counts as absent when its eigenvalue is at
    most `8 · element · eps` after every column has been scaled to unit length. The solution is the
    one that scikit-learn's `LinearRegression` returns.
    """
    # Columns are scaled before the rank is decided, since a rare element is not a small one: the
    # eigenvalues then measure linear dependence and not how often an element occurs. An absent
    # element gets a scale of 0, and so a coefficient of zero; its diagonal of 1 keeps it from
    # being counted as a dependent column.
    eps = jnp.finfo(cc.dtype).eps
    variance = diagonal(cc)
    present = variance > 0
    scale = jnp.where(present, 1 / jnp.sqrt(jnp.where(present, variance, 1)), 0)
    scaled = cc * scale[:, None] * scale[None] + jnp.diag((~present).astype(cc.dtype))
    eigenvalues, vectors = lapack.eigh(scaled)
    kept = eigenvalues > 8 * cc.shape[0] * eps
    inverse = jnp.where(kept, 1 / jnp.where(kept, eigenvalues, 1), 0)
    rotated = einsum("ed,er->dr", vectors, scale[:, None] * cr)
    solution = scale[:, None] * einsum("ed,dr->er", vectors, inverse[:, None] * rotated)
    # So far the solution has the smallest norm in scaled units. In the original units it may hold
    # a part along the null space of CᵀC, which predicts nothing on the training rows but would on
    # others. Taking that part away leaves the shortest solution in the original units. Shapes are
    # static, so `null` keeps a column for every direction, zero for those that are kept; the
    # diagonal of 1 that `overlap` gets for these makes it invertible.
    null = jnp.where(kept[None], 0, scale[:, None] * vectors)
    null = null / jnp.where(kept, 1, jnp.linalg.norm(null, axis=0))[None]
    overlap = matmul(null.T, null) + jnp.diag(kept.astype(cc.dtype))
    for _ in range(2):  # the second pass takes away what rounding leaves of the first
        along = gauss_jordan(overlap, matmul(null.T, solution))
        solution = solution - matmul(null, along)
    return solution


def penalised(
    cc: Float[Array, "element element"],
    cr: Float[Array, "element response"],
    *,
    rows: Float[Array, ""],
    features: int,
) -> Float[Array, "element response"]:
    """Return the solution B of  min ‖R − C B‖² + `PENALTY` ‖S B‖²  for the features.

    The diagonal matrix S holds the standard deviations of C, so this is Ridge on standardised
    composition. The number of training rows is `rows`. For targets, which are the responses after
    the first `features`, the coefficients are zero.
    """
    # Least squares leaves a residual orthogonal to composition, so that taking composition from
    # the targets as well changes no fit. What Ridge leaves of the features is correlated with
    # composition, and the probe may use that: the targets must stay as they are.
    #
    # A standardised column has length √rows and a column of `scaled` length 1; so the penalty is
    # divided by `rows`. An absent element gets a diagonal of 1, only to keep the system invertible.
    variance = diagonal(cc)
    present = variance > 0
    scale = jnp.where(present, 1 / jnp.sqrt(jnp.where(present, variance, 1)), 0)
    scaled = cc * scale[:, None] * scale[None]
    shift = jnp.where(present, PENALTY / rows, 1)
    solution = scale[:, None] * gauss_jordan(scaled + jnp.diag(shift), scale[:, None] * cr)
    return jnp.where(jnp.arange(cr.shape[1])[None] < features, solution, 0)


def within_formula(
    cc: Float[Array, "concept concept"],
    cr: Float[Array, "concept response"],
    *,
    count: Float[Array, " formula"],
) -> Float[Array, "concept response"]:
    """Return the coefficients of least squares on composition, then every formula's mean residual.

    The columns of C are composition and one indicator a formula (see `concepts`); `count` holds
    the number of training rows of each formula. Together the coefficients are a least-squares
    solution on all columns, which predicts for a training row the mean of its formula. Among all
    such solutions this one predicts a formula without training rows by least squares from
    composition, since the coefficient of its indicator is zero.
    """
    elements = len(cc) - len(count)
    b = least_squares(cc[:elements, :elements], cr[:elements])
    # A row of `left` is the residual summed over the rows of a formula. That indicators are
    # centred changes nothing, since the residual has a mean of zero.
    left = cr[elements:] - matmul(cc[elements:, :elements], b)
    seen = count > 0.5  # a count is a sum of floats, hence no comparison with zero
    means = jnp.where(seen, 1 / jnp.where(seen, count, 1), 0)[:, None] * left
    return jnp.concatenate([b, means])


def from_composition(
    projection: str, train: Moments, c: Float[Array, "concept row"], elements: int
) -> Float[Array, "target row"]:
    """Return what least squares from composition predicts for the targets of any rows.

    The first `elements` rows of c are composition; further ones (see `concepts`) are not used.
    """
    # The baseline is least squares from composition alone, whatever is taken from the features.
    # The moments hold its coefficients already, unless the projection is fitted otherwise.
    own, targets = slice(elements), slice(train.features, None)
    if projection != "ridge" and elements == len(c):
        return from_concepts(train, c)
    b = least_squares(train.cc[own, own], about_mean(train).cr[own, targets])
    return train.mean[targets, None] + matmul(b.T, c[own] - train.mean_c[own, None])
