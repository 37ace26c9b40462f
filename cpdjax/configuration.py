"""Settings read from files and checked, with complaints of one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cpdjax.errors import FileError, InputError, UnknownNameError

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """`model(**values)`, its complaints as one line.

    Raises:
        UnknownNameError: a setting that does not exist.
        InputError: a value that does not fit.

    >>> from pydantic import Field, create_model
    >>> Repeats = create_model("Repeats", repeats=(int, Field(5, ge=1)))
    >>> checked(Repeats, {"repeats": 0})
    Traceback (most recent call last):
    ...
    cpdjax.errors.InputError: repeats: Input should be greater than or equal to 1, got 0
    """
    for name in values:
        if name not in model.model_fields:
            raise UnknownNameError("setting", name, model.model_fields)
    try:
        return model(**values)
    except ValidationError as error:
        first, *others = error.errors()
        where = first["loc"][0]
        said = [e["msg"] for e in (first, *others) if e["loc"][0] == where]
        complaint = " or ".join(dict.fromkeys(said))  # each kind of value that would have fitted
        raise InputError(f"{where}: {complaint}, got {first['input']!r}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        FileError: it is missing or no TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no valid TOML: {error}") from None
