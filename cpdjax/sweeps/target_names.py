"""Say whether a text names targets or a table of them."""

from __future__ import annotations

from collections.abc import Iterable
from os.path import isfile
from pathlib import Path
from typing import Any

from cpdjax.configuration import names_in
from cpdjax.errors import InputError

#: How the name of a table ends.
TABLES = (".csv", ".tsv", ".parquet", ".pq")


def names_or_table(text: str, dataset: Any) -> list[str] | Path:
    """Return the names of targets in a text, separated by commas, or the path of a table.

    A text is a path where it ends as a table does, or is the name of a file that is there. Names
    with a dot, such as "E.gap", are names: those of the dataset's targets come first.

    Raises:
        InputError: the text is a file and a target of the dataset.

    >>> names_or_table("gap,E.gap", None), str(names_or_table("my/gap.csv", None))
    (['gap', 'E.gap'], 'my/gap.csv')
    """
    path, names = Path(text), names_in(text)
    ends, is_file = path.suffix.lower() in TABLES, bool(path.suffix) and isfile(text)
    if not (ends or is_file):
        return names
    if ends and is_file:  # `check_no_name` has the last word, when the dataset has been read
        return path
    known = _known(dataset)
    if not names or not known.issuperset(names):
        return path
    if is_file:
        check_no_name(text, known)
    return names


def check_no_name(path: str, known: Iterable[str]) -> None:
    """Refuse the path of a table that is the name of a target as well.

    Raises:
        InputError: it is; the error gives a way to name each.
    """
    if path in known:
        raise InputError(
            f"{path!r} is a file, and a target of the dataset: give ./{path} for the file, or "
            f'targets = ["{path}"] in a TOML file or in Python for the target'
        )


def _known(dataset: Any) -> set[str]:
    """Return the names of a dataset's targets; those of QM9, which have no dots, are not needed."""
    from cpdjax.data.datasets import read
    from cpdjax.data.structures import Structures

    if isinstance(dataset, str | Path) and Path(dataset).is_file():
        dataset = read(dataset)
    return {*dataset.targets, *dataset.atom_targets} if isinstance(dataset, Structures) else set()
