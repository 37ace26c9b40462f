"""Give a command the options that its decorator adds: typer reads them off the signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any


def parameters_of(command: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a command, their types as objects."""
    return list(Signature.from_callable(command, eval_str=True).parameters.values())


def signed(run: Callable[..., Any], parameters: Sequence[Parameter]) -> Callable[..., Any]:
    """Return the function with these parameters in place of its own."""
    told: Any = run
    told.__signature__ = Signature(parameters)
    told.__annotations__ = {p.name: p.annotation for p in parameters}
    return run
