"""Hold what is predicted, and the composition beside it, of molecules or of atoms."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from cpdjax.data.composition import from_formulas, from_smiles, hill
from cpdjax.data.structures import Structures
from cpdjax.data.tables.table import Source, Table, read_table
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays
from cpdjax.omissions import note, say_left_out
from cpdjax.probes.composition_scores import composition_scores
from cpdjax.probes.folds import Layout
from cpdjax.probes.within import deviations, no_composition
from cpdjax.sweeps.rows import Rows
from cpdjax.validation import check_finite

#: Target by name: its values (row,) or (row, component), and their unit.
WithUnits = Mapping[str, tuple[np.ndarray, str]]

EXPLAINED = 0.98
"""Take a target for explained by composition from this R²_comp on (our choice)."""

OF_TENSORS = "a vector or a tensor: probe equivariant"
"""Say why a target is left out where scalars are probed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Targets(Rows):
    """Hold targets and composition row by row; where rows are atoms, elements for composition."""

    by_name: dict[str, Float[np.ndarray, " row"] | Float[np.ndarray, "row component"]]
    units: dict[str, str]

    def within(self) -> Targets:
        """Return the targets less their means over the copies of each row.

        Raises:
            InputError: copies differ in composition, or as `molecule`.
        """
        copies = self.copies
        left = {name: deviations(values, copies) for name, values in self.by_name.items()}
        return replace(self, counts=no_composition(self.counts, copies), by_name=left)

    @property
    def y(self) -> Float[np.ndarray, "row column"]:
        """Return the targets side by side, in their order, tensors component by component."""
        return np.column_stack(list(self.by_name.values()))

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of composition, targets and their names, and of molecules."""
        composition, *molecule = self._hashed
        arrays = [composition, ("targets", self.y), *molecule]
        return hash_arrays(arrays, facts=repr((self.elements, tuple(self.by_name))))

    @classmethod
    def from_structures(cls, structures: Structures, names: Sequence[str] | None = None) -> Targets:
        """Read scalar targets of molecules by name; without names, all of them.

        Raises:
            UnknownNameError: there is no such target.
            InputError: a target is a vector or NaN, or there is none at all.
        """
        if names is None:
            names = [n for n, values in structures.targets.items() if values.ndim == 1]
            others = [name for name in structures.targets if name not in names]
            note("targets", dict.fromkeys(others, OF_TENSORS))
        targets = {name: _scalar(name, structures.target(name)) for name in names}
        units = {name: structures.units.get(name, "") for name in names}
        made = cls.of(structures, of_atoms=False, by_name=targets, units=units)
        return made._checked()

    @classmethod
    def from_table(
        cls,
        table: Source | Table,
        names: Sequence[str] | None = None,
    ) -> Targets:
        """Read targets and composition from a table with a column `formula` or `smiles`.

        Args:
            table: a CSV or Parquet file, a DataFrame, or a mapping of columns.
            names: the columns to predict; by default all numeric ones that do not number or name
                the rows.

        Raises:
            FileError: the file cannot be read.
            UnknownNameError: there is no such column.
            InputError: there is no column of composition, a NaN, no target at all, or
                `tables.read_table` refuses the table.

        Warns:
            LeftOutWarning: other columns are left out.

        >>> m = Targets.from_table({"formula": ["CH4", "H2O"], "gap": [10.0, 8.0]})
        >>> m.elements, m.counts.tolist(), list(m.by_name)
        (('H', 'C', 'O'), [[4.0, 1.0, 0.0], [2.0, 0.0, 1.0]], ['gap'])
        """
        table = read_table(table, names)
        say_left_out("targets", f"targets in {table.name!r}", table.left_out)
        texts = table.texts
        if "formula" in texts:
            known = from_formulas(texts["formula"])
        elif "smiles" in texts:
            known = from_smiles(texts["smiles"])
        else:
            raise InputError(
                f"table {table.name!r} needs a column 'formula' or 'smiles' to know composition, "
                f"got {[*texts, *table.numbers, *table.left_out]}"
            )
        targets = {name: _scalar(name, values) for name, values in table.numbers.items()}
        made = cls(
            name=table.name,
            counts=known[0],
            elements=known[1],
            by_name=targets,
            units=dict.fromkeys(targets, ""),
            formulas=hill(*known),
            ids=texts.get("id"),
            smiles=texts.get("smiles"),
        )
        return made._checked()

    @classmethod
    def chosen(
        cls,
        structures: Structures,
        names: Sequence[str] | None,
        known: WithUnits,
        *,
        of_atoms: bool,
        probe: str,
    ) -> Targets:
        """Choose targets by name among those that a kind of probe can predict.

        Args:
            names: None: all of `known`.
            of_atoms: whether rows are atoms.
            probe: the kind of probe, for complaints.

        Raises:
            UnknownNameError: there is no such target.
            InputError: a target is NaN, or there is none at all.
        """
        for name in names or ():
            if name not in known:
                raise UnknownNameError(f"target of probe {probe!r}", name, known)
        wanted = {name: known[name] for name in (known if names is None else names)}
        if not wanted:
            raise InputError(
                f"{structures.name!r} has no target for probe {probe!r}: atoms need targets of "
                "their own, tensors 3 or 5 components or the atoms' charges"
            )
        made = cls.of(
            structures,
            of_atoms=of_atoms,
            by_name={name: values for name, (values, _) in wanted.items()},
            units={name: unit for name, (_, unit) in wanted.items()},
        )
        for name, values in made.by_name.items():
            check_finite(f"target {name!r}", values.reshape(len(values), -1))
        return made

    def _checked(self) -> Targets:
        """Return scalar targets of molecules, of which there is one at least and all are finite."""
        if not self.by_name:
            raise InputError(f"{self.name!r} has no numeric target: name some, or give a table")
        check_finite("targets", self.y, list(self.by_name))
        return self

    def unexplained(self, layout: Layout) -> Targets:
        """Return the scalars that composition does not explain by itself already.

        Composition explains a target where the median of R²_comp over folds and repeats, at the
        largest size, is `EXPLAINED` or more. What is left of such a target after composition is
        too little to tell models apart.

        Warns:
            LeftOutWarning: the others are left out.
            UserWarning: composition explains all of them, so that all are kept.
        """
        scores = np.median(composition_scores(self.counts, self.y, layout), (0, 1))
        known = dict(zip(self.by_name, scores >= EXPLAINED, strict=True))
        if all(known.values()):
            warnings.warn(
                f"composition explains every target of {self.name!r} (R²_comp of {EXPLAINED} or "
                "more): all are probed, for want of others",
                stacklevel=4,
            )
            return self
        reason = f"composition explains it: R²_comp of {EXPLAINED} or more"
        explained = {name: reason for name, is_known in known.items() if is_known}
        say_left_out("targets", f"targets of {self.name!r}", explained, stacklevel=5)
        kept = {name: y for name, y in self.by_name.items() if not known[name]}
        return replace(self, by_name=kept)

    def of_components(self, components: int) -> Float[np.ndarray, "row target component"]:
        """Return the tensor targets with so many components, side by side."""
        wanted = [v for v in self.by_name.values() if v.shape[1] == components]
        return np.stack(wanted, axis=1)

    def spread_over_targets(
        self, values: Float[np.ndarray, "*score some"], components: int, empty: float = np.nan
    ) -> Float[np.ndarray, "*score target"]:
        """Put the scores of the targets `of_components` in their places among all targets.

        Other targets get the value `empty`.
        """
        place = [v.shape[1] == components for v in self.by_name.values()]
        full = np.full((*values.shape[:-1], len(place)), empty, values.dtype)
        full[..., place] = values
        return full


def _scalar(name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 1:
        raise InputError(
            f"target {name!r} is a vector of {values.shape[1]} components that turn with the "
            "molecule: give probe='equivariant', or a scalar target, such as its norm"
        )
    return np.asarray(values, np.float64)
