"""A network whose output has the target's own units: scale, shift, and a value for each element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.data.composition import composition
from cpdjax.data.structures import Structures
from cpdjax.models.graph import Graph
from cpdjax.models.interface import Layers


class Standardized(nn.Module):
    """Scale the atoms' parts of `network`, and add each element's reference.

    The output is a mean over atoms of parts · scale + shift (intensive targets), or a sum of
    parts · scale + reference(element) (extensive targets). The constants come from `fit`.
    """

    network: Any
    """The Flax module of an architecture."""
    elements: tuple[int, ...]
    """Atomic numbers of the training molecules; the weights of other elements mean nothing."""

    @property
    def cutoff(self) -> float:
        """Return the cutoff of the neighbour list (Å)."""
        return self.network.cutoff

    @property
    def periodic(self) -> bool:
        """Return whether the network knows periodic cells."""
        return self.network.periodic

    @property
    def parity(self) -> bool:
        """Return whether the parities of the network's irreps are true."""
        return self.network.parity

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        return self.network.irreps

    def memory(self, atoms: int, neighbours: int) -> int:
        """Return about how many numbers of the network are kept in memory at once."""
        return self.network.memory(atoms, neighbours)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        layers, parts = self.network(graph)
        dtype = graph.dtype
        scale = self.variable("constants", "scale", jnp.ones, (), dtype).value
        references = self.variable(
            "constants", "references", jnp.zeros, len(self.elements), dtype
        ).value
        return layers, parts * scale + references[graph.species(self.elements)]


def fit(
    structures: Structures, values: Float[np.ndarray, " molecule"], readout: Literal["mean", "sum"]
) -> tuple[dict[str, np.ndarray], float]:
    """Fit the constants of `Standardized` to training molecules.

    For "mean", every reference is the targets' mean and the scale their standard deviation. For
    "sum", references are the least-squares energies of elements, and the scale is the standard
    deviation of what they leave, divided by the root of the mean number of atoms.

    Returns:
        scale () and references (element,), and the standard deviation of what they leave.
    """
    counts = composition(structures)
    if readout == "mean":
        references = np.full(counts.shape[1], values.mean())
        spread = float(values.std())
        return {"scale": np.asarray(spread), "references": references}, spread
    references = np.linalg.lstsq(counts, values, rcond=None)[0]
    spread = float((values - counts @ references).std())
    scale = spread / np.sqrt(counts.sum(1).mean())
    return {"scale": np.asarray(scale), "references": references}, spread
