"""The graph a model reads: all atoms of a batch in one axis, each with its neighbours in a row.

Dense rows of neighbours instead of a list of edges: messages are summed over an axis, which is
faster than a scatter on every backend, and triplets are pairs of slots of one row. In the row of an
atom of a small molecule stand all atoms of the molecule, itself included, in their own order: such
a graph is made from positions alone, and reading neighbours is no more than a broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from cpdjax.data.batch import AllPairs

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch, Edges


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Graph:
    """Hold the atoms of several molecules, padding included, and their neighbours.

    All neighbours within the cutoff are held. Sums over them must weigh slots by `edge_mask`;
    padding slots point at any atom of the batch and hold the vector (`PADDING`, 0, 0), so that
    distances have finite derivatives.
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
    """Place, among all slots, of the same edge seen from the neighbour; padding has padding."""
    charge: Float[Array, " molecule"]
    """Total charge (e)."""
    unpaired: Float[Array, " molecule"]
    """Number of unpaired electrons."""

    all_pairs: bool = field(default=False, metadata={"static": True})
    """Whether slot k of every row is atom k of the molecule."""

    @classmethod
    def of(cls, batch: Batch, cutoff: float) -> Graph:
        """Flatten a batch that `cpdjax.data.neighbours.with_neighbours` has prepared."""
        if batch.edges is None:
            raise ValueError("the batch has no edges; make them with neighbours.with_neighbours")
        mask = jnp.asarray(batch.mask)
        positions = jnp.asarray(batch.positions).reshape(-1, 3)
        if isinstance(batch.edges, AllPairs):
            rows = _all_rows(positions, mask, cutoff)
        else:
            rows = _listed_rows(positions, batch.edges)
        charge, unpaired = (
            jnp.zeros(len(mask), positions.dtype) if x is None else jnp.asarray(x, positions.dtype)
            for x in (batch.charge, batch.unpaired)
        )
        away = jnp.asarray([PADDING, 0, 0], positions.dtype)
        return cls(
            numbers=jnp.asarray(batch.numbers).reshape(-1),
            mask=mask,
            positions=positions,
            neighbours=rows.neighbours,
            vectors=jnp.where(rows.mask[:, :, None], rows.vectors, away),
            edge_mask=rows.mask,
            opposite=rows.neighbours * rows.neighbours.shape[1] + rows.back,
            charge=charge,
            unpaired=unpaired,
            all_pairs=isinstance(batch.edges, AllPairs),
        )

    @property
    def distances(self) -> Float[Array, "atom neighbour"]:
        """Return the distances (Å); `PADDING` where there is no neighbour."""
        return jnp.sqrt((self.vectors * self.vectors).sum(-1))

    @property
    def dtype(self) -> jnp.dtype:
        """Return the precision of everything that is computed from this graph."""
        return self.vectors.dtype

    def cast(self, weights: Any) -> Any:
        """Return a pytree of weights, its floating numbers in the precision of this graph."""

        def one(leaf: Any) -> Array:
            floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
            return jnp.asarray(leaf, self.dtype if floating else None)

        return jax.tree.map(one, weights)

    def gather(
        self, atoms: Float[Array, "atom *channel"]
    ) -> Float[Array, "atom neighbour *channel"]:
        """Return the values of every atom's neighbours, and something finite in padding slots.

        The derivative in reverse mode is a gather too: a scatter takes longer than all else on a
        CPU.
        """
        if self.all_pairs:
            return _of_molecule(atoms, *self.mask.shape)
        return _gather(atoms, self.neighbours, self.opposite)

    def reversed(
        self, edges: Float[Array, "atom neighbour *channel"]
    ) -> Float[Array, "atom neighbour *channel"]:
        """Return every edge's value at its reverse."""
        if self.all_pairs:
            molecules, atoms = self.mask.shape
            square = edges.reshape(molecules, atoms, atoms, *edges.shape[2:])
            return square.swapaxes(1, 2).reshape(edges.shape)
        return reversed_edges(edges, self.opposite)

    def pairs(self) -> Pairs:
        """Return both directions of an edge as one pair, which halves the work on distances."""
        first, number = self._numbered() if self.all_pairs else self._found()
        distances = self.distances.reshape(-1).at[first].get(mode="fill", fill_value=PADDING)
        return Pairs(first, number, distances, self.edge_mask, self.opposite)

    def _found(self) -> tuple[Int[Array, " pair"], Int[Array, "atom neighbour"]]:
        """Return `Pairs.first` and `Pairs.number` where only the numbers tell which pairs exist."""
        atoms, slots = self.edge_mask.shape
        place = jnp.arange(atoms * slots, dtype=np.int32).reshape(atoms, slots)
        chosen, room = (self.edge_mask & (place < self.opposite)).reshape(-1), place.size
        (first,) = jnp.nonzero(chosen, size=(room + 1) // 2, fill_value=room)
        number = jnp.cumsum(chosen, dtype=np.int32) - 1
        return first.astype(np.int32), number[jnp.minimum(place, self.opposite)]

    def _numbered(self) -> tuple[Int[Array, " pair"], Int[Array, "atom neighbour"]]:
        """Return the same where all pairs of a molecule are held: those above a diagonal."""
        molecules, atoms = self.mask.shape
        above = np.triu_indices(atoms, min(1, atoms - 1))
        count, number = len(above[0]), np.zeros((atoms, atoms), np.int32)
        number[above] = number.T[above] = np.arange(count)
        place = np.int32(atoms) * above[0].astype(np.int32) + above[1].astype(np.int32)
        start = jnp.arange(molecules, dtype=np.int32)[:, None]
        first = start * atoms**2 + place[None]
        numbers = start[:, :, None] * count + number[None]
        return first.reshape(-1), numbers.reshape(-1, atoms)

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


class _Rows(NamedTuple):
    """Hold what the neighbours of all atoms are, before padding slots are set aside."""

    neighbours: Int[Array, "atom neighbour"]
    back: Int[Array, "atom neighbour"]
    """Slot of the same edge in the neighbour's row."""
    vectors: Float[Array, "atom neighbour 3"]
    mask: Bool[Array, "atom neighbour"]


def _all_rows(
    positions: Float[Array, "atom 3"], mask: Bool[Array, "molecule atom"], cutoff: float
) -> _Rows:
    """Return all atoms of the molecule as neighbours; true are other atoms within the cutoff."""
    molecules, atoms = mask.shape
    slot = jnp.broadcast_to(jnp.arange(atoms, dtype=np.int32), (molecules, atoms, atoms))
    first = jnp.arange(molecules, dtype=np.int32)[:, None, None] * atoms
    vectors = _of_molecule(positions, molecules, atoms) - positions[:, None, :]
    near = (vectors * vectors).sum(-1) < cutoff**2
    real = mask[:, :, None] & mask[:, None, :] & ~np.eye(atoms, dtype=bool)[None]
    shape = near.shape
    back = slot.swapaxes(1, 2).reshape(shape)
    return _Rows((slot + first).reshape(shape), back, vectors, near & real.reshape(shape))


def _listed_rows(positions: Float[Array, "atom 3"], edges: Edges) -> _Rows:
    """Return the neighbours that a batch lists, counted through all molecules."""
    molecules, atoms, slots = edges.mask.shape
    shape = molecules * atoms, slots
    first = jnp.arange(molecules, dtype=np.int32)[:, None, None] * atoms
    neighbours = (jnp.asarray(edges.neighbours) + first).reshape(shape)
    vectors = positions[neighbours] - positions[:, None, :]
    if edges.offsets is not None:
        vectors = vectors + jnp.asarray(edges.offsets, positions.dtype).reshape(vectors.shape)
    back, mask = (jnp.asarray(x).reshape(shape) for x in (edges.back, edges.mask))
    return _Rows(neighbours, back, vectors, mask)


def _of_molecule(
    values: Float[Array, "atom *channel"], molecules: int, atoms: int
) -> Float[Array, "atom other *channel"]:
    """Return, in every atom's row, the values of all atoms of its molecule."""
    rest = values.shape[1:]
    rows = values.reshape(molecules, 1, atoms, *rest)
    return jnp.broadcast_to(rows, (molecules, atoms, atoms, *rest)).reshape(-1, atoms, *rest)


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
    first, _, _, edge_mask, opposite = pairs
    ends = first, opposite.reshape(-1).at[first].get(mode="fill", fill_value=opposite.size)
    flat = jnp.where(edge_mask[:, :, None], g, 0).reshape(-1, g.shape[-1])
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
