"""Say on standard error what a command does: as much as `-q` and `-v` ask for."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any

import typer

from cpdjax.cli.signatures import parameters_of, signed
from cpdjax.cli.terminal import say
from cpdjax.errors import InputError

_log = logging.getLogger("cpdjax")
PANEL = "Messages"

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", rich_help_panel=PANEL,
        help="Write nothing but results and errors: no progress, no warnings.",
    ),
]  # fmt: skip
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, rich_help_panel=PANEL,
        help="Say what is done and how long it takes; -vv: every detail.",
    ),
]  # fmt: skip


class _Lines(logging.Handler):
    """Write what the package logs, each record in a line of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a warning is called so."""
        text = record.getMessage()
        if record.levelno < logging.INFO:
            text = f"{record.name.removeprefix('cpdjax.')}: {text}"
        say(f"warning: {text}" if record.levelno == logging.WARNING else text)


@contextmanager
def written() -> Iterator[None]:
    """Write logs and warnings to standard error while the block runs."""
    handler, before = _Lines(), _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # JAX warns at every program that it can neither load nor keep: that costs only time,
            # and what is wrong with the whole folder has been said by then.
            warnings.filterwarnings("ignore", ".* persistent compilation cache entry for ")
            warnings.showwarning = lambda message, *_: _log.warning("%s", message)
            yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(before)


def ask_for(quiet: bool, verbose: int) -> None:
    """Set how much is said; without an option all stays as it is.

    Raises:
        InputError: both are asked for.
    """
    if quiet and verbose:
        raise InputError("--quiet and --verbose: give one of them")
    if quiet:
        _log.setLevel(logging.ERROR)
    elif verbose:
        _log.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)


def show_progress() -> bool:
    """Return whether progress is shown: there is a standard error, and nobody said `-q`."""
    return sys.stderr is not None and _log.isEnabledFor(logging.WARNING)


def says_more() -> bool:
    """Return whether somebody said `-v`."""
    return _log.isEnabledFor(logging.INFO)


def takes_messages(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with `-q` and `-v`, which may stand before the command as well."""
    added = [
        Parameter("quiet", Parameter.KEYWORD_ONLY, default=False, annotation=Quiet),
        Parameter("verbose", Parameter.KEYWORD_ONLY, default=0, annotation=Verbose),
    ]

    @wraps(command)
    def run(*arguments: Any, quiet: bool, verbose: int, **named: Any) -> Any:
        ask_for(quiet, verbose)
        return command(*arguments, **named)

    return signed(run, [*parameters_of(command), *added])
