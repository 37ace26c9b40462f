"""The kernel: every fold, size, α and target of one set of features, in one compiled function.

    rows → moments → projection → ridge → scores

Shapes are static and come from a `folds.Layout`; all else is traced, so the function nests in a
caller's jit, vmap and grad.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.fit import Fit, dual, primal
from cpdjax.kernel.leace import with_predicted_composition as foretold
from cpdjax.kernel.moments import Moments, about_mean, eliminate, merge, moments
from cpdjax.kernel.options import Options
from cpdjax.kernel.projection import from_composition, least_squares, regression
from cpdjax.kernel.residual import Residual, Rows, TrainingRows
from cpdjax.kernel.scores import Scores, r2_score


@partial(jax.jit, static_argnames=("sizes", "bounds", "options"))
def probe(
    x: Float[Array, "molecule feature"],
    c: Float[Array, "molecule element"],
    y: Float[Array, "molecule target"],
    alphas: Float[Array, " alpha"],
    index: Int[Array, "repeat fold slot"],
    rank: Int[Array, "repeat fold slot"],
    *,
    sizes: tuple[int, ...],
    bounds: tuple[tuple[int, int], ...],
    options: Options,
) -> Scores:
    """Scores with axes (repeat, size, fold, alpha, target). See `folds.Layout` for the layout."""

    def one_repeat(layout: tuple[Array, Array]) -> Scores:
        index, rank = layout
        in_c, in_x, in_y = (a[index].swapaxes(1, 2) for a in (c, x, y))
        rows = Rows(in_c, in_x, in_y, (rank < sizes[-1]).astype(x.dtype))
        curve, blocks, done = [], None, 0
        for size, (first, last) in zip(sizes, bounds, strict=True):
            seen = _select(rows, 0, last, rank < size)
            if _is_dual(seen):
                curve.append(cross_validate(seen, alphas, options))
                continue
            new = _select(rows, first if done else 0, last, (rank >= done) & (rank < size))
            fresh = moments(*new)
            blocks, done = fresh if blocks is None else jax.vmap(_union)(blocks, fresh), size
            curve.append(_cross_validate(seen, blocks, alphas, options))
        return jax.tree.map(lambda *a: jnp.stack(a), *curve)

    scores = lax.map(one_repeat, (index, rank), batch_size=options.batch_size)
    if scores.prediction is None:
        return scores
    place = jnp.where(rank < sizes[-1], index, len(x))  # padding falls off the end
    return replace(scores, prediction=by_molecule(scores.prediction[0, 0], place[0], len(x)))


def cross_validate(rows: Rows, alphas: Float[Array, " alpha"], options: Options) -> Scores:
    """Scores (fold, alpha, target) of rows laid out by fold; part of a compiled function."""
    return _cross_validate(rows, moments(*rows, dual=_is_dual(rows)), alphas, options)


def _is_dual(rows: Rows) -> bool:
    """Whether training rows are fewer than features."""
    folds, features, slots = rows.x.shape
    return slots * (folds - 1) < features


def _select(rows: Rows, first: int, last: int, where: Array) -> Rows:
    c, x, y, weight = (a[..., first:last] for a in rows)
    return Rows(c, x, y, jnp.where(where[:, first:last], weight, 0))


def _union(a: Moments, b: Moments) -> Moments:
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), a, b)
    return merge(both, jnp.ones_like(both.n), eliminate)


def _cross_validate(rows: Rows, blocks: Moments, alphas: Array, options: Options) -> Scores:
    folds = len(rows.weight)

    def hold_out(fold: Array) -> Scores:
        others = (fold + 1 + jnp.arange(folds - 1)) % folds
        include = jnp.ones(folds, rows.x.dtype).at[fold].set(0)
        elements = options.elements or rows.c.shape[1]
        train = merge(blocks, include, regression(options.projection, blocks, include, elements))
        composition = from_composition(options.projection, train, rows.c[fold], elements)
        projected = rows
        if options.projection == "leace":
            projected = foretold(train, TrainingRows(rows, others))
            again = moments(*projected, dual=train.dual)
            train = merge(again, include, least_squares)
        held_out = Rows(*(a[fold] for a in projected))
        training = TrainingRows(projected, others)
        return _probe_fold(train, training, held_out, composition, alphas, options)

    return lax.map(hold_out, jnp.arange(folds), batch_size=options.batch_size)


def _probe_fold(
    train: Moments,
    rows: TrainingRows,
    held_out: Rows,
    composition: Array,
    alphas: Array,
    options: Options,
) -> Scores:
    untouched = about_mean(train)
    fit = partial(dual if train.dual else primal, loo=options.loo)

    def ridge(m: Moments) -> tuple[Residual, Fit]:
        residual = Residual.of(m, untouched.variance, standardize=options.standardize)
        return residual, fit(residual, m, rows, held_out, alphas)

    if options.projection == "none":
        train = untouched
    as_is, full = ridge(untouched)
    residual, geom = (as_is, full) if train is untouched else ridge(train)
    both = composition[None] + (geom.prediction - residual.mean_y[None, :, None])
    return Scores(
        r2_geom=r2_score(held_out.y, geom.prediction, held_out.weight),
        r2_full=r2_score(held_out.y, full.prediction, held_out.weight),
        r2_comp=r2_score(held_out.y, composition, held_out.weight),
        composition_share=_explained_share(train.variance, untouched.variance, as_is.scale),
        alpha_geom=geom.alpha,
        alpha_full=full.alpha,
        prediction=geom.prediction if options.predictions else None,
        r2_both=r2_score(held_out.y, both, held_out.weight) if options.both else None,
    )


def _explained_share(left: Array, variance: Array, scale: Array) -> Float[Array, ""]:
    weight = scale * scale
    total = (variance * weight).sum()
    explained = total - (left * weight).sum()
    return jnp.where(total > 0, explained / jnp.where(total > 0, total, 1), jnp.nan)


def by_molecule(prediction: Array, place: Array, molecules: int) -> Array:
    """(fold, alpha, target, slot) → (alpha, molecule, target)."""
    _, alphas, targets, _ = prediction.shape
    rows = prediction.transpose(1, 0, 3, 2).reshape(alphas, -1, targets)
    empty = jnp.zeros((alphas, molecules, targets), prediction.dtype)
    return empty.at[:, place.reshape(-1)].set(rows, mode="drop")
