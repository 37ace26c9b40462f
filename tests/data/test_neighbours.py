"""Neighbour lists: every image, padded; and a crystal is what its supercell is."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.neighborlist import neighbor_list

from cpdjax import extract
from cpdjax.data import neighbours
from cpdjax.data.neighbours import most_neighbours, with_edges
from cpdjax.data.structures import Structures

FRAMES = {
    "molecule": molecule("CH3CONH2"),
    "cell smaller than the cutoff": bulk("C", "diamond", 3.57),
    "skewed": Atoms(
        "MgO", [[0, 0, 0], [1, 1, 1]], cell=[[3, 0, 0], [1, 3, 0], [0, -1, 4]], pbc=True
    ),
    "slab": Atoms("Cu", cell=[2.5, 2.5, 0], pbc=[True, True, False]),
    "atom outside its cell": Atoms("NaCl", [[0, 0, 0], [9, -7, 3]], cell=[4, 4, 4], pbc=True),
}


def edges(frame, cutoff, spare=2):
    structures = Structures.from_atoms([frame])
    batch = structures.pad([0], len(frame) + spare)
    return batch, with_edges(batch, structures, [0], cutoff).edges


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("cutoff", [2.0, 5.0])
def test_equals_ase(kind, cutoff):
    frame = FRAMES[kind]
    batch, found = edges(frame, cutoff)
    offsets = 0 if found.offsets is None else found.offsets[0]
    vectors = batch.positions[0][found.neighbours[0]] + offsets - batch.positions[0][:, None]
    i, j, expected = neighbor_list("ijD", frame, cutoff)
    for atom in range(len(frame)):
        here = found.mask[0, atom]
        got = np.column_stack([found.neighbours[0, atom][here], vectors[atom][here]])
        wanted = np.column_stack([j[i == atom], expected[i == atom]])
        order = [np.lexsort(np.round(a, 6).T) for a in (got, wanted)]
        np.testing.assert_allclose(got[order[0]], wanted[order[1]], atol=1e-9)
    assert not found.mask[0, len(frame) :].any()


def test_padding_points_at_the_atom_itself():
    batch, found = edges(molecule("H2O"), 1.2)
    atoms = batch.mask.shape[1]
    itself = np.broadcast_to(np.arange(atoms)[:, None], found.mask[0].shape)
    np.testing.assert_array_equal(found.neighbours[0][~found.mask[0]], itself[~found.mask[0]])


def test_shape_follows_from_the_atoms_of_molecules_and_from_the_densest_crystal():
    molecules = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
    assert most_neighbours(molecules, 7, 1.0) == 6
    primitive = bulk("C", "diamond", 3.57)
    crystals = Structures.from_atoms([primitive, make_supercell(primitive, 2 * np.eye(3))])
    count = len(neighbor_list("i", primitive, 4.0)) // 2
    assert most_neighbours(crystals, 16, 4.0) == count


def droplet(waters):
    """Return molecules of water on a grid of 3.1 Å."""
    side = int(np.ceil(waters ** (1 / 3)))
    frame = Atoms()
    for k in range(waters):
        one = molecule("H2O")
        one.rotate(37 * k, "x")
        one.translate(3.1 * np.array([k % side, k // side % side, k // side**2]))
        frame += one
    return frame


def test_room_for_neighbours_does_not_grow_with_a_large_molecule():
    small, large = (Structures.from_atoms([molecule("CH4"), droplet(n)]) for n in (64, 216))
    count = np.bincount(neighbor_list("i", droplet(216), 4.0)).max()
    assert most_neighbours(small, 192, 4.0) == most_neighbours(large, 648, 4.0)
    assert most_neighbours(large, 648, 4.0) == max(count, neighbours.SMALL - 1)
    assert most_neighbours(large, 5, 4.0) == 4
    assert most_neighbours(large, 648, 100.0) == 647


@pytest.mark.parametrize("model", ["schnet-qm9-gap", "painn-qm9-gap"])
def test_features_are_those_of_all_pairs(model, monkeypatch):
    frames = [droplet(40), molecule("CH3CONH2")]
    [layer] = ["interaction_1"]
    listed = extract(model, Structures.from_atoms(frames), layers=[layer])[layer].array
    monkeypatch.setattr(neighbours, "SMALL", 10**6)
    dense = extract(model, Structures.from_atoms(frames), layers=[layer])[layer].array
    np.testing.assert_allclose(listed, dense, rtol=1e-6, atol=1e-9)
