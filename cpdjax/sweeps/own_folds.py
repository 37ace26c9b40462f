"""Take folds of a user's own for a sweep: one id a molecule, or what splits molecules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Number
from typing import Any

import numpy as np
from jaxtyping import Int

from cpdjax.configuration import checked
from cpdjax.errors import InputError
from cpdjax.hashing import hash_arrays
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.splitters import read_folds
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets

#: The fold of every molecule: what a table holds it under, and what records its hash.
FOLD_ID = "fold_id"


def settings_and_folds(given: Mapping[str, Any]) -> tuple[Settings, Any]:
    """Return checked settings, and folds that are not a number; None where they are one.

    With folds of one's own, one repeat is the default.

    Raises:
        InputError: as `configuration.checked`, and for folds beside `group_by`.
    """
    folds = given.get("folds")
    if folds is None or isinstance(folds, Number | str):
        return checked(Settings, given), None
    others = {name: value for name, value in given.items() if name != "folds"}
    # Every repeat has the same folds: at the largest size another one would add nothing, and count
    # in an interval as if it did.
    settings = checked(Settings, {"repeats": 1, **others})
    if settings.group_by is not None:
        raise InputError(
            f"folds of your own and group_by={settings.group_by!r} do not go together: give one"
        )
    return settings, folds


def with_ids(
    settings: Settings, folds: Any, targets: Targets
) -> tuple[Settings, Int[np.ndarray, " molecule"] | None]:
    """Return settings with the number of these folds, and the fold of every molecule.

    Raises:
        InputError: `read_folds` refuses them, or they do not hold every molecule out once.
    """
    if folds is None:
        return settings, None
    molecules = len(targets.formulas)
    y = targets.y if targets.offsets is None else None
    ids = read_folds(folds, np.zeros((molecules, 1)), y, once="a sweep")
    cross_validation(molecules, ids)  # for its checks
    ids = np.asarray(ids, np.int64)
    return replace(settings, folds=int(ids.max()) + 1), ids


def hashed(ids: Int[np.ndarray, " molecule"] | None) -> dict[str, str]:
    """Return what a sweep records of its folds: nothing where the settings say all."""
    return {} if ids is None else {FOLD_ID: hash_arrays([(FOLD_ID, ids)])}
