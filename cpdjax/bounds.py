"""Bound what settings may ask for, and what a file may claim to hold before memory is given."""

from __future__ import annotations

from pathlib import Path

from cpdjax.errors import FileError

#: The bounds of settings are our choice: what lies above them is a slip, and would fill the memory.
MOST_COPIES = 1_000_000
"""Limit the numbers of repeats, folds, permutations and replicates."""
MOST_ROWS = 2**31
"""Limit the rows that any of these together make, and the molecules of a sweep."""
MOST_SEED = 2**32 - 1
"""Limit random seeds to those that every generator takes."""
SMALL = 2**30
"""Hold the bytes that any file may expand to: 1 GiB."""
EXPANSION = 100
"""Limit the memory that a larger content may take to so many times the size of its file."""
COLUMNS = 100_000
"""Limit the columns of a table."""


def check_size(path: Path, claimed: int) -> None:
    """Refuse content that claims more than `SMALL` bytes and `EXPANSION` times its file.

    Measured features compress by less than ten; what is beyond these bounds (our choice) is a
    damaged header or made to fill the memory.

    Raises:
        FileError: if the content is that large.
    """
    if claimed <= SMALL:
        return
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    taken = sum(p.stat().st_size for p in files)
    if claimed > EXPANSION * taken:
        raise FileError(
            f"{path} takes {_amount(taken)} and claims to hold {_amount(claimed)}; expected at "
            f"most {_amount(SMALL)} or {EXPANSION} times the file: write it anew, less compressed"
        )


def check_columns(path: Path, columns: int) -> None:
    """Refuse a table with more than `COLUMNS` columns.

    Raises:
        FileError: if it has more.
    """
    if columns > COLUMNS:
        raise FileError(
            f"{path} has {columns:,} columns; a table may have {COLUMNS:,}: write wider features "
            "as .npy"
        )


def _amount(count: int) -> str:
    """Return a number of bytes in the largest unit below it."""
    size, units = float(count), iter(("bytes", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= 1024 and unit != "TiB":
        size, unit = size / 1024, next(units)
    return f"{size:,.3g} {unit}" if size < 1e6 else f"{size:.0e} {unit}"
