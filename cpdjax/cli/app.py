"""Put the commands together, and run the one that the arguments name."""

from __future__ import annotations

import sys
import warnings

import typer

from cpdjax.cli import checks, models, studies, sweeps
from cpdjax.cli.failures import status_of
from cpdjax.cli.terminal import say, show_all_characters
from cpdjax.cli.verify import verify

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(sweeps.sweep, sweeps.merge, sweeps.report, sweeps.compare, sweeps.ladder),
    *(checks.check, studies.reproduce, studies.recommend),
    *(models.extract, models.train, verify),
):
    app.command()(command)

_models = typer.Typer(invoke_without_command=True)
_models.callback()(models.list_models)
_models.command()(models.convert)
app.add_typer(_models, name="models")

_INTERRUPTED = 130


def main() -> None:
    """Run a command; whatever ends it is one line and an exit status."""
    show_all_characters()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        sys.exit(status_of(_run))


def _run() -> int:
    status: int = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    if status == _INTERRUPTED:
        say("interrupted; the same command goes on where it stopped")
    return status
