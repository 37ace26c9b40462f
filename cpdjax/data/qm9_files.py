"""Parse QM9 from the CSV files that the `qm9pack` wheel ships.

The files are read as they are; the package itself is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from cpdjax.data.multipoles import anisotropy, point_dipole
from cpdjax.data.qm9 import ATOM_ENERGIES, DEBYE_PER_E_ANGSTROM, TARGETS, Target
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError
from cpdjax.hashing import hash_file

PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
POLARIZABILITY = "qm9_polarizability.csv"
_REPAIR = "restore it: pip install --force-reinstall qm9pack==1.0.3"
_ATOMIC_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def wheel_folder() -> Path:
    """Return the folder of the installed wheel that holds the CSV files.

    The package is looked up without importing it, because its import needs pkg_resources.

    Raises:
        FileError: if qm9pack is not installed.
    """
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        raise FileError('QM9 needs the qm9pack wheel: pip install "cpdjax[qm9]"')
    return Path(spec.submodule_search_locations[0]) / "data"


def fingerprint(folder: Path) -> str:
    """Return 16 hex digits that follow the files in `folder` and the tables used in the parse.

    Raises:
        FileError: if a file cannot be read.
    """
    digest = hashlib.sha256(repr((TARGETS, ATOM_ENERGIES)).encode())
    for file_name in (*PARTS, POLARIZABILITY):
        try:
            digest.update(bytes.fromhex(hash_file(folder / file_name)))
        except OSError as error:
            raise FileError(
                f"cannot read QM9's {folder / file_name} ({error.strerror}); "
                'pip install "cpdjax[qm9]" or pass source='
            ) from error
    return digest.hexdigest()[:16]


def parse_qm9(folder: Path) -> Structures:
    """Return QM9 from the CSV files in `folder`, in the files' order.

    Positions are in Å, targets as in `qm9.TARGETS`, `atom_targets["mulliken_charge"]` in e. The ids
    are `gdb_<Index>` with the index of GDB-9.

    Raises:
        FileError: if a file is missing, unreadable, truncated or does not hold what it should.
    """
    table = pd.concat([_read_part(folder / part) for part in PARTS], ignore_index=True)
    sizes = table["N_atoms"].to_numpy()
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    numbers = _numbers(table, sizes)
    positions = _floats(table, "XYZ_Ang", 3 * sizes).reshape(-1, 3)
    charges = _floats(table, "Mulliken_pop", sizes)
    tensor = _read_tensor(folder / POLARIZABILITY, table["XYZ_file"].to_numpy(str))

    dipole = point_dipole(charges, positions, offsets)
    targets = {t.name: _column(t, table, numbers, offsets) for t in TARGETS if t.column} | {
        "alpha_mean": np.trace(tensor, axis1=1, axis2=2) / 3,
        "alpha_anisotropy": anisotropy(tensor),
        "mu_point": DEBYE_PER_E_ANGSTROM * np.linalg.norm(dipole, axis=1),
        "dipole_point": dipole,
    }
    return Structures(
        name="qm9",
        numbers=numbers,
        positions=positions,
        offsets=offsets,
        targets=targets,
        units={t.name: t.unit for t in TARGETS} | {"mulliken_charge": "e"},
        atom_targets={"mulliken_charge": charges},
        ids=np.array([f"gdb_{index}" for index in table["Index"]]),
        smiles=table["SMILES"].to_numpy(str),
    )


def _read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return the named columns as text.

    Raises:
        FileError: if the file is unreadable, lacks a value, or was cut off, even between rows.
    """
    try:
        table = pd.read_csv(path, usecols=columns, dtype=str)
        with path.open("rb") as file:
            file.seek(-1, 2)
            ended = file.read() == b"\n"
    except (OSError, ValueError) as error:  # pandas' parser and Unicode errors are ValueErrors
        raise FileError(f"cannot read {path}: {_line(error)}; {_REPAIR}") from error
    bad = table.isna().any(axis=1).to_numpy()
    if bad.any():
        raise FileError(f"{path} is incomplete at data row {np.argmax(bad)}; {_REPAIR}")
    if not ended:
        raise FileError(f"{path} is truncated: no newline at its end; {_REPAIR}")
    return table


def _read_part(path: Path) -> pd.DataFrame:
    """Return the columns of one part that the parse uses, text and numbers."""
    text = ["XYZ_file", "SMILES", "Elements", "XYZ_Ang", "Mulliken_pop"]
    numeric = sorted({t.column for t in TARGETS if t.column})
    table = _read_csv(path, [*text, "Index", "N_atoms", *numeric])
    return table.assign(
        **{column: _exact(path, table, column, np.int64) for column in ("Index", "N_atoms")},
        **{column: _exact(path, table, column, np.float64) for column in numeric},
    )


def _exact(path: Path, table: pd.DataFrame, column: str, dtype: type) -> np.ndarray:
    """Return a column of text as numbers, read as int() and float() do.

    The number readers of pandas differ from these in the last digit.
    """
    try:
        return table[column].to_numpy(object).astype(dtype)
    except ValueError as error:
        raise FileError(f"{path}, column {column}: {_line(error)}; {_REPAIR}") from error


def _read_tensor(path: Path, names: np.ndarray) -> Float[np.ndarray, "molecule 3 3"]:
    """Return the polarizability tensors (bohr^3), in a frame that is *not* that of XYZ_Ang."""
    entries = ["A_xx", "A_xy", "A_xz", "A_xy", "A_yy", "A_yz", "A_xz", "A_yz", "A_zz"]
    table = _read_csv(path, ["XYZ_file", *sorted(set(entries))])
    if not np.array_equal(table["XYZ_file"].to_numpy(str), names):
        raise FileError(
            f"{path} lists {len(table)} molecules, not the {len(names)} of {', '.join(PARTS)} in "
            f"their order; {_REPAIR}"
        )
    columns = {entry: _exact(path, table, entry, np.float64) for entry in set(entries)}
    return np.stack([columns[entry] for entry in entries], axis=1).reshape(-1, 3, 3)


def _numbers(table: pd.DataFrame, sizes: np.ndarray) -> np.ndarray:
    """Return the atomic numbers of all atoms, read from text such as ['C','H','H','H','H']."""
    symbols = table["Elements"].str.replace(r"[^HCNOF]", "", regex=True)
    _check_counts("Elements", symbols.str.len().to_numpy(), sizes)
    lookup = np.zeros(256, np.int32)
    lookup[[ord(symbol) for symbol in _ATOMIC_NUMBERS]] = list(_ATOMIC_NUMBERS.values())
    return lookup[np.frombuffer("".join(symbols).encode(), np.uint8)]


def _floats(table: pd.DataFrame, column: str, counts: np.ndarray) -> np.ndarray:
    """Return, flat and in float64, all numbers in text such as [0.1,2.E-6] or [[1,2,3],[4,5,6]]."""
    _check_counts(column, table[column].str.count(",").to_numpy() + 1, counts)
    text = ",".join(table[column]).replace("[", "").replace("]", "")
    try:
        return np.array(text.split(","), np.float64)
    except ValueError as error:
        raise FileError(f"QM9 column {column}: {error}; {_REPAIR}") from error


def _check_counts(column: str, got: np.ndarray, expected: np.ndarray) -> None:
    """Refuse a column whose entries do not have one value for each atom or coordinate."""
    bad = got != expected
    if bad.any():
        at = int(np.argmax(bad))
        raise FileError(
            f"QM9 row {at}, column {column}: expected {expected[at]} entries, got {got[at]}; "
            f"{_REPAIR}"
        )


def _column(
    target: Target, table: pd.DataFrame, numbers: np.ndarray, offsets: np.ndarray
) -> Float[np.ndarray, " molecule"]:
    """Return one target in its unit, without the energy of the free atoms where it says so."""
    values = table[target.column].to_numpy(np.float64)
    if target.atoms:
        free = np.zeros(10)
        for symbol, number in _ATOMIC_NUMBERS.items():
            free[number] = ATOM_ENERGIES[target.atoms][symbol]
        values = values - np.add.reduceat(free[numbers], offsets[:-1])
    return target.factor * values


def _line(error: Exception) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split())
