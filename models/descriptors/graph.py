"""Controls without a coordinate: what the bond graph, or composition alone, would score.

Both are descriptors of molecules. Whatever a model tells beyond the bond graph is what its
coordinates gave it; and composition alone must score zero, since CPD takes all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Float

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch
    from cpdjax.data.structures import Structures
from cpdjax.data.fragments import FRAGMENTS, fragment_counts
from cpdjax.errors import InputError
from cpdjax.machine.programs import compiled
from cpdjax.models.interface import Card
from cpdjax.models.prediction import PredictsNothing
from cpdjax.models.shown import shown

_ELEMENTS = 118


@jax.tree_util.register_static
@dataclass(frozen=True)
class BondGraph(PredictsNothing):
    """Count the fragments of a molecule's bond graph, which RDKit finds in its SMILES.

    The one layer, `graph`, has the columns `cpdjax.data.fragments.FRAGMENTS`: bonds, rings,
    functional groups, and atoms with their neighbours. They are the same for every data set, so
    that a molecule has the same features in each. Columns that no molecule has drop out of a probe.
    """

    name: str = "bond-graph"
    level: Literal["molecule"] = "molecule"
    elements: tuple[int, ...] | None = None
    periodic: bool = False
    max_atoms: int | None = None
    parity: bool = True
    cutoff: float | None = None

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Return the irreps of the one layer."""
        return {"graph": Irreps(f"{len(FRAGMENTS)}x0e")}

    def _repr_html_(self) -> str:
        return shown(self).html

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers kept at once for one molecule: its columns, twice."""
        return 2 * len(FRAGMENTS)

    def read(self, structures: Structures) -> Float[np.ndarray, "molecule fragment"]:
        """Return the counts of fragments from SMILES.

        Raises:
            InputError: RDKit is not installed, the structures have no SMILES, or RDKit cannot read
                one; the error names its molecule.
        """
        if structures.smiles is None:
            raise InputError(
                f"{self.name} reads SMILES, which {structures.name!r} has not: add an entry "
                "'smiles' to every structure's info, or a column 'smiles' to the table of targets"
            )
        try:
            return fragment_counts(structures)
        except InputError:
            for molecule, smiles in zip(structures.ids, structures.smiles, strict=True):
                try:
                    fragment_counts([smiles])
                except InputError as error:
                    reason = str(error).removeprefix("row 0: ")
                    raise InputError(f"molecule '{molecule}': {reason}") from None
            raise

    @compiled
    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return the layer of a batch, (molecule, fragment)."""
        counts = jnp.asarray(batch.read, batch.positions.dtype)
        return {"graph": IrrepsArray(self.irreps["graph"], counts)}


@jax.tree_util.register_static
@dataclass(frozen=True)
class CompositionOnly(PredictsNothing):
    """Count the atoms of each of the 118 elements: a control that holds nothing but composition.

    >>> from cpdjax.data.structures import Batch
    >>> water = Batch(np.array([[8, 1, 1]]), np.zeros((1, 3, 3)), np.ones((1, 3), bool))
    >>> CompositionOnly().features(water)["composition"].array[0, [0, 7]].tolist()
    [2.0, 1.0]
    """

    name: str = "composition-only"
    level: Literal["molecule"] = "molecule"
    elements: tuple[int, ...] | None = None
    periodic: bool = True
    max_atoms: int | None = None
    parity: bool = True
    cutoff: float | None = None

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Return the irreps of the one layer."""
        return {"composition": Irreps(f"{_ELEMENTS}x0e")}

    def _repr_html_(self) -> str:
        return shown(self).html

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers kept at once for one molecule: a row of elements for every atom."""
        return _ELEMENTS * (atoms + 1)

    @compiled
    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return the layer of a batch, (molecule, element); padding has atomic number 0."""
        dtype = batch.positions.dtype
        onehot = jax.nn.one_hot(jnp.asarray(batch.numbers) - 1, _ELEMENTS, dtype=dtype)
        return {"composition": IrrepsArray(self.irreps["composition"], onehot.sum(1))}


_MODELS = {model.name: model for model in (CompositionOnly(), BondGraph())}

CARDS = {
    "composition-only": Card("control (composition)", "Apache-2.0", "none"),
    "bond-graph": Card("control (bond graph)", "Apache-2.0", "none"),
}


def load(name: str) -> BondGraph | CompositionOnly:
    """Return the model of a name."""
    return _MODELS[name]
