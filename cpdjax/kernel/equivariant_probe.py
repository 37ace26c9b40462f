"""Probe tensors in one compiled program: every fold, size, α and target of one irrep's channels.

    rows → second moments about zero → ridge → scores

A row is one component of one molecule. Nothing is projected out and nothing is centred: composition
explains nothing of what turns with the molecule, linearly (`probes.equivariant` says why), and so
moments about zero are all that Ridge needs. These simply add.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cpdjax.kernel.fit import LeaveOut, fitted
from cpdjax.kernel.moments import Moments, einsum, gauss_jordan
from cpdjax.kernel.nested import by_molecule, over_folds, over_repeats, over_sizes, set_apart
from cpdjax.kernel.options import Options
from cpdjax.kernel.residual import Residual, Rows, TrainingRows
from cpdjax.kernel.scores import Scores, tensor_r2


@partial(jax.jit, static_argnames=("sizes", "bounds", "options"))
def equivariant_probe(
    x: Float[Array, "molecule channel m"],
    y: Float[Array, "molecule target m"],
    alphas: Float[Array, " alpha"],
    index: Int[Array, "repeat fold slot"],
    rank: Int[Array, "repeat fold slot"],
    *,
    sizes: tuple[int, ...],
    bounds: tuple[tuple[int, int], ...],
    options: Options,
) -> Scores:
    """Return scores with axes (repeat, size, fold, alpha, target).

    `index`, `rank`, `sizes` and `bounds` are those of a `probes.folds.Layout`. The predictions, on
    request, have axes (alpha, molecule, target, m).
    """
    width = x.shape[-1]

    def one_repeat(layout: tuple[Array, Array]) -> Scores:
        index, rank = layout
        in_x, in_y = (_component_rows(a[index]) for a in (x, y))
        none = jnp.zeros((len(index), 0, in_x.shape[-1]), x.dtype)
        # A molecule's components lie side by side, so every slot becomes `width` rows.
        rank = jnp.repeat(rank, width, axis=1)
        rows = Rows(none, in_x, in_y, (rank < sizes[-1]).astype(x.dtype))
        slots = bounds[-1][1] * width
        rows, rank, test = set_apart(rows, rank, slots, options.test)
        wide = [(first * width, last * width) for first, last in bounds]
        score = partial(_cross_validate, alphas=alphas, options=options, width=width, test=test)
        unite = partial(jax.tree.map, jnp.add)
        return over_sizes(rows, rank, sizes, wide, [], _moments, unite, score)

    arrange = partial(_by_molecule, shape=x.shape)
    return over_repeats(one_repeat, index, rank, sizes[-1], options.batch_size, arrange)


def _component_rows(a: Float[Array, "fold slot column m"]) -> Float[Array, "fold column row"]:
    """Make a row of every component."""
    folds, _, columns, _ = a.shape
    return a.swapaxes(1, 2).reshape(folds, columns, -1)


def _moments(rows: Rows) -> tuple[Array, Array, Array]:
    """Return the number of rows, XᵀX and XᵀY of every fold."""
    x = rows.x * rows.weight[:, None]
    xx, xy = (einsum("fdn,fen->fde", x, other) for other in (x, rows.y))
    return rows.weight.sum(-1), xx, xy


def _cross_validate(
    rows: Rows,
    blocks: Sequence[Array] | None,
    alphas: Array,
    options: Options,
    width: int,
    test: Rows | None = None,
) -> Scores:
    """Hold out every fold in turn, or a test set, and fit on the sum of the others' moments."""

    def hold_out(others: Array, include: Array, held_out: Rows) -> Scores:
        train = [jnp.tensordot(include, block, 1, precision="highest") for block in blocks or ()]
        return _probe_fold(
            train, TrainingRows(rows, others, width), held_out, alphas, options, width
        )

    return over_folds(hold_out, rows, test, options.batch_size)


def _probe_fold(
    train: Sequence[Array],
    training: TrainingRows,
    held_out: Rows,
    alphas: Array,
    options: Options,
    width: int,
) -> Scores:
    """Fit Ridge on one fold's training rows and score it on the held-out rows."""
    n, xx, xy = train
    columns, targets = xy.shape
    # Moments and residual of the scalar kernel, with no composition and with means of zero.
    none = jnp.zeros((0, columns + targets), xx.dtype)
    mean = jnp.zeros(columns + targets, xx.dtype)
    m = Moments(n, none[:, 0], mean, none[:, :0], none, none, xx, xy)
    residual = _about_zero(m, options.standardize)
    leave_out = _one_molecule(width)
    how = {"components": options.components, "loo": options.loo, "refine": options.refine}
    fit = fitted(residual, m, training, held_out, alphas, leave_out=leave_out, **how)
    r2 = tensor_r2(held_out.y, fit.prediction, held_out.weight)
    return Scores(
        r2_geom=r2,
        r2_full=r2,
        r2_comp=tensor_r2(held_out.y, jnp.zeros_like(held_out.y), held_out.weight),
        composition_share=jnp.zeros((), xx.dtype),
        alpha_geom=fit.alpha,
        alpha_full=fit.alpha,
        prediction=fit.prediction if options.predictions else None,
    )


def _about_zero(m: Moments, standardize: bool) -> Residual:
    """Return the residual of features that are not centred, on the scale of their mean square.

    A channel whose root mean square is below 100 eps of the largest one's is rounding, and drops
    out: its scale is 0.
    """
    mean_x, mean_y = jnp.split(m.mean, [m.features])
    b_x, b_y = jnp.split(m.b, [m.features], axis=-1)
    rounding = jnp.square(100 * jnp.finfo(m.xx.dtype).eps) * m.variance.max()
    kept = m.variance > rounding
    rms = jnp.sqrt(jnp.where(kept, m.variance, 1)) if standardize else 1
    scale = jnp.where(kept, 1 / rms, 0).astype(m.xx.dtype)
    trace = m.n * (m.variance * scale * scale).sum()
    return Residual(m.mean_c, mean_x, mean_y, b_x, b_y, scale, trace, standardize)


def _one_molecule(width: int) -> LeaveOut:
    """Make the leave-one-out error of whole molecules, each of `width` rows.

    Leaving out all components of a molecule at once turns its residuals r into (I − H)⁻¹ r, where H
    is the (width, width) block of the hat matrix that belongs to the molecule. Leaving out single
    components would make the choice of α depend on how the molecules are turned.
    """

    def error(left: Array, u: Array, shrunk: Array, weight: Array, _leverages: Array) -> Array:
        u = u.reshape(len(u), -1, width)
        left = left.reshape(len(left), -1, width).transpose(1, 2, 0)
        eye = jnp.eye(width, dtype=u.dtype)
        # A molecule that is fitted exactly has I − H = 0. Rounding leaves at least this much of it,
        # and without it the solution below would divide by zero.
        kept = (1 + width * jnp.finfo(u.dtype).eps) * eye
        kept = kept[None] - einsum("k,kim,kin->imn", shrunk, u, u)
        loo = gauss_jordan(kept, left)
        errors = einsum("i,imt->t", weight[::width], loo * loo)
        return jnp.where(jnp.isfinite(errors), errors, jnp.inf)

    return error


def _by_molecule(
    prediction: Float[Array, "fold alpha target row"],
    molecule: Int[Array, "fold slot"],
    shape: tuple[int, ...],
) -> Float[Array, "alpha molecule target m"]:
    """Return held-out predictions in the order of the molecules, components last."""
    molecules, _, width = shape
    folds, alphas, targets, _ = prediction.shape
    rows = prediction.reshape(folds, alphas, targets, -1, width).swapaxes(3, 4)
    columns = rows.reshape(folds, alphas, targets * width, -1)
    return by_molecule(columns, molecule, molecules).reshape(alphas, molecules, targets, width)
