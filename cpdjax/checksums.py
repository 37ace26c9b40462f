"""Tell damage: what was written is recorded by its SHA-256, and compared when it is read.

A folder holds the hashes of its files in `SHA256SUMS`, which the command `sha256sum -c` reads too.
A single file ends in a line with the hash of all before it; HDF5 and zip, the formats of such
files, allow bytes after their end.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cpdjax.errors import FileError
from cpdjax.files import PREFIX, atomic
from cpdjax.hashing import hash_file

RECORD = "SHA256SUMS"
_LINE = re.compile("([0-9a-f]{64})  (.+)")
_LAST_LINE = re.compile(rb"\n#cpdjax sha256 ([0-9a-f]{64})\n")
_PART_OF_LINE = re.compile(rb"#cpdjax sha256|[0-9a-f]{64}\n$")
_LENGTH = len("\n#cpdjax sha256 \n") + 64

#: Hash by the name of the file in its folder.
Hashes = dict[str, str]


def seal(path: Path) -> None:
    """Record what a file or a folder holds, at the end of the file or in the folder."""
    if path.is_dir():
        hashes = {_name(path, file): hash_file(file) for file in files_of(path)}
        (path / RECORD).write_bytes(_text(hashes))
    else:
        line = f"\n#cpdjax sha256 {hash_file(path)}\n"
        with path.open("ab") as stream:
            stream.write(line.encode())


def add(folder: Path, paths: Iterable[Path], writer: int = 0) -> None:
    """Add files, or replace what is known of them, in the record of a folder.

    Of a folder that has a record of its own, the record is added.

    Args:
        folder: the folder.
        paths: the files.
        writer: the number of the process, where several write to the folder; each but the first has
            a record of its own until `gather` joins them.
    """
    files = [path / RECORD if path.is_dir() else path for path in paths]
    record = f"{RECORD}-{writer}" if writer else RECORD
    write(folder, {_name(folder, file): file for file in files}, recorded(folder, record), record)


def gather(folder: Path) -> None:
    """Join the records of several processes in the record of a folder; none is writing any more."""
    for part in sorted(folder.glob(f"{RECORD}-*")):
        write(folder, {}, {**(recorded(folder) or {}), **(recorded(folder, part.name) or {})})
        part.unlink()


def write(
    folder: Path, files: Mapping[str, Path], others: Hashes | None = None, record: str = RECORD
) -> None:
    """Write the record of a folder, whole or not at all.

    Args:
        folder: the folder.
        files: the name that each file has in the folder, and where it is now.
        others: what is known of other files in the folder.
        record: the name of the record.
    """
    hashes = {**(others or {}), **{name: hash_file(file) for name, file in files.items()}}
    with atomic(folder / record) as temporary:
        temporary.write_bytes(_text(hashes))


def recorded(folder: Path, record: str = RECORD) -> Hashes | None:
    """Return the hashes in the record of a folder, or None without a record.

    Raises:
        FileError: the record is damaged.
    """
    try:
        lines = os.fsdecode((folder / record).read_bytes()).split("\n")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        lines = [""]
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if lines[-1] or None in found:
        raise FileError(f"{folder / record} is damaged: restore {folder} from a copy, or remove it")
    return {match[2]: match[1] for match in found if match}


def damaged(path: Path) -> list[str] | None:
    """Return the names of files that differ from what was written, or None without a record.

    Raises:
        FileError: the record of a folder is damaged.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        known, found = _hashes(path)
        return None if known is None else [path.name] * (known != found)
    hashes = recorded(path)
    if hashes is None:
        return None
    # Zarr reads whatever lies in its folder.
    more = {_name(path, f) for f in files_of(path)} - hashes.keys() if _is_zarr(path) else set()
    return [name for name, known in hashes.items() if differs(path / name, known)] + sorted(more)


def differs(path: Path, known: str) -> bool:
    """Return whether a file is missing, or has another hash than the known one."""
    return not path.is_file() or hash_file(path) != known


def check(path: Path) -> bool:
    """Refuse a damaged file or folder; return whether it has a record at all.

    Raises:
        FileError: it differs from what was written.
    """
    found = damaged(path)
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise FileError(
            f"{path} is damaged: {found[0]}{more} is missing, added or not what was written; "
            "restore it from a copy, or remove it and make it anew"
        )
    return found is not None


def check_files(folder: Path, *names: str) -> None:
    """Refuse files that are not those in the record of their folder.

    Raises:
        FileError: a file, or the record, is missing or changed.
    """
    hashes = recorded(folder) or {}
    for name in names:
        if name not in hashes or differs(folder / name, hashes[name]):
            raise FileError(
                f"{folder / name} is not the file that was written with {RECORD}: it is damaged or "
                "was changed; take the whole folder from where it came"
            )


def warn_unrecorded(path: Path) -> None:
    """Warn that a file or folder has no record, as those of version 0.1.0."""
    warnings.warn(f"{path} has no checksums, so damage to it cannot be seen", stacklevel=3)


def files_of(folder: Path) -> Iterator[Path]:
    """Return all files in a folder but its record, what is temporary, and the notes of Finder."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        own = parts[0].startswith((PREFIX, f"{RECORD}-")) or path.name == RECORD
        if path.is_file() and not own and not path.name.startswith((".DS_Store", "._")):
            yield path


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _text(hashes: Hashes) -> bytes:
    return b"".join(f"{h}  ".encode() + os.fsencode(n) + b"\n" for n, h in sorted(hashes.items()))


def _is_zarr(path: Path) -> bool:
    return path.suffix == ".zarr"


def _hashes(path: Path) -> tuple[str | None, str]:
    """Return the hash that a file's last line tells, None without one, and that of the rest."""
    if path.stat().st_size <= _LENGTH:
        return None, ""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        end = whole[-_LENGTH:]
        last = _LAST_LINE.fullmatch(end)
        if last is None:
            return ("" if _PART_OF_LINE.search(end) else None), "damaged"
        with memoryview(whole) as view, view[:-_LENGTH] as content:
            return last[1].decode(), hashlib.sha256(content).hexdigest()
