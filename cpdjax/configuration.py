"""Read settings from TOML files and check them, with errors of one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cpdjax.errors import FileError, InputError, UnknownNameError

Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return `model(**values)`, and refuse values that do not fit with an error of one line.

    Raises:
        UnknownNameError: if a setting does not exist.
        InputError: if a value does not fit its setting.

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
        complaint = " or ".join(dict.fromkeys(said))  # one complaint for each kind that would fit
        raise InputError(f"{where}: {complaint}, got {first['input']!r}") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        FileError: if the file is missing, unreadable or not valid TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no valid TOML: {error}") from None
