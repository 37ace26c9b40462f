"""Import models of a user's own by where they are, "package.module:object"."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.conformance import check_model, is_model
from cpdjax.models.interface import Model
from cpdjax.models.naming import SHIPPED

_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_place(model: Any) -> bool:
    """Return whether a text says where an object is, and is no file and no name of cpdjax.

    >>> is_place("mine.encoders:model"), is_place("cpdjax:so3lr"), is_place("so3lr")
    (True, False, False)
    """
    if not isinstance(model, str) or model.startswith(SHIPPED) or not _PLACE.fullmatch(model):
        return False
    return not Path(model).exists()


def load(place: str) -> Model:
    """Import a model, or call what returns one; this runs the code of that module.

    Modules are looked for in the folder where the program runs first, as `python -m` does.

    Raises:
        InputError: the module cannot be imported, has no such object, or that is no model and
            returns none; UnknownNameError: with the names that the module has.
    """
    module, _, path = place.partition(":")
    found: Any = _imported(place, module)
    for name in path.split("."):
        if not hasattr(found, name):
            known = [other for other in dir(found) if not other.startswith("_")]
            raise UnknownNameError(f"object of {module}", name, known)
        found = getattr(found, name)
    if not is_model(found) and callable(found):
        found = _called(place, found)
    if not is_model(found):
        raise InputError(
            f"{place} is of type {type(found).__name__}: expected a model, such as "
            "cpdjax.models.wrap makes, or a function without arguments that returns one"
        )
    return check_model(found)


def _imported(place: str, module: str) -> Any:
    """Return the module, from the folder where the program runs or from the environment."""
    here = os.getcwd()
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)  # and stays: what the module imports later lies there as well
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"{place}: there is no module {error.name!r} in {here} or in the environment"
            ) from None
        raise InputError(f"{place} cannot be imported: {_reason(error)}") from None
    except Exception as error:  # the module's own code can raise anything
        raise InputError(f"{place} cannot be imported: {_reason(error)}") from None


def _called(place: str, make: Any) -> Any:
    """Return what a function without arguments returns."""
    try:
        return make()
    except InputError:
        raise
    except Exception as error:  # the user's own code can raise anything
        raise InputError(f"{place}() fails: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return an error of somebody else's code in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
