"""Read all that this program wrote at a path, and tell what is damaged."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.files import PREFIX

Verdict = Literal["ok", "damaged", "unknown"]


class Item(NamedTuple):
    """Say of one file, or of one Zarr store, whether it is what was written."""

    path: Path
    verdict: Verdict
    """Is "unknown" where nothing was recorded, as by version 0.1.0."""
    reason: str = ""


def verify(path: str | Path) -> list[Item]:
    """Read a store, results, the folder of a command, a model or any file in them.

    Raises:
        FileError: there is nothing at `path`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "note.txt").write_text("whole", encoding="utf-8")
    >>> checksums.add(folder, [folder / "note.txt"])
    >>> [item.verdict for item in verify(folder)]
    ['ok']
    >>> _ = (folder / "note.txt").write_text("altered", encoding="utf-8")
    >>> [item.verdict for item in verify(folder)]
    ['damaged']
    """
    found = list(_items(Path(path)))
    if not found:
        raise FileError(f"{path} does not exist or is empty: give a file or folder of this program")
    return found


def _items(path: Path) -> Iterator[Item]:
    if path.is_file():
        yield _file(path)
    elif path.is_dir():
        try:
            hashes = checksums.recorded(path)
        except FileError as error:
            yield Item(path / checksums.RECORD, "damaged", str(error))
            hashes = None
        if path.suffix == ".zarr":
            yield _store(path, hashes)
        else:
            yield from _folder(path, hashes or {})


def _store(path: Path, hashes: checksums.Hashes | None) -> Item:
    """Read a Zarr store, which is one item."""
    if hashes is None:
        return Item(path, "unknown", "no checksums")
    return _verdict(path, checksums.damaged(path) or [])


def _folder(path: Path, hashes: checksums.Hashes) -> Iterator[Item]:
    """Read the files that a folder's record names, then all others in it."""
    for name, known in hashes.items():
        is_record = Path(name).name == checksums.RECORD  # of a folder in it, which comes below
        different = checksums.differs(path / name, known)
        if different or not is_record:
            yield _verdict(path / name, [name] if different else [])
    for child in sorted(path.iterdir()):
        internal = child.name.startswith((PREFIX, ".lock")) or child.name == checksums.RECORD
        if not internal and child.name not in hashes:
            yield from _items(child)


def _file(path: Path) -> Item:
    """Read a file that may end in its own hash, or whose format tells some damage."""
    different = checksums.damaged(path)
    if different is not None:
        return _verdict(path, different)
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return _verdict(path, [name for name in [archive.testzip()] if name])
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        return Item(path, "damaged", f"it cannot be read: {reason}")
    return Item(path, "unknown", "no checksum")


def _verdict(path: Path, different: list[str]) -> Item:
    if not different:
        return Item(path, "ok")
    more = f" and {len(different) - 1} more" if len(different) > 1 else ""
    inside = f"{different[0]}{more}: " if len(different) > 1 or path.is_dir() else ""
    return Item(path, "damaged", f"{inside}missing, added or not what was written")
