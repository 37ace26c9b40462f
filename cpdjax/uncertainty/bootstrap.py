"""How sure is a score? The bootstrap over molecules, each replicate a further layout of folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, ArrayLike, Float, Int

from cpdjax.errors import InputError
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import probe
from cpdjax.kernel.scores import Scores
from cpdjax.machine.devices import full_call, local_mesh, put_shares, put_whole, spread
from cpdjax.machine.precision import precision
from cpdjax.machine.programs import compiled
from cpdjax.machine.threads import one_blas_thread
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import Layout, cross_validation, padded
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_ids
from cpdjax.probes.within import whole_folds
from cpdjax.uncertainty.resampling import group_ids, refuse_traced
from cpdjax.validation import check_count, check_rows

#: On an accelerator, the rows of all replicates in flight hold at most this many numbers: 2 GB.
_GATHERED = 2**28


class Interval(NamedTuple):
    """Hold the two ends of an interval."""

    low: Float[np.ndarray, "*score"]
    high: Float[np.ndarray, "*score"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bootstrap:
    """Hold the mean R²_geom over folds of the molecules as they are, and of molecules drawn anew.

    Two models probed with equal `replicates`, `folds` and `seed` see the same draws. Replicate by
    replicate their scores are pairs, and `difference` is far surer than either score.
    """

    observed: Float[Array | np.ndarray, "alpha target"]
    replicates: Float[Array | np.ndarray, "replicate alpha target"]

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval of the score at `level`, from replicates mirrored about their median.

            low, high = quantiles of 1 − L median(1 − R²) / (1 − R²),   L = 1 − R² observed

        Quantiles and median are over the replicates' R². On the scale log(1 − R²), where scores
        scatter evenly, this is the basic interval (Davison and Hinkley, Bootstrap Methods and their
        Application, 1997, section 5.2) without its correction of bias. A training set with repeats
        is worth fewer molecules, which lowers the score of every replicate, but not the observed
        score: a percentile interval therefore lies too low, and the plain basic interval too high
        by the same amount. In simulations (100 to 500 molecules, 5 to 100 features) the nominal
        95 % covered the truth in 94 % to 100 % of the cases, and intervals of differences in 96 %
        to 100 %. They are too wide, not too narrow, where R² is near zero or there are few
        molecules for each feature.

        The interval is NaN where a replicate has no score.

        Raises:
            InputError: a level outside (0, 1).
        """
        return interval(self._mirrored, level)

    def difference(self, other: Bootstrap, level: float = 0.95) -> Interval:
        """Return the interval of this R² less the R² of another model on the same draws.

        Its ends are quantiles of the paired differences of mirrored replicates. `interval` is the
        special case of another score that does not scatter.

        Raises:
            InputError: the replicates differ in shape, or the level is outside (0, 1).
        """
        if self.replicates.shape != other.replicates.shape:
            raise InputError(
                f"replicates of shapes {self.replicates.shape} and {other.replicates.shape} are "
                "no pairs: draw both with the same replicates, folds and seed"
            )
        return interval(self._mirrored - other._mirrored, level)

    @property
    def _mirrored(self) -> Float[np.ndarray, "replicate alpha target"]:
        return mirrored(np.asarray(self.observed), np.asarray(self.replicates))


@takes_choices()
def bootstrap(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    replicates: int = 200,
    groups: Sequence[object] | np.ndarray | None = None,
    folds: Folds = 5,
    alphas: float | Sequence[float] = 1.0,
    seed: int = 0,
    concepts: Float[ArrayLike, "molecule concept"] | None = None,
    dtype: Any = None,
    **choices: Any,
) -> Bootstrap:
    """Estimate how R²_geom would scatter over other molecules of the same kind.

    A replicate draws from each fold as many molecules as the fold has, with replacement, and goes
    through the whole cross-validation. A molecule never leaves its fold, or its copies would be
    trained on and held out at once.

    The truth that `Bootstrap.interval` is meant to cover is the mean score of the same procedure
    (as many molecules, folds, α) over data sets drawn from the population that these molecules
    are a random sample of; not the score that more molecules would reach.

    Args:
        replicates: how many are drawn at random from `seed`.
        groups: a label for every row; whole groups are drawn, as many from each fold as it has.
            Give them where rows are not independent: the molecules of atoms; or formulas, where
            the folds are `group_folds` and the question is what other formulas would have scored.
        alphas: one Ridge penalty or a grid. "loo", which `cpd` has by default, is refused: the row
            that it leaves out has copies among the others, and the α that suits copies is too
            small.
        X, C, Y, folds, concepts, standardize, projection, components, seed, dtype: as in
            `cpd`. A draw lacks some molecules, and with them rare kinds of bonds more often than
            the data do. The projection "within" takes its groups from `groups`.

    Returns:
        NumPy arrays. A target that is constant in a held-out fold has NaN for its score.

    Raises:
        InputError: as `cpd`; traced arrays, no replicates, α by leave-one-out, or groups that are
            not one a row or not whole in a fold.

    >>> rng = np.random.default_rng(0)
    >>> X, C = rng.normal(size=(100, 4)), rng.integers(0, 5, (100, 2))
    >>> found = bootstrap(X, C, X[:, 0] + rng.normal(size=100), replicates=99)
    >>> low, high = found.interval()
    >>> bool(low < found.observed < high), found.replicates.shape
    (True, (99, 1, 1))
    """
    check_count("replicates", replicates)
    check_grid(alphas)
    refuse_traced(X, C, Y, alphas, concepts)
    arguments = Arguments.of(X, C, Y, alphas, dtype, concepts, groups=groups, **choices)
    ids = read_ids(folds, arguments.arrays[0], arguments.targets, what="the bootstrap")
    if choices.get("projection") == "within":
        ids = whole_folds(ids, groups, arguments.rows, seed)
    layout = cross_validation(arguments.rows, ids, seed=seed)
    layout = redrawn(layout, replicates, seed, groups)
    scores = mean_scores(probe, arguments, layout)
    return Bootstrap(scores[0], scores[1:])


def check_grid(alphas: Any) -> None:
    """Raise InputError for alphas that leave-one-out would choose."""
    if isinstance(alphas, str):
        raise InputError(
            f"the bootstrap needs alphas of its own, got {alphas!r}: leave-one-out sees copies of "
            "the row that it leaves out"
        )


def redrawn(
    layout: Layout,
    replicates: int,
    seed: int,
    groups: Sequence[object] | np.ndarray | None = None,
) -> Layout:
    """Return a layout of the first repeat at the largest size, and of its replicates.

    Replicates come as further repeats, so that one program scores all of them.

    Raises:
        InputError: there is not one group for each row, or a group lies in two folds.

    >>> layout = redrawn(cross_validation(6, 2), replicates=3, seed=0)
    >>> layout.index.shape, all(set(r[1]) <= set(layout.index[0, 1]) for r in layout.index)
    ((4, 2, 3), True)
    """
    index, rank, size = layout.index[0], layout.rank[0], layout.sizes[-1]
    check_rows("all replicates", (1 + replicates) * index.size)
    filled = (rank < size).sum(-1)  # the first slots of every fold
    rng = np.random.default_rng((seed, 2))
    if groups is not None:
        folds = [rows[:count] for rows, count in zip(index, filled, strict=True)]
        return _redrawn_groups(folds, group_ids(groups, int(filled.sum())), size, replicates, rng)
    slots = rng.integers(0, filled[:, None], (replicates, *index.shape))
    drawn = np.take_along_axis(np.broadcast_to(index, slots.shape), slots, axis=-1)
    all_index = np.concatenate([index[None], drawn])
    return Layout(
        (size,), ((0, index.shape[1]),), all_index, np.broadcast_to(rank, all_index.shape)
    )


def _redrawn_groups(
    folds: list[np.ndarray],
    group: Int[np.ndarray, " row"],
    size: int,
    replicates: int,
    rng: np.random.Generator,
) -> Layout:
    members = []
    for rows in folds:
        rows = rows[np.argsort(group[rows], kind="stable")]
        members.append(np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1))
    if sum(map(len, members)) > len(np.unique(group)):
        raise InputError(
            "a group lies in two folds, where its rows would be drawn apart: give fold ids that "
            "keep groups whole, such as cpdjax.group_folds(groups)"
        )

    def draw(whole: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([whole[i] for i in rng.integers(0, len(whole), len(whole))])

    drawn = [[draw(whole) for whole in members] for _ in range(replicates)]
    # A draw of whole groups can have more rows than the data. All rows get rank 0, which lies below
    # every size, so that none is taken for padding.
    return padded([[(rows, np.zeros_like(rows)) for rows in r] for r in (folds, *drawn)], (size,))


def mirrored(
    observed: Float[np.ndarray, "*score"], replicates: Float[np.ndarray, "replicate *score"]
) -> Float[np.ndarray, "replicate *score"]:
    """Mirror replicates of R² about their median and move that to the observed score.

    Both happen on the scale log(1 − R²).

    >>> mirrored(np.array(0.6), np.array([0.5, 0.0, 0.75])).tolist()
    [0.6, 0.8, 0.2]
    """
    smallest = np.finfo(replicates.dtype).tiny
    error = 1 - replicates
    return 1 - (1 - observed) * np.median(error, axis=0) / np.maximum(error, smallest)


def interval(draws: Float[np.ndarray, "replicate *score"], level: float) -> Interval:
    """Return the interval that holds the middle `level` of the draws.

    Raises:
        InputError: the level is outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"level must be between 0 and 1, such as 0.95, got {level!r}")
    return Interval(*np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0))


def mean_scores(
    kernel: Callable[..., Scores], arguments: Arguments, layout: Layout
) -> Float[np.ndarray, "replicate alpha target"]:
    """Return the mean R²_geom over folds of every repeat of a layout, spread over all devices."""
    mesh = local_mesh()
    repeats = len(layout.index)
    # Every device gets equally many repeats: further ones, if need be, from the beginning again.
    own = np.arange(full_call(repeats, repeats, mesh)) % repeats
    with precision(arguments.dtype), one_blas_thread():
        arrays = [jnp.asarray(a, arguments.dtype) for a in arguments.arrays]
        scores = _mean_scores(
            *put_shares((layout.index[own], layout.rank[own]), mesh),
            *put_whole(arrays, mesh),
            mesh=mesh,
            kernel=kernel,
            sizes=layout.sizes,
            bounds=layout.bounds,
            options=_in_memory(arguments),
        )
        found: np.ndarray = jax.device_get(scores)
        return found[:repeats]


def _in_memory(arguments: Arguments) -> Options:
    """Return options with as many replicates at once as memory allows; on a CPU one by one."""
    options = replace(arguments.options, full=False)
    if options.batch_size is None:
        return options
    fitting = max(_GATHERED // arguments.arrays[0].size, 1)
    return replace(options, batch_size=min(options.batch_size, fitting))


@partial(compiled, static_argnames=("mesh", "kernel", "sizes", "bounds", "options"))
def _mean_scores(
    index: Array, rank: Array, *arrays: Array, mesh: Mesh, kernel: Any, **static: Any
) -> Float[Array, "replicate alpha target"]:
    def share(index: Array, rank: Array, *arrays: Array) -> Array:
        mean: Array = kernel(*arrays, index, rank, **static).r2_geom[:, 0].mean(1)
        return mean

    scores: Array = spread(share, mesh, split=2)(index, rank, *arrays)
    return scores
