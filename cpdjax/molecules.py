"""What a sweep needs to know of its molecules: composition, targets, formulas."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from cpdjax.arguments import check_finite
from cpdjax.composition import composition, elements, from_formulas, from_smiles, hill
from cpdjax.datasets import SCALAR_TARGETS, read_table
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.structures import Structures


@dataclass(frozen=True, eq=False)
class Molecules:
    """Composition and targets, row by row."""

    name: str
    counts: Float[np.ndarray, "molecule element"]
    elements: tuple[str, ...]
    targets: dict[str, Float[np.ndarray, " molecule"]]
    units: dict[str, str]
    formulas: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def y(self) -> Float[np.ndarray, "molecule target"]:
        return np.stack(list(self.targets.values()), axis=1)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of composition, targets and their names."""
        digest = hashlib.sha256(repr((self.elements, tuple(self.targets))).encode())
        for array in (self.counts, self.y):
            digest.update(np.ascontiguousarray(array, "<f8").data)
        return digest.hexdigest()

    @classmethod
    def from_structures(
        cls, structures: Structures, names: Sequence[str] | None = None
    ) -> Molecules:
        """Targets by name; None: QM9's scalar targets, or every scalar one there is.

        Raises:
            UnknownNameError: no such target.
            InputError: a vector target, NaN, or no target at all.
        """
        if names is None:
            scalar = [n for n, values in structures.targets.items() if values.ndim == 1]
            names = [n for n in SCALAR_TARGETS if n in scalar] or scalar
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
        frame = read_table(table) if isinstance(table, str | Path) else pd.DataFrame(dict(table))
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
        numeric = [str(c) for c in frame.select_dtypes("number").columns if str(c) != "id"]
        for wanted in names or ():
            if wanted not in numeric:
                raise UnknownNameError("target", wanted, numeric)
        chosen = numeric if names is None else list(names)
        targets = {n: _scalar(n, frame[n].to_numpy(np.float64)) for n in chosen}
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
            "molecule; a scalar probe needs a scalar target, such as its norm"
        )
    return np.asarray(values, np.float64)
