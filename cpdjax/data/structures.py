"""Molecules and crystals as flat arrays: one row per atom, offsets where each molecule starts.

Lengths are in Å. Nothing here is padded except on request (`Structures.pad`), so all of QM9 is
two million rows of a few arrays, and a subset is one vectorised gather.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from jaxtyping import Bool, Float, Int

from cpdjax.data.ase_columns import (
    atom_columns,
    columns_of,
    in_all,
    is_whole,
    named_column,
    result_units,
    strings,
    with_results,
)
from cpdjax.data.batch import Batch
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays


@dataclass(frozen=True, eq=False, repr=False)
class Structures:
    """Many molecules or crystals in flat (ragged) storage, with their targets.

    Molecule i owns the atoms `offsets[i]:offsets[i + 1]`. Arrays are converted to the dtypes below
    and are read-only, so that `hash` stays true.

    Raises:
        InputError: no molecules, a molecule without atoms, NaN or Inf in positions or cells, an
            atomic number outside 1..118, a singular periodic cell, or shapes that disagree.

    >>> import numpy as np
    >>> h2 = Structures("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]),
    ...                 np.array([0, 2]), targets={"gap": np.array([11.2])}, units={"gap": "eV"})
    >>> h2
    Structures('h2', molecules=1, atoms=2, targets=['gap'])
    >>> h2.target("gap")
    array([11.2])
    """

    name: str
    numbers: Int[np.ndarray, " atom"]
    positions: Float[np.ndarray, "atom 3"]
    offsets: Int[np.ndarray, " offset"]
    """(molecule + 1,), from 0 to the number of atoms."""
    cells: Float[np.ndarray, "molecule 3 3"] | None = None
    """Å, rows are cell vectors; None where no molecule is periodic."""
    pbc: Bool[np.ndarray, "molecule 3"] | None = None
    targets: dict[str, np.ndarray] = field(default_factory=dict)
    """Per molecule, (molecule,) or (molecule, component)."""
    units: dict[str, str] = field(default_factory=dict)
    """Units of targets and atom_targets by name; "" where unknown."""
    atom_targets: dict[str, np.ndarray] = field(default_factory=dict)
    """Per atom, (atom,) or (atom, component)."""
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, str))
    """Molecule names, (molecule,) of str; left out, molecules are called `<name>_<i>`."""
    smiles: np.ndarray | None = None
    """(molecule,) of str, where known."""
    charge: Int[np.ndarray, " molecule"] | None = None
    """Total charge (e); None where all are neutral."""
    unpaired: Int[np.ndarray, " molecule"] | None = None
    """Unpaired electrons, spin multiplicity − 1; None where all are closed-shell."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the one way to normalise fields of a frozen dataclass
        set_field(self, "offsets", _array("offsets", self.offsets, np.int64))
        _check_offsets(self.name, self.offsets)
        molecules, atoms = len(self), int(self.offsets[-1])
        if not len(self.ids):
            set_field(self, "ids", np.array([f"{self.name}_{i}" for i in range(molecules)]))

        def settle(key: str, dtype: Any, *shapes: tuple[int | None, ...]) -> None:
            value = _array(key, getattr(self, key), dtype)
            _check_shape(key, value, *shapes)
            set_field(self, key, value)

        settle("ids", str, (molecules,))
        settle("numbers", np.int32, (atoms,))
        settle("positions", np.float64, (atoms, 3))
        if self.smiles is not None:
            settle("smiles", str, (molecules,))
        for key in ("charge", "unpaired"):
            if getattr(self, key) is not None:
                settle(key, np.int32, (molecules,))
        if (self.cells is None) != (self.pbc is None):
            raise InputError("cells and pbc come together: pass both or neither")
        if self.cells is not None:
            settle("cells", np.float64, (molecules, 3, 3))
            settle("pbc", np.bool_, (molecules, 3))
        for key, rows in (("targets", molecules), ("atom_targets", atoms)):
            columns = {str(k): _array(k, v, np.float64) for k, v in getattr(self, key).items()}
            for k, column in columns.items():
                _check_shape(k, column, (rows,), (rows, None))
            set_field(self, key, columns)
        names = (*self.targets, *self.atom_targets)
        set_field(self, "units", {k: str(self.units.get(k, "")) for k in names})
        self._check_contents()

    def _check_contents(self) -> None:
        owner = np.repeat(np.arange(len(self)), self.sizes)
        bad = (self.numbers < 1) | (self.numbers > 118)
        if bad.any():
            at = int(np.argmax(bad))
            raise InputError(
                f"molecule '{self.ids[owner[at]]}' has atomic number {self.numbers[at]}; "
                "expected 1 to 118"
            )
        bad = ~np.isfinite(self.positions).all(axis=1)
        if bad.any():
            raise InputError(
                f"molecule '{self.ids[owner[np.argmax(bad)]]}' has a NaN or Inf position; "
                "repair it or leave it out"
            )
        if self.cells is not None and self.pbc is not None:
            vectors = np.where(self.pbc[:, :, None] & np.isfinite(self.cells), self.cells, 0)
            bad = np.linalg.matrix_rank(vectors) < self.pbc.sum(axis=1)
            bad |= ~np.isfinite(self.cells).all(axis=(1, 2))
            if bad.any():
                raise InputError(
                    f"molecule '{self.ids[np.argmax(bad)]}' is periodic, but its cell vectors are "
                    "NaN, zero or linearly dependent; set the cell or turn pbc off"
                )

    def __len__(self) -> int:
        """The number of molecules."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return (
            f"Structures({self.name!r}, molecules={len(self)}, atoms={len(self.numbers)}, "
            f"targets={list(self.targets)})"
        )

    @property
    def sizes(self) -> Int[np.ndarray, " molecule"]:
        """Atoms per molecule."""
        return np.diff(self.offsets)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of numbers, positions, offsets, cells, pbc, charge, unpaired and targets.

        Names, units and the order of targets do not enter; the same on every platform.
        """
        arrays = {
            "numbers": self.numbers,
            "positions": self.positions,
            "offsets": self.offsets,
            "cells": self.cells,
            "pbc": self.pbc,
            "charge": self.charge,
            "unpaired": self.unpaired,
            **{f"targets/{k}": self.targets[k] for k in sorted(self.targets)},
        }
        return hash_arrays((key, value) for key, value in arrays.items() if value is not None)

    def target(self, name: str) -> np.ndarray:
        """One target, (molecule,) or (molecule, component), in `units[name]`.

        Raises:
            UnknownNameError: no such target.
            InputError: the target is NaN or Inf for some molecule.
        """
        if name not in self.targets:
            raise UnknownNameError("target", name, self.targets)
        values = self.targets[name]
        finite = np.isfinite(values.reshape(len(self), -1)).all(axis=1)
        if not finite.all():
            raise InputError(
                f"target {name!r} is NaN or Inf for {np.sum(~finite)} of {len(self)} molecules, "
                f"the first '{self.ids[np.argmin(finite)]}'; select those that have it"
            )
        return values

    def select(self, indices: Any) -> Structures:
        """The molecules at `indices` (integers, slice or boolean mask), in that order.

        Raises:
            InputError: an index out of range, or nothing selected.
        """
        index = self._index(indices)
        atoms, offsets = self._atoms_of(index)
        return Structures(
            name=self.name,
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            offsets=offsets,
            cells=None if self.cells is None else self.cells[index],
            pbc=None if self.pbc is None else self.pbc[index],
            targets={k: v[index] for k, v in self.targets.items()},
            units=self.units,
            atom_targets={k: v[atoms] for k, v in self.atom_targets.items()},
            ids=self.ids[index],
            smiles=None if self.smiles is None else self.smiles[index],
            charge=None if self.charge is None else self.charge[index],
            unpaired=None if self.unpaired is None else self.unpaired[index],
        )

    def pad(self, indices: Any, atoms: int) -> Batch:
        """The molecules at `indices`, each padded to `atoms` atoms.

        Raises:
            InputError: a molecule has more than `atoms` atoms, or an index is out of range.

        >>> from ase.build import molecule
        >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
        >>> ds.pad([0, 1], atoms=6).numbers
        array([[8, 1, 1, 0, 0, 0],
               [6, 1, 1, 1, 1, 0]], dtype=int32)
        """
        index = self._index(indices)
        sizes = self.sizes[index]
        if (sizes > atoms).any():
            at = np.argmax(sizes)
            raise InputError(
                f"molecule '{self.ids[index[at]]}' has {sizes[at]} atoms; cannot pad to {atoms}"
            )
        rows, _ = self._atoms_of(index)
        mask = np.arange(atoms) < sizes[:, None]
        numbers = np.zeros(mask.shape, np.int32)
        positions = np.zeros((*mask.shape, 3))
        numbers[mask] = self.numbers[rows]
        positions[mask] = self.positions[rows]
        return Batch(
            numbers,
            positions,
            mask,
            charge=None if self.charge is None else self.charge[index],
            unpaired=None if self.unpaired is None else self.unpaired[index],
        )

    def atoms(self, i: int) -> Atoms:
        """Molecule i as `ase.Atoms`: id, SMILES and targets in `info`, atom_targets as arrays."""
        (i,) = self._index(i)
        rows = slice(self.offsets[i], self.offsets[i + 1])
        info: dict[str, Any] = {"id": str(self.ids[i])}
        if self.smiles is not None:
            info["smiles"] = str(self.smiles[i])
        electronic = {"charge": self.charge, "unpaired": self.unpaired}
        info |= {k: int(v[i]) for k, v in electronic.items() if v is not None}
        info |= {k: v[i].copy() if v.ndim > 1 else float(v[i]) for k, v in self.targets.items()}
        atoms = Atoms(
            self.numbers[rows],
            self.positions[rows],
            cell=None if self.cells is None else self.cells[i],
            pbc=None if self.pbc is None else self.pbc[i],
            info=info,
        )
        for key, value in self.atom_targets.items():
            atoms.set_array(key, value[rows])
        return atoms

    @classmethod
    def from_atoms(
        cls,
        frames: Sequence[Atoms],
        name: str = "structures",
        targets: Mapping[str, Any] | pd.DataFrame | Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Structures:
        """Structures from a list of `ase.Atoms`.

        Targets are the numeric entries of `atoms.info` (scalars, or vectors of one length) that
        every structure has, and a single-point calculator's energy (eV) and dipole (e·Å). Numeric
        per-atom arrays become atom_targets, with that calculator's forces (eV/Å), charges (e) and
        magmoms (μB). `info["id"]`, `info["smiles"]`, `info["charge"]` (total, e) and
        `info["unpaired"]` (electrons) are used where every structure has them; the last two must
        be whole numbers, else they are targets like any other.

        Args:
            targets: more targets, one row per structure, as a mapping or DataFrame; or the names
                of the `info` entries to take, in place of all of them.
            units: units of targets by name.

        Raises:
            InputError: what `Structures` refuses, or a target asked for by name that some
                structure lacks.
        """
        if not len(frames):
            raise InputError("no structures were given; expected at least one ase.Atoms")
        info = [with_results(frame) for frame in frames]
        found = columns_of(info, skip=("id", "smiles"))
        electronic = {
            k: found.pop(k).astype(np.int32) for k in ("charge", "unpaired") if is_whole(k, found)
        }
        if targets is not None and not isinstance(targets, (Mapping, pd.DataFrame)):
            found = {key: named_column(key, found, info) for key in targets}
        elif targets is not None:
            found |= {str(key): np.asarray(column) for key, column in dict(targets).items()}
        periodic = any(frame.pbc.any() for frame in frames)
        return cls(
            name=name,
            numbers=np.concatenate([frame.numbers for frame in frames]),
            positions=np.concatenate([frame.positions for frame in frames]),
            offsets=np.cumsum([0, *map(len, frames)]),
            cells=np.array([frame.cell.array for frame in frames]) if periodic else None,
            pbc=np.array([frame.pbc for frame in frames]) if periodic else None,
            targets=found,
            units=result_units(frames, targets) | dict(units or {}),
            atom_targets=atom_columns(frames),
            ids=strings("id", info) if in_all("id", info) else np.empty(0, str),
            smiles=strings("smiles", info) if in_all("smiles", info) else None,
            **electronic,
        )

    def _index(self, indices: Any) -> np.ndarray:
        picked = indices if isinstance(indices, slice) else np.asarray(indices)
        if not isinstance(picked, slice) and not picked.size:
            picked = picked.astype(int)  # NumPy makes an empty list a float array
        try:
            index = np.atleast_1d(np.arange(len(self))[picked])
        except IndexError as error:
            raise InputError(f"cannot select from {len(self)} molecules: {error}") from error
        _check_shape("indices", index, (None,))
        return index

    def _atoms_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Atom rows of the molecules at `index`, and their new offsets."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes[index])])
        shift = self.offsets[index] - offsets[:-1]
        return np.arange(offsets[-1]) + np.repeat(shift, np.diff(offsets)), offsets


def _array(name: str, value: Any, dtype: Any) -> np.ndarray:
    """A read-only view (a copy only if the dtype changes) of numbers or strings."""
    try:
        array = np.asarray(value)
        if dtype is np.int32 or dtype is np.int64:
            array = array.astype(dtype, casting="same_kind", copy=False)
        array = np.ascontiguousarray(array, dtype).view()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected an array of {np.dtype(dtype).name}; {error}") from error
    array.flags.writeable = False
    return array


def _check_shape(name: str, array: np.ndarray, *shapes: tuple[int | None, ...]) -> None:
    """Refuse an array that has none of `shapes` (None = any length)."""
    for shape in shapes:
        if array.ndim == len(shape) and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        ):
            return
    expected = " or ".join(str(s).replace("None", "any") for s in shapes)
    raise InputError(f"{name}: expected shape {expected}, got {array.shape}")


def _check_offsets(name: str, offsets: np.ndarray) -> None:
    if offsets.ndim != 1 or len(offsets) < 2:
        raise InputError(f"{name!r} holds no molecules; expected at least one")
    if offsets[0] != 0:
        raise InputError(f"offsets of {name!r} start at {offsets[0]}; expected 0")
    sizes = np.diff(offsets)
    if (sizes < 1).any():
        raise InputError(f"molecule {np.argmax(sizes < 1)} of {name!r} has no atoms; leave it out")
