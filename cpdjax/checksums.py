"""Tell damage: what was written is recorded by size and SHA-256, and compared when it is read.

A folder has a record of its files, which was written last. A single file ends in a line that holds
the hash of all before it; HDF5 and zip, the formats of such files, allow bytes after their end.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from cpdjax.errors import FileError
from cpdjax.files import PREFIX, atomic
from cpdjax.hashing import hash_file

RECORD = "cpdjax-checksums.json"
_LAST_LINE = re.compile(rb"\n#cpdjax sha256 ([0-9a-f]{64})\n")
_LENGTH = len("\n#cpdjax sha256 \n") + 64

Entries = dict[str, list[int | str]]


def seal(path: Path) -> None:
    """Record what a file or a folder holds, at the end of the file or in the folder."""
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): _entry(p) for p in files_of(path)}
        (path / RECORD).write_text(_text(files), encoding="utf-8")
    else:
        line = f"\n#cpdjax sha256 {hash_file(path)}\n"
        with path.open("ab") as stream:
            stream.write(line.encode())


def add(folder: Path, paths: Iterable[Path]) -> None:
    """Add files, or replace what is known of them, in the record of a folder.

    Of a folder that has a record of its own, the record is added.
    """
    entries = entries_of(folder) or {}
    for path in paths:
        file = path / RECORD if path.is_dir() else path
        entries[file.relative_to(folder).as_posix()] = _entry(file)
    with atomic(folder / RECORD) as temporary:
        temporary.write_text(_text(entries), encoding="utf-8")


def entries_of(folder: Path) -> Entries | None:
    """Return what the record of a folder says, or None without a record.

    Raises:
        FileError: the record is damaged.
    """
    try:
        known: Entries = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if not all(len(entry) == 2 for entry in known.values()):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise FileError(f"{folder / RECORD} is damaged: remove {folder}, or restore it") from None
    return known


def damaged(path: Path) -> list[str] | None:
    """Return the names of files that differ from what was written, or None without a record.

    Raises:
        FileError: the record of a folder is damaged.
        OSError: a file cannot be read.
    """
    if path.is_dir():
        entries = entries_of(path)
        return None if entries is None else [n for n, e in entries.items() if differs(path / n, e)]
    known, found = _hashes(path)
    return None if known is None else [path.name] * (known != found)


def differs(path: Path, entry: list[int | str]) -> bool:
    """Return whether a file is missing, or holds anything else than its record says."""
    if not path.is_file() or path.stat().st_size != entry[0]:
        return True
    return [path.stat().st_size, hash_file(path)] != entry


def check(path: Path) -> bool:
    """Refuse a damaged file or folder; return whether it has a record at all.

    Raises:
        FileError: it differs from what was written.
    """
    found = damaged(path)
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise FileError(
            f"{path} is damaged: {found[0]}{more} is missing or differs from what was written; "
            "restore it from a copy, or remove it and make it anew"
        )
    return found is not None


def warn_unrecorded(path: Path) -> None:
    """Warn that a file or folder has no record, as those of version 0.1.0."""
    warnings.warn(f"{path} has no checksums, so damage to it cannot be seen", stacklevel=3)


def _entry(path: Path) -> list[int | str]:
    return [path.stat().st_size, hash_file(path)]


def _text(entries: Entries) -> str:
    return json.dumps(entries, separators=(",", ":"), sort_keys=True)


def files_of(folder: Path) -> Iterator[Path]:
    """Return all files in a folder but its record and what is temporary."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and inside.name != RECORD and not inside.parts[0].startswith(PREFIX):
            yield path


def _hashes(path: Path) -> tuple[str | None, str]:
    """Return the hash that a file's last line tells, None without one, and that of the rest."""
    size = path.stat().st_size
    if size <= _LENGTH:
        return None, ""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        last = _LAST_LINE.fullmatch(whole[-_LENGTH:])
        if last is None:
            return None, ""
        with memoryview(whole) as view, view[:-_LENGTH] as content:
            return last[1].decode(), hashlib.sha256(content).hexdigest()
