"""Write to the terminal: tables, lines and errors, whatever characters it can show."""

from __future__ import annotations

import codecs
import io
import json
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

from cpdjax import checksums
from cpdjax.characters import printable, stand_in
from cpdjax.cli.signatures import parameters_of, signed
from cpdjax.errors import FileError
from cpdjax.progress import paused

#: Columns of a file or a pipe, which have no end. Rich would take them for 80 columns wide.
_ENDLESS = 100_000
_STAND_INS = "cpdjax.stand-ins"
#: What a command with --json has shown so far; None: it shows tables.
_shown: ContextVar[dict[str, Any] | None] = ContextVar("shown", default=None)


def show_all_characters() -> None:
    """Let standard output and errors write stand-ins for characters that they cannot show.

    A batch log under an old locale has no `²`: after hours of work the table must come out.
    """
    codecs.register_error(_STAND_INS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_STAND_INS)


def takes_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that shows tables: `--json` makes one JSON object of all that it shows.

    Each table is there under its name, with its title, notes and rows, and `saved` lists the files
    that were written. Nothing else goes to standard output.
    """
    text = "Print JSON on standard output in place of tables."
    added = Parameter(
        "as_json",
        Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help=text)],
    )

    @wraps(command)
    def run(*arguments: Any, as_json: bool = False, **named: Any) -> Any:
        before = _shown.set({} if as_json else None)
        try:
            status = command(*arguments, **named)
            if found := _shown.get():
                with paused():
                    print(json.dumps(found, indent=1, allow_nan=False))
            return status
        finally:
            _shown.reset(before)

    return signed(run, [*parameters_of(command), added])


def show(*tables: Any, saved: Iterable[Path] = ()) -> None:
    """Print tables, then the paths of files that were written; keep their checksums."""
    found, paths = _shown.get(), list(saved)
    if found is None:
        _print(tables, paths)
    else:
        found |= {table.name: table.as_json() for table in tables if table is not None}
        found |= {"saved": [*found.get("saved", ()), *map(str, paths)]} if paths else {}
    for folder in dict.fromkeys(path.parent for path in paths):
        try:
            checksums.add(folder, [path for path in paths if path.parent == folder])
        except FileError as error:  # damaged, or somebody else's
            warnings.warn(f"no checksums are kept: {error}", stacklevel=2)


def _print(tables: Iterable[Any], paths: Iterable[Path]) -> None:
    """Print tables and the paths of files."""
    with paused():
        for table in tables:
            if table is not None:
                Console(width=None if _is_terminal(sys.stdout) else _ENDLESS).print(table)
        for path in paths:
            put(f"saved {path}")


def command_line() -> str:
    """Return the command that runs, as it would be typed."""
    return shlex.join(["cpdjax", *sys.argv[1:]])


def put(text: str) -> None:
    """Print one line on standard output."""
    put_all([text])


def put_lines(text: str) -> None:
    """Print a text of several lines on standard output."""
    put_all(text.splitlines())


def put_all(lines: Iterable[str]) -> None:
    """Print lines on standard output, without progress between them."""
    with paused():
        for line in lines:
            print(printable(line))


def tell(name: str, told: Any, sentences: Iterable[str]) -> None:
    """Print sentences, each a line that a terminal's width breaks between words.

    With `--json` what they tell is part of the object, under a name.
    """
    found = _shown.get()
    if found is not None:
        found[name] = told
    elif _is_terminal(sys.stdout):
        width = Console().width - 1
        put_all(line for text in sentences for line in _broken(printable(text), width))
    else:
        put_all(sentences)


def list_lines(name: str, told: Any, lines: Iterable[str]) -> None:
    """Print lines as they are, such as paths, which nothing may break.

    With `--json` what they tell is part of the object, under a name.
    """
    found = _shown.get()
    if found is not None:
        found[name] = told
    else:
        put_all(lines)


def _broken(text: str, width: int) -> list[str]:
    """Return the lines of a sentence; all but the first are inset."""
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def say(message: str) -> None:
    """Print one line on standard error, if anybody still reads it."""
    with paused(), suppress(OSError):
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
