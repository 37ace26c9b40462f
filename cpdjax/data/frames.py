"""Read frames from structure files with ASE, and refuse what they cannot mean.

What a file claims is checked before room is made for it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.io.formats import filetype, open_with_compression

from cpdjax.errors import FileError, InputError

_FRAMES = re.compile(r"-?\d+|-?\d*:-?\d*(:-?\d*)?")
_PROPERTIES = re.compile(r"""\bProperties\s*=\s*("[^"]*"|'[^']*'|\S+)""")
_SPECIES = re.compile(r"([A-Z][a-z]{0,2})[0-9]*|[0-9]+")
_FULL = 1e-3  # how far an occupancy may be from 1


def located(path: str | Path, index: Any = None) -> tuple[Path, Any]:
    """Return the file that a path names, and which of its frames, as in "md.traj@::2".

    A file that has the whole text as its name is taken as it is. Without @ and `index` all frames
    are meant.

    Raises:
        InputError: if frames are named twice, after @ and by `index`.

    >>> located("md.traj@-2:")[1], located("md@300K.traj")[1]
    ('-2:', ':')
    """
    path = Path(path)
    name, at, frames = path.name.rpartition("@")
    if not name or not at or not _FRAMES.fullmatch(frames) or path.exists():
        return path, ":" if index is None else index
    if index is not None:
        raise InputError(f"{path} names frames after @, and index={index!r} names others: give one")
    return path.with_name(name), frames


def read_frames(path: Path, index: Any) -> list[Atoms]:
    """Return the frames at `index` in a file, of which there must be at least one.

    Raises:
        FileError: if the file is missing, empty, truncated, of no known format, or has no such
            frames.
    """
    if not path.exists():
        raise FileError(f"cannot read {path} as structures: there is no such file")
    try:
        # An absolute path, because ASE takes names such as postgres… for databases.
        whole = str(path.absolute())
        kind = filetype(whole)
        if kind in ("extxyz", "xyz"):
            with open_with_compression(whole, "rt") as file:
                _check_xyz(file)
        frames = ase.io.read(whole, index, kind, do_not_split_by_at_sign=True)
    except StopIteration:  # a single frame beyond the last
        frames = []
    except Exception as error:  # the readers of ASE raise errors of any type
        raise FileError(f"cannot read {path} as structures: {_reason(error)}") from error
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise FileError(f"{path} holds no structures for index {index!r}; expected at least one")
    return frames


def check_frames(frames: Sequence[Atoms], names: Sequence[str]) -> None:
    """Refuse frames with sites that are partly occupied, which no model can see.

    Raises:
        InputError: if a site is shared, split or sometimes empty; the error names the structure.
    """
    for name, frame in zip(names, frames, strict=True):
        partial = next(_partial_sites(frame), None)
        if partial is not None:
            raise InputError(
                f"structure '{name}' has a site that is partly occupied ({partial}), which counts "
                "of atoms and models cannot represent: make an ordered structure of it first"
            )


def _partial_sites(frame: Atoms) -> Iterator[str]:
    """Yield the content of each site that is not one whole atom."""
    sites = frame.info.get("occupancy")
    for site in sites.values() if isinstance(sites, dict) else ():
        shares = {str(k): _share(v) for k, v in dict(site).items()}
        if len(shares) > 1 or any(abs(share - 1) > _FULL for share in shares.values()):
            yield " ".join(f"{symbol} {share:g}" for symbol, share in shares.items())
    for key in ("occupancy", "occupancies"):  # as PDB files have them; 0 stands for unknown
        column = np.asarray(frame.arrays.get(key, 1))
        if column.dtype.kind in "iuf" and column.ndim < 2:
            for share in column[(column > 0) & (column < 1 - _FULL)]:
                yield f"occupancy {share:g}"


def _share(value: Any) -> float:
    """Return an occupancy as a number; CIF's "." and "?" stand for a full site."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 1.0


def _check_xyz(file: IO[str]) -> None:
    """Refuse frames that hold fewer atoms or columns than their headers claim.

    ASE makes room for what headers claim, and takes nothing after an empty line. Columns without a
    name are left out with a warning.

    Raises:
        FileError: without the file's name.
    """
    frame, line, nameless = 0, file.readline(), False
    while line.strip():
        word = line.split()[0]
        if not re.fullmatch(r"\+?\d+", word):
            raise FileError(f"frame {frame} begins with {line[:40]!r}, not its number of atoms")
        claimed = int(word[:30])
        header, first = file.readline(), file.readline() if claimed else ""
        nameless |= _has_nameless_columns(frame, header, first)
        found = bool(first) + sum(1 for _ in islice(file, min(max(claimed - 1, 0), 2**62)))
        if found < claimed:
            raise FileError(f"frame {frame} claims {claimed:.4g} atoms, but ends after {found}")
        line, frame = file.readline(), frame + 1
        while line.startswith("VEC"):
            line = file.readline()
    if line and any(rest.strip() for rest in file):
        raise FileError(f"there is more after the empty line that follows frame {frame - 1}")
    if nameless:
        warnings.warn(
            "columns after x, y and z are left out, since no Properties=… names them", stacklevel=4
        )


def _has_nameless_columns(frame: int, header: str, first: str) -> bool:
    """Return whether the first atom has columns beside its position that no header names.

    Raises:
        FileError: if a header names other columns than there are.
    """
    declared, held = _PROPERTIES.search(header), len(first.split())
    if declared is None or not first:
        return held > 4
    fields = declared[1].strip("\"'").split(":")
    widths = fields[2::3]
    if len(fields) % 3 or not all(re.fullmatch(r"[1-9]\d*", width) for width in widths):
        raise FileError(
            f"the Properties of frame {frame} are {declared[1][:120]}; expected a name, a type and "
            "a number of columns for each, divided by colons, and no colon inside a name"
        )
    columns = sum(int(width[:30]) for width in widths)
    if columns != held:
        raise FileError(f"frame {frame} claims {columns:.4g} columns, but has {held}")
    return False


def _reason(error: Exception) -> str:
    """Return one line that says why a file could not be read."""
    word = error.args[0] if isinstance(error, KeyError) and error.args else None
    if not isinstance(word, str) or not _SPECIES.fullmatch(word):
        return " ".join(str(error).split()) or type(error).__name__
    element = word.rstrip("0123456789")
    if word in ("D", "T"):
        cure = "an isotope of hydrogen; write H, because models and counts know no isotopes"
    elif word.isdigit() and 0 < int(word[:9]) < len(chemical_symbols):
        cure = f"a number; write {chemical_symbols[int(word)]}, or call the column Z, not species"
    elif element != word and element in chemical_symbols[1:]:
        cure = f"a label; write the element's symbol, {element}"
    else:
        cure = "no element; leave out ghost and dummy atoms, and write other names as symbols"
    return f"the species {word!r} is {cure}"
