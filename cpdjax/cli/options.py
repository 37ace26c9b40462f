"""Declare the options of the command line, each once; a sweep's are read from its settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.markup import escape

from cpdjax.bounds import MOST_COPIES, MOST_ROWS, MOST_SEED
from cpdjax.cli import completion
from cpdjax.cli.ending import end
from cpdjax.cli.messages import show_progress
from cpdjax.cli.signatures import parameters_of, signed
from cpdjax.configuration import fields_of, help_texts, in_order, names_in
from cpdjax.errors import InputError
from cpdjax.processes import ALONE, Team, meet
from cpdjax.progress import shown
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, MOST_ALPHA, Settings

DATA, PREPARATION, PROBE = "Data", "Preparation of features", "Probe"
UNCERTAINTY, OUTPUT, PROCESSES = "Uncertainty", "Output", "Several processes"
"""Headings of the help, under which options stand."""
_HEADINGS = (None, DATA, PREPARATION, PROBE, UNCERTAINTY, OUTPUT)

FILES = "a file that ASE reads, or a CSV with a column of CIF text"
"""Say which files hold structures."""

Dataset = Annotated[
    str | None,
    typer.Option(
        help=f'"qm9", "qm9-probe", "conformers", or {FILES}; by default QM9.',
        rich_help_panel=DATA,
        autocompletion=completion.one_of(("qm9", "qm9-probe", "conformers")),
    ),
]
_OF_SWEEPS = help_texts(Settings)
Elements = Annotated[str | None, typer.Option(help=_OF_SWEEPS["elements"], rich_help_panel=DATA)]
Features = Annotated[
    list[str] | None,
    typer.Option(
        help="A model's name, or a file of features; may be given several times.",
        rich_help_panel=DATA,
        autocompletion=completion.models,
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        min=2, max=MOST_COPIES, help="Folds of the cross-validation.", rich_help_panel=PROBE
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers, separated by commas; last is the last interaction layer; by default all.",
        rich_help_panel=DATA,
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        help="A model's name; see `cpdjax models`. Or package.module:object, whose code is run.",
        autocompletion=completion.models,
    ),
]
Models = Annotated[
    str | None,
    typer.Option(
        help="Names of models, separated by commas; or package.module:object, whose code is run, "
        "from this folder or the environment.",
        rich_help_panel=DATA,
        autocompletion=completion.models,
    ),
]
Molecules = Annotated[
    int | None,
    typer.Option(
        "--n",
        min=2,
        max=MOST_ROWS,
        help=f"Molecules drawn from QM9; by default {DEFAULT_MOLECULES:,}.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Penalty = Annotated[
    str,
    typer.Option(
        help='Ridge penalty α, or "loo": by leave-one-out.',
        rich_help_panel=PROBE,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print the settings in force as a TOML file, and exit.",
        rich_help_panel=OUTPUT,
    ),
]
PrintSchema = Annotated[
    bool,
    typer.Option(
        "--print-schema",
        help="Print the JSON schema of that file, for editors, and exit.",
        rich_help_panel=OUTPUT,
    ),
]
Repeats = Annotated[
    int,
    typer.Option(
        min=1,
        max=MOST_COPIES,
        help="How often the molecules are shuffled anew.",
        rich_help_panel=PROBE,
    ),
]
Results = Annotated[Path, typer.Argument(help="A sweep's folder, a .zarr or a .nc.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_SEED,
        help="Random seed of the molecules drawn, of the shuffles and of the folds.",
        rich_help_panel=PROBE,
    ),
]
SkipUnknown = Annotated[
    bool,
    typer.Option("--skip-unknown", help=_OF_SWEEPS["skip_unknown"], rich_help_panel=DATA),
]
Targets = Annotated[
    str | None,
    typer.Option(
        help="Names of targets, separated by commas, or a CSV or Parquet file; by default those of "
        "the data.",
        rich_help_panel=DATA,
        autocompletion=completion.targets,
    ),
]

#: Where the settings of a sweep stand; those that are not listed stand under `PROBE`.
_PANELS = {
    DATA: (
        *("features", "controls", "dataset", "targets", "n"),
        *("elements", "skip_unknown", "composition"),
    ),
    PREPARATION: ("pool", "invariants", "standardize", "projection", "components"),
    UNCERTAINTY: ("permutations", "scheme", "permute_within", "bootstrap", "adjust"),
    OUTPUT: ("out", "format"),
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}
_COMPLETIONS = {"features": completion.models, "targets": completion.targets}


#: What several processes are told; see `takes_processes`.
_PROCESSES: dict[str, tuple[Any, Any, str, dict[str, Any]]] = {
    "distributed": (
        bool,
        False,
        "Several processes started this command: each does a share, in one folder that all see.",
        {},
    ),
    "coordinator": (
        str | None,
        None,
        "HOST:PORT at which process 0 meets the others; by default SLURM or Open MPI says it.",
        {},
    ),
    "processes": (int | None, None, "How many processes there are.", {"min": 1}),
    "process": (int | None, None, "Which of them this is, from 0.", {"min": 0}),
}


def listed(text: str | None) -> list[str] | None:
    """Return the names in a text that separates them by commas; None stays None."""
    return None if text is None else names_in(text)


def penalty(text: str) -> Any:
    """Return a Ridge penalty as a number, or "loo".

    Raises:
        InputError: it is neither, or out of bounds.
    """
    if text == "loo":
        return text
    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not 0 <= alpha <= MOST_ALPHA:
        raise InputError(
            f'--alpha must be a number from 0 to {MOST_ALPHA:g} or "loo", got {text!r}'
        )
    return alpha


def takes_settings(model: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command that takes the fields of a settings class as `**given`.

    Every field becomes an option with the field's help text and default. The command gets those
    that were given.
    """
    texts, known = help_texts(model), fields_of(model)
    added = [_option(name, known[name], texts[name]) for name in in_order(model)]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = [p for p in parameters_of(command) if p.kind is not p.VAR_KEYWORD]

        @wraps(command)
        def run(*arguments: Any, **named: Any) -> Any:
            return command(*arguments, **{k: v for k, v in named.items() if v is not None})

        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *added)]
        parameters.sort(key=lambda p: _HEADINGS.index(_panel(p)))
        return signed(run, parameters)

    return decorate


def _panel(parameter: Parameter) -> str | None:
    """Return the heading of a command's parameter."""
    beside = get_args(parameter.annotation)[1:]
    return next((getattr(info, "rich_help_panel", None) for info in beside), None)


def takes_processes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that takes `team`: the processes that do its work, from four options."""
    own = [p for p in parameters_of(command) if p.name != "team"]
    added = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[
                kind, typer.Option(f"--{name}", help=text, rich_help_panel=PROCESSES, **bounds)
            ],
        )
        for name, (kind, default, text, bounds) in _PROCESSES.items()
    ]

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        team = _team(**{name: named.pop(name) for name in _PROCESSES})
        # One that works alone has shown its progress from the start.
        with shown(team.leads and show_progress()):
            return command(*arguments, team=team, **named)

    return signed(run, [*own, *added])


def _team(
    distributed: bool, coordinator: str | None, processes: int | None, process: int | None
) -> Team:
    """Return the processes that do a command's work, when all have met; by default this one."""
    if distributed:
        return meet(end, coordinator, processes, process)
    if any(given is not None for given in (coordinator, processes, process)):
        raise InputError("--coordinator, --processes and --process go with --distributed")
    return ALONE


def _option(name: str, field: Any, text: str) -> Parameter:
    """Return the option of one field; its default is shown, but given by the settings class."""
    kind: Any = str
    for candidate in (bool, int, Path):
        if candidate in _kinds(field.annotation):
            kind = candidate
    words, default = _literals(field.annotation), _as_text(field.default)
    option: Any = typer.Option(
        # Typer puts a default that is a text into parentheses, within the brackets.
        help=text if default is None else f"{text} {escape(f'[default: {default}]')}",
        show_default=False,
        rich_help_panel=_PANEL_OF.get(name, PROBE),
        autocompletion=_COMPLETIONS.get(name) or (completion.one_of(words) if words else None),
    )
    if name == "features":  # file names may hold commas
        kind = list[str]
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _as_text(default: Any) -> str | None:
    """Return a default as it would be typed, or None where the help text tells it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default) if isinstance(default, str | int | float | Path) else None


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types that a single value may have."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _kinds(part))
    return (annotation,)


def _literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(v for part in get_args(annotation) for v in _literals(part))
