"""Neighbour lists (by vesin), periodic images included, padded beside a batch of molecules."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import vesin
from jaxtyping import Int

from cpdjax.data.batch import Batch, Edges
from cpdjax.data.structures import Structures


def with_edges(batch: Batch, structures: Structures, indices: np.ndarray, cutoff: float) -> Batch:
    """`batch`, which holds the molecules at `indices`, with their neighbours within `cutoff` (Å).

    Molecules keep room for every other atom, so that the shape follows from the atoms; crystals
    for as many neighbours as `most_neighbours` says of all `structures`.

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
        # In the order of (neighbour, centre, −image) the list is that of all edges' reverses.
        reverse = np.lexsort((*-image.T, centre, neighbour))
        back[row, centre[reverse], slot[reverse]] = slot
        if offsets is not None and structures.cells is not None:
            offsets[row, centre, slot] = image @ structures.cells[molecule]
    return batch._replace(edges=Edges(neighbours, offsets, mask, back))


def most_neighbours(structures: Structures, atoms: int, cutoff: float) -> int:
    """Room for neighbours: every other atom of a molecule, or the most that any crystal has."""
    if structures.pbc is None:
        return max(atoms - 1, 1)
    return max(int(neighbour_counts(structures, cutoff).max()), 1)


@lru_cache(maxsize=1)  # asked anew for every batch of one extraction
def neighbour_counts(structures: Structures, cutoff: float) -> Int[np.ndarray, " molecule"]:
    """The largest number of neighbours of an atom, for each structure."""
    centres = (pairs(structures, i, cutoff)[0] for i in range(len(structures)))
    return np.array([np.bincount(centre, minlength=1).max() for centre in centres])


def pairs(
    structures: Structures, molecule: int, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, neighbour and image of every directed pair, ordered by centre, then neighbour."""
    start, stop = structures.offsets[molecule : molecule + 2]
    if structures.cells is None or structures.pbc is None:
        cell, periodic = np.zeros((3, 3)), np.zeros(3, bool)
    else:
        cell, periodic = structures.cells[molecule], structures.pbc[molecule]
    finder = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, image = finder.compute(structures.positions[start:stop], cell, periodic, "ijS")
    order = np.lexsort((*image.T, j, i))
    return i[order], j[order], image[order]
