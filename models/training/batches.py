"""Molecules of a training set, padded once, drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from cpdjax.data.batch import Batch, Edges
from cpdjax.data.neighbours import with_edges
from cpdjax.data.padding import bucket_sizes
from cpdjax.data.structures import Structures


class Labelled(NamedTuple):
    """Hold a batch and the target of its molecules."""

    batch: Batch
    values: Float[np.ndarray, " molecule"]


@dataclass(frozen=True, eq=False)
class Batches:
    """Hold molecules in buckets of similar size; a batch comes from one, so little is padding.

    Rows of neighbours are as long as the bucket's most crowded atom needs.
    """

    buckets: tuple[Labelled, ...]

    @classmethod
    def of(
        cls, structures: Structures, values: Float[np.ndarray, " molecule"], cutoff: float
    ) -> Batches:
        """Pad all molecules and store them in float32."""
        sizes = structures.sizes
        bounds = bucket_sizes(sizes)
        bucket_of = np.searchsorted(bounds, sizes)
        buckets = []
        for bucket, atoms in enumerate(bounds.tolist()):
            members = np.flatnonzero(bucket_of == bucket)
            batch = with_edges(structures.pad(members, atoms), structures, members, cutoff)
            buckets.append(Labelled(_compact(batch), values[members].astype(np.float32)))
        return cls(tuple(buckets))

    def __len__(self) -> int:
        """Return the number of molecules."""
        return sum(len(bucket.values) for bucket in self.buckets)

    def steps(self, size: int) -> int:
        """Return the number of full batches in an epoch."""
        return sum(len(bucket.values) // size for bucket in self.buckets)

    def shuffled(self, size: int, seed: tuple[int, ...]) -> Iterator[Labelled]:
        """Yield an epoch's full batches of shuffled molecules; those that remain are left out."""
        rng = np.random.default_rng(seed)
        chosen = []
        for number, bucket in enumerate(self.buckets):
            order = rng.permutation(len(bucket.values))
            full = len(order) // size * size
            chosen += [(number, rows) for rows in order[:full].reshape(-1, size)]
        for place in rng.permutation(len(chosen)):
            number, rows = chosen[place]
            yield _select(self.buckets[number], rows)

    def all(self, size: int) -> Iterator[tuple[Labelled, int]]:
        """Yield every molecule once, in batches of one size, each with the number that count."""
        for bucket in self.buckets:
            for start in range(0, len(bucket.values), size):
                rows = np.arange(start, start + size)
                count = min(size, len(bucket.values) - start)
                yield _select(bucket, np.minimum(rows, len(bucket.values) - 1)), count


def _compact(batch: Batch) -> Batch:
    """Return a batch in float32 with no more room for neighbours than is used."""
    if not isinstance(batch.edges, Edges):
        raise ValueError("the batch has no edges; make them with neighbours.with_edges")
    neighbours, offsets, mask, back = batch.edges
    room = max(int(mask.sum(-1).max()), 1)
    offsets = None if offsets is None else offsets[:, :, :room].astype(np.float32)
    edges = Edges(neighbours[:, :, :room], offsets, mask[:, :, :room], back[:, :, :room])
    return batch._replace(positions=batch.positions.astype(np.float32), edges=edges)


def _select(bucket: Labelled, rows: np.ndarray) -> Labelled:
    return jax.tree.map(lambda array: array[rows], bucket)
