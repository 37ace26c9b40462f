"""Write to the terminal: tables, lines and errors, whatever characters it can show."""

from __future__ import annotations

import codecs
import io
import shlex
import sys
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from cpdjax import checksums
from cpdjax.characters import printable, stand_in
from cpdjax.errors import FileError

#: Columns of a table that goes to a file or a pipe. Rich would take these for 80 columns wide and
#: cut the table short.
PIPE_WIDTH = 200
_STAND_INS = "cpdjax.stand-ins"


def show_all_characters() -> None:
    """Let standard output and errors write stand-ins for characters that they cannot show.

    A batch log under an old locale has no `²`: after hours of work the table must come out.
    """
    codecs.register_error(_STAND_INS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_STAND_INS)


def console() -> Console:
    """Return the console that tables are printed on."""
    return Console(width=None if _is_terminal(sys.stdout) else PIPE_WIDTH)


def show_progress() -> bool:
    """Return whether somebody watches: standard error is a terminal."""
    return _is_terminal(sys.stderr)


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
        put(f"saved {path}")


def command_line() -> str:
    """Return the command that runs, as it would be typed."""
    return shlex.join(["cpdjax", *sys.argv[1:]])


def put(text: str) -> None:
    """Print one line on standard output."""
    print(printable(text))


def say(message: str) -> None:
    """Print one line on standard error, if anybody still reads it."""
    with suppress(OSError):
        print(f"cpdjax: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)


def folder_of(results: Path) -> Path:
    """Return the folder that holds results, where figures of them go by default."""
    return results if results.is_dir() and results.suffix != ".zarr" else results.parent


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: the stream was closed before we began


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return stand_in(error.object[error.start : error.end]), error.end
