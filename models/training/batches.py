"""Molecules of a training set, padded once, drawn anew in every epoch.

An epoch holds every molecule exactly once. What a bucket has beyond full batches goes on to the
bucket of the next larger molecules. So the last batch of the largest bucket alone is padded: with
molecules that are there again, and weigh nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from cpdjax.data.batch import Batch, Edges
from cpdjax.data.neighbours import with_edges
from cpdjax.data.padding import bucket_sizes
from cpdjax.data.structures import Structures


class Labelled(NamedTuple):
    """Hold a batch, and the target of its molecules."""

    batch: Batch
    values: Float[np.ndarray, " molecule"]
    weights: Float[np.ndarray, " molecule"]
    """One for each molecule of the batch, and zero where one stands in it again as padding."""


class Bucket(NamedTuple):
    """Hold molecules of similar size, all padded to one shape."""

    molecules: Int[np.ndarray, " molecule"]
    """Which molecules of the set these are, ascending."""
    padded: Labelled


@dataclass(frozen=True, eq=False)
class Batches:
    """Hold molecules in buckets of similar size, so that little of a batch is padding.

    Rows of neighbours are as long as the most crowded atom of a bucket and those below it needs.
    """

    structures: Structures
    values: Float[np.ndarray, " molecule"]
    cutoff: float
    buckets: tuple[Bucket, ...]

    @classmethod
    def of(
        cls, structures: Structures, values: Float[np.ndarray, " molecule"], cutoff: float
    ) -> Batches:
        """Pad all molecules and store them in float32."""
        sizes = structures.sizes
        bounds = bucket_sizes(sizes)
        bucket_of = np.searchsorted(bounds, sizes)
        made = cls(structures, values, cutoff, ())
        buckets: list[Bucket] = []
        for bucket, atoms in enumerate(bounds.tolist()):
            members = np.flatnonzero(bucket_of == bucket)
            room = _room(buckets[-1].padded.batch) if buckets else 1
            buckets.append(Bucket(members, made._padded(members, atoms, room)))
        return cls(structures, values, cutoff, tuple(buckets))

    def __len__(self) -> int:
        """Return the number of molecules."""
        return len(self.values)

    def steps(self, size: int) -> int:
        """Return the number of batches in an epoch."""
        return -(-len(self) // size)

    def shuffled(self, size: int, seed: tuple[int, ...]) -> Iterator[Labelled]:
        """Yield an epoch's batches, of shuffled molecules and in shuffled order."""
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(bucket.molecules) for bucket in self.buckets]
        drawn = list(_drawn(orders, size))
        for place in rng.permutation(len(drawn)).tolist():
            bucket, molecules = drawn[place]
            yield self._batch(bucket, molecules, size)

    def all(self, size: int) -> Iterator[Labelled]:
        """Yield the same without shuffling."""
        for bucket, molecules in _drawn([bucket.molecules for bucket in self.buckets], size):
            yield self._batch(bucket, molecules, size)

    def _batch(self, number: int, molecules: np.ndarray, size: int) -> Labelled:
        """Return molecules of a bucket, and of those below it, as a batch of `size` molecules."""
        bucket = self.buckets[number]
        own = np.isin(molecules, bucket.molecules)
        rows = np.searchsorted(bucket.molecules, molecules[own])
        parts = [jax.tree.map(lambda a: a[rows], bucket.padded)]
        if not own.all():
            batch = bucket.padded.batch
            parts.append(self._padded(molecules[~own], batch.mask.shape[1], _room(batch)))
        batch = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        again = np.resize(np.arange(len(molecules)), size)
        padded: Labelled = jax.tree.map(lambda a: a[again], batch)
        return padded._replace(weights=(np.arange(size) < len(molecules)).astype(np.float32))

    def _padded(self, molecules: np.ndarray, atoms: int, room: int) -> Labelled:
        """Return molecules padded to so many atoms, with room for that many neighbours or more."""
        batch = self.structures.pad(molecules, atoms)
        batch = with_edges(batch, self.structures, molecules, self.cutoff)
        values = self.values[molecules].astype(np.float32)
        return Labelled(_compact(batch, room), values, np.ones_like(values))


def _drawn(orders: Sequence[np.ndarray], size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the molecules of each batch, and the bucket in which they are padded.

    >>> [(number, batch.tolist()) for number, batch in _drawn([[0, 1, 2], [3, 4]], 2)]
    [(0, [0, 1]), (1, [2, 3]), (1, [4])]
    """
    left: np.ndarray = np.empty(0, np.int64)
    for number, order in enumerate(orders):
        waiting = np.concatenate([left, order])
        last = number == len(orders) - 1
        full = len(waiting) if last else len(waiting) // size * size
        for first in range(0, full, size):
            yield number, waiting[first : first + size]
        left = waiting[full:]


def _room(batch: Batch) -> int:
    """Return the number of neighbours that an atom of a batch has room for."""
    return batch.edges.mask.shape[-1] if isinstance(batch.edges, Edges) else 0


def _compact(batch: Batch, room: int) -> Batch:
    """Return a batch in float32 with no more room for neighbours than is used, or than `room`."""
    if not isinstance(batch.edges, Edges):
        raise ValueError("the batch has no edges; make them with neighbours.with_edges")
    neighbours, offsets, mask, back = batch.edges
    room = max(int(mask.sum(-1).max()), room)
    offsets = None if offsets is None else offsets[:, :, :room].astype(np.float32)
    edges = Edges(neighbours[:, :, :room], offsets, mask[:, :, :room], back[:, :, :room])
    return batch._replace(positions=batch.positions.astype(np.float32), edges=edges)
