"""The kernel of equivariant probes: every fold, size, α and target of channels of one irrep.

    rows → second moments about zero → ridge → scores

A row is one component of one molecule. It is the kernel of `probe` with nothing to project out: no
composition, no means. Moments about zero simply add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.fit import LeaveOut, primal
from cpdjax.kernel.moments import Moments, einsum
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import by_molecule
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
    """Scores with axes (repeat, size, fold, alpha, target). See `folds.Layout` for the layout.

    `prediction`, on request, has axes (alpha, molecule, target, m).
    """
    width = x.shape[-1]

    def one_repeat(layout: tuple[Array, Array]) -> Scores:
        index, rank = layout
        in_x, in_y = (_component_rows(a[index]) for a in (x, y))
        none = jnp.zeros((len(index), 0, in_x.shape[-1]), x.dtype)
        rows = Rows(none, in_x, in_y, jnp.repeat(rank < sizes[-1], width, axis=1).astype(x.dtype))
        rank = jnp.repeat(rank, width, axis=1)
        curve, blocks, done = [], None, 0
        for size, (first, last) in zip(sizes, bounds, strict=True):
            new = _select(rows, first * width, last * width, (rank >= done) & (rank < size))
            fresh = _moments(new)
            blocks = fresh if blocks is None else jax.tree.map(jnp.add, blocks, fresh)
            done = size
            seen = _select(rows, 0, last * width, rank < size)
            curve.append(_cross_validate(seen, blocks, alphas, options, width))
        return jax.tree.map(lambda *a: jnp.stack(a), *curve)

    scores = lax.map(one_repeat, (index, rank), batch_size=options.batch_size)
    if scores.prediction is None:
        return scores
    place = jnp.where(rank < sizes[-1], index, len(x))  # padding falls off the end
    return replace(scores, prediction=_by_molecule(scores.prediction[0, 0], place[0], x.shape))


def _component_rows(a: Array) -> Float[Array, "fold column row"]:
    """(fold, slot, column, m) → (fold, column, slot·m)."""
    folds, _, columns, _ = a.shape
    return a.swapaxes(1, 2).reshape(folds, columns, -1)


def _select(rows: Rows, first: int, last: int, where: Array) -> Rows:
    c, x, y, weight = (a[..., first:last] for a in rows)
    return Rows(c, x, y, jnp.where(where[:, first:last], weight, 0))


def _moments(rows: Rows) -> tuple[Array, Array, Array]:
    """Of every fold: rows, XᵀX, XᵀY."""
    x = rows.x * rows.weight[:, None]
    xx, xy = (einsum("fdn,fen->fde", x, other) for other in (x, rows.y))
    return rows.weight.sum(-1), xx, xy


def _cross_validate(
    rows: Rows, blocks: tuple[Array, ...], alphas: Array, options: Options, width: int
) -> Scores:
    folds = len(rows.weight)

    def hold_out(fold: Array) -> Scores:
        others = (fold + 1 + jnp.arange(folds - 1)) % folds
        include = jnp.ones(folds, rows.x.dtype).at[fold].set(0)
        train = [jnp.tensordot(include, block, 1, precision="highest") for block in blocks]
        held_out = Rows(*(a[fold] for a in rows))
        return _probe_fold(train, TrainingRows(rows, others), held_out, alphas, options, width)

    return lax.map(hold_out, jnp.arange(folds), batch_size=options.batch_size)


def _probe_fold(
    train: Sequence[Array],
    rows: TrainingRows,
    held_out: Rows,
    alphas: Array,
    options: Options,
    width: int,
) -> Scores:
    n, xx, xy = train
    columns, targets = xy.shape
    none = jnp.zeros((0, columns + targets), xx.dtype)
    mean = jnp.zeros(columns + targets, xx.dtype)
    m = Moments(n, none[:, 0], mean, none[:, :0], none, none, xx, xy)
    residual = _about_zero(m, options.standardize)
    leave_out = _one_molecule(width)
    fit = primal(residual, m, rows, held_out, alphas, loo=options.loo, leave_out=leave_out)
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
    """What `Residual.of` is, without composition and means: features on the scale of their RMS."""
    mean_x, mean_y = jnp.split(m.mean, [m.features])
    b_x, b_y = jnp.split(m.b, [m.features], axis=-1)
    rounding = jnp.square(100 * jnp.finfo(m.xx.dtype).eps) * m.variance.max()
    kept = m.variance > rounding
    rms = jnp.sqrt(jnp.where(kept, m.variance, 1)) if standardize else 1
    scale = jnp.where(kept, 1 / rms, 0).astype(m.xx.dtype)
    trace = m.n * (m.variance * scale * scale).sum()
    return Residual(m.mean_c, mean_x, mean_y, b_x, b_y, scale, trace, standardize)


def _one_molecule(width: int) -> LeaveOut:
    """Leave out all components of a molecule: its residuals become (I − H)⁻¹ r, H its leverage."""

    def error(left: Array, u: Array, shrunk: Array, weight: Array, n: Array) -> Array:
        u = u.reshape(len(u), -1, width)
        left = left.reshape(len(left), -1, width).transpose(1, 2, 0)
        eye = jnp.eye(width, dtype=u.dtype)
        # What rounding may leave of 1 − h, at least, or a molecule fitted exactly divides by zero.
        kept = (1 + width * jnp.finfo(u.dtype).eps) * eye
        kept = kept[None] - einsum("k,kim,kin->imn", shrunk, u, u)
        loo = _solve(kept, left)
        errors = einsum("i,imt->t", weight[::width], loo * loo)
        return jnp.where(jnp.isfinite(errors), errors, jnp.inf)

    return error


def _solve(a: Float[Array, "row m m"], b: Float[Array, "row m target"]) -> Array:
    """a⁻¹ b of many small positive definite a by Gauss and Jordan: no LAPACK call, see `ridge`."""
    system = jnp.concatenate([a, b], -1)
    eye = jnp.eye(a.shape[-1], dtype=a.dtype)
    for j in range(a.shape[-1]):
        row = system[:, j] / system[:, j, j, None]
        system = system - (system[:, :, j] - eye[None, j])[..., None] * row[:, None]
    return system[..., a.shape[-1] :]


def _by_molecule(prediction: Array, place: Array, shape: tuple[int, ...]) -> Array:
    """(fold, alpha, target, slot·m) → (alpha, molecule, target, m)."""
    molecules, _, width = shape
    folds, alphas, targets, _ = prediction.shape
    rows = prediction.reshape(folds, alphas, targets, -1, width).swapaxes(3, 4)
    columns = rows.reshape(folds, alphas, targets * width, -1)
    return by_molecule(columns, place, molecules).reshape(alphas, molecules, targets, width)
