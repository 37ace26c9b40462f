"""Declare what a compiled probe is told: the choices that every caller has, and the rest.

The command line reads this file for its help, so it does without JAX, which takes long to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

#: The names of all projections. The docstring of `cpdjax.cpd` says what each of them takes from
#: the features.
Projection = Literal[
    "ols", "none", "ridge", "quadratic", "formula", "leace", "oracle-leace", "bonds", "groups",
    "within",
]  # fmt: skip
PROJECTIONS: tuple[str, ...] = get_args(Projection)
#: Least squares on composition and on further columns, which the caller gives.
OF_GIVEN_CONCEPTS = ("bonds", "groups")


@dataclass(frozen=True)
class Choices:
    """Declare the choices that a caller of any probe has: names, types, defaults, help texts.

    This is their only declaration. The signatures of `cpdjax.cpd` and its relatives, the settings
    of a sweep and the command line all read the fields of this class.
    """

    standardize: Annotated[
        bool, "Scale features to unit variance on the training rows of each fold."
    ] = True
    projection: Annotated[
        Projection, f"What is subtracted from the features: {', '.join(PROJECTIONS)}."
    ] = "ols"
    components: Annotated[
        int | None,
        "Fit Ridge on so many principal components of the features, found on the training rows of "
        "each fold, so that models of different widths are compared at one; by default on all "
        "columns.",
    ] = None


@dataclass(frozen=True)
class Options(Choices):
    """Hold everything that is fixed when a probe is compiled: another value compiles anew."""

    #: Choose α for each fold and target by leave-one-out, instead of scoring every α of the grid.
    loo: bool = False
    #: Return every molecule's held-out prediction as well.
    predictions: bool = False
    #: Return `r2_both` as well: R² of composition and residual together.
    both: bool = False
    #: Return `r2_full`; where only `r2_geom` is used, half of the work is saved, and it is NaN.
    full: bool = True
    #: Correct small α against the rows where that is needed; see `ridge.Refinement`.
    refine: bool = True
    #: The first fold is a test set: it alone is held out, and no size trains on it.
    test: bool = False
    #: How many columns of c are composition itself, before those of `projection.concepts`.
    elements: int | None = None
    #: How many folds and repeats run at once; None, one after the other, needs the least memory.
    batch_size: int | None = None
