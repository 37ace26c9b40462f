"""The graph a model reads: all atoms of a batch in one axis, each with its neighbours in a row.

Dense rows of neighbours instead of a list of edges: messages are summed over an axis, which is
faster than a scatter on every backend, and triplets are pairs of slots of one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from cpdjax.structures import Batch


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """Atoms of several molecules, padding included, and their neighbours within the cutoff.

    Sums over neighbours must weigh slots by `edge_mask`; padding slots point at the atom itself
    and hold the vector (`PADDING`, 0, 0), so that distances have finite derivatives.
    """

    numbers: Int[Array, " atom"]
    """Atomic numbers; 0 for padding."""
    mask: Bool[Array, "molecule atom_of_molecule"]
    """True where there is an atom, in the batch's own shape."""
    positions: Float[Array, "atom 3"]
    """Å."""
    neighbours: Int[Array, "atom neighbour"]
    """Index of each neighbour along the atom axis."""
    vectors: Float[Array, "atom neighbour 3"]
    """Å, from the centre to the neighbour."""
    edge_mask: Bool[Array, "atom neighbour"]
    charge: Float[Array, " molecule"]
    """Total charge, e."""
    unpaired: Float[Array, " molecule"]
    """Unpaired electrons."""

    @classmethod
    def of(cls, batch: Batch) -> Graph:
        """Flatten a batch whose neighbours are known (`cpdjax.neighbours.with_edges`)."""
        if batch.edges is None:
            raise ValueError("the batch has no edges; make them with neighbours.with_edges")
        mask = jnp.asarray(batch.mask)
        molecules, atoms = mask.shape
        positions = jnp.asarray(batch.positions).reshape(-1, 3)
        first = jnp.arange(molecules, dtype=jnp.int32)[:, None, None] * atoms
        neighbours = (jnp.asarray(batch.edges.neighbours) + first).reshape(molecules * atoms, -1)
        edge_mask = jnp.asarray(batch.edges.mask).reshape(neighbours.shape)
        vectors = positions[neighbours] - positions[:, None, :]
        if batch.edges.offsets is not None:
            offsets = jnp.asarray(batch.edges.offsets, positions.dtype)
            vectors = vectors + offsets.reshape(vectors.shape)
        away = jnp.asarray([PADDING, 0, 0], positions.dtype)
        vectors = jnp.where(edge_mask[:, :, None], vectors, away)
        charge, unpaired = (
            jnp.zeros(molecules, positions.dtype) if x is None else jnp.asarray(x, positions.dtype)
            for x in (batch.charge, batch.unpaired)
        )
        numbers = jnp.asarray(batch.numbers).reshape(-1)
        return cls(numbers, mask, positions, neighbours, vectors, edge_mask, charge, unpaired)

    @property
    def distances(self) -> Float[Array, "atom neighbour"]:
        """Å; `PADDING` where there is no neighbour."""
        return jnp.sqrt((self.vectors * self.vectors).sum(-1))

    @property
    def dtype(self) -> jnp.dtype:
        """The precision of everything computed from this graph."""
        return self.vectors.dtype

    def reverse(
        self, mask: Bool[Array, "atom neighbour"]
    ) -> tuple[Int[Array, "atom neighbour"], Bool[Array, "atom neighbour"]]:
        """Of the edges in `mask`, the flat index as seen from the other end, and if it is there."""
        atoms, slots = mask.shape
        back = self.neighbours[self.neighbours] == np.arange(atoms, dtype=np.int32)[:, None, None]
        back = back & mask[self.neighbours]
        vectors = jax.lax.stop_gradient(self.vectors)
        gap = vectors[self.neighbours] + vectors[:, :, None]
        gap = jnp.where(back, (gap * gap).sum(-1), jnp.inf)
        place = self.neighbours * slots + jnp.argmin(gap, -1).astype(np.int32)
        return place, mask & back.any(-1)

    def gather(
        self, atoms: Float[Array, "atom *channel"]
    ) -> Float[Array, "atom neighbour *channel"]:
        """Every atom's neighbours' values; padding slots hold the atom's own.

        Differentiable in reverse mode, by a gather too: a scatter takes longer than all else on a
        CPU. Every edge must have its reverse in the list.
        """
        return _gather(atoms, self.neighbours, self.edge_mask, *self.reverse(self.edge_mask))

    def species(self, elements: tuple[int, ...]) -> Int[Array, " atom"]:
        """Index of each atom's element among `elements`; 0 for padding, whose rows nobody reads."""
        lookup = np.zeros(119, np.int32)
        lookup[list(elements)] = np.arange(len(elements))
        return jnp.asarray(lookup)[self.numbers]

    def sum(self, atoms: Float[Array, "atom *channel"]) -> Float[Array, "molecule *channel"]:
        """Sum over the atoms of each molecule, padding left out."""
        rows = atoms.reshape(*self.mask.shape, *atoms.shape[1:])
        mask = self.mask.reshape(*self.mask.shape, *[1] * (atoms.ndim - 1))
        return jnp.where(mask, rows, 0).sum(1)

    def spread(self, molecules: Float[Array, "molecule *channel"]) -> Float[Array, "atom *channel"]:
        """Every molecule's value at each of its atoms."""
        return jnp.repeat(molecules, self.mask.shape[1], axis=0)


@jax.custom_vjp
def _gather(x: Array, neighbours: Array, mask: Array, place: Array, found: Array) -> Array:
    return x[neighbours]


def _gather_forward(x: Array, *graph: Array) -> tuple[Array, tuple[Array, ...]]:
    return _gather(x, *graph), graph


def _gather_backward(graph: tuple[Array, ...], g: Array) -> tuple[Array | None, ...]:
    _, mask, place, found = graph
    return (_reversed(g, place, found).sum(1) + _where(~mask, g).sum(1), None, None, None, None)


@jax.custom_vjp
def reversed_edges(
    edges: Float[Array, "atom neighbour *channel"],
    place: Int[Array, "atom neighbour"],
    found: Bool[Array, "atom neighbour"],
) -> Float[Array, "atom neighbour *channel"]:
    """Every edge's value at its reverse (`Graph.reverse`): a symmetric map, hence its own vjp."""
    return _reversed(edges, place, found)


def _reversed(edges: Array, place: Array, found: Array) -> Array:
    return _where(found, edges.reshape(-1, *edges.shape[2:])[place])


def _where(mask: Array, edges: Array) -> Array:
    return jnp.where(mask.reshape(*mask.shape, *[1] * (edges.ndim - 2)), edges, 0)


_gather.defvjp(_gather_forward, _gather_backward)
reversed_edges.defvjp(
    lambda edges, *where: (_reversed(edges, *where), where),
    lambda where, g: (_reversed(g, *where), None, None),
)

PADDING = 1.0
"""Å, the length of a vector where there is no neighbour."""
