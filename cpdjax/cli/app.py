"""Put the commands together, and run the one that the arguments name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from inspect import getdoc
from typing import Annotated, Any

import typer

import cpdjax
from cpdjax import compilation
from cpdjax.cli import checks, messages, models, spaces, studies, sweeps
from cpdjax.cli.failures import INTERRUPTED, STATUSES, status_of
from cpdjax.cli.runs import runs
from cpdjax.cli.terminal import put, say, show_all_characters
from cpdjax.cli.verify import verify
from cpdjax.progress import shown

_MEANINGS = "; ".join(f"{status} {meaning}" for status, meaning in STATUSES.items())
_EPILOG = f"Exit status: {_MEANINGS}."

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        put(f"cpdjax {cpdjax.__version__}")
        raise typer.Exit()


@app.callback()
def every_command(
    no_compilation_cache: Annotated[
        bool,
        typer.Option(
            "--no-compilation-cache",
            help="Compile everything anew, and keep nothing of it in the user's cache folder.",
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version of cpdjax and exit.",
        ),
    ] = False,
    quiet: messages.Quiet = False,
    verbose: messages.Verbose = 0,
) -> None:
    """Hear what holds for every command."""
    if no_compilation_cache:
        os.environ[compilation.ENABLED] = "false"
    messages.ask_for(quiet, verbose)


def _compiles(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let JAX, which is not imported yet, keep what a command compiles."""

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        os.environ |= {k.upper(): str(v) for k, v in compilation.settings().items()}
        return command(*arguments, **named)

    return run


def _shows_progress(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show what a command does, from its imports on."""

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        # Of several processes one shows something, which it knows when all have met.
        alone = not named.get("distributed")
        with shown(alone and messages.show_progress(), "loading libraries"):
            return command(*arguments, **named)

    return run


def _explained(command: Callable[..., Any]) -> dict[str, Any]:
    """Return what the help of a command says beside its options; its lines end where they must."""
    return {"help": re.sub(r"(?<!\n)\n(?!\n)", " ", getdoc(command) or ""), "epilog": _EPILOG}


_PANELS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Scores": (sweeps.sweep, sweeps.merge, sweeps.report, sweeps.compare, sweeps.ladder),
    "Likeness": (spaces.spaces,),
    "Findings": (checks.check, studies.reproduce, studies.recommend, studies.scatter),
    "Models and features": (models.extract, models.train),
    "Files": (verify,),
}
_COMPILE_NOTHING = (sweeps.report, sweeps.compare, verify)
_models = typer.Typer(
    cls=models.Models, invoke_without_command=True, **_explained(models.list_models)
)
_models.callback()(messages.takes_messages(models.list_models))
_models.command("show", **_explained(models.show_model))(messages.takes_messages(models.show_model))
_models.command(**_explained(models.convert))(messages.takes_messages(models.convert))
_models.command(**_explained(runs))(messages.takes_messages(runs))
for panel, commands in _PANELS.items():
    for command in commands:
        runs = command if command in _COMPILE_NOTHING else _compiles(command)
        runs = messages.takes_messages(_shows_progress(runs))
        app.command(rich_help_panel=panel, **_explained(command))(runs)
app.add_typer(_models, name="models", rich_help_panel="Models and features")


def main() -> None:
    """Run a command; whatever ends it is one line and an exit status."""
    show_all_characters()
    with messages.written():
        sys.exit(status_of(_run))


def _run() -> int:
    given = sys.argv[1:] or ["--help"]
    status: int = app(given, prog_name="cpdjax", standalone_mode=False) or 0
    if status == INTERRUPTED:
        say("interrupted; the same command goes on where it stopped")
    return status
