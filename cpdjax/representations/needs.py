"""Refuse settings and rows from which a measure cannot be made, before any model runs."""

from __future__ import annotations

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.likeness.prepared import LEAST_ROWS
from cpdjax.representations.rows import exchangeable, folds_of, kind_of
from cpdjax.representations.settings import MEASURES, OF_NEIGHBOURS, SpaceSettings
from cpdjax.sweeps.rows import Rows


def check_settings(settings: SpaceSettings) -> None:
    """Raise InputError for settings that do not go together."""
    for name in settings.measures or ():
        if name not in MEASURES:
            raise UnknownNameError("measure", name, MEASURES)
    if settings.projection != "none":
        kind_of(settings).check(settings)
    asked = [name for name in settings.measures or () if name in OF_NEIGHBOURS]
    if settings.of_tensors and asked:
        raise InputError(
            f"{', '.join(asked)}: neighbours are found among invariants, since vectors of two "
            "molecules have no distance without a common frame: probe molecule or atom, or leave "
            "these measures out"
        )


def check_rows(known: Rows, settings: SpaceSettings) -> None:
    """Raise InputError where a measure needs more rows than there are; it says which and how many.

    Folds complain themselves where there are fewer molecules.
    """
    folds_of(known, settings)
    rows = len(known)
    least = {"intrinsic_dimension": 10, "shared_neighbours": settings.neighbours + 1}
    for name in settings.wanted:
        needed = max(least.get(name, 0), LEAST_ROWS)
        if rows < needed:
            label = (OF_PAIRS | OF_CHANNELS)[name].label
            fewer = ", or count fewer neighbours" if name == "shared_neighbours" else ""
            raise InputError(
                f"{name} ({label}) needs {needed} rows or more, got {rows}: take more molecules, "
                f"or name other measures{fewer}"
            )
    if settings.permutations and not exchangeable(known, settings):
        shared = "an element in one molecule" if known.offsets is not None else "a formula"
        raise InputError(
            f"no two of {rows:,} rows share {shared}, so that permutations within change nothing: "
            "take more molecules, or no permutations"
        )
