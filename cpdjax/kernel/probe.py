"""Probe one set of features in one compiled program: every fold, size, α and target.

    rows → second moments → projection → residual → ridge → scores

Everything is traced and nothing is checked here: `probes.cpd` is what a caller runs.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from cpdjax.kernel.fit import fitted
from cpdjax.kernel.leace import predicted_composition, with_predicted_composition
from cpdjax.kernel.moments import Moments, about_mean, eliminate, merge, moments
from cpdjax.kernel.nested import by_molecule, over_folds, over_repeats, over_sizes, set_apart
from cpdjax.kernel.options import Options
from cpdjax.kernel.projection import from_composition, hat, least_squares, regression
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
    """Return scores with axes (repeat, size, fold, alpha, target).

    `index`, `rank`, `sizes` and `bounds` are those of a `probes.folds.Layout`.
    """

    def one_repeat(layout: tuple[Array, Array]) -> Scores:
        index, rank = layout
        in_c, in_x, in_y = (a[index].swapaxes(1, 2) for a in (c, x, y))
        rows = Rows(in_c, in_x, in_y, (rank < sizes[-1]).astype(x.dtype))
        rows, rank, test = set_apart(rows, rank, bounds[-1][1], options.test)
        score = partial(_cross_validate, alphas=alphas, options=options, test=test)
        # The dual form needs the rows themselves, and moments of one size alone.
        few = [i for i, (_, slots) in enumerate(bounds) if _is_dual(len(index), slots, x.shape[1])]
        measure, unite = lambda rows: moments(*rows), jax.vmap(_union)
        return over_sizes(rows, rank, sizes, bounds, few, measure, unite, score)

    arrange = partial(by_molecule, molecules=len(x))
    return over_repeats(one_repeat, index, rank, sizes[-1], options.batch_size, arrange)


def cross_validate(rows: Rows, alphas: Float[Array, " alpha"], options: Options) -> Scores:
    """Return scores (fold, alpha, target) of rows laid out by fold, inside a compiled function."""
    folds, features, slots = rows.x.shape
    blocks = None if _is_dual(folds, slots, features) else moments(*rows)
    return _cross_validate(rows, blocks, alphas, options)


def _is_dual(folds: int, slots: int, features: int) -> bool:
    """Return whether training rows are fewer than features, so that their Gram matrix is smaller.

    The shapes decide, padding included, because they are all that is known when compiling.
    """
    return slots * (folds - 1) < features


def _union(a: Moments, b: Moments) -> Moments:
    """Merge the moments of two disjoint sets of rows of one fold."""
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), a, b)
    return merge(both, jnp.ones_like(both.n), eliminate)


def _cross_validate(
    rows: Rows,
    blocks: Moments | None,
    alphas: Array,
    options: Options,
    test: Rows | None = None,
) -> Scores:
    """Hold out every fold in turn and score a fit on the others; or a test set, and fit on all.

    No held-out row can reach a fit: training moments are merged from the blocks of the other folds
    alone, rather than subtracted from those of all rows, which would leave a rounding error of the
    held-out rows behind. `blocks` holds the moments of every fold; None in the dual form, whose
    moments keep only the diagonal of XᵀX and are cheap to make.
    """
    if blocks is None:
        blocks = moments(*rows, dual=True)

    def hold_out(others: Array, include: Array, held_out: Rows) -> Scores:
        elements = options.elements or rows.c.shape[1]
        # The projection is the regression that `merge` moves the training rows to: once merged,
        # `train` is about the fitted values, so its second moments are those of the residual.
        regress = regression(options.projection, blocks, include, elements)
        train = merge(blocks, include, regress)
        # R²_comp is always that of least squares, whatever is subtracted from the features.
        composition = from_composition(options.projection, train, held_out.c, elements)
        training = TrainingRows(rows, others)
        if options.projection == "leace":
            # LEACE subtracts what the features themselves predict of composition. With these
            # predictions in composition's place it is the same least squares as before.
            held_out = held_out._replace(c=predicted_composition(train, training, held_out))
            training = TrainingRows(with_predicted_composition(train, training), others)
            regress = least_squares
            train = merge(moments(*training.rows, dual=train.dual), include, regress)
        leverages = hat(options.projection, train, regress) if options.loo else None
        return _probe_fold(train, leverages, training, held_out, composition, alphas, options)

    return over_folds(hold_out, rows, test, options.batch_size)


def _probe_fold(
    train: Moments,
    leverages: Float[Array, "concept concept"] | None,
    training: TrainingRows,
    held_out: Rows,
    composition: Float[Array, "target row"],
    alphas: Float[Array, " alpha"],
    options: Options,
) -> Scores:
    """Fit Ridge on one fold's training rows, with and without the projection, and score both.

    Args:
        train: moments of the training rows about the projection.
        leverages: the matrix of the projection's leverages; see `projection.hat`.
        training: the training rows, which small α visit once more for accuracy.
        composition: what least squares from composition predicts of the held-out targets.
    """
    # Moments about the mean describe the features as they came: Ridge from these is R²_full.
    raw = about_mean(train)
    geom = raw if options.projection == "none" else train
    how = {"components": options.components, "loo": options.loo, "refine": options.refine}
    fit = partial(fitted, **how)

    def probe(kind: tuple[Moments, Array | None]) -> _Probed:
        m, own = kind
        # The raw variance decides which features are nothing but rounding once projected.
        residual = Residual.of(m, raw.variance, standardize=options.standardize, hat=own)
        prediction, alpha = fit(residual, m, training, held_out, alphas)
        # Ridge adds the mean of the targets to its predictions; composition's hold it already.
        both = composition[None] + (prediction - residual.mean_y[None, :, None])
        score = partial(r2_score, held_out.y, weight=held_out.weight)
        return _Probed(
            score(prediction=prediction),
            alpha,
            prediction if options.predictions else None,
            score(prediction=both) if options.both else None,
        )

    # One compiled body probes the residual and the raw features, one after the other.
    none = None if leverages is None else jnp.zeros_like(leverages)
    residual_and_raw = ((geom, leverages), (raw, none))
    wanted = residual_and_raw if options.full and geom is not raw else residual_and_raw[:1]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *wanted)
    found = lax.map(probe, stacked, batch_size=options.batch_size)
    return Scores(
        r2_geom=found.r2[0],
        r2_full=found.r2[-1] if options.full else jnp.full_like(found.r2[0], jnp.nan),
        r2_comp=r2_score(held_out.y, composition, held_out.weight),
        composition_share=_explained_share(
            geom.variance,
            raw.variance,
            Residual.of(raw, raw.variance, standardize=options.standardize).scale,
        ),
        alpha_geom=found.alpha[0],
        alpha_full=found.alpha[-1],
        prediction=None if found.prediction is None else found.prediction[0],
        r2_both=None if found.r2_both is None else found.r2_both[0],
    )


class _Probed(NamedTuple):
    """Hold what one kind of features, residual or raw, gives on held-out rows."""

    r2: Float[Array, "alpha target"]
    alpha: Float[Array, "alpha target"]
    prediction: Float[Array, "alpha target row"] | None
    r2_both: Float[Array, "alpha target"] | None


def _explained_share(
    left: Float[Array, " feature"], variance: Float[Array, " feature"], scale: Array
) -> Float[Array, ""]:
    """Return the share of the features' variance that the projection takes away.

    Features count as the probe weighs them: equally where it standardises, `scale` being one over
    their standard deviation, and by their variance otherwise.
    """
    weight = scale * scale
    total = (variance * weight).sum()
    explained = total - (left * weight).sum()
    return jnp.where(total > 0, explained / jnp.where(total > 0, total, 1), jnp.nan)
