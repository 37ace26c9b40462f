"""Hold what is known of every row beside its features: composition, molecule, SMILES, names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from cpdjax.data.bonds import bond_counts, group_counts
from cpdjax.data.composition import composition, elements, formulas
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.hashing import hash_arrays
from cpdjax.kernel.options import OF_GIVEN_CONCEPTS
from cpdjax.probes.atoms import one_hot


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Hold composition row by row; where rows are atoms, their elements in its place."""

    name: str
    counts: Float[np.ndarray, "row element"]
    elements: tuple[str, ...]
    formulas: np.ndarray
    """The formula of every molecule, also where rows are atoms."""
    offsets: Int[np.ndarray, " offset"] | None = None
    """Where rows are atoms: the row at which each molecule starts."""
    ids: np.ndarray | None = None
    """The name of every molecule; None where nobody named them."""
    group: np.ndarray | None = None
    """What every structure is a geometry of; None where each is a molecule of its own."""
    structures_hashes: tuple[str, ...] = ()
    """The hashes of the structures, without and with targets; none for a table of formulas."""
    smiles: np.ndarray | None = None
    """The SMILES of every molecule; None where they are unknown."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.counts)

    @property
    def owner(self) -> Int[np.ndarray, " row"]:
        """Return the molecule of every row."""
        own = np.arange(len(self.formulas))
        return own if self.offsets is None else np.repeat(own, np.diff(self.offsets))

    @property
    def molecule(self) -> Int[np.ndarray, " row"]:
        """Return the molecule that every row is a geometry of, as a number from 0.

        Raises:
            InputError: nobody says which structures are of one molecule.
        """
        if self.group is None:
            raise InputError(
                f"group_by='molecule' and projection='within' compare geometries of one molecule, "
                f"and {self.name!r} does not say which these are: give every structure an entry "
                "info['group'] (Structures.group), or take the dataset conformers"
            )
        return np.unique(self.group, return_inverse=True)[1][self.owner]

    def molecules(self, *, by_group: bool) -> int:
        """Return the number of structures or, by group, of molecules that they are of."""
        return len(np.unique(self.molecule)) if by_group else len(self.formulas)

    @property
    def copies(self) -> Int[np.ndarray, " row"]:
        """Return a label of every row that its copies in other geometries share.

        Copies are geometries of one molecule or, where rows are atoms, one atom in these.
        """
        if self.offsets is None:
            return self.molecule
        place = np.arange(len(self)) - self.offsets[self.owner]
        return self.molecule * (place.max() + 1) + place

    def concepts(self, projection: str) -> Float[np.ndarray, "row concept"] | None:
        """Return the counts that a projection takes beside composition; None where it takes none.

        Their columns are those that some molecule has. Which these are changes no score: a column
        without a training row has the coefficient zero.

        Raises:
            InputError: RDKit is not installed, or there are no SMILES, or one cannot be read.
        """
        if projection not in OF_GIVEN_CONCEPTS:
            return None
        if self.smiles is None:
            raise InputError(
                f"projection {projection!r} counts bonds from SMILES, which {self.name!r} has not: "
                "add an entry 'smiles' to every structure's info, or a column 'smiles' to the table"
            )
        bonds, groups = self._graph
        return bonds if projection == "bonds" else np.hstack([bonds, groups])

    @cached_property
    def _graph(self) -> tuple[Float[np.ndarray, "row bond"], Float[np.ndarray, "row group"]]:
        """Return the numbers of bonds and rings, and of functional groups, from SMILES."""
        smiles = [] if self.smiles is None else self.smiles.tolist()
        return bond_counts(smiles)[0], group_counts(smiles)[0]

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of composition, and of molecules."""
        return hash_arrays(self._hashed, facts=repr(self.elements))

    @property
    def _hashed(self) -> list[tuple[str, np.ndarray]]:
        """Return the arrays that tell these rows from others."""
        arrays = [("composition", self.counts)]
        return arrays if self.group is None else [*arrays, ("molecule", self.molecule)]

    @classmethod
    def of(cls, structures: Structures, *, of_atoms: bool, **more: Any) -> Self:
        """Return the rows of structures: molecules, or their atoms."""
        return cls(
            name=structures.name,
            counts=one_hot(structures.numbers) if of_atoms else composition(structures),
            elements=elements(structures),
            formulas=formulas(structures),
            offsets=structures.offsets if of_atoms else None,
            ids=structures.ids if structures.has_names else None,
            group=structures.group,
            structures_hashes=(structures.geometry_hash, structures.hash),
            smiles=structures.smiles,
            **more,
        )

    def of_fractions(self) -> Self:
        """Return the same with the share of each element among the atoms for composition."""
        return replace(self, counts=self.counts / self.counts.sum(1, keepdims=True))
