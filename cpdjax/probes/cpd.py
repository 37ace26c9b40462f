"""Run Compositional Probe Decomposition on one set of features.

For every fold, on training rows only: least squares from composition to every feature; subtract
it from training and held-out rows; Ridge from the residual to the target; R² on the held-out
rows. That is `r2_geom`. The same Ridge on the raw features is `r2_full`, least squares from
composition straight to the target is `r2_comp` (J. Steier, arXiv 2603.03155). What is subtracted
can be chosen (`projection`); `r2_full` and `r2_comp` do not depend on it.

Both functions are pure functions of arrays: they work inside a caller's jit, vmap and grad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import ArrayLike, Bool, Float, Int

from cpdjax.errors import InputError
from cpdjax.kernel.nested import of_one_size
from cpdjax.kernel.scores import Scores
from cpdjax.probes.apart import check_no_folds, nested_beside
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import cross_validation, nested, of_groups
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_folds, read_ids
from cpdjax.probes.within import whole_folds


@takes_choices()
def cpd(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    groups: Sequence[object] | np.ndarray | None = None,
    predictions: bool = False,
    concepts: Float[ArrayLike, "molecule concept"] | None = None,
    dtype: Any = None,
    **choices: Any,
) -> Scores:
    """Decompose what features tell of targets into composition and geometry, fold by fold.

    On the training rows of each fold, with C and Y centred (every fit has an intercept):

        B = argmin ‖X − CB‖²,   Z = (X − CB) / std(X − CB),   W = argmin ‖Y − ZW‖² + α‖W‖²

    The score is R² of ZW on the held-out rows. A feature whose residual variance is below eps^(3/4)
    of its variance (1.8e-12 in float64) owes everything to composition, and drops out.

    Scores do not depend on the units of X, C and Y, column by column, over the whole range of
    float64 (`probes.units` says how). Without `standardize`, α has the unit of X squared.

    Args:
        X: features of every molecule.
        C: composition of every molecule, element counts or fractions, without an intercept; its
            rank may be smaller than its number of columns.
        Y: one target, or a target in each column. A single target has a target axis of length one.
        folds: the number of shuffled folds, drawn with `seed`; or the fold id of every molecule
            (`group_folds` makes ids that keep groups whole); or a splitter such as those of
            scikit-learn, or its pairs of (train, test) rows. Each split is then a fold.
        alphas: one Ridge penalty, a grid of them, or "loo": for each target and fold, the α of
            `kernel.ridge.LOO_ALPHAS` with the smallest leave-one-out error on the training rows,
            of composition and features together, both fitted without the molecule. The paper has
            1.0, which fails where molecules are few; see the page "Choosing α".
        seed: random seed of the folds.
        groups: for the projection "within", the group of every row; folds keep groups whole.
        predictions: return every molecule's held-out prediction from the residual as well, for
            which the folds must hold every molecule out once.
        concepts: further columns that are taken out together with composition, by least squares on
            C and these side by side, such as `bond_counts(structures)[0]`. They may be linearly
            dependent; see "bonds" below for columns that a training fold does not have.
        dtype: precision of the arithmetic. By default it is float64, asked for locally (float32 on
            a TPU); inside a transformation, it is the precision of what is traced.
        standardize: scale features to unit variance on the training rows of each fold.
        projection: what is subtracted from X, always fitted on the training rows of each fold:
            "ols": CB, as above.
            "none": nothing, so that `r2_geom` is `r2_full`.
            "ridge": CB with the penalty ‖SB‖² on B, where S holds the standard deviations of C.
                Some composition stays in Z, and Y stays as it is.
            "quadratic": as "ols", from the columns of C and all their products.
            "formula": for a molecule whose formula (row of C) is among the training rows, the mean
                of those rows; for any other (our choice) CB as above. This is the strictest: no
                function of composition is left in Z. C must hold counts: C2H4 and C3H6 have the
                same fractions.
            "leace": the linear prediction of C from X alone, so that once it is fitted no
                molecule's composition is asked for; see `cpdjax.kernel.leace`.
            "oracle-leace": the same as "ols", under the name that its literature gives it.
            "bonds": as "ols", from the columns of C and of `concepts`, which then are the numbers
                of bonds and rings: `r2_geom` is geometry beyond composition, bonds and rings. A
                kind of bond that no training molecule has is given the coefficient zero (that of
                minimum norm, as scikit-learn's): held-out molecules with such a bond are taken for
                molecules without it, and what it does to their features stays.
            "groups": the same, of bonds, rings and functional groups.
            "within": the mean of the row's group, from X and from Y (`deviations`), where a group
                holds geometries of one molecule. Nothing is fitted. Composition tells nothing of
                what is left: `r2_comp` is 0, and `r2_full` equals `r2_geom`. The α of
                "loo" leaves out one geometry, whose group's others stay.
        components: fit Ridge on so many principal components of Z (and for `r2_full` of the scaled
            X), those of the training rows of each fold, without rescaling them: so models of
            different widths are compared at one width. By default, and where there are no more,
            all of Z. With "loo" the components stay those of all training rows.

    Returns:
        Scores with axes (fold, alpha, target): NumPy arrays, or traced ones where inputs are. With
        further columns beside C, `r2_concepts` is R² of least squares from all of them, and
        `r2_comp` stays that of C.

    Raises:
        InputError: shapes disagree, "bonds" or "groups" has no concepts, a value is NaN or
            infinite, values of a column are so far apart that the squares of both fit in no unit,
            an α is negative, the folds are impossible, C is traced for "formula", or for "within"
            there are no groups, or groups of several compositions, or folds that tear them.
        UnknownNameError: there is no such projection, or no such option.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> C = rng.integers(0, 9, (500, 3)).astype(float)
    >>> geometry = rng.normal(size=(500, 8))
    >>> scores = cpd(geometry + C @ rng.normal(size=(3, 8)), C, geometry[:, 0] + C[:, 0])
    >>> scores.r2_geom.shape
    (5, 1, 1)
    >>> expected = geometry[:, 0].var() / (geometry[:, 0] + C[:, 0]).var()  # geometry's share
    >>> bool(abs(scores.r2_geom.mean() - expected) < 0.05)
    True
    """
    _check_groups(groups, choices)
    arguments = Arguments.of(
        X, C, Y, alphas, dtype, concepts, groups=groups, predictions=predictions, **choices
    )
    read = partial(read_ids, what="predictions=True") if predictions else read_folds
    split = read(folds, arguments.arrays[0], arguments.targets)
    if groups is not None:
        split = whole_folds(split, groups, arguments.rows, seed)
    layout = cross_validation(arguments.rows, split, seed=seed)
    return of_one_size(arguments.run(layout))


@takes_choices()
def learning_curve(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    sizes: Sequence[int],
    repeats: int = 5,
    folds: Folds = 5,
    test: Int[ArrayLike, " row"] | Bool[ArrayLike, " molecule"] | None = None,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    concepts: Float[ArrayLike, "molecule concept"] | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    dtype: Any = None,
    **choices: Any,
) -> Scores:
    """Run `cpd` on nested random subsets: how many molecules does the probe need?

    Each repeat shuffles the molecules anew (`folds.nested` gives the very subsets and fold ids). A
    subset of size N is the first N molecules of a shuffle, cross-validated within itself. The
    moments of a size are those of the size before plus those of the new rows, so that each repeat
    needs one pass over the rows.

    Args:
        sizes: increasing numbers of molecules, held-out rows included; with `groups` numbers of
            groups, which are drawn whole.
        repeats: the number of shuffles.
        test: molecules that every size is scored on and none is trained on, by number or as a mask.
            A size then counts molecules that are trained on, the first of a shuffle of all others,
            the axis of folds has length one, and `folds` is not used. By default every subset is
            cross-validated within itself.
        seed: random seed of the shuffles.
        X, C, Y, folds, alphas, groups, concepts, dtype, standardize, projection, components: as in
            `cpd`.

    Returns:
        Scores with axes (repeat, size, fold, alpha, target).

    Raises:
        InputError: as `cpd`, and where sizes do not fit the data.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, C, Y = rng.normal(size=(200, 6)), rng.normal(size=(200, 2)), rng.normal(size=(200, 3))
    >>> learning_curve(X, C, Y, sizes=[50, 100, 200], repeats=2).r2_geom.shape
    (2, 3, 5, 1, 3)
    >>> learning_curve(X, C, Y, sizes=[50, 100], repeats=2, test=range(100, 200)).r2_geom.shape
    (2, 2, 1, 1, 3)
    """
    _check_groups(groups, choices)
    arguments = Arguments.of(X, C, Y, alphas, dtype, concepts, groups=groups, **choices)
    if test is not None:
        check_no_folds(folds, groups)
        return arguments.run(nested_beside(arguments.rows, sizes, repeats, test, seed=seed))
    ids = read_ids(folds, arguments.arrays[0], arguments.targets, what="a learning curve")
    if groups is None:
        return arguments.run(nested(arguments.rows, sizes, repeats, ids, seed=seed))
    _, first, group = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if not isinstance(ids, int):
        ids = whole_folds(ids, group, arguments.rows, seed)[first]
    return arguments.run(of_groups(nested(len(first), sizes, repeats, ids, seed=seed), group))


def _check_groups(groups: Any, choices: Mapping[str, Any]) -> None:
    """Refuse groups that nothing would use."""
    if groups is not None and choices.get("projection") != "within":
        raise InputError(
            'groups belong to projection="within"; for folds that keep groups whole alone, give '
            "folds=cpdjax.group_folds(groups)"
        )
