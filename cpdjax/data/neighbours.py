"""Find neighbour lists with vesin, periodic images included, and pad them for a batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import vesin

from cpdjax.data.batch import AllPairs, Batch, Edges
from cpdjax.data.structures import Structures
from cpdjax.machine.threads import cores

SMALL = 64
"""Limit the atoms of molecules that have room for every other atom as a neighbour (our choice)."""


def with_neighbours(
    batch: Batch, structures: Structures, indices: np.ndarray, cutoff: float
) -> Batch:
    """Return `batch` of the molecules at `indices` ready for a model with a cutoff (Å).

    Small molecules need no list: the model looks at all pairs of atoms. Crystals and larger
    molecules get one.
    """
    if takes_all_pairs(structures, batch.mask.shape[1]):
        return batch._replace(edges=AllPairs())
    return with_edges(batch, structures, indices, cutoff)


def takes_all_pairs(structures: Structures, atoms: int) -> bool:
    """Return whether molecules that are padded to `atoms` atoms need no list of neighbours."""
    return structures.pbc is None and atoms <= SMALL


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
    found = [pairs(structures, molecule, cutoff) for molecule in np.asarray(indices).tolist()]
    owner = np.repeat(np.arange(molecules), [len(centre) for centre, _, _ in found])
    centre, neighbour, image = (np.concatenate(column) for column in zip(*found, strict=True))
    row, other = owner * atoms + centre, owner * atoms + neighbour
    order = np.lexsort((*image.T, other, row))
    # In the order of (neighbour, centre, −image), the k-th edge is the reverse of the k-th edge in
    # that of (centre, neighbour, image).
    reverse = np.lexsort((*-image.T, row, other))
    starts = np.searchsorted(row[order], np.arange(molecules * atoms))
    slot = np.empty(len(row), np.int32)
    slot[order] = np.arange(len(row)) - starts[row[order]]

    shape = molecules, atoms, width
    itself = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], shape)
    edges = Edges(
        np.array(itself),
        None if structures.pbc is None else np.zeros((*shape, 3)),
        np.zeros(shape, bool),
        np.array(np.broadcast_to(np.arange(width, dtype=np.int32), shape)),
    )
    places = owner, centre, slot
    edges.neighbours[places] = neighbour
    edges.mask[places] = True
    edges.back[owner[reverse], centre[reverse], slot[reverse]] = slot[order]
    if edges.offsets is not None and structures.cells is not None:
        cells = structures.cells[np.asarray(indices)][owner]
        edges.offsets[places] = np.einsum("ek,ekx->ex", image, cells)
    return batch._replace(edges=edges)


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

    def most(molecule: int) -> int:
        return int(np.bincount(pairs(structures, molecule, cutoff)[0], minlength=1).max())

    with ThreadPoolExecutor(cores()) as pool:  # vesin works outside Python's lock
        return max(pool.map(most, large), default=0)


def pairs(
    structures: Structures, molecule: int, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre, neighbour and periodic image of every directed pair within `cutoff` (Å)."""
    start, stop = structures.offsets[molecule : molecule + 2]
    if structures.cells is None or structures.pbc is None:
        cell, periodic = np.zeros((3, 3)), np.zeros(3, bool)
    else:
        cell, periodic = structures.cells[molecule], structures.pbc[molecule]
    finder = vesin.NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, image = finder.compute(structures.positions[start:stop], cell, periodic, "ijS")
    return i.astype(np.int64), j.astype(np.int64), image  # vesin counts without a sign
