"""What a sweep needs to know of its molecules: composition, targets, formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from cpdjax.composition import composition, elements, from_formulas, from_smiles, hill
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays
from cpdjax.structures import Structures
from cpdjax.tables import as_table, numeric_columns
from cpdjax.validation import check_finite


@dataclass(frozen=True, eq=False)
class Molecules:
    """Composition and targets, row by row; of atoms, element identity for composition."""

    name: str
    counts: Float[np.ndarray, "row element"]
    elements: tuple[str, ...]
    targets: dict[str, Float[np.ndarray, " row"] | Float[np.ndarray, "row component"]]
    units: dict[str, str]
    formulas: np.ndarray
    """Of molecules, also where rows are atoms."""
    offsets: Int[np.ndarray, " offset"] | None = None
    """Where every molecule's rows start, where rows are atoms."""

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.counts)

    @property
    def owner(self) -> Int[np.ndarray, " row"]:
        """The molecule of every row."""
        own = np.arange(len(self.formulas))
        return own if self.offsets is None else np.repeat(own, np.diff(self.offsets))

    @property
    def y(self) -> Float[np.ndarray, "row column"]:
        """The targets side by side, in their order, tensors component by component."""
        return np.column_stack(list(self.targets.values()))

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of composition, targets and their names."""
        arrays = (("composition", self.counts), ("targets", self.y))
        return hash_arrays(arrays, facts=repr((self.elements, tuple(self.targets))))

    @classmethod
    def from_structures(
        cls, structures: Structures, names: Sequence[str] | None = None
    ) -> Molecules:
        """Targets by name; None: every scalar one.

        Raises:
            UnknownNameError: no such target.
            InputError: a vector target, NaN, or no target at all.
        """
        if names is None:
            names = [n for n, values in structures.targets.items() if values.ndim == 1]
        targets = {name: _scalar(name, structures.target(name)) for name in names}
        counts, symbols = composition(structures), elements(structures)
        units = {name: structures.units.get(name, "") for name in names}
        return cls._of(structures.name, counts, symbols, targets, units)

    @classmethod
    def from_table(
        cls,
        table: str | Path | pd.DataFrame | Mapping[str, Any],
        names: Sequence[str] | None = None,
    ) -> Molecules:
        """Targets and composition from a table with a column `formula` or `smiles`.

        Args:
            table: a CSV or Parquet file, a DataFrame, or a mapping of columns.
            names: the target columns; None: all numeric ones.

        Raises:
            FileError: the file cannot be read.
            InputError: no composition column, NaN, or no target at all.

        >>> m = Molecules.from_table({"formula": ["CH4", "H2O"], "gap": [10.0, 8.0]})
        >>> m.elements, m.counts.tolist(), list(m.targets)
        (('H', 'C', 'O'), [[4.0, 1.0, 0.0], [2.0, 0.0, 1.0]], ['gap'])
        """
        name = Path(table).stem if isinstance(table, str | Path) else "table"
        frame = as_table(table)
        columns = {str(c).lower(): c for c in frame.columns}
        if "formula" in columns:
            counts, symbols = from_formulas(frame[columns["formula"]].astype(str))
        elif "smiles" in columns:
            counts, symbols = from_smiles(frame[columns["smiles"]].astype(str))
        else:
            raise InputError(
                f"table {name!r} needs a column 'formula' or 'smiles' to know composition, "
                f"got {list(frame.columns)}"
            )
        numeric = numeric_columns(frame)
        for wanted in names or ():
            if wanted not in numeric:
                raise UnknownNameError("target", wanted, numeric)
        targets = numeric if names is None else {n: numeric[n] for n in names}
        return cls._of(name, counts, symbols, targets, dict.fromkeys(targets, ""))

    @classmethod
    def _of(
        cls,
        name: str,
        counts: np.ndarray,
        symbols: tuple[str, ...],
        targets: dict[str, np.ndarray],
        units: dict[str, str],
    ) -> Molecules:
        if not targets:
            raise InputError(f"{name!r} has no numeric target: name some, or give a table")
        made = cls(name, counts, symbols, targets, units, hill(counts, symbols))
        check_finite("targets", made.y, list(targets))
        return made


def _scalar(name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 1:
        raise InputError(
            f"target {name!r} is a vector of {values.shape[1]} components that turn with the "
            "molecule: give probe='equivariant', or a scalar target, such as its norm"
        )
    return np.asarray(values, np.float64)
