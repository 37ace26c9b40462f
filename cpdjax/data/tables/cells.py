"""Read tables with a column of CIF text as frames: a crystal a row, its numbers beside it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.cif import CIFBlock, parse_cif
from ase.io.formats import string2index

from cpdjax.data.frames import check_frames
from cpdjax.data.tables.table import Source, Table, read_table
from cpdjax.errors import FileError
from cpdjax.omissions import say_left_out

_LONGEST = 2**20
"""Limit the characters of one CIF (our choice)."""
_MOST_IMAGES = 50_000
"""Limit the sites of a CIF times its symmetry operations: ASE compares all images (our choice)."""
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
)
_MOST_OPERATIONS = 192  # of a space group, where the CIF names it and lists none


def read_cells(source: Source, index: Any = ":") -> list[Atoms]:
    """Return the crystals of the rows at `index`, with the ids and numbers of their rows in `info`.

    ASE reads the text of each CIF, which must hold one crystal with its cell.

    Raises:
        FileError: if the table cannot be read or has no column `cif`, or a CIF is broken or too
            large; the error names the row (from 0).
        InputError: if `read_table` refuses the table, or a site is partly occupied.

    Warns:
        LeftOutWarning: if other columns are left out.
    """
    table = read_table(source)
    path = source if isinstance(source, str | Path) else "the table"
    if "cif" not in table.texts:
        found = [*table.texts, *table.numbers, *table.left_out]
        raise FileError(
            f"cannot read {path} as structures: expected a column 'cif' with the text of a CIF in "
            f"each row, got {found[:20]}"
        )
    say_left_out("targets", f"columns of {table.name!r}", table.left_out, stacklevel=4)
    picked: Any = string2index(index) if isinstance(index, str) else index
    try:
        rows = np.atleast_1d(np.arange(table.rows)[picked])
    except IndexError:
        rows = np.empty(0, int)
    names = [_named(table, row) for row in rows]
    frames = [
        _read(path, name, table.texts["cif"][row]) for row, name in zip(rows, names, strict=True)
    ]
    check_frames(frames, names)
    for row, frame in zip(rows, frames, strict=True):
        frame.info = {key: values[row] for key, values in table.numbers.items()}
        frame.info |= {key: str(table.texts[key][row]) for key in ("id",) if key in table.texts}
    return frames


def _named(table: Table, row: int) -> str:
    """Return what errors call a row: its number (from 0), and its id where it has one."""
    return f"row {row}, {table.texts['id'][row]}" if "id" in table.texts else f"row {row}"


def _read(path: str | Path, name: str, text: str) -> Atoms:
    """Return the one crystal in a CIF, within bounds."""
    try:
        if len(text) > _LONGEST:
            raise FileError(f"it has {len(text):,} characters, expected at most {_LONGEST:,}")
        blocks = [block for block in parse_cif(io.StringIO(text)) if block.has_structure()]
        if len(blocks) != 1 or blocks[0].get_cellpar() is None:
            raise FileError(f"expected a cell with its atoms, got {text[:60]!r}")
        _check_images(blocks[0])
        atoms: Atoms = blocks[0].get_atoms()
    except Exception as error:  # the reader of ASE raises errors of any type
        reason = " ".join(str(error).split())[:200] or f"it is {text[:40]!r}"
        raise FileError(f"cannot read the CIF in {path}, {name}: {reason}") from None
    return atoms


def _check_images(block: CIFBlock) -> None:
    """Refuse sites and symmetry operations that would fill the memory together."""
    operations = next((block[key] for key in _OPERATIONS if key in block), None)
    count = len(operations) if isinstance(operations, list) and operations else _MOST_OPERATIONS
    images = len(block.get_symbols()) * count
    if images > _MOST_IMAGES:
        raise FileError(f"its symmetry makes {images:,} atoms, expected at most {_MOST_IMAGES:,}")
