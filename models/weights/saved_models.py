"""Models of the user's own, in a folder: one file of hyperparameters, one of weights; no pickle.

model.json     name, architecture, the Flax module's fields, where the weights came from
weights.npz    every array of the Flax variables by its path, such as "params/readout/weight"
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic
from cpdjax.hashing import hash_file
from cpdjax.models.encoder import Encoder
from cpdjax.models.weights.translate import shapes

_MOVED = {
    "cpdjax.models.schnet": "cpdjax.models.architectures.schnet",
    "cpdjax.models.dimenet": "cpdjax.models.architectures.dimenet",
    "cpdjax.models.painn": "cpdjax.models.architectures.painn",
    "cpdjax.models.visnet": "cpdjax.models.architectures.visnet",
    "cpdjax.models.mace": "cpdjax.models.architectures.mace",
    "cpdjax.models.nequip": "cpdjax.models.architectures.nequip",
    "cpdjax.models.so3krates": "cpdjax.models.architectures.so3krates",
    "cpdjax.models.chgnet": "cpdjax.models.architectures.chgnet",
    "cpdjax.models.ani": "cpdjax.models.architectures.ani",
    "cpdjax.models.long_range": "cpdjax.models.blocks.long_range",
    "cpdjax.models.standardized": "cpdjax.models.training.standardized",
}
_RECORD, _WEIGHTS, _FORMAT = "model.json", "weights.npz", 1


def is_saved(path: str | Path) -> bool:
    """Whether `path` is a folder that `save` wrote."""
    return (Path(path) / _RECORD).is_file()


def save(folder: str | Path, encoder: Encoder, origin: Mapping[str, Any] | None = None) -> None:
    """Write an encoder to a folder, whole or not at all.

    Args:
        origin: what to note of where the weights came from.

    Raises:
        InputError: a field of the architecture cannot be written as JSON.
        FileError: there is something else in this place.
    """
    folder = Path(folder)
    if folder.exists() and not is_saved(folder):
        raise FileError(f"{folder} exists and is no saved model: choose another name or remove it")
    module: Any = encoder.architecture
    record = {
        "format": _FORMAT,
        "cpdjax": version("cpdjax"),
        "name": encoder.name,
        **_described(module),
        "aggregate": encoder.aggregate,
        "origin": dict(origin or {}),
    }
    leaves = flatten_dict(encoder.variables, sep="/")
    arrays: dict[str, Any] = {path: np.asarray(leaf) for path, leaf in leaves.items()}
    with atomic(folder) as temporary:
        temporary.mkdir()
        np.savez(temporary / _WEIGHTS, **arrays)
        record["sha256"] = hash_file(temporary / _WEIGHTS)
        try:
            text = json.dumps(record, indent=1, default=_described)
        except TypeError as error:
            raise InputError(f"{record['module']} cannot be saved: {error}") from None
        (temporary / _RECORD).write_text(text)


def _described(module: Any) -> dict[str, Any]:
    """A Flax module as its class and fields, which may be modules themselves."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{type(module).__name__} is no type of JSON")
    kept = [field.name for field in fields(module) if field.name not in ("parent", "name")]
    return {
        "module": f"{type(module).__module__}.{type(module).__qualname__}",
        "fields": {name: getattr(module, name) for name in kept},
    }


def load(folder: str | Path, known: Collection[str]) -> Encoder:
    """The encoder in a folder.

    Args:
        known: the Python modules of architectures and their parts; a class of any other is refused.

    Raises:
        FileError: a file is missing, damaged or altered, or of a newer format.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / _RECORD).read_text())
        if record["format"] > _FORMAT:
            raise FileError(f"{folder} was written by cpdjax {record['cpdjax']}, newer than this")
        if hash_file(folder / _WEIGHTS) != record["sha256"]:
            raise FileError(f"{folder / _WEIGHTS} is not the file that was saved with {_RECORD}")
        with np.load(folder / _WEIGHTS, allow_pickle=False) as stored:
            arrays = {path: stored[path] for path in stored.files}
        module = _module(record, known)
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


def _module(record: Mapping[str, Any], known: Collection[str]) -> Any:
    path, _, name = record["module"].rpartition(".")
    path = _MOVED.get(path, path)
    found: Any = getattr(import_module(path), name, None) if path in known else None
    own = isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == path
    if not own:
        raise FileError(f"its architecture {record['module']!r} is not known")
    return found(**{k: _restored(v, known) for k, v in record["fields"].items()})


def _restored(value: Any, known: Collection[str]) -> Any:
    """JSON's lists as the tuples that they were, its objects as modules."""
    if isinstance(value, list):
        return tuple(_restored(v, known) for v in value)
    return _module(value, known) if isinstance(value, dict) else value
