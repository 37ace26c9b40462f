"""Find neighbour lists with vesin, periodic images included, and pad them for a batch."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import vesin

from cpdjax.data.batch import Batch, Edges
from cpdjax.data.structures import Structures

SMALL = 64
"""Limit the atoms of molecules that have room for every other atom as a neighbour (our choice)."""


def with_edges(batch: Batch, structures: Structures, indices: np.ndarray, cutoff: float) -> Batch:
    """Return `batch` of the molecules at `indices` with all neighbours within `cutoff` (Å).

    Each atom has as many slots for neighbours as `most_neighbours` returns.

    >>> from ase.build import molecule
    >>> ds = Structures.from_atoms([molecule("H2O")])
    >>> batch = with_edges(ds.pad([0], atoms=4), ds, [0], cutoff=1.2)
    >>> batch.edges.neighbours.shape, batch.edges.mask[0].sum(-1)
    ((1, 4, 3), array([2, 1, 1, 0]))
    """
    molecules, atoms = batch.mask.shape
    width = most_neighbours(structures, atoms, cutoff)
    itself = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], (atoms, width))
    neighbours = np.tile(itself, (molecules, 1, 1))
    mask = np.zeros(neighbours.shape, bool)
    back = np.tile(np.arange(width, dtype=np.int32), (molecules, atoms, 1))
    offsets = None if structures.pbc is None else np.zeros((*mask.shape, 3))
    for row, molecule in enumerate(np.asarray(indices)):
        centre, neighbour, image = pairs(structures, molecule, cutoff)
        starts = np.searchsorted(centre, np.arange(atoms))
        slot = np.arange(len(centre)) - starts[centre]
        neighbours[row, centre, slot] = neighbour
        mask[row, centre, slot] = True
        # In the order of (neighbour, centre, −image), the k-th edge is the reverse of the k-th edge
        # as `pairs` sorts them.
        reverse = np.lexsort((*-image.T, centre, neighbour))
        back[row, centre[reverse], slot[reverse]] = slot
        if offsets is not None and structures.cells is not None:
            offsets[row, centre, slot] = image @ structures.cells[molecule]
    return batch._replace(edges=Edges(neighbours, offsets, mask, back))


def most_neighbours(structures: Structures, atoms: int, cutoff: float) -> int:
    """Return how many neighbours of an atom there is room for.

    Molecules of at most `SMALL` atoms have room for every other atom, so that the shape follows
    from the number of atoms. Where molecules are larger or a structure is periodic, there is room
    for the most neighbours that any atom of these has, so that memory is linear in the atoms.
    """
    if structures.pbc is not None:
        return max(_most(structures, cutoff, above=0), 1)
    if atoms <= SMALL:
        return max(atoms - 1, 1)
    return min(max(_most(structures, cutoff, above=SMALL), SMALL - 1), atoms - 1)


@lru_cache(maxsize=1)  # every batch of one extraction asks for the same number
def _most(structures: Structures, cutoff: float, above: int) -> int:
    """Return the most neighbours that an atom has in the structures of more than `above` atoms."""
    large = np.flatnonzero(structures.sizes > above).tolist()
    centres = (pairs(structures, i, cutoff)[0] for i in large)
    return max((int(np.bincount(centre, minlength=1).max()) for centre in centres), default=0)


def pairs(
    structures: Structures, molecule: int, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre, neighbour and periodic image of every directed pair within `cutoff` (Å).

    The pairs are sorted by centre, then by neighbour, then by image.
    """
    start, stop = structures.offsets[molecule : molecule + 2]
    if structures.cells is None or structures.pbc is None:
        cell, periodic = np.zeros((3, 3)), np.zeros(3, bool)
    else:
        cell, periodic = structures.cells[molecule], structures.pbc[molecule]
    finder = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, image = finder.compute(structures.positions[start:stop], cell, periodic, "ijS")
    order = np.lexsort((*image.T, j, i))
    return i[order], j[order], image[order]
