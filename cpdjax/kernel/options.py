"""The static choices of a compiled probe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The static choices of a probe."""

    standardize: bool = True
    loo: bool = False
    predictions: bool = False
    #: Folds and repeats run at once; None, one after the other, needs the least memory.
    batch_size: int | None = None
    #: One of `projection.PROJECTIONS`.
    projection: str = "ols"
    #: How many columns of c are composition itself, before those of `projection.concepts`.
    elements: int | None = None
    #: Whether `r2_both` is wanted.
    both: bool = False
