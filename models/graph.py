"""The graph a model reads: all atoms of a batch in one axis, each with its neighbours in a row.

Dense rows of neighbours instead of a list of edges: messages are summed over an axis, which is
faster than a scatter on every backend, and triplets are pairs of slots of one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """Hold the atoms of several molecules, padding included, and their neighbours.

    All neighbours within the cutoff are held. Sums over them must weigh slots by `edge_mask`;
    padding slots point at the atom itself and hold the vector (`PADDING`, 0, 0), so that distances
    have finite derivatives.
    """

    numbers: Int[Array, " atom"]
    """Atomic numbers; 0 for padding."""
    mask: Bool[Array, "molecule atom_of_molecule"]
    """True where there is an atom, in the batch's own shape."""
    positions: Float[Array, "atom 3"]
    """Positions (Å)."""
    neighbours: Int[Array, "atom neighbour"]
    """Index of each neighbour along the axis `atom`."""
    vectors: Float[Array, "atom neighbour 3"]
    """Vectors from the centre to the neighbour (Å)."""
    edge_mask: Bool[Array, "atom neighbour"]
    opposite: Int[Array, "atom neighbour"]
    """Place, among all slots, of the same edge seen from the neighbour; padding has its own."""
    charge: Float[Array, " molecule"]
    """Total charge (e)."""
    unpaired: Float[Array, " molecule"]
    """Number of unpaired electrons."""

    @classmethod
    def of(cls, batch: Batch) -> Graph:
        """Flatten a batch whose neighbours are known (`cpdjax.data.neighbours.with_edges`)."""
        if batch.edges is None:
            raise ValueError("the batch has no edges; make them with neighbours.with_edges")
        mask = jnp.asarray(batch.mask)
        molecules, atoms = mask.shape
        positions = jnp.asarray(batch.positions).reshape(-1, 3)
        first = jnp.arange(molecules, dtype=jnp.int32)[:, None, None] * atoms
        neighbours = (jnp.asarray(batch.edges.neighbours) + first).reshape(molecules * atoms, -1)
        edge_mask = jnp.asarray(batch.edges.mask).reshape(neighbours.shape)
        opposite = neighbours * neighbours.shape[1] + jnp.asarray(batch.edges.back).reshape(
            neighbours.shape
        )
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
        return cls(
            numbers, mask, positions, neighbours, vectors, edge_mask, opposite, charge, unpaired
        )

    @property
    def distances(self) -> Float[Array, "atom neighbour"]:
        """Return the distances (Å); `PADDING` where there is no neighbour."""
        return jnp.sqrt((self.vectors * self.vectors).sum(-1))

    @property
    def dtype(self) -> jnp.dtype:
        """Return the precision of everything that is computed from this graph."""
        return self.vectors.dtype

    def gather(
        self, atoms: Float[Array, "atom *channel"]
    ) -> Float[Array, "atom neighbour *channel"]:
        """Return the values of every atom's neighbours; padding slots hold the atom's own.

        The derivative in reverse mode is a gather too: a scatter takes longer than all else on a
        CPU.
        """
        return _gather(atoms, self.neighbours, self.opposite)

    def pairs(self) -> Pairs:
        """Return both directions of an edge as one pair, which halves the work on distances."""
        atoms, slots = self.edge_mask.shape
        place = jnp.arange(atoms * slots, dtype=np.int32).reshape(atoms, slots)
        chosen, room = (self.edge_mask & (place < self.opposite)).reshape(-1), place.size
        (first,) = jnp.nonzero(chosen, size=(room + 1) // 2, fill_value=room)
        number = jnp.cumsum(chosen, dtype=np.int32) - 1
        number = number[jnp.minimum(place, self.opposite)]
        distances = self.distances.reshape(-1).at[first].get(mode="fill", fill_value=PADDING)
        return Pairs(first.astype(np.int32), number, distances, self.edge_mask, self.opposite)

    def species(self, elements: tuple[int, ...]) -> Int[Array, " atom"]:
        """Return the index of each atom's element among `elements`; 0 for padding, never read."""
        lookup = np.zeros(119, np.int32)
        lookup[list(elements)] = np.arange(len(elements))
        return jnp.asarray(lookup)[self.numbers]

    def sum(self, atoms: Float[Array, "atom *channel"]) -> Float[Array, "molecule *channel"]:
        """Sum over the atoms of each molecule, padding left out."""
        rows = atoms.reshape(*self.mask.shape, *atoms.shape[1:])
        mask = self.mask.reshape(*self.mask.shape, *[1] * (atoms.ndim - 1))
        return jnp.where(mask, rows, 0).sum(1)

    def spread(self, molecules: Float[Array, "molecule *channel"]) -> Float[Array, "atom *channel"]:
        """Return every molecule's value at each of its atoms."""
        return jnp.repeat(molecules, self.mask.shape[1], axis=0)


class Pairs(NamedTuple):
    """Hold edges and their reverses, numbered as pairs; the last places are empty."""

    first: Int[Array, " pair"]
    """Place of one of the pair's two edges among all slots; beyond them where there is no pair."""
    number: Int[Array, "atom neighbour"]
    """Number of the pair of every edge."""
    distances: Float[Array, " pair"]
    """Distances (Å); `PADDING` where there is no pair."""
    edge_mask: Bool[Array, "atom neighbour"]
    opposite: Int[Array, "atom neighbour"]

    def spread(self, pairs: Float[Array, "pair channel"]) -> Float[Array, "atom neighbour channel"]:
        """Return every pair's value at both its edges; zero where there is no neighbour."""
        return _spread(pairs, *self)


@jax.custom_vjp
def _spread(x: Array, first: Array, number: Array, distances: Array, *graph: Array) -> Array:
    return jnp.where(graph[0][:, :, None], x[number], 0)


def _spread_backward(pairs: tuple[Array, ...], g: Array) -> tuple[Array | None, ...]:
    first, _, _, _, opposite = pairs
    ends = first, opposite.reshape(-1).at[first].get(mode="fill", fill_value=opposite.size)
    flat = g.reshape(-1, g.shape[-1])
    one, other = (flat.at[end].get(mode="fill", fill_value=0) for end in ends)
    return (one + other, *[None] * len(pairs))


_spread.defvjp(lambda x, *pairs: (_spread(x, *pairs), pairs), _spread_backward)


@jax.custom_vjp
def _gather(x: Array, neighbours: Array, opposite: Array) -> Array:
    return x[neighbours]


@jax.custom_vjp
def reversed_edges(
    edges: Float[Array, "atom neighbour *channel"], opposite: Int[Array, "atom neighbour"]
) -> Float[Array, "atom neighbour *channel"]:
    """Return every edge's value at its reverse (`Graph.opposite`).

    The map is symmetric, hence its own derivative in reverse mode.
    """
    return edges.reshape(-1, *edges.shape[2:])[opposite]


_gather.defvjp(
    lambda x, *where: (_gather(x, *where), where),
    lambda where, g: (reversed_edges(g, where[1]).sum(1), None, None),
)
reversed_edges.defvjp(
    lambda edges, opposite: (reversed_edges(edges, opposite), opposite),
    lambda opposite, g: (reversed_edges(g, opposite), None),
)

PADDING = 1.0
"""Length of a vector where there is no neighbour (Å)."""
