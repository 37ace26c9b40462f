"""An encoder: an architecture with its weights, as everything else in cpdjax sees a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Array, Float

from cpdjax.errors import InputError
from cpdjax.machine.programs import compiled
from cpdjax.models.graph import Graph
from cpdjax.models.interface import Architecture, Layers
from cpdjax.models.shown import shown

if TYPE_CHECKING:
    import xarray as xr

    from cpdjax.data.batch import Batch
    from cpdjax.data.structures import Structures


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables"],
    meta_fields=["name", "architecture", "aggregate", "target", "unit"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """Hold an architecture and its weights: a pytree whose leaves are the weights.

    Weights are used in the precision of the positions, whatever they are stored in.
    """

    name: str
    architecture: Architecture
    variables: Any
    """The Flax variables, such as {"params": ...}."""
    aggregate: Literal["sum", "mean"] = "sum"
    """Whether the output is the sum or the mean of the atoms' parts."""
    target: str = ""
    """What the output is, such as "gap" or "energy"; "" where nobody has said."""
    unit: str = ""
    """The unit of the output; "" where nobody has said."""

    @property
    def level(self) -> Literal["atom", "molecule"]:
        """Return "atom": features have a row for each atom."""
        return "atom"

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the atomic numbers that the weights know."""
        return self.architecture.elements

    @property
    def periodic(self) -> bool:
        """Return whether the model knows periodic cells."""
        return self.architecture.periodic

    @property
    def parity(self) -> bool:
        """Return whether the irreps' parities are true; False: irreps hold for rotations only."""
        return self.architecture.parity

    @property
    def max_atoms(self) -> int | None:
        """Return None: a molecule may have any number of atoms."""
        return None

    @property
    def cutoff(self) -> float | None:
        """Return the cutoff of the neighbour list (Å)."""
        return self.architecture.cutoff

    @property
    def finds_pairs(self) -> bool:
        """Return True: the neighbours in small molecules need not be listed."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer, in the order of the data's path."""
        return self.architecture.irreps

    @property
    def parameters(self) -> int:
        """Return the number of weights, constants left out."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))

    def predict(
        self,
        structures: Structures,
        *,
        batch_size: int | None = None,
        dtype: Any = None,
    ) -> xr.DataArray:
        """Return what the model was made to predict, of every structure and in its unit.

        Args:
            structures: the molecules or crystals.
            batch_size: the molecules in one call; by default as many as suit the device's memory.
            dtype: float32 or float64; by default float64 wherever the backend has it.

        Returns:
            The outputs, (molecule,), called as the target is, with its unit in the attribute
            `units`; molecules are called by their ids.

        Raises:
            InputError: the model cannot take a structure, gives no finite number, or has no
                readout.
        """
        from cpdjax.models.prediction import predicted

        if not getattr(self.architecture, "has_readout", True):
            raise InputError(f"{self.name} was made without a readout, so it predicts nothing")
        return predicted(self, structures, batch_size, dtype)

    @property
    def nameless(self) -> Encoder:
        """Return this encoder with nothing but what features depend on.

        Encoders of one architecture that differ in their weights share a compiled program then.
        """
        return replace(self, name="", aggregate="sum", target="", unit="")

    def memory(self, atoms: int, neighbours: int) -> int:
        """Return about how many numbers one structure keeps in memory at once."""
        return self.architecture.memory(atoms, neighbours)

    @compiled
    def features(self, batch: Batch) -> Layers:
        """Return every layer, (molecule, atom, irreps.dim)."""
        return self.features_and_output(batch)[0]

    @compiled
    def output(self, batch: Batch) -> Float[Array, " molecule"]:
        """Return what the model was made to predict, such as the energy in eV."""
        return self.features_and_output(batch)[1]

    @compiled
    def features_and_output(self, batch: Batch) -> tuple[Layers, Float[Array, " molecule"]]:
        """Return features and output at the price of one.

        Two calls would cost twice: XLA does not see that they share work inside branches.
        """
        layers, atoms = self._apply(batch)
        shape = (*batch.mask.shape, -1)
        found = {k: IrrepsArray(x.irreps, x.array.reshape(shape)) for k, x in layers.items()}
        mask = jnp.asarray(batch.mask)
        total = jnp.where(mask, atoms.reshape(mask.shape), 0).sum(1)
        output = total if self.aggregate == "sum" else total / mask.sum(1, dtype=total.dtype)
        return found, output

    def _apply(self, batch: Batch) -> tuple[Layers, Float[Array, " atom"]]:
        graph = Graph.of(batch, self.architecture.cutoff)
        return self.architecture.apply(graph.cast(self.variables), graph)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, parameters={self.parameters:,})"

    def _repr_html_(self) -> str:
        return shown(self).html
