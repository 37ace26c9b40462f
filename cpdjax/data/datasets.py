"""Read structures and their targets: QM9 from its wheel, its conformers, any file that ASE reads.

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
from cpdjax.data.conformers.making import Recipe, make
from cpdjax.data.frames import located, read_frames
from cpdjax.data.qm9 import HELD_OUT, MOLECULES, SCALAR_TARGETS, TARGETS
from cpdjax.data.qm9_files import fingerprint, parse_qm9, wheel_folder
from cpdjax.data.structures import Structures
from cpdjax.data.tables.cells import read_cells
from cpdjax.data.tables.files import is_table, stem
from cpdjax.data.tables.table import Source, Table
from cpdjax.errors import FileError, InputError
from cpdjax.files import cache_folder
from cpdjax.progress import shown, stage

__all__ = ["SCALAR_TARGETS", "TARGETS", "conformers", "qm9", "read"]

_log = logging.getLogger(__name__)
_FORMAT = 1  # of the cache file: raise it whenever `cache.save` or the parse changes
CONFORMER_MOLECULES = 300
"""The number of molecules whose conformers are made by default."""


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
    return structures if n is None else structures.select(drawn(n, len(structures), seed))


def conformers(
    n: int | None = None,
    seed: int = 0,
    *,
    molecules: Structures | None = None,
    per: int = 12,
    temperatures: Sequence[float] = (300.0, 600.0, 1200.0),
    cache: str | Path | None = None,
    progress: bool = False,
) -> Structures:
    """Return distorted geometries of molecules, labelled by GFN2-xTB: only geometry varies.

    Each molecule gets `per` geometries, whose bonds are its own: thermal displacements along its
    normal modes (`data.conformers.distortions` says which), at temperatures that take turns. Where
    it has rotatable bonds, every second round of temperatures also turns each of these by a random
    angle. All are put into the frame of the molecule's own geometry. `group` names the molecule of
    every row: composition and bonds are constant within a group, so what a probe finds there is
    geometry and nothing else (`projection="within"`).

    Targets: `gap`, `energy` (eV), `mu` (debye) and the vector `dipole` (e·Å); of the atoms
    `charges` (e) and `forces` (eV/Å). tblite makes the labels, an optional package under the
    LGPL-3.0: `pip install "cpdjax[xtb]"`. Every molecule is kept in the cache folder as soon as it
    is made, so that an interrupted call goes on where it stopped.

    Args:
        n: the number of molecules drawn from QM9, by default 300: of the 10,000 that the zoo's
            models have not seen.
        seed: the random seed of that draw and of the displacements.
        molecules: molecules to distort in their place, each at a geometry near a minimum.
        per: the number of geometries drawn for each molecule.
        temperatures: in K.
        cache: the folder that keeps them; by default `$CPDJAX_CACHE`, else the user's cache folder.
        progress: show on standard error how far it is.

    Raises:
        InputError: tblite or RDKit is not installed, `n` goes beside `molecules`, a molecule is
            charged, open-shell or periodic, or the settings make no sense.

    Warns:
        LeftOutWarning: geometries whose bonds broke, whose atoms collapsed or whose SCF did not
            converge are left out; it says how many.
    """
    if n is not None and molecules is not None:
        raise InputError("n draws molecules from QM9: select among your own molecules instead")
    try:
        kelvin = tuple(map(float, temperatures))
    except (TypeError, ValueError):
        raise InputError(
            f"temperatures (K) must be numbers, such as [300, 600], got {temperatures!r}"
        ) from None
    recipe = Recipe(per, kelvin, seed)
    with shown(progress):
        if molecules is None:
            rows = drawn(CONFORMER_MOLECULES if n is None else n, HELD_OUT, seed)
            molecules = qm9(HELD_OUT, 0, cache).select(rows)
        return make(molecules, recipe, cache_folder(cache))


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


def drawn(n: SupportsIndex, available: int, seed: int) -> np.ndarray:
    """Return the indices of `n` molecules, drawn without replacement.

    Raises:
        InputError: as `check_number`.
    """
    count = check_number(n, available)
    return np.random.default_rng(seed).permutation(available)[:count]


def check_number(n: SupportsIndex, available: int, what: str = "molecules") -> int:
    """Return how many molecules are to be drawn, of so many.

    Raises:
        InputError: it is no whole number from 1 to the number of those there are.
    """
    try:
        count = operator.index(n)
    except TypeError as error:
        raise InputError(f"n: expected a whole number of {what}, got {n!r}") from error
    if not 1 <= count <= available:
        raise InputError(f"n: expected 1 to {available:,} {what}, got {count:,}")
    return count
