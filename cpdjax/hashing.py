"""Compute SHA-256 hashes of arrays and files that are the same on every platform."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def hash_arrays(arrays: Iterable[tuple[str, Any]], facts: str = "") -> str:
    """Return the SHA-256 (hex) of `facts` and of every array with its label, shape and dtype.

    The bytes of each array are hashed in little-endian order, so that the result does not depend on
    the machine. The order of the arrays matters.

    >>> hash_arrays([("x", np.arange(3))]) == hash_arrays([("x", np.arange(3, dtype=">i8"))])
    True
    >>> hash_arrays([("x", np.arange(3))]) == hash_arrays([("y", np.arange(3))])
    False
    """
    digest = hashlib.sha256(facts.encode())
    for label, array in arrays:
        values = np.asarray(array)
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        digest.update(f"{label}{little.shape}{little.dtype.str}".encode())
        digest.update(little.data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 (hex) of the content of a file.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
