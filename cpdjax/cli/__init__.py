"""The command line parses and calls, and computes nothing."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer

from cpdjax.cli import checks, models, studies, sweeps
from cpdjax.cli.shared import say
from cpdjax.cli.verify import verify
from cpdjax.errors import InputError

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(sweeps.sweep, sweeps.report, sweeps.compare, sweeps.ladder),
    *(checks.check, studies.reproduce, studies.recommend),
    *(models.extract, models.train, verify),
):
    app.command()(command)

_models = typer.Typer(invoke_without_command=True)
_models.callback()(models.list_models)
_models.command()(models.convert)
app.add_typer(_models, name="models")

# The command line cannot be parsed; typer keeps its copy of click, and this name, to itself.
_UsageError: Any = typer.BadParameter.__base__
_INTERRUPTED = 130


def main() -> None:
    """Run a command; what the user can mend ends in one line and exit status 2."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        sys.exit(_run())


def _run() -> int:
    try:
        status: int = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except _UsageError as error:
        say(error.format_message())
        return 2
    except InputError as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 2
    if status == _INTERRUPTED:
        say("interrupted; the same command goes on where it stopped")
    return status
