"""Read settings from TOML files and check them, with errors of one line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cpdjax.errors import FileError, InputError, UnknownNameError

Model = TypeVar("Model")


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Make a pydantic model or dataclass from values, with its complaints as one line.

    Raises:
        UnknownNameError: there is no such setting.
        InputError: a value does not fit its setting.

    >>> from pydantic import Field, create_model
    >>> Repeats = create_model("Repeats", repeats=(int, Field(5, ge=1)))
    >>> checked(Repeats, {"repeats": 0})
    Traceback (most recent call last):
    ...
    cpdjax.errors.InputError: repeats: Input should be greater than or equal to 1, got 0
    """
    known = fields_of(model)
    for name in values:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    try:
        return model(**values)
    except ValidationError as error:
        first, *others = error.errors()
        where = first["loc"][0]
        said = [e["msg"] for e in (first, *others) if e["loc"][0] == where]
        complaint = " or ".join(dict.fromkeys(said))  # one complaint for each kind that would fit
        raise InputError(f"{where}: {complaint}, got {first['input']!r}") from None


def fields_of(model: Any) -> dict[str, Any]:
    """Return the fields of a pydantic model or dataclass, by name."""
    found: dict[str, Any] = model.__pydantic_fields__
    return found


def help_texts(model: Any) -> dict[str, str]:
    """Return the help text of every field: the last string beside its type.

    >>> from typing import Annotated
    >>> from pydantic import create_model
    >>> help_texts(create_model("Repeats", repeats=(Annotated[int, "How often."], 5)))
    {'repeats': 'How often.'}
    """
    texts = {
        name: [part for part in field.metadata if isinstance(part, str)]
        for name, field in fields_of(model).items()
    }
    return {name: found[-1] for name, found in texts.items() if found}


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        FileError: if the file is missing, unreadable or not valid TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no valid TOML: {error}") from None
