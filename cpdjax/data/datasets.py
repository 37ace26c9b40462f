"""Where structures come from: QM9 from its wheel, and any file that ASE reads.

QM9's parsed form is kept in a cache folder: the argument `cache`, else `$CPDJAX_CACHE`, else the
user's cache folder. It is plain arrays (no pickle), written atomically, and named after its format
and the content of its source, so nothing stale is ever read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import operator
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import ase.io
import numpy as np
import pandas as pd
import platformdirs
from ase import Atoms

from cpdjax.data import qm9 as _qm9
from cpdjax.data.qm9 import SCALAR_TARGETS as SCALAR_TARGETS
from cpdjax.data.qm9 import TARGETS as TARGETS
from cpdjax.data.structures import Structures
from cpdjax.data.tables import read_table
from cpdjax.errors import FileError, InputError
from cpdjax.hashing import hash_file

_FORMAT = 1  # of the cache file: raise it whenever `_save` or the parse changes
_ARRAYS = ("numbers", "positions", "offsets", "ids", "smiles")


def qm9(
    n: int | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    source: str | Path | None = None,
) -> Structures:
    """QM9: 130,831 molecules of H, C, N, O and F with B3LYP/6-31G(2df,p) targets.

    Targets and their units are listed in `cpdjax.data.qm9.TARGETS`; those of a default sweep in
    `SCALAR_TARGETS`. Positions in Å; `atom_targets["mulliken_charge"]` in e.

    Args:
        n: draw this many molecules without replacement: the first `n` of a permutation seeded by
            `seed`, in that order, so a smaller draw of one seed is the start of a larger one.
            None: all, in the file's order.
        seed: of the draw.
        cache: folder of the parsed form.
        source: folder with the four CSV files, in place of the installed qm9pack wheel's.

    Raises:
        InputError: `n` is not between 1 and the number of molecules.
        FileError: qm9pack is absent, or a file of it is missing or damaged.
    """
    folder = _wheel_folder() if source is None else Path(source)
    path = cache_folder(cache) / f"qm9-{_FORMAT}-{_fingerprint(folder)}.npz"
    structures = _load(path)
    if structures is None:
        structures = _qm9.parse(folder)
        if source is None and len(structures) != _qm9.MOLECULES:
            raise FileError(
                f"{folder} holds {len(structures)} molecules, expected {_qm9.MOLECULES}; "
                "pip install --force-reinstall qm9pack==1.0.3"
            )
        _save(path, structures)
    return structures if n is None else structures.select(_draw(n, len(structures), seed))


def read(
    path: str | Path,
    *,
    targets: str | Path | pd.DataFrame | Mapping[str, Any] | Sequence[str] | None = None,
    index: Any = ":",
    units: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Structures:
    """Structures from any file that ASE reads (extxyz, cif, db, traj, POSCAR, ...).

    Args:
        path: the file.
        targets: beside the file's own numeric `info` entries: a CSV or Parquet file or a
            DataFrame, one row per structure in order, or joined on its column `id` where the
            structures carry an `id` in `info` too; or a mapping of arrays. Numeric columns become
            targets, a column `smiles` the SMILES. Or the names of the `info` entries to take.
        index: which frames, as `ase.io.read` takes it.
        units: units of targets by name; "" (unknown) where not given.
        name: of the set; the file's stem by default.

    Raises:
        FileError: a file is missing, empty, truncated or of no known format.
        InputError: rows and structures disagree, or what `Structures` refuses.
    """
    path = Path(path)
    frames = _read_frames(path, index)
    name = path.stem if name is None else name
    if isinstance(targets, (str, Path)):
        targets = read_table(Path(targets))
    if not isinstance(targets, pd.DataFrame):
        return Structures.from_atoms(frames, name, targets, units)
    own_ids = all("id" in frame.info for frame in frames)
    structures = Structures.from_atoms(frames, name)
    table = _align(targets, structures, own_ids)
    columns = _numeric(table.drop(columns=["id", "smiles"], errors="ignore"))
    found = {k: u for k, u in structures.units.items() if k not in columns}
    return dataclasses.replace(
        structures,
        targets=structures.targets | columns,
        units=found | dict(units or {}),
        ids=table["id"].to_numpy(str) if "id" in table else structures.ids,
        smiles=table["smiles"].to_numpy(str) if "smiles" in table else structures.smiles,
    )


def cache_folder(cache: str | Path | None = None) -> Path:
    """The cache folder: the argument, else `$CPDJAX_CACHE`, else the user's own."""
    return Path(cache or os.environ.get("CPDJAX_CACHE") or platformdirs.user_cache_dir("cpdjax"))


def _wheel_folder() -> Path:
    """The wheel's data folder, found without importing the package (it needs pkg_resources)."""
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        raise FileError('QM9 needs the qm9pack wheel: pip install "cpdjax[qm9]"')
    return Path(spec.submodule_search_locations[0]) / "data"


def _fingerprint(folder: Path) -> str:
    """16 hex digits of the source files' content and of the tables that turn it into targets."""
    digest = hashlib.sha256(repr((_qm9.TARGETS, _qm9.ATOM_ENERGIES)).encode())
    for file_name in _qm9.FILES:
        try:
            digest.update(bytes.fromhex(hash_file(folder / file_name)))
        except OSError as error:
            raise FileError(
                f"cannot read QM9's {folder / file_name} ({error.strerror}); "
                'pip install "cpdjax[qm9]" or pass source='
            ) from error
    return digest.hexdigest()[:16]


def _draw(n: SupportsIndex, available: int, seed: int) -> np.ndarray:
    try:
        count = operator.index(n)
    except TypeError as error:
        raise InputError(f"n: expected a whole number of molecules, got {n!r}") from error
    if not 1 <= count <= available:
        raise InputError(f"n: expected 1 to {available} molecules, got {count}")
    return np.random.default_rng(seed).permutation(available)[:count]


def _save(path: Path, structures: Structures) -> None:
    """Write the cache file whole or not at all: a temporary file beside it takes its name.

    Writers that race each replace the file by an equal one. A folder that cannot be written costs
    only time, hence a warning.
    """
    arrays = {key: getattr(structures, key) for key in _ARRAYS}
    for group in ("targets", "atom_targets"):
        arrays |= {f"{group}/{k}": v for k, v in getattr(structures, group).items()}
    arrays["units"] = np.array(json.dumps(structures.units))
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        warnings.warn(
            f"QM9 is parsed anew each time: cannot write {path} ({error}); set CPDJAX_CACHE",
            stacklevel=3,
        )
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _load(path: Path) -> Structures | None:
    """The cached structures; None where there is no cache file or it is damaged (zip's CRC)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fields: dict[str, Any] = {key: file[key] for key in _ARRAYS}
            for group in ("targets", "atom_targets"):
                keys = [key for key in file.files if key.startswith(f"{group}/")]
                fields[group] = {key.partition("/")[2]: file[key] for key in keys}
            return Structures("qm9", units=json.loads(str(file["units"])), **fields)
    except Exception:  # a damaged file can raise nearly anything; the answer is the same: rebuild
        return None


def _read_frames(path: Path, index: Any) -> list[Atoms]:
    try:
        frames = ase.io.read(path, index=index)
    except Exception as error:  # ASE's readers raise whatever they meet, of any type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"cannot read {path} as structures: {reason}") from error
    frames = [frames] if isinstance(frames, Atoms) else frames
    if not frames:
        raise FileError(f"{path} holds no structures for index {index!r}; expected at least one")
    return frames


def _align(table: pd.DataFrame, structures: Structures, own_ids: bool) -> pd.DataFrame:
    """The table's rows in the structures' order."""
    if "id" in table and own_ids:
        keyed = table.set_axis(table["id"].astype(str))
        if not keyed.index.is_unique:
            twice = keyed.index[keyed.index.duplicated()][0]
            raise InputError(f"the table of targets has id {twice!r} more than once")
        row = keyed.index.get_indexer(pd.Index(structures.ids))
        if (row < 0).any():
            raise InputError(
                f"the table of targets has no row for {np.sum(row < 0)} of {len(row)} molecules, "
                f"the first '{structures.ids[np.argmin(row)]}'; expected its id in the column 'id'"
            )
        return table.iloc[row]
    if len(table) != len(structures):
        raise InputError(
            f"the table of targets has {len(table)} rows for {len(structures)} structures; expected"
            " one row each, or a column 'id' and an entry 'id' in every structure's info"
        )
    return table


def _numeric(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """The numeric columns; a column of mostly numbers with a word in it is an error, not text."""
    columns = {}
    for key in table:
        column = table[key]
        numbers = np.asarray(pd.to_numeric(column, errors="coerce"), np.float64)
        words = np.isnan(numbers) & ~np.asarray(column.isna())
        if not words.any():
            columns[str(key)] = numbers
        elif words.mean() < 0.5:
            row = int(np.argmax(words))
            raise InputError(
                f"target {str(key)!r}, row {row}: expected a number, got {column.iloc[row]!r}"
            )
    return columns
