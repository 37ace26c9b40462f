"""Read what a sweep or a check is run on: structures and targets, from the arguments for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cpdjax.data.datasets import qm9, read
from cpdjax.data.structures import Structures
from cpdjax.data.tables.table import TABLES, read_table
from cpdjax.errors import InputError
from cpdjax.models.zoo import qm9_probe
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, Settings
from cpdjax.sweeps.target_names import check_no_name, names_or_table
from cpdjax.sweeps.targets import Targets

_QM9 = {"qm9": qm9, "qm9-probe": qm9_probe}


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
