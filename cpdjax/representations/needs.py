"""Refuse settings and rows from which a measure cannot be made, or warn of what it cannot tell."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.likeness.prepared import LEAST_ROWS
from cpdjax.representations.rows import exchangeable, folds_of, kind_of
from cpdjax.representations.settings import MEASURES, OF_NEIGHBOURS, SpaceSettings
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.rows import Rows

#: From this many columns a row on, unrelated channels look alike by CCA (our choice).
_WIDE = 0.5


def check_settings(settings: SpaceSettings) -> None:
    """Raise InputError for settings that do not go together, before any model runs."""
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


def warn_of_wide(channels: Sequence[Channel], settings: SpaceSettings) -> None:
    """Warn of channels that have so many columns that CCA finds them alike by chance."""
    if "cca" not in settings.wanted or settings.variance is not None:
        return
    share = {c.label: c.x.shape[1] / (len(c.x) * c.components) for c in channels}
    wide = {label: value for label, value in share.items() if value >= _WIDE}
    if wide:
        widest = max(wide, key=wide.__getitem__)
        warnings.warn(
            f"cca is read on the rows that it is fitted on, and {len(wide)} of {len(share)} "
            f"channels have too many columns for so few rows: unrelated ones would have "
            f"{min(wide[widest], 1):.2f} with {widest!r}; take more molecules, compare cca with "
            "its null (permutations), or read r2, which is held out",
            stacklevel=4,
        )
