"""Read files of a tar archive into memory, within bounds: nothing is unpacked, no link followed."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from cpdjax.errors import FileError

MOST_BYTES = 2**29
"""Limit what the members of an archive claim together (our choice)."""
_MOST_MEMBERS = 10_000
UNREADABLE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError)
"""What a file raises that is no archive, or a damaged one."""


def names(
    path: Path, wanted: Callable[[str], bool] = bool, most: int = MOST_BYTES
) -> Iterator[str]:
    """Yield the names of the plain files that are wanted, by default of all.

    Raises:
        FileError: the archive claims to hold too much.
        OSError, ...: one of `UNREADABLE`.
    """
    with tarfile.open(path) as archive:
        yield from (member.name for member in _members(path, archive, wanted, most))


def contents(path: Path, wanted: Callable[[str], bool], most: int = MOST_BYTES) -> dict[str, bytes]:
    """Return the content of the plain files that are wanted, by name; links are passed over.

    Raises:
        FileError: it is no archive, damaged, or claims to hold too much.
    """
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in _members(path, archive, wanted, most):
                content = archive.extractfile(member)
                found[member.name] = content.read() if content else b""
    except UNREADABLE as error:
        raise FileError(f"cannot read {path} as an archive: {error}") from None
    return found


def _members(
    path: Path, archive: tarfile.TarFile, wanted: Callable[[str], bool], most: int
) -> Iterator[tarfile.TarInfo]:
    room = most
    for i, member in enumerate(archive):
        room -= member.size
        if i >= _MOST_MEMBERS or room < 0:
            raise FileError(
                f"{path} claims to hold more than {most:,} bytes or {_MOST_MEMBERS:,} files, which "
                "no model needs"
            )
        if member.isreg() and wanted(member.name):
            yield member
