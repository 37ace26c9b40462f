"""Signatures of probes: the choices that all share are shown, checked and declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from cpdjax.errors import UnknownNameError
from cpdjax.kernel.options import Choices

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_choices(*, without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Decorate a function that takes the fields of `Choices` as `**choices`.

    Its signature shows them with their types and defaults, and any other name is refused.

    Args:
        without: fields that this function does not take.

    Raises:
        UnknownNameError: by the decorated function, for an option that it does not have.

    >>> @takes_choices(without=["projection", "components"])
    ... def f(x, *, seed=0, **choices):
    ...     return choices
    >>> inspect.signature(f)
    <Signature (x, *, seed=0, standardize: bool = True)>
    >>> f(1, projecton="ols")
    Traceback (most recent call last):
    ...
    cpdjax.errors.UnknownNameError: unknown option of f 'projecton'; known: seed, standardize
    """
    types = get_type_hints(Choices)
    shared = {
        field.name: inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=types[field.name],
        )
        for field in fields(Choices)
        if field.name not in without
    }

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = {p.name for p in own} | shared.keys()
        keywords = {p.name for p in own if p.kind is p.KEYWORD_ONLY} | shared.keys()

        @wraps(function)
        def checked(*arguments: Any, **named: Any) -> Any:
            for name in named:
                if name not in known:
                    raise UnknownNameError(f"option of {function.__name__}", name, keywords)
            return function(*arguments, **named)

        shown = signature.replace(parameters=[*own, *shared.values()])
        checked.__signature__ = shown  # type: ignore[attr-defined]
        return checked  # type: ignore[return-value]

    return decorate
