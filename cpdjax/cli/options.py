"""Declare the options of the command line, each once; a sweep's are read from its settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from cpdjax.bounds import MOST_COPIES, MOST_ROWS, MOST_SEED
from cpdjax.cli.ending import end
from cpdjax.configuration import fields_of, help_texts
from cpdjax.errors import InputError
from cpdjax.processes import ALONE, Team, meet
from cpdjax.sweeps import target_names
from cpdjax.sweeps.settings import MOST_ALPHA, Settings

Dataset = Annotated[
    str | None,
    typer.Option(help='"qm9", "qm9-probe", or a file that ASE reads; by default QM9.'),
]
_OF_SWEEPS = help_texts(Settings)
Elements = Annotated[str | None, typer.Option(help=_OF_SWEEPS["elements"])]
Features = Annotated[
    list[str] | None,
    typer.Option(help="A model's name, or a file of features; may be given several times."),
]
Folds = Annotated[int, typer.Option(min=2, max=MOST_COPIES, help="Folds of the cross-validation.")]
Layers = Annotated[
    str | None,
    typer.Option(help="Layers, separated by commas; last is the last interaction layer."),
]
Models = Annotated[str | None, typer.Option(help="Names of models, separated by commas.")]
Molecules = Annotated[
    int | None, typer.Option("--n", min=2, max=MOST_ROWS, help="Molecules drawn from QM9.")
]
Penalty = Annotated[str, typer.Option(help='Ridge penalty α, or "loo": by leave-one-out.')]
Repeats = Annotated[
    int, typer.Option(min=1, max=MOST_COPIES, help="How often the molecules are shuffled anew.")
]
Results = Annotated[Path, typer.Argument(help="A sweep's folder, a .zarr or a .nc.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_SEED,
        help="Random seed of the molecules drawn, of the shuffles and of the folds.",
    ),
]
SkipUnknown = Annotated[bool, typer.Option("--skip-unknown", help=_OF_SWEEPS["skip_unknown"])]
Targets = Annotated[
    str | None,
    typer.Option(help="Names of targets, separated by commas, or a CSV or Parquet file."),
]


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
    return None if text is None else target_names.listed(text)


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
    that were given, lists as lists.
    """
    texts, known = help_texts(model), fields_of(model)
    # The fields of the class itself come first in the help, then those that it inherits.
    order = [name for kind in model.__mro__ for name in vars(kind).get("__annotations__", ())]
    added = [_option(name, known[name], texts[name]) for name in order]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = Signature.from_callable(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]

        @wraps(command)
        def run(*arguments: Any, **named: Any) -> Any:
            given = {k: v for k, v in named.items() if v is not None}
            return command(*arguments, **{k: _parsed(model, k, v) for k, v in given.items()})

        shown: Any = run
        shown.__signature__ = Signature([*own, *added])
        shown.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return run

    return decorate


def takes_processes(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command that takes `team`: the processes that do its work, from four options."""
    signature = Signature.from_callable(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "team"]
    added = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, typer.Option(f"--{name}", help=text, **bounds)],
        )
        for name, (kind, default, text, bounds) in _PROCESSES.items()
    ]

    @wraps(command)
    def run(*arguments: Any, **named: Any) -> Any:
        team = _team(**{name: named.pop(name) for name in _PROCESSES})
        return command(*arguments, team=team, **named)

    shown: Any = run
    shown.__signature__ = Signature([*own, *added])
    shown.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return run


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
        if candidate in (field.annotation, *get_args(field.annotation)):
            kind = candidate
    option = typer.Option(help=text, show_default=_as_text(field.default))
    if name == "features":  # file names may hold commas
        kind = list[str]
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _as_text(default: Any) -> str | Literal[False]:
    """Return a default as it would be typed, or False where there is none to show."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default) if isinstance(default, str | int | float | Path) else False


def _parsed(model: type, name: str, value: Any) -> Any:
    """Return a text as the list that its field holds."""
    field = fields_of(model).get(name)
    if field is None or not isinstance(value, str) or value in _literals(field.annotation):
        return value
    if name == "targets":  # names, or a table: `target_names` tells
        return value
    return listed(value) if _holds_tuple(field.annotation) else value


def _holds_tuple(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(map(_holds_tuple, get_args(annotation)))


def _literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(v for part in get_args(annotation) for v in _literals(part))
