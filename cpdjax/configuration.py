"""Read settings from TOML files, check them with errors of one line, and write them down."""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from cpdjax.errors import FileError, InputError, UnknownNameError

Model = TypeVar("Model")

_MOST_BYTES = 2**20  # of a file of settings
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200


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
        raise InputError(f"{where}: {complaint}, got {_shown(first['input'])}") from None


def names_in(names: str | Iterable[str], known: Collection[str] = ()) -> list[str]:
    """Return names as a list, also those in a text that separates them by commas.

    A text that is one of the `known` names stands for itself, whatever is in it.

    >>> names_in("gap, E.gap"), names_in(["gap, mu"]), names_in("gap, mu", {"gap, mu"})
    (['gap', 'E.gap'], ['gap, mu'], ['gap, mu'])
    """
    if not isinstance(names, str):
        return list(names)
    if names in known:
        return [names]
    return [name.strip() for name in names.split(",") if name.strip()]


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


def in_order(model: type) -> list[str]:
    """Return the names of the fields of a dataclass: its own first, then those that it inherits."""
    names = (name for kind in model.__mro__ for name in vars(kind).get("__annotations__", ()))
    return list(dict.fromkeys(names))


def as_toml(settings: Any) -> str:
    """Return settings as a TOML file, in which comments explain them; it reads as the same.

    What is not set has no value in TOML: it is there as a comment.
    """
    kind = type(settings)
    texts, values = help_texts(kind), TypeAdapter(kind).dump_python(settings, mode="json")
    parts = []
    for name in in_order(kind):
        comment = textwrap.wrap(
            texts[name], 79, initial_indent="# ", subsequent_indent="# ",
            break_on_hyphens=False,
        )  # fmt: skip
        value = values[name]
        # JSON writes texts, numbers and lists as TOML does, but for one character.
        told = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        parts.append("\n".join([*comment, f"# {name} =" if value is None else f"{name} = {told}"]))
    return "\n\n".join(parts) + "\n"


def schema_of(model: type) -> dict[str, Any]:
    """Return the JSON schema of a file of settings, by which editors complete and check it."""
    found = TypeAdapter(model).json_schema()
    for name, text in help_texts(model).items():
        field = found["properties"][name]
        kinds = [k for k in field.pop("anyOf", [field]) if k.get("type") != "null"]  # not in TOML
        told = {"description": text}
        if field.get("default") is not None:
            told["default"] = field["default"]
        kinds = [{k: v for k, v in kind.items() if k not in ("default", "title")} for kind in kinds]
        items = [kind["items"] for kind in kinds if kind.get("type") == "array"]
        kinds += [item for item in items if item not in kinds]  # which stands for a list of one
        found["properties"][name] = {**told, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **found}


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        FileError: if the file is missing, unreadable or not valid TOML.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"cannot read {path}: {reason}") from None
    if len(content) > _MOST_BYTES:
        raise FileError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB: settings take less")
    try:
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except RecursionError:
        raise FileError(f"{path} is no valid TOML of settings: it is nested too deeply") from None
    except ValueError as error:  # of TOML, of UTF-8, of numbers with thousands of digits
        raise FileError(f"{path} is no valid TOML: {error}") from None


def _shown(value: Any) -> str:
    """Return a wrong value as an error shows it, however long or deeply nested it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a value of type {type(value).__name__}"
