"""Put the commands together, and run the one that the arguments name."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from cpdjax import compilation
from cpdjax.cli import checks, models, studies, sweeps
from cpdjax.cli.failures import status_of
from cpdjax.cli.terminal import say, show_all_characters
from cpdjax.cli.verify import verify

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def every_command(
    no_compilation_cache: Annotated[
        bool,
        typer.Option(
            "--no-compilation-cache",
            help="Compile everything anew, and keep nothing of it in the user's cache folder.",
        ),
    ] = False,
) -> None:
    """Hear what holds for every command."""
    if no_compilation_cache:
        os.environ[compilation.ENABLED] = "false"


def _compiles(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let JAX, which is not imported yet, keep what a command compiles."""

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        os.environ |= {k.upper(): str(v) for k, v in compilation.settings().items()}
        return command(*arguments, **named)

    return run


_COMPILE_NOTHING = (sweeps.report, sweeps.compare, verify)
for command in (
    *(sweeps.sweep, sweeps.merge, sweeps.report, sweeps.compare, sweeps.ladder),
    *(checks.check, studies.reproduce, studies.recommend, studies.scatter),
    *(models.extract, models.train, verify),
):
    app.command()(command if command in _COMPILE_NOTHING else _compiles(command))

_models = typer.Typer(invoke_without_command=True)
_models.callback()(models.list_models)
_models.command()(models.convert)
app.add_typer(_models, name="models")

_INTERRUPTED = 130


def main() -> None:
    """Run a command; whatever ends it is one line and an exit status."""
    show_all_characters()
    with warnings.catch_warnings():
        # JAX warns at every program that it can neither load nor keep: that costs only time, and
        # what is wrong with the whole folder has been said by then.
        warnings.filterwarnings("ignore", ".* persistent compilation cache entry for ")
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        sys.exit(status_of(_run))


def _run() -> int:
    status: int = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    if status == _INTERRUPTED:
        say("interrupted; the same command goes on where it stopped")
    return status
