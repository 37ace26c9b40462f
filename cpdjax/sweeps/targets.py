"""What is predicted, and from which composition: scalars or tensors, of molecules or of atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from cpdjax.data.composition import (
    composition,
    elements,
    formulas,
    from_formulas,
    from_smiles,
    hill,
)
from cpdjax.data.structures import Structures
from cpdjax.data.tables import as_table, numeric_columns
from cpdjax.data.tensor_targets import atom_tensors, molecule_tensors
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays
from cpdjax.kernel.scores import Scores
from cpdjax.probes.atoms import one_hot
from cpdjax.validation import check_finite


@dataclass(frozen=True, eq=False)
class Targets:
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
    def from_structures(cls, structures: Structures, names: Sequence[str] | None = None) -> Targets:
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
    ) -> Targets:
        """Targets and composition from a table with a column `formula` or `smiles`.

        Args:
            table: a CSV or Parquet file, a DataFrame, or a mapping of columns.
            names: the target columns; None: all numeric ones.

        Raises:
            FileError: the file cannot be read.
            InputError: no composition column, NaN, or no target at all.

        >>> m = Targets.from_table({"formula": ["CH4", "H2O"], "gap": [10.0, 8.0]})
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
    ) -> Targets:
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


def targets_of(
    structures: Structures, names: Sequence[str] | None = None, probe: str = "ridge"
) -> Targets:
    """Targets by name and what they are measured against, for one of `Settings.probe`.

    Args:
        names: None: every target that the probe can predict.

    Raises:
        UnknownNameError: no such target.
        InputError: a vector where a scalar is needed, NaN, or no target at all.

    >>> h2 = Structures("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]),
    ...                 np.array([0, 2]), atom_targets={"charges": np.zeros(2)})
    >>> list(targets_of(h2, probe="equivariant").targets)
    ['dipole_point', 'quadrupole_point']
    >>> targets_of(h2, probe="atom").counts.tolist()
    [[1.0], [1.0]]
    """
    if probe == "ridge":
        return Targets.from_structures(structures, names)
    known = _known(structures, probe)
    for name in names or ():
        if name not in known:
            raise UnknownNameError(f"target of probe {probe!r}", name, known)
    chosen = {name: known[name] for name in (known if names is None else names)}
    if not chosen:
        raise InputError(
            f"{structures.name!r} has no target for probe {probe!r}: atoms need targets of their "
            "own, tensors 3 or 5 components or the atoms' charges"
        )
    of_atoms = probe.startswith("atom")
    made = Targets(
        name=structures.name,
        counts=one_hot(structures.numbers) if of_atoms else composition(structures),
        elements=elements(structures),
        targets={name: values for name, (values, _) in chosen.items()},
        units={name: unit for name, (_, unit) in chosen.items()},
        formulas=formulas(structures),
        offsets=structures.offsets if of_atoms else None,
    )
    for name, values in made.targets.items():
        check_finite(f"target {name!r}", values.reshape(len(values), -1))
    return made


def fitting(molecules: Targets, components: int) -> Float[np.ndarray, "row target component"]:
    """The tensor targets of so many components, which channels of their degree can predict."""
    return np.stack([v for v in molecules.targets.values() if v.shape[1] == components], axis=1)


def among_all(scores: Scores, molecules: Targets, components: int) -> Scores:
    """Scores of the `fitting` targets in their places among all: NaN for others, r2_comp zero."""

    def everywhere(name: str, values: Any) -> Any:
        if name in ("r2_geom", "r2_full", "alpha_geom", "alpha_full"):
            return spread_over_targets(values, molecules, components)
        return (
            spread_over_targets(values, molecules, components, 0) if name == "r2_comp" else values
        )

    return Scores(**{name: everywhere(name, values) for name, values in vars(scores).items()})


def spread_over_targets(
    values: Float[np.ndarray, "*score fitting"],
    molecules: Targets,
    components: int,
    empty: float = np.nan,
) -> Float[np.ndarray, "*score target"]:
    """Numbers of the `fitting` targets in their places among all."""
    place = [v.shape[1] == components for v in molecules.targets.values()]
    full = np.full((*values.shape[:-1], len(place)), empty, values.dtype)
    full[..., place] = values
    return full


def _known(structures: Structures, probe: str) -> Mapping[str, tuple[np.ndarray, str]]:
    if probe == "equivariant":
        return molecule_tensors(structures)
    if probe == "atom-equivariant":
        return atom_tensors(structures)
    own = {k: v for k, v in structures.atom_targets.items() if v.ndim == 1}
    return {k: (v, structures.units.get(k, "")) for k, v in own.items()}
