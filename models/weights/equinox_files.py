"""Files of Equinox models: a line of JSON, then the tree's leaves as NumPy arrays, one by one.

This is what `equinox.tree_serialise_leaves` writes behind a line of hyperparameters. Nothing in the
file is run: arrays of objects are refused, and no array is made before its claimed size was
compared with the bytes that are left.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cpdjax.errors import FileError

_MOST_BYTES, _MOST_TEXT, _MOST_ARRAYS, _MOST_AXES = 2 * 10**9, 10**6, 10_000, 8


def read(path: str | Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read the hyperparameters and the arrays, in the order of the file.

    Raises:
        FileError: the file cannot be read, is cut, has bytes behind its arrays, or holds anything
            but numbers. A single newline at the end, as editors add it, is no such byte.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise FileError(f"{path} has {size:,} bytes, more than any model of its kind")
        with path.open("rb") as stream:
            config = _config(stream)
            return config, _arrays(stream, size)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except _Damaged as damage:
        raise FileError(f"{path} is no Equinox model, or it is damaged: {damage}") from None


class _Damaged(Exception):
    """Say what is wrong with a file, before its name is known."""


def _config(stream: BinaryIO) -> dict[str, Any]:
    """Return the values of the first line."""
    line = stream.readline(_MOST_TEXT)
    try:
        if not line.endswith(b"\n"):
            raise _Damaged(f"its first line does not end within {_MOST_TEXT:,} bytes")
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise _Damaged("its first line is no JSON") from None
    if not isinstance(values, dict):
        raise _Damaged("its first line holds no named values")
    return values


def _arrays(stream: BinaryIO, size: int) -> list[np.ndarray]:
    """Return all arrays up to the end."""
    found: list[np.ndarray] = []
    while (left := size - stream.tell()) > 0:
        if left == 1 and stream.read(1) == b"\n":
            break
        if len(found) == _MOST_ARRAYS:
            raise _Damaged(f"it holds more than {_MOST_ARRAYS:,} arrays")
        try:
            found.append(_array(stream, size))
        except Exception as error:  # a damaged header can raise nearly anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise _Damaged(f"array {len(found) + 1}: {reason}") from None
    return found


def _array(stream: BinaryIO, size: int) -> np.ndarray:
    """Return the next array, if the file has room for what its header claims."""
    header = np.lib.format
    version = header.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of NumPy's format is not read")
    read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
    shape, by_column, kind = read(stream)
    if kind.kind not in "fiub" or kind.itemsize > 8:
        raise ValueError(f"it holds {str(kind)[:40]}, expected numbers")
    if len(shape) > _MOST_AXES or any(not 0 <= n <= size for n in shape):
        raise ValueError(f"its shape is {str(shape)[:60]}")
    claimed, left = math.prod(shape) * kind.itemsize, size - stream.tell()
    if claimed > left:
        raise ValueError(f"it claims {claimed:,} bytes, of which the file has {left:,}")
    values = np.frombuffer(stream.read(claimed), kind)
    values = values.reshape(shape, order="F" if by_column else "C")
    return values.astype(kind.newbyteorder("="))
