"""Share what all commands need: how tables are printed, and where files go."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from cpdjax import checksums
from cpdjax.errors import FileError

#: Columns of a table that goes to a file or a pipe. Rich would take these for 80 columns wide and
#: cut the table short.
PIPE_WIDTH = 200


def console() -> Console:
    """Return the console that tables are printed on."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def show_progress() -> bool:
    """Return whether somebody watches: standard error is a terminal."""
    return sys.stderr.isatty()


def show(*tables: Any, saved: Iterable[Path] = ()) -> None:
    """Print tables, then the paths of files that were written; keep their checksums."""
    for table in tables:
        if table is not None:
            console().print(table)
    paths = list(saved)
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            checksums.add(folder, [path for path in paths if path.parent == folder])
        except FileError as error:  # damaged, or somebody else's
            warnings.warn(f"no checksums are kept: {error}", stacklevel=2)
    for path in paths:
        print(f"saved {path}")


def folder_of(results: Path) -> Path:
    """Return the folder that holds results, where figures of them go by default."""
    return results if results.is_dir() and results.suffix != ".zarr" else results.parent


def say(message: str) -> None:
    """Print one line on standard error."""
    print(f"cpdjax: {' '.join(message.split())}", file=sys.stderr)
