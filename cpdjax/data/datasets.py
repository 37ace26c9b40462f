"""Read structures and their targets: QM9 from its wheel, and any file that ASE reads.

The parsed form of QM9 is kept in a cache folder. Its file is named after its format and the content
of its source, so that nothing outdated is ever read.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd

from cpdjax.data.cache import load, save
from cpdjax.data.frames import located, read_frames
from cpdjax.data.qm9 import MOLECULES, SCALAR_TARGETS, TARGETS
from cpdjax.data.qm9_files import fingerprint, parse_qm9, wheel_folder
from cpdjax.data.structures import Structures
from cpdjax.data.tables.cells import read_cells
from cpdjax.data.tables.files import is_table, stem
from cpdjax.data.tables.table import Source, Table
from cpdjax.errors import FileError, InputError
from cpdjax.files import cache_folder
from cpdjax.progress import stage

__all__ = ["SCALAR_TARGETS", "TARGETS", "qm9", "read"]

_log = logging.getLogger(__name__)
_FORMAT = 1  # of the cache file: raise it whenever `cache.save` or the parse changes


def qm9(
    n: int | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    source: str | Path | None = None,
) -> Structures:
    """Return QM9: 130,831 molecules of H, C, N, O and F with B3LYP/6-31G(2df,p) targets.

    `TARGETS` lists the targets and their units, and `SCALAR_TARGETS` those of a default sweep.
    Positions are in Å, and `atom_targets["mulliken_charge"]` in e.

    Args:
        n: the number of molecules to draw without replacement; by default all molecules are
            returned, in the file's order. The draw is the start of a random permutation, in that
            order, so that a small draw is the start of a larger one with the same seed.
        seed: the random seed of the draw.
        cache: the folder that keeps the parsed form; by default `$CPDJAX_CACHE`, else the user's
            cache folder.
        source: a folder with the four CSV files, used instead of the installed qm9pack wheel.

    Raises:
        InputError: if `n` is not between 1 and the number of molecules.
        FileError: if qm9pack is not installed, or one of its files is missing or damaged.
    """
    folder = wheel_folder() if source is None else Path(source)
    path = cache_folder(cache) / f"qm9-{_FORMAT}-{fingerprint(folder)}.npz"
    _log.debug("the parsed form of QM9 is kept in %s", path)
    with stage("reading QM9"):
        structures = load(path, "qm9")
    if structures is None:
        with stage("parsing QM9, once for all"):
            structures = parse_qm9(folder)
        if source is None and len(structures) != MOLECULES:
            raise FileError(
                f"{folder} holds {len(structures)} molecules, expected {MOLECULES}; "
                "pip install --force-reinstall qm9pack==1.0.3"
            )
        save(path, structures)
    return structures if n is None else structures.select(_draw(n, len(structures), seed))


def read(
    path: str | Path | pd.DataFrame,
    *,
    targets: Source | Table | Sequence[str] | None = None,
    index: Any = None,
    units: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Structures:
    """Return the structures in any file that ASE reads (extxyz, cif, db, traj, POSCAR, ...).

    A table (.csv, .csv.gz, .parquet) with a column `cif` holds the text of a CIF in each row. Its
    columns of numbers are targets, those that number or name the rows left out; 7,572 perovskites
    of five atoms take 9 s of CPU, so that they are parsed anew each time.

    Args:
        path: the file, which may be followed by @ and the frames (or rows of a table) to read, as
            in "md.traj@::2"; or a DataFrame with a column `cif`.
        targets: targets beside the file's own numeric `info` entries, as a table; or the names of
            the `info` entries to take instead of all of them: as in `Structures.from_atoms`.
        index: the frames to read, in the form that `ase.io.read` takes; by default all.
        units: the units of targets by name; "" (unknown) where not given.
        name: the name of the set; by default the file's name without its suffix.

    Raises:
        FileError: if a file is missing, empty, truncated or of no known format.
        InputError: if rows and structures disagree, or `Structures` refuses the arrays.
    """
    if isinstance(path, pd.DataFrame):
        frames = read_cells(path, ":" if index is None else index)
        return Structures.from_atoms(frames, name or "structures", targets, units)
    path, index = located(path, index)
    with stage(f"reading {path.name}"):
        frames = read_cells(path, index) if is_table(path) else read_frames(path, index)
        return Structures.from_atoms(frames, stem(path) if name is None else name, targets, units)


def _draw(n: SupportsIndex, available: int, seed: int) -> np.ndarray:
    """Return the indices of `n` molecules, drawn without replacement."""
    try:
        count = operator.index(n)
    except TypeError as error:
        raise InputError(f"n: expected a whole number of molecules, got {n!r}") from error
    if not 1 <= count <= available:
        raise InputError(f"n: expected 1 to {available} molecules, got {count}")
    return np.random.default_rng(seed).permutation(available)[:count]
