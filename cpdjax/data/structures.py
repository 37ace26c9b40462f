"""Store molecules and crystals as flat arrays: one row per atom, and where each molecule starts.

Lengths are in Å. Only `Structures.pad` pads, so all of QM9 is a few arrays of two million rows, and
a subset is taken with one vectorised gather.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int

from cpdjax.data.arrays import (
    CLOSEST,
    check_atoms,
    check_cells,
    check_offsets,
    check_shape,
    closest_atoms,
    read_only,
)
from cpdjax.data.ase_columns import (
    atom_columns,
    columns_of,
    electrons_of,
    in_all,
    named_column,
    result_units,
    strings,
    warn_left_out,
    with_results,
)
from cpdjax.data.batch import Batch
from cpdjax.data.elements import number_of, symbols_of
from cpdjax.data.frames import check_frames
from cpdjax.data.tables.table import TABLES, Source, Table, read_table
from cpdjax.displays import Shown
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays
from cpdjax.omissions import say_left_out

_GEOMETRY = ("numbers", "positions", "offsets", "cells", "pbc", "charge", "unpaired")
_OPTIONAL = ("cells", "pbc", "smiles", "charge", "unpaired", "group")  # one row a molecule, or None


@dataclass(frozen=True, eq=False, repr=False)
class Structures:
    """Hold many molecules or crystals in flat (ragged) storage, with their targets.

    Molecule i owns the atoms `offsets[i]:offsets[i + 1]`. The arrays are converted to the dtypes
    given below and are read-only, so that `hash` stays true.

    Raises:
        InputError: if there are no molecules, a molecule has no atoms, a position or cell is NaN or
            infinite, an atomic number is outside 1 to 118, a periodic cell is singular, or shapes
            disagree.

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
    """Hold where the atoms of each molecule start: (molecule + 1,), from 0 to the atoms' number."""
    cells: Float[np.ndarray, "molecule 3 3"] | None = None
    """Hold the cell vectors (Å) as rows; None where no molecule is periodic."""
    pbc: Bool[np.ndarray, "molecule 3"] | None = None
    targets: dict[str, np.ndarray] = field(default_factory=dict)
    """Hold the values of each molecule by name, (molecule,) or (molecule, component)."""
    units: dict[str, str] = field(default_factory=dict)
    """Hold the units of targets and atom_targets by name; "" where a unit is unknown."""
    atom_targets: dict[str, np.ndarray] = field(default_factory=dict)
    """Hold the values of each atom by name, (atom,) or (atom, component)."""
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, str))
    """Hold the molecules' names, (molecule,) of str; they are `<name>_<i>` by default."""
    smiles: np.ndarray | None = None
    """Hold a SMILES for each molecule, (molecule,) of str; None where they are unknown."""
    charge: Int[np.ndarray, " molecule"] | None = None
    """Hold each molecule's total charge (e); None where all are neutral."""
    unpaired: Int[np.ndarray, " molecule"] | None = None
    """Hold each molecule's number of unpaired electrons (spin multiplicity − 1); None where all are
    closed-shell."""
    group: np.ndarray | None = None
    """Hold the name of what each row is a geometry of, (molecule,) of str, where several rows are
    one molecule; None where every row is a molecule of its own."""

    def __post_init__(self) -> None:
        self._set("offsets", (None,), np.int64)
        check_offsets(self.name, self.offsets)
        molecules, atoms = len(self), int(self.offsets[-1])
        if not len(self.ids):
            object.__setattr__(self, "ids", _default_ids(self.name, molecules))
        self._set("ids", (molecules,), str)
        self._set("numbers", (atoms,), np.int32)
        self._set("positions", (atoms, 3), np.float64)
        self._set("smiles", (molecules,), str)
        self._set("group", (molecules,), str)
        self._set("charge", (molecules,), np.int32)
        self._set("unpaired", (molecules,), np.int32)
        if (self.cells is None) != (self.pbc is None):
            raise InputError("cells and pbc come together: pass both or neither")
        self._set("cells", (molecules, 3, 3), np.float64)
        self._set("pbc", (molecules, 3), np.bool_)
        self._set_columns("targets", molecules)
        self._set_columns("atom_targets", atoms)
        names = (*self.targets, *self.atom_targets)
        object.__setattr__(self, "units", {k: str(self.units.get(k, "")) for k in names})
        check_atoms(self.numbers, self.positions, self.offsets, self.ids)
        if self.cells is not None and self.pbc is not None:
            check_cells(self.cells, self.pbc, self.ids)

    # object.__setattr__ is the one way to normalise the fields of a frozen dataclass.

    def _set(self, field_name: str, shape: tuple[int | None, ...], dtype: Any) -> None:
        """Set one field to a read-only array of the given shape and dtype."""
        value = getattr(self, field_name)
        if value is None and field_name in _OPTIONAL:
            return
        array = read_only(field_name, value, dtype)
        check_shape(field_name, array, shape)
        object.__setattr__(self, field_name, array)

    def _set_columns(self, field_name: str, rows: int) -> None:
        """Set one field to read-only columns of float64, by name."""
        given = getattr(self, field_name)
        columns = {str(k): read_only(k, column, np.float64) for k, column in given.items()}
        for name, column in columns.items():
            check_shape(name, column, (rows,), (rows, None))
        object.__setattr__(self, field_name, columns)

    def __len__(self) -> int:
        """Return the number of molecules."""
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return (
            f"Structures({self.name!r}, molecules={len(self)}, atoms={len(self.numbers)}, "
            f"targets={list(self.targets)})"
        )

    def _repr_html_(self) -> str:
        elements = ", ".join(chemical_symbols[z] for z in np.unique(self.numbers))
        periodic = self.pbc is not None and bool(self.pbc.any())
        title = (
            f"Structures {self.name}: {len(self):,} molecules, {len(self.numbers):,} atoms of "
            f"{elements}, {'periodic' if periodic else 'not periodic'}"
        )
        columns = {"molecule": self.targets, "atom": self.atom_targets}
        rows = [
            (name, self.units[name] or "unknown", values.shape[1] if values.ndim == 2 else 1, owner)
            for owner, named in columns.items()
            for name, values in named.items()
        ]
        return Shown(title, ("target", "unit", "components", "of each"), rows).html

    @property
    def sizes(self) -> Int[np.ndarray, " molecule"]:
        """Return the number of atoms of each molecule."""
        return np.diff(self.offsets)

    @property
    def has_names(self) -> bool:
        """Return whether somebody named the molecules: not all ids are `<name>_<i>`."""
        made_up = re.compile(rf"{re.escape(self.name)}_\d+")
        return not all(made_up.fullmatch(name) for name in self.ids.tolist())

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of the molecules and their targets, the same on every platform.

        Numbers, positions, offsets, cells, pbc, charge, unpaired and targets are hashed; names,
        units and the order of the targets are not.
        """
        return self._hash(*(f"targets/{k}" for k in sorted(self.targets)))

    @cached_property
    def geometry_hash(self) -> str:
        """Return the SHA-256 (hex) of all that an encoder sees: `hash` without the targets."""
        return self._hash()

    def _hash(self, *targets: str) -> str:
        """Return the hash of the molecules and of the targets that are named."""
        arrays = {key: getattr(self, key) for key in _GEOMETRY}
        arrays |= {key: self.targets[key.partition("/")[2]] for key in targets}
        return hash_arrays((key, value) for key, value in arrays.items() if value is not None)

    @cached_property
    def overlap(self) -> str | None:
        """Say which two atoms are closer than any bond, and the cure; None if there are none."""
        found = closest_atoms(self.positions, self.offsets, self.cells, self.pbc)
        if found is None:
            return None
        molecule, first, second, distance = found
        return (
            f"molecule '{self.ids[molecule]}' has atoms {first} and {second} at {distance:.2g} Å, "
            f"closer than any bond ({CLOSEST:g} Å): a CIF with rounded positions, such as 0.3333 "
            "for 1/3, gives atoms twice; write more digits, or leave out what is double"
        )

    def target(self, name: str) -> np.ndarray:
        """Return one target, (molecule,) or (molecule, component), in the unit `units[name]`.

        Raises:
            UnknownNameError: if there is no such target.
            InputError: if the target is NaN or infinite for some molecule.
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
        """Return the molecules at `indices` (integers, slice or boolean mask), in that order.

        Raises:
            InputError: if an index is out of range, or nothing is selected.
        """
        index = self._index(indices)
        atoms, offsets = self._atoms_of(index)
        return Structures(
            name=self.name,
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            offsets=offsets,
            targets={k: v[index] for k, v in self.targets.items()},
            units=self.units,
            atom_targets={k: v[atoms] for k, v in self.atom_targets.items()},
            ids=self.ids[index],
            **{key: _rows(getattr(self, key), index) for key in _OPTIONAL},
        )

    def of_elements(self, elements: Iterable[int | str]) -> Structures:
        """Return the molecules that are made of these elements only, in their order.

        Args:
            elements: symbols, such as "C", or atomic numbers.

        Raises:
            UnknownNameError: if there is no such element.
            InputError: if no molecule is made of them.

        >>> from ase.build import molecule
        >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4"), molecule("CO2")])
        >>> ds.of_elements(["H", "O"]).ids
        array(['structures_0'], dtype='<U12')
        """
        numbers = [number_of(element) for element in elements]
        made = self.made_of(numbers)
        if not made.any():
            raise InputError(f"no molecule of {self.name!r} is made of {symbols_of(numbers)} only")
        return self.select(made)

    def made_of(self, elements: Iterable[int | str]) -> Bool[np.ndarray, " molecule"]:
        """Return which molecules are made of these elements only.

        Raises:
            UnknownNameError: if there is no such element.
        """
        known = np.isin(self.numbers, [number_of(element) for element in elements])
        return np.logical_and.reduceat(known, self.offsets[:-1])

    def pad(self, indices: Any, atoms: int) -> Batch:
        """Return the molecules at `indices`, each padded to `atoms` atoms.

        Raises:
            InputError: if a molecule has more than `atoms` atoms, or an index is out of range.

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
            charge=_rows(self.charge, index),
            unpaired=_rows(self.unpaired, index),
        )

    def atoms(self, i: int) -> Atoms:
        """Return molecule i as `ase.Atoms`.

        The id, SMILES, group, charge, unpaired electrons and targets are in `info`; the
        atom_targets are arrays of the atoms.
        """
        (i,) = self._index(i)
        rows = slice(self.offsets[i], self.offsets[i + 1])
        info: dict[str, Any] = {"id": str(self.ids[i])}
        texts = {"smiles": self.smiles, "group": self.group}
        info |= {k: str(v[i]) for k, v in texts.items() if v is not None}
        electronic = {"charge": self.charge, "unpaired": self.unpaired}
        info |= {k: int(v[i]) for k, v in electronic.items() if v is not None}
        info |= {k: v[i].copy() if v.ndim > 1 else float(v[i]) for k, v in self.targets.items()}
        atoms = Atoms(
            self.numbers[rows],
            self.positions[rows],
            cell=_rows(self.cells, i),
            pbc=_rows(self.pbc, i),
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
        targets: Source | Table | Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> Structures:
        """Return structures made from a list of `ase.Atoms`.

        Targets are the numeric entries of `atoms.info` (scalars, or vectors of one length) that
        every structure has, and the energy (eV) and dipole (e·Å) that a single-point calculator
        stores. Numeric per-atom arrays become atom_targets, as do a calculator's forces (eV/Å),
        charges (e) and magmoms (μB). Numbers that only some structures have are left out with a
        warning. The entries `info["id"]`, `info["smiles"]` and `info["group"]` (what the structure
        is a geometry of) are used where every structure has them.

        The total charge (e) and the number of unpaired electrons are read from `info["charge"]` and
        `info["unpaired"]`, or under the names that other programs give them: `total_charge`, `q`,
        `uhf`, `nupdown`, `multiplicity`, `spin_multiplicity`. They must be whole. Structures that
        lack them beside others that have them are neutral and closed-shell, with a warning. A
        `spin` is used where it cannot mean two things.

        Args:
            frames: the structures.
            name: the name of the set.
            targets: further targets as a CSV or Parquet file, a DataFrame or a mapping of columns;
                or the names of the `info` entries to take instead of all of them. A table has one
                row per structure, in their order; where it has a column `id` and every structure
                has an `id` in `info`, rows are matched by it. Columns of numbers become targets,
                and a column `smiles` becomes the SMILES.
            units: the units of targets by name.

        Raises:
            FileError: if a table cannot be read.
            InputError: if `Structures` refuses the arrays, a structure lacks a target that
                `targets` names, rows and structures disagree, a charge is no whole number or
                contradicts another, or a site is partly occupied.

        Warns:
            LeftOutWarning: if columns or rows of a table are left out.
        """
        if not len(frames):
            raise InputError("no structures were given; expected at least one ase.Atoms")
        info = [with_results(frame) for frame in frames]
        own = {key: strings(key, info) for key in ("id", "smiles", "group") if in_all(key, info)}
        all_ids = own.get("id", _default_ids(name, len(frames)))
        ids = all_ids.tolist()
        check_frames(frames, ids)
        given: dict[str, np.ndarray] = {}
        named: list[str] | None = None
        targets = None if isinstance(targets, Mapping) and not targets else targets
        if isinstance(targets, TABLES):
            table = read_table(targets).matched(own.get("id"), len(frames))
            say_left_out("targets", f"targets in {table.name!r}", table.left_out)
            own, given = own | table.texts, table.numbers
        elif targets is not None:
            named = list(targets)
        electrons, used = electrons_of(frames, info, ids, given)
        skip = {"id", "smiles", "group", "occupancy", *used}.difference(named or ())
        found, lacking = columns_of(info, skip)
        if named is None:
            absent = {key: sum(key not in row for row in info) for key in ("id", "smiles", "group")}
            lacking |= {key: n for key, n in absent.items() if 0 < n < len(info)}
            warn_left_out("entries", lacking, len(frames))
            found |= given
        else:
            found = {key: named_column(key, found, info) for key in named}
        periodic = any(frame.pbc.any() for frame in frames)
        structures = cls(
            name=name,
            numbers=np.concatenate([frame.numbers for frame in frames]),
            positions=np.concatenate([frame.positions for frame in frames]),
            offsets=np.cumsum([0, *map(len, frames)]),
            cells=np.array([frame.cell.array for frame in frames]) if periodic else None,
            pbc=np.array([frame.pbc for frame in frames]) if periodic else None,
            targets=found,
            units=result_units(frames, given) | dict(units or {}),
            atom_targets=atom_columns(frames),
            ids=own.get("id", all_ids),
            smiles=own.get("smiles"),
            group=own.get("group"),
            **electrons,
        )
        if structures.overlap is not None:
            warnings.warn(structures.overlap, stacklevel=2)
        return structures

    def _index(self, indices: Any) -> np.ndarray:
        """Return integers for anything that selects molecules."""
        picked = indices if isinstance(indices, slice) else np.asarray(indices)
        if not isinstance(picked, slice) and not picked.size:
            picked = picked.astype(int)  # NumPy makes an empty list a float array
        try:
            index = np.atleast_1d(np.arange(len(self))[picked])
        except IndexError as error:
            raise InputError(f"cannot select from {len(self)} molecules: {error}") from error
        check_shape("indices", index, (None,))
        return index

    def _atoms_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the atoms of the molecules at `index`, and their new offsets."""
        offsets = np.concatenate([[0], np.cumsum(self.sizes[index])])
        shift = self.offsets[index] - offsets[:-1]
        return np.arange(offsets[-1]) + np.repeat(shift, np.diff(offsets)), offsets


def _default_ids(name: str, molecules: int) -> np.ndarray:
    """Return the ids of molecules that have no other."""
    return np.array([f"{name}_{i}" for i in range(molecules)])


def _rows(array: np.ndarray | None, index: Any) -> Any:
    """Return the rows at `index` of an optional array, or None where there is no array."""
    return None if array is None else array[index]
