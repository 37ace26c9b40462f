"""Save a model to a folder and load it again: hyperparameters in one file, weights in another.

model.json     name, the registered name of the architecture, the fields of its Flax module, where
               the weights came from
weights.npz    every array of the Flax variables by its path, such as "params/readout/weight"
SHA256SUMS     the hashes of both, since format 3

Neither file holds a pickle or the path of a Python module: only classes of `models/registry.py` are
ever made, and a class that moves keeps its registered name. What the record claims is compared with
bounds, and with the headers of the weights, before arrays are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import BaseModel, ConfigDict, Field

from cpdjax import checksums
from cpdjax.configuration import checked
from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic
from cpdjax.hashing import hash_file
from cpdjax.models import registry
from cpdjax.models.encoder import Encoder
from cpdjax.models.hyperparameters import make
from cpdjax.models.naming import RECORD
from cpdjax.models.runs import read_json
from cpdjax.models.weights.translate import shapes

_WEIGHTS, _FORMAT = "weights.npz", 3
_MOST_TEXT = 200  # characters of a target or a unit
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


class _Record(BaseModel):
    """Hold what `model.json` says, in any format."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Annotated[int, Field(ge=1, le=_FORMAT)]
    cpdjax: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(max_length=200)]
    module: Any  # compared with the registered names
    fields: dict[str, Any]
    aggregate: Literal["sum", "mean"]
    origin: dict[str, Any] = {}
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the weights."""


def is_saved(path: str | Path) -> bool:
    """Return whether `path` is a folder that `save` wrote."""
    return (Path(path) / RECORD).is_file()


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
            "origin": {"target": encoder.target, "unit": encoder.unit, **(origin or {})},
            "sha256": hash_file(temporary / _WEIGHTS),
        }
        try:
            text = json.dumps(record, indent=1, default=_described)
        except TypeError as error:
            raise InputError(f"{record['module']!r} cannot be saved: {error}") from None
        (temporary / RECORD).write_text(text, encoding="utf-8")
        checksums.write(temporary, {name: temporary / name for name in (RECORD, _WEIGHTS)})


def written(
    folder: Path,
    made: Sequence[Any],
    origin: Mapping[str, Any],
    *,
    target: str = "",
    unit: str = "",
) -> Encoder:
    """Save one model, called as its folder is, and return it.

    Args:
        made: what `from_state_dict` of its architecture returned.
        origin: where the weights came from: `file`, `sha256`, and for the model's card `family`,
            `licence` and `data` where they are known.
        target, unit: what the output is.
    """
    encoder = replace(Encoder(folder.name, *made), target=target, unit=unit)
    save(folder, encoder, origin)
    return encoder


def _described(module: Any) -> dict[str, Any]:
    """Return the registered name of a module or a record, and its fields, which may be some too."""
    if not is_dataclass(module) or isinstance(module, type):
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
        record = _record(folder)
        module = _module({"module": record.module, "fields": record.fields}, record.format)
        arrays = _weights(folder / _WEIGHTS, record.sha256, module)
        if record.format == _FORMAT or (folder / checksums.RECORD).exists():
            checksums.check_files(folder, RECORD, _WEIGHTS)
        said = (str(record.origin.get(name, ""))[:_MOST_TEXT] for name in ("target", "unit"))
        variables = unflatten_dict(arrays, sep="/")
        return Encoder(record.name, module, variables, record.aggregate, *said)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"cannot read {error.filename}: {error.strerror}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise FileError(f"{folder} is no saved model, or it is damaged: {reason}") from None


def _record(folder: Path) -> _Record:
    """Return what is said of the model."""
    values = read_json(folder / RECORD)
    given = values.get("format")
    if isinstance(given, int) and given > _FORMAT:
        by = values.get("cpdjax")
        raise FileError(f"{folder} was written by cpdjax {str(by)[:50]}, newer than this")
    return checked(_Record, values)


def _weights(path: Path, sha256: str, module: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a file; shapes are compared before any is made."""
    if hash_file(path) != sha256:
        raise FileError(f"{path} is not the file that was saved with {RECORD}")
    expected = {k: leaf.shape for k, leaf in flatten_dict(shapes(module), sep="/").items()}
    with np.load(path, allow_pickle=False) as stored:
        found = {name: _header(stored, name) for name in stored.files}
        if found != expected:
            raise FileError(f"{path}: the weights are not those of the hyperparameters")
        return {name: stored[name] for name in stored.files}


def _header(stored: Any, name: str) -> tuple[int, ...] | None:
    """Return the shape of an array of numbers in an .npz file, without reading it."""
    with stored.zip.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, _, kind = read(stream) if version == (1, 0) else (None, None, np.dtype("O"))
    return shape if kind.kind in "fiub" else None


def _module(record: Mapping[str, Any], written: int) -> Any:
    """Return what `_described` described, in the format that was written."""
    given = record["module"]
    name = _FORMAT_1.get(given) if written == 1 else given
    if name not in registry.names("architecture", "part"):
        raise FileError(
            f"its architecture {str(given)[:200]!r} is not known: add it with "
            "cpdjax.models.register"
        )
    values = {field: _restored(value, written) for field, value in record["fields"].items()}
    return make(registry.class_of(name), **values)


def _restored(value: Any, written: int) -> Any:
    """Return a field's value: lists of JSON become tuples again, objects become modules."""
    if isinstance(value, list):
        return tuple(_restored(v, written) for v in value)
    return _module(value, written) if isinstance(value, dict) else value
