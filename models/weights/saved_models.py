"""Save a model to a folder and load it again: hyperparameters in one file, weights in another.

model.json     name, the registered name of the architecture, the fields of its Flax module, where
               the weights came from
weights.npz    every array of the Flax variables by its path, such as "params/readout/weight"

Neither file holds a pickle or the path of a Python module: only classes of `models/registry.py` are
ever made, and a class that moves keeps its registered name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic
from cpdjax.hashing import hash_file
from cpdjax.models import registry
from cpdjax.models.encoder import Encoder
from cpdjax.models.weights.translate import shapes

_RECORD, _WEIGHTS, _FORMAT = "model.json", "weights.npz", 2
#: What format 1, that of version 0.1.0, wrote in place of registered names.
_FORMAT_1 = {
    "cpdjax.models.ani.ANI": "ani",
    "cpdjax.models.chgnet.CHGNet": "chgnet",
    "cpdjax.models.dimenet.DimeNetPlusPlus": "dimenet++",
    "cpdjax.models.long_range.LongRange": "long-range",
    "cpdjax.models.mace.MACE": "mace",
    "cpdjax.models.nequip.NequIP": "nequip",
    "cpdjax.models.painn.PaiNN": "painn",
    "cpdjax.models.schnet.SchNet": "schnet",
    "cpdjax.models.so3krates.So3krates": "so3krates",
    "cpdjax.models.standardized.Standardized": "standardized",
    "cpdjax.models.visnet.ViSNet": "visnet",
}


def is_saved(path: str | Path) -> bool:
    """Return whether `path` is a folder that `save` wrote."""
    return (Path(path) / _RECORD).is_file()


def save(folder: str | Path, encoder: Encoder, origin: Mapping[str, Any] | None = None) -> None:
    """Write an encoder to a folder, whole or not at all.

    Args:
        origin: what to note about where the weights came from.

    Raises:
        InputError: the architecture is not registered, or one of its fields cannot be written as
            JSON.
        FileError: the folder exists and holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not is_saved(folder):
        raise FileError(f"{folder} exists and is no saved model: choose another name or remove it")
    leaves = flatten_dict(encoder.variables, sep="/")
    arrays: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in leaves.items()}
    with atomic(folder) as temporary:
        temporary.mkdir()
        np.savez(temporary / _WEIGHTS, **arrays)
        record = {
            "format": _FORMAT,
            "cpdjax": version("cpdjax"),
            "name": encoder.name,
            **_described(encoder.architecture),
            "aggregate": encoder.aggregate,
            "origin": dict(origin or {}),
            "sha256": hash_file(temporary / _WEIGHTS),
        }
        try:
            text = json.dumps(record, indent=1, default=_described)
        except TypeError as error:
            raise InputError(f"{record['module']!r} cannot be saved: {error}") from None
        (temporary / _RECORD).write_text(text, encoding="utf-8")


def _described(module: Any) -> dict[str, Any]:
    """Return the registered name of a Flax module and its fields, which may be modules too."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{type(module).__name__} is no type of JSON")
    name = registry.name_of(type(module))
    if name is None:
        raise InputError(
            f"{type(module).__qualname__} is not registered, so it could not be loaded again: call "
            f"cpdjax.models.register(NAME, '{type(module).__module__}:{type(module).__qualname__}')"
        )
    kept = [field.name for field in fields(module) if field.name not in ("parent", "name")]
    return {"module": name, "fields": {field: getattr(module, field) for field in kept}}


def load(folder: str | Path) -> Encoder:
    """Read the encoder that `save` wrote.

    Raises:
        FileError: a file is missing, damaged or altered, of a newer format, or of an architecture
            that is not registered.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["format"] > _FORMAT:
            raise FileError(f"{folder} was written by cpdjax {record['cpdjax']}, newer than this")
        if hash_file(folder / _WEIGHTS) != record["sha256"]:
            raise FileError(f"{folder / _WEIGHTS} is not the file that was saved with {_RECORD}")
        with np.load(folder / _WEIGHTS, allow_pickle=False) as stored:
            arrays = {path: stored[path] for path in stored.files}
        module = _module(record, record["format"])
        expected = {k: leaf.shape for k, leaf in flatten_dict(shapes(module), sep="/").items()}
        if {path: array.shape for path, array in arrays.items()} != expected:
            raise FileError(f"{folder}: the weights are not those of the hyperparameters")
        name, aggregate = record["name"], record["aggregate"]
        return Encoder(name, module, unflatten_dict(arrays, sep="/"), aggregate)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {error.filename}: {error.strerror}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{folder} is no saved model, or it is damaged: {reason}") from None


def _module(record: Mapping[str, Any], written: int) -> Any:
    """Return the Flax module that `_described` described, in the format that was written."""
    given = record["module"]
    name = _FORMAT_1.get(given) if written == 1 else given
    if name not in registry.names("architecture", "part"):
        raise FileError(
            f"its architecture {given!r} is not known: add it with cpdjax.models.register"
        )
    values = {field: _restored(value, written) for field, value in record["fields"].items()}
    return registry.class_of(name)(**values)


def _restored(value: Any, written: int) -> Any:
    """Return a field's value: lists of JSON become tuples again, objects become modules."""
    if isinstance(value, list):
        return tuple(_restored(v, written) for v in value)
    return _module(value, written) if isinstance(value, dict) else value
