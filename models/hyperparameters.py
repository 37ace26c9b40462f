"""Make Flax modules of hyperparameters that are checked: their types, and bounds.

The types are those of the module's fields, where a field may state a bound of its own with the
types below. Bounds are far above those of any published model, and our choice: a record of a few
hundred bytes shall not ask for hours or for all memory.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar, get_type_hints

import numpy as np
from flax import linen as nn
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from cpdjax.errors import InputError, UnknownNameError

Depth = Annotated[int, Field(ge=0, le=20)]
"""A number of layers, blocks or networks."""
HeadCount = Annotated[int, Field(ge=1, le=128)]
"""A number of attention heads."""
Degree = Annotated[int, Field(ge=0, le=4)]
"""A degree of harmonics or polynomials."""
Order = Annotated[int, Field(ge=1, le=3)]
"""How many messages are multiplied."""
Orders = Annotated[int, Field(ge=1, le=16)]
"""A number of orders of Bessel functions, whose zeros are searched for."""
Power = Annotated[int, Field(ge=1, le=100)]
"""A power of an envelope."""
Width = Annotated[int, Field(ge=1, le=10_000)]
"""A number of channels or functions."""
Length = Annotated[float, Field(gt=0, le=1000)]
"""A distance (Å)."""
IrrepsText = Annotated[
    str, Field(max_length=200, pattern=r"^\d{1,4}x[0-8][eo]( ?\+ ?\d{1,4}x[0-8][eo])*$")
]
"""Irreps such as "8x0e + 4x1o"."""

_MOST_INTEGER, _MOST_NUMBER, _MOST_TEXT, _MOST_ITEMS = 100_000, 1e9, 200, 200

Made = TypeVar("Made")


def make(module: type[Made], /, **values: Any) -> Made:
    """Return a module with these fields; lists become tuples, and NumPy's scalars numbers.

    Raises:
        UnknownNameError: the module has no such field.
        InputError: a value has another type than its field, or is out of bounds.

    >>> from cpdjax.models.architectures.painn import PaiNN
    >>> make(PaiNN, n_rbf=-1)
    Traceback (most recent call last):
    ...
    cpdjax.errors.InputError: PaiNN: n_rbf: Input should be greater than or equal to 1, got -1
    """
    fields: dict[str, Any] = module.__dataclass_fields__  # type: ignore[attr-defined]
    known = set(fields) - {"parent", "name"}
    for name in values:
        if name not in known:
            raise UnknownNameError(f"option of {module.__name__}", name, known)
    plain = {name: _plain(name, value) for name, value in values.items()}
    try:
        hints = get_type_hints(module, include_extras=True)
    except NameError:  # a module of somebody's own, which imports its types for checkers alone
        hints = dict.fromkeys(plain, Any)
    types: dict[str, Any] = {name: (hints[name], ...) for name in plain}
    schema = create_model("Fields", __config__=_CONFIG, **types)
    try:
        found = schema(**plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{module.__name__}: {first['loc'][0]}: {first['msg']}, got {_short(first['input'])}"
        ) from None
    return module(**{name: getattr(found, name) for name in plain})


_CONFIG = ConfigDict(strict=True, arbitrary_types_allowed=True)


def within(kind: Any, name: str, value: Any) -> Any:
    """Return a value of one of the types above, before anything is made of it.

    Raises:
        InputError: it has another type, or is out of bounds.

    >>> within(Depth, "num_interactions", 2)
    2
    """
    try:
        return TypeAdapter(kind).validate_python(_plain(name, value), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{name}: {first['msg']}, got {_short(first['input'])}") from None


def _plain(name: str, value: Any) -> Any:
    """Return a value as Python's own types, within the bounds of every field."""
    if isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, list | tuple):
        _bounded(name, len(value) <= _MOST_ITEMS, f"{len(value):,} items")
        made = [_plain(name, item) for item in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    if isinstance(value, int | float):
        most = _MOST_NUMBER if isinstance(value, float) else _MOST_INTEGER
        _bounded(name, math.isfinite(value) and abs(value) <= most, _short(value))
    if isinstance(value, str):
        _bounded(name, len(value) <= _MOST_TEXT, f"a text of {len(value):,} characters")
    return value


def _bounded(name: str, within: bool, got: str) -> None:
    if not within:
        raise InputError(f"{name} is out of the bounds of any model, got {got}")


def _short(value: Any) -> str:
    text = f"a {type(value).__name__}" if isinstance(value, nn.Module) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
