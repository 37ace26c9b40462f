"""How sure is the score of an equivariant probe? Permuted tensors, and molecules drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irrep, IrrepsArray
from jaxtyping import Array, ArrayLike, Float
from scipy.spatial.transform import Rotation

from cpdjax.kernel.equivariant_probe import equivariant_probe
from cpdjax.kernel.options import Options
from cpdjax.machine.precision import precision
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.equivariant import matched
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_ids
from cpdjax.uncertainty.bootstrap import Bootstrap, check_grid, mean_scores, redrawn
from cpdjax.uncertainty.permutation import PermutationTest
from cpdjax.uncertainty.resampling import (
    group_ids,
    orders,
    p_values,
    refuse_traced,
    scores_of_copies,
)
from cpdjax.validation import check_count


@takes_choices(without=["projection"])
def equivariant_permutation_test(
    X: IrrepsArray | Float[ArrayLike, "molecule channel m"],
    Y: IrrepsArray | Float[ArrayLike, "molecule m"] | Float[ArrayLike, "molecule target m"],
    *,
    permutations: int = 1000,
    groups: Sequence[object] | np.ndarray | None = None,
    frames: Sequence[object] | np.ndarray | None = None,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    dtype: Any = None,
    **choices: Any,
) -> PermutationTest:
    """Test `equivariant_cpd` by permutation: how often do tensors of other molecules score as well?

    The p-value is that of `cpdjax.permutation_test`. The null hypothesis is that the target has to
    do with no feature. As neither prefers a direction of space, the target then points anywhere,
    whatever the frame of the molecule. Every molecule is therefore first turned at random, target
    and features together. That changes no score, but keeps the frames in which molecules happen to
    be stored out of the null distribution.

    Args:
        permutations: how many are drawn at random from `seed`.
        groups: a label for every row; only rows of one group change places.
        frames: a label for every row; rows of one frame are turned together. Where rows are
            atoms, give their molecules, and `groups` that lie within these.
        X, Y: as in `equivariant_cpd`; arrays in e3nn's basis.
        folds, alphas, standardize, components, seed, dtype: as in `equivariant_cpd`.

    Returns:
        NumPy arrays with axes (permutation, alpha, target).

    Raises:
        InputError: as `equivariant_cpd`; traced arrays, no permutations, or labels that are not
            one for each row.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4, 3))
    >>> Y = np.stack([X[:, 0], rng.normal(size=(60, 3))], axis=1)
    >>> test = equivariant_permutation_test(X, Y, permutations=99)
    >>> test.null.shape, test.p_value.round(2).tolist()[0][0]
    ((99, 1, 2), 0.01)
    """
    check_count("permutations", permutations)
    x, y = matched(X, Y)
    refuse_traced(x, y, alphas)
    arguments = Arguments.of_tensors(x, y, alphas, dtype, **choices)
    x, y, grid = (np.asarray(a) for a in arguments.arrays)
    x, y = _turned(x, y, frames, seed)
    ids = read_ids(folds, x, what="a permutation test")
    layout = cross_validation(len(x), ids, seed=seed)
    order = orders(len(y), permutations, groups, seed)
    scores = scores_of_copies(_of_copies, (x, y, grid), order, layout, arguments)
    observed, null = scores[0], scores[1:]
    return PermutationTest(observed, null, p_values(observed, null))


@takes_choices(without=["projection"])
def equivariant_bootstrap(
    X: IrrepsArray | Float[ArrayLike, "molecule channel m"],
    Y: IrrepsArray | Float[ArrayLike, "molecule m"] | Float[ArrayLike, "molecule target m"],
    *,
    replicates: int = 200,
    groups: Sequence[object] | np.ndarray | None = None,
    folds: Folds = 5,
    alphas: float | Sequence[float] = 1.0,
    seed: int = 0,
    dtype: Any = None,
    **choices: Any,
) -> Bootstrap:
    """Estimate how the R² of `equivariant_cpd` would scatter; see `cpdjax.bootstrap`.

    Args:
        replicates, groups: as in `cpdjax.bootstrap`.
        X, Y, folds, standardize, components, seed, dtype: as in `equivariant_cpd`.
        alphas: one Ridge penalty or a grid.

    Returns:
        NumPy arrays with axes (replicate, alpha, target).

    Raises:
        InputError: as `equivariant_cpd` and `cpdjax.bootstrap`.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4, 3))
    >>> found = equivariant_bootstrap(X, X[:, 0] + rng.normal(size=(60, 3)), replicates=99)
    >>> low, high = found.interval()
    >>> bool(low < found.observed < high), found.replicates.shape
    (True, (99, 1, 1))
    """
    check_count("replicates", replicates)
    check_grid(alphas)
    x, y = matched(X, Y)
    refuse_traced(x, y, alphas)
    arguments = Arguments.of_tensors(x, y, alphas, dtype, **choices)
    ids = read_ids(folds, x, what="the bootstrap")
    layout = redrawn(cross_validation(len(x), ids, seed=seed), replicates, seed, groups)
    scores = mean_scores(equivariant_probe, arguments, layout)
    return Bootstrap(scores[0], scores[1:])


def _turned(
    x: Float[np.ndarray, "row channel m"],
    y: Float[np.ndarray, "row target m"],
    frames: Any,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and targets with every frame turned at random."""
    turn = turns(len(x), x.shape[-1] // 2, frames, seed)
    return tuple(np.einsum("nij,ncj->nci", turn, a) for a in (x, y))


def turns(rows: int, degree: int, frames: Any, seed: int) -> Float[np.ndarray, "row m m"]:
    """Return matrices that turn tensors of a degree at random, one for each frame of rows."""
    frame = np.arange(rows) if frames is None else group_ids(frames, rows)
    drawn = Rotation.random(frame.max() + 1, random_state=np.random.default_rng((seed, 3)))
    with precision(np.float64):
        turn = Irrep(degree, 1).D_from_matrix(jnp.asarray(drawn.as_matrix()))
        return np.asarray(turn)[frame]


def _of_copies(
    order: Array, x: Array, y: Array, alphas: Array, index: Array, rank: Array,
    *, options: Options,
) -> Float[Array, "copy alpha target"]:  # fmt: skip
    rows, targets, width = y.shape
    copies = y[order].swapaxes(0, 1).reshape(rows, -1, width)
    bounds = ((0, index.shape[-1]),)
    where = index[None], rank[None]
    scores = equivariant_probe(
        x, copies, alphas, *where, sizes=(rows,), bounds=bounds, options=options
    )
    mean = scores.r2_geom[0, 0].mean(0)
    return mean.reshape(len(mean), -1, targets).swapaxes(0, 1)  # one α where it is chosen
