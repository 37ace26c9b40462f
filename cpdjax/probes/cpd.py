"""Run Compositional Probe Decomposition on one set of features.

For every fold, on training rows only: least squares from composition to every feature; subtract
it from training and held-out rows; Ridge from the residual to the target; R² on the held-out
rows. That is `r2_geom`. The same Ridge on the raw features is `r2_full`, least squares from
composition straight to the target is `r2_comp` (J. Steier, arXiv 2603.03155). What is subtracted
can be chosen (`projection`); `r2_full` and `r2_comp` do not depend on it.

Both functions are pure functions of arrays: they work inside a caller's jit, vmap and grad.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from jaxtyping import ArrayLike, Bool, Float, Int

from cpdjax.kernel.nested import of_one_size
from cpdjax.kernel.scores import Scores
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.fixed_test import check_no_folds, nested_beside
from cpdjax.probes.folds import cross_validation, nested
from cpdjax.probes.signature import takes_choices
from cpdjax.probes.splitters import Folds, read_folds, read_ids


@takes_choices()
def cpd(
    X: Float[ArrayLike, "molecule feature"],
    C: Float[ArrayLike, "molecule element"],
    Y: Float[ArrayLike, " molecule"] | Float[ArrayLike, "molecule target"],
    *,
    folds: Folds = 5,
    alphas: float | Sequence[float] | Literal["loo"] = "loo",
    seed: int = 0,
    predictions: bool = False,
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
        predictions: return every molecule's held-out prediction from the residual as well, for
            which the folds must hold every molecule out once.
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
                function of composition is left in Z.
            "leace": the linear prediction of C from X alone, so that once it is fitted no
                molecule's composition is asked for; see `cpdjax.kernel.leace`.
            "oracle-leace": the same as "ols", under the name that its literature gives it.
        components: fit Ridge on so many principal components of Z (and for `r2_full` of the scaled
            X), those of the training rows of each fold, without rescaling them: so models of
            different widths are compared at one width. By default, and where there are no more,
            all of Z. With "loo" the components stay those of all training rows.

    Returns:
        Scores with axes (fold, alpha, target): NumPy arrays, or traced ones where inputs are.

    Raises:
        InputError: shapes disagree, a value is NaN or infinite, values of a column are so far apart
            that the squares of both fit in no unit, an α is negative, the folds are impossible, or
            C is traced for "formula".
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
    arguments = Arguments.of(X, C, Y, alphas, dtype, predictions=predictions, **choices)
    read = partial(read_ids, what="predictions=True") if predictions else read_folds
    split = read(folds, arguments.arrays[0], arguments.targets)
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
    dtype: Any = None,
    **choices: Any,
) -> Scores:
    """Run `cpd` on nested random subsets: how many molecules does the probe need?

    Each repeat shuffles the molecules anew (`folds.nested` gives the very subsets and fold ids). A
    subset of size N is the first N molecules of a shuffle, cross-validated within itself. The
    moments of a size are those of the size before plus those of the new rows, so that each repeat
    needs one pass over the rows.

    Args:
        sizes: increasing numbers of molecules, held-out rows included.
        repeats: the number of shuffles.
        test: molecules that every size is scored on and none is trained on, by number or as a mask.
            A size then counts molecules that are trained on, the first of a shuffle of all others,
            the axis of folds has length one, and `folds` is not used. By default every subset is
            cross-validated within itself.
        seed: random seed of the shuffles.
        X, C, Y, folds, alphas, dtype, standardize, projection, components: as in `cpd`.

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
    arguments = Arguments.of(X, C, Y, alphas, dtype, **choices)
    if test is not None:
        check_no_folds(folds)
        return arguments.run(nested_beside(arguments.rows, sizes, repeats, test, seed=seed))
    ids = read_ids(folds, arguments.arrays[0], arguments.targets, what="a learning curve")
    layout = nested(arguments.rows, sizes, repeats, ids, seed=seed)
    return arguments.run(layout)
