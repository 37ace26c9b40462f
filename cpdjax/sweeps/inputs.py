"""Read what a sweep or a check is run on, from the arguments for it: structures, targets, folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from cpdjax.configuration import checked
from cpdjax.data.datasets import qm9, read
from cpdjax.data.structures import Structures
from cpdjax.data.tables.beside import check_apart, is_table, without
from cpdjax.data.tables.table import TABLES, read_table
from cpdjax.errors import InputError
from cpdjax.hashing import hash_arrays
from cpdjax.models.zoo import qm9_probe
from cpdjax.probes.folds import cross_validation
from cpdjax.probes.splitters import read_ids
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, Settings
from cpdjax.sweeps.target_names import check_no_name, names_or_table
from cpdjax.sweeps.targets import Targets

#: The fold of every molecule: what a table holds it under, and what records its hash.
FOLD_ID = "fold_id"

_QM9 = {"qm9": qm9, "qm9-probe": qm9_probe}


def parted(features: Any, targets: Any, dataset: Any) -> tuple[Any, Any]:
    """Return features and targets that share no column, from the arguments of `sweep`.

    A DataFrame, alone or under a name, may hold all: a column `formula` or `smiles`, features, and
    the targets that are named. Then the columns that are named are the targets, and all others of
    numbers are features.

    Raises:
        UnknownNameError: some targets are columns of the DataFrame, and others are not.
        InputError: tables of features and of targets do not go together.
    """
    if dataset is not None or targets is None:
        return features, targets
    names = names_or_table(targets, dataset) if isinstance(targets, str) else targets
    sources = features if isinstance(features, dict) else {"": features}
    if isinstance(names, TABLES):
        for source in features if isinstance(features, list | tuple) else sources.values():
            if is_table(source):
                check_apart(source, names)
        return features, targets
    [frame] = sources.values() if len(sources) == 1 else [None]
    if not isinstance(frame, pd.DataFrame) or not set(names) & set(map(str, frame.columns)):
        return features, targets
    own, beside = without(frame, list(names))
    return (dict.fromkeys(sources, own) if isinstance(features, dict) else own), beside


def load(
    dataset: Any, targets: Any, n: int | None, settings: Settings
) -> tuple[Structures | None, Targets]:
    """Return what is probed, from the arguments of `sweep`.

    Returns:
        The structures, None where a table brings its own formulas; and the targets.

    Raises:
        InputError: the arguments do not go together, or the data cannot be used.
    """
    kind = KINDS[settings.probe]
    text = targets if isinstance(targets, str) else None
    if text is not None:
        targets = names_or_table(text, dataset)
    beside = isinstance(targets, TABLES)
    is_qm9 = isinstance(dataset, str) and dataset in _QM9
    if n is not None and (beside or not (dataset is None or is_qm9)):
        raise InputError("n draws molecules from QM9; other data are taken whole: use sizes")
    if beside and dataset is None:
        if kind is not KINDS["ridge"]:
            raise InputError(
                f"probe {settings.probe!r} needs structures: give a dataset, and name its targets"
            )
        return None, Targets.from_table(targets)
    names = targets
    if isinstance(dataset, str | Path) and not is_qm9:
        table = read_table(targets) if beside else None
        structures = read(dataset, targets=table)
        if text is not None and table is not None:
            check_no_name(text, structures.targets)
        names = targets if table is None else list(table.numbers)
    elif beside:
        raise InputError(
            "a table of targets goes with a file of structures, or with features alone and no "
            "dataset; other structures hold their own targets (Structures.from_atoms adds some)"
        )
    elif dataset is None or is_qm9:
        draw = _QM9[dataset or "qm9"]
        structures = draw(DEFAULT_MOLECULES if n is None else n, settings.seed)
        names = kind.default_targets if targets is None else targets
    elif isinstance(dataset, Structures):
        structures = dataset
    else:
        structures = Structures.from_atoms(list(dataset))
    return structures, kind.targets(structures, names)


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
        InputError: `read_ids` refuses them, since they do not hold every molecule out once.
    """
    if folds is None:
        return settings, None
    molecules = len(targets.formulas)
    y = targets.y if targets.offsets is None else None
    ids = read_ids(folds, np.zeros((molecules, 1)), y, what="a sweep")
    cross_validation(molecules, ids)  # for its checks
    ids = np.asarray(ids, np.int64)
    return replace(settings, folds=int(ids.max()) + 1), ids


def hashed(ids: Int[np.ndarray, " molecule"] | None) -> dict[str, str]:
    """Return what a sweep records of its folds: nothing where the settings say all."""
    return {} if ids is None else {FOLD_ID: hash_arrays([(FOLD_ID, ids)])}
