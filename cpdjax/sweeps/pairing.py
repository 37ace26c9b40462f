"""Pair features with rows: what belongs together is checked, or joined by its ids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from cpdjax.data.tables.table import rows_of
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.sweeps.rows import Rows


def paired(features: Features, rows: Rows) -> Features:
    """Return features of these rows, as far as both know their molecules.

    Features of the same structures, and features of which nothing is known, are returned as they
    are. Features with ids are put into the order of the rows' ids.

    Raises:
        InputError: the features belong to other molecules, or to the same in another order; the
            error says what differs.

    Warns:
        LeftOutWarning: the features have molecules that the rows lack.
    """
    if features.structures_hash and rows.structures_hashes:
        if features.structures_hash not in rows.structures_hashes:
            raise InputError(
                f"features {features.model!r} were computed from other molecules than "
                f"{rows.name!r}: {_difference(features, rows)}; give the dataset, number and "
                "random seed that they were extracted with, or extract them anew"
            )
        return features
    if rows.offsets is not None or features.pool == "atom":
        return features  # rows are atoms, and only structures know them
    if features.ids is not None and rows.ids is not None:
        features = _joined(features, features.ids, rows)
    _check_formulas(features, rows)
    return features


def _difference(features: Features, rows: Rows) -> str:
    """Say in what the molecules of features and of rows differ."""
    theirs, ours = features.ids, rows.ids
    if theirs is None or ours is None:
        return "their positions, elements, charges or order differ"
    if len(theirs) != len(ours):
        return f"{len(theirs)} instead of {len(ours)}"
    differ = theirs != ours
    if not differ.any():
        return "the ids agree, but positions, elements, cells or charges differ"
    row = int(differ.argmax())
    first = f"row {row} is {str(theirs[row])!r} instead of {str(ours[row])!r}"
    if sorted(theirs) == sorted(ours):
        return f"they are in another order ({first})"
    missing = int((~np.isin(ours, theirs)).sum())
    return f"{missing} of {len(ours)} are missing ({first})"


def _joined(features: Features, theirs: np.ndarray, rows: Rows) -> Features:
    """Return the features in the order of the ids of rows."""
    ours = np.asarray(rows.ids)
    again = pd.Index(ours).duplicated()
    if again.any():
        raise InputError(f"{rows.name!r} has id {str(ours[again][0])!r} more than once")
    order = rows_of(f"features {features.model!r}", theirs, ours)
    return replace(
        features,
        layers={layer: array[order] for layer, array in features.items()},
        ids=ours,
        formulas=None if features.formulas is None else features.formulas[order],
    )


def _check_formulas(features: Features, rows: Rows) -> None:
    """Refuse features of molecules whose formulas are known and are not those of the rows."""
    theirs, ours = features.formulas, rows.formulas
    if theirs is None or len(theirs) != len(ours) or (theirs == ours).all():
        return
    row = int((theirs != ours).argmax())
    raise InputError(
        f"features {features.model!r} belong to other molecules than {rows.name!r}: "
        f"{np.sum(theirs != ours)} of {len(ours)} formulas differ, row {row} is {theirs[row]} "
        f"instead of {ours[row]}; put both into one order, or give both an 'id'"
    )
