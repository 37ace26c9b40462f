"""QM9: the table of its targets, and the parse of its CSV form.

Data: Ramakrishnan, Dral, Rupp and von Lilienfeld, Sci. Data 1, 140022 (2014), B3LYP/6-31G(2df,p),
as shipped by the `qm9pack` wheel: 130,831 molecules, the 3,054 that failed the consistency check
already left out. Its files are read as they lie; the package itself is never imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cpdjax.data.multipoles import anisotropy, point_dipole
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError

MOLECULES = 130_831
PARTS = ("qm9_part1.csv", "qm9_part2.csv", "qm9_part3.csv")
POLARIZABILITY = "qm9_polarizability.csv"
FILES = (*PARTS, POLARIZABILITY)
_REPAIR = "restore it: pip install --force-reinstall qm9pack==1.0.3"

HARTREE = 27.211386245988
"""eV (CODATA 2018)."""
DEBYE_PER_E_ANGSTROM = 4.803204712570263
"""Debye in one e·Å: e / (1e-21 / c) · 1e-10 with the exact SI values of e and c."""

ATOM_ENERGIES = {
    "U0": {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730},
    "U": {"H": -0.498857, "C": -37.845355, "N": -54.582445, "O": -75.063163, "F": -99.717314},
    "H": {"H": -0.497912, "C": -37.844411, "N": -54.581501, "O": -75.062219, "F": -99.716370},
    "G": {"H": -0.510927, "C": -37.861317, "N": -54.598897, "O": -75.079532, "F": -99.733544},
}
"""Free atoms in hartree at QM9's level: `atomref.txt` of the paper's data deposit."""


class Target(NamedTuple):
    """One line of the target table."""

    name: str
    unit: str
    column: str
    """CSV column it comes from; "" where `derived` computes it."""
    factor: float
    """Multiplies the column's value, to give `unit`."""
    extensive: bool
    """Whether it grows with the number of atoms (by definition, not by fit)."""
    description: str
    atoms: str = ""
    """The free-atom energies subtracted first: a key of ATOM_ENERGIES."""


_U0, _U, _H, _G = (
    "InternalEnergy_0K_au",
    "InternalEnergy_298K_au",
    "Enthalphy_298K_au",  # the file's own spelling
    "GibbsFreeEnergy_298K_au",
)
_BOUND = "molecule minus its free atoms; negative means bound"

TARGETS = (
    Target("gap", "eV", "HOMO_LUMO_gap_au", HARTREE, False, "HOMO-LUMO gap"),
    Target("homo", "eV", "HOMO_au", HARTREE, False, "highest occupied orbital energy"),
    Target("lumo", "eV", "LUMO_au", HARTREE, False, "lowest unoccupied orbital energy"),
    Target("mu", "debye", "Dipole_debye", 1.0, False, "norm of the dipole moment"),
    Target("alpha", "bohr^3", "Polarizability_bohr3", 1.0, True, "isotropic polarizability"),
    Target("r2", "bohr^2", "R2_bohr2", 1.0, True, "electronic spatial extent <R²>"),
    Target("zpve", "eV", "ZPVE_au", HARTREE, True, "harmonic zero-point energy"),
    Target("u0", "eV", _U0, HARTREE, True, "internal energy at 0 K"),
    Target("u298", "eV", _U, HARTREE, True, "internal energy at 298.15 K"),
    Target("h298", "eV", _H, HARTREE, True, "enthalpy at 298.15 K"),
    Target("g298", "eV", _G, HARTREE, True, "Gibbs free energy at 298.15 K"),
    Target("cv", "cal/(mol K)", "Heatcapacity_Cv_cal_mol_K", 1.0, True, "C_V at 298.15 K"),
    Target("u0_atom", "eV", _U0, HARTREE, True, f"atomization U0: {_BOUND}", "U0"),
    Target("u298_atom", "eV", _U, HARTREE, True, f"atomization U298: {_BOUND}", "U"),
    Target("h298_atom", "eV", _H, HARTREE, True, f"atomization H298: {_BOUND}", "H"),
    Target("g298_atom", "eV", _G, HARTREE, True, f"atomization G298: {_BOUND}", "G"),
    Target("alpha_mean", "bohr^3", "", 1.0, True, "a third of the polarizability tensor's trace"),
    Target("alpha_anisotropy", "bohr^3", "", 1.0, True, "anisotropy of the polarizability tensor"),
    Target("mu_point", "debye", "", DEBYE_PER_E_ANGSTROM, False, "norm of dipole_point"),
    Target("dipole_point", "e·Å", "", 1.0, False, "dipole vector of the Mulliken point charges"),
)
"""Every target `datasets.qm9` gives. All are (molecule,) but `dipole_point`, (molecule, 3)."""

SCALAR_TARGETS = tuple(
    # alpha_mean is alpha to the file's rounding (0.0053 bohr^3 at most): not worth a second probe.
    t.name
    for t in TARGETS
    if t.name not in ("alpha_mean", "dipole_point")
)
"""The targets of a default sweep."""


def parse(folder: Path) -> Structures:
    """QM9 from the CSV files `FILES` in `folder`, in the files' order.

    Positions in Å, targets as in `TARGETS`, `atom_targets["mulliken_charge"]` in e, ids
    `gdb_<Index>` with the index of GDB-9.

    Raises:
        FileError: a file is missing, unreadable, truncated or does not hold what it should.
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
    """The named columns as text, complete: a cut file is refused rather than read short."""
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
    text = ["XYZ_file", "SMILES", "Elements", "XYZ_Ang", "Mulliken_pop"]
    numeric = sorted({t.column for t in TARGETS if t.column})
    table = _read_csv(path, [*text, "Index", "N_atoms", *numeric])
    return table.assign(
        **{column: _exact(path, table, column, np.int64) for column in ("Index", "N_atoms")},
        **{column: _exact(path, table, column, np.float64) for column in numeric},
    )


def _exact(path: Path, table: pd.DataFrame, column: str, dtype: type) -> np.ndarray:
    """Numbers as int() and float() read them; pandas' own readers differ in the last digit."""
    try:
        return table[column].to_numpy(object).astype(dtype)
    except ValueError as error:
        raise FileError(f"{path}, column {column}: {_line(error)}; {_REPAIR}") from error


def _read_tensor(path: Path, names: np.ndarray) -> np.ndarray:
    """Polarizability tensors, Float "molecule 3 3", bohr^3, in a frame that is *not* XYZ_Ang's."""
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
    """Atomic numbers from strings such as ['C','H','H','H','H']; QM9 has H, C, N, O and F."""
    symbols = table["Elements"].str.replace(r"[^HCNOF]", "", regex=True)
    _check_counts("Elements", symbols.str.len().to_numpy(), sizes)
    lookup = np.zeros(256, np.int32)
    lookup[np.frombuffer(b"HCNOF", np.uint8)] = [1, 6, 7, 8, 9]
    return lookup[np.frombuffer("".join(symbols).encode(), np.uint8)]


def _floats(table: pd.DataFrame, column: str, counts: np.ndarray) -> np.ndarray:
    """All numbers of strings such as [0.1,2.E-6] or [[1,2,3],[4,5,6]], flat, float64."""
    _check_counts(column, table[column].str.count(",").to_numpy() + 1, counts)
    text = ",".join(table[column]).replace("[", "").replace("]", "")
    try:
        return np.array(text.split(","), np.float64)
    except ValueError as error:
        raise FileError(f"QM9 column {column}: {error}; {_REPAIR}") from error


def _check_counts(column: str, got: np.ndarray, expected: np.ndarray) -> None:
    bad = got != expected
    if bad.any():
        at = int(np.argmax(bad))
        raise FileError(
            f"QM9 row {at}, column {column}: expected {expected[at]} entries, got {got[at]}; "
            f"{_REPAIR}"
        )


def _column(
    target: Target, table: pd.DataFrame, numbers: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    values = table[target.column].to_numpy(np.float64)
    if target.atoms:
        free = np.zeros(10)
        free[[1, 6, 7, 8, 9]] = [ATOM_ENERGIES[target.atoms][e] for e in "HCNOF"]
        values = values - np.add.reduceat(free[numbers], offsets[:-1])
    return target.factor * values


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
