"""Compute SHA-256 hashes of arrays and files that are the same on every platform.

A folder keeps the hashes of its files in `SHA256SUMS`, which the command `sha256sum -c` reads too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cpdjax.errors import FileError
from cpdjax.files import atomic

SUMS = "SHA256SUMS"
_MOST_SUMS = 100_000  # bytes


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


def write_sums(folder: Path, files: Mapping[str, Path]) -> None:
    """Write the hashes of a folder's files beside them, whole or not at all.

    Args:
        files: the name that each file has in the folder, and where it is now.
    """
    lines = [f"{hash_file(path)}  {name}\n" for name, path in files.items()]
    with atomic(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def check_sums(folder: Path, *names: str) -> None:
    """Compare files with the hashes that were written beside them.

    Args:
        names: the files to compare; by default all that have a hash.

    Raises:
        FileError: a file, or the record of hashes, is missing or changed.
    """
    path = folder / SUMS
    try:
        if path.stat().st_size > _MOST_SUMS:
            raise FileError(f"{path} is no record of hashes: it has more than {_MOST_SUMS:,} bytes")
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = {name: found for found, _, name in (line.partition("  ") for line in lines)}
        for name in names or kept:
            if name not in kept or hash_file(folder / name) != kept[name]:
                raise FileError(
                    f"{folder / name} is not the file that was written with {SUMS}: it is damaged "
                    "or was changed; take the whole folder from where it came"
                )
    except OSError as error:
        raise FileError(f"cannot read {error.filename}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} is damaged: take the whole folder from where it came") from None
