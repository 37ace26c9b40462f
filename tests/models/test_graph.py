"""The graph of the models: every edge knows its reverse, and derivatives are those of indexing."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from cpdjax.data.neighbours import with_edges, with_neighbours
from cpdjax.data.structures import Structures
from cpdjax.models.graph import Graph

FRAMES = {
    # Fewer neighbours than room, molecules of several sizes, an atom alone.
    "molecules": ([molecule("CH3CH2OH"), molecule("H2O"), Atoms("He")], 2.0),
    # Several images of one neighbour, and of an atom itself.
    "crystals": (
        [bulk("NaCl", "rocksalt", a=5.64), bulk("Si"), molecule("H2O", cell=[9] * 3)],
        6.0,
    ),
}


@pytest.fixture(params=[*FRAMES, "all pairs"])
def graph(request):
    """Lists of neighbours, and all pairs of the same molecules."""
    return graph_of(request.param)


@cache
def graph_of(kind):
    frames, cutoff = FRAMES.get(kind, FRAMES["molecules"])
    structures = Structures.from_atoms(frames)
    rows = np.arange(len(structures))
    batch = structures.pad(rows, atoms=int(structures.sizes.max()) + 1)
    prepare = with_neighbours if kind == "all pairs" else with_edges
    made = Graph.of(prepare(batch, structures, rows, cutoff), cutoff)
    assert made.all_pairs == (kind == "all pairs")
    return made


def test_every_edge_finds_its_reverse(graph):
    mask, place = np.asarray(graph.edge_mask), np.asarray(graph.opposite)
    np.testing.assert_array_equal(mask.ravel()[place], mask)
    np.testing.assert_array_equal(place.ravel()[place].ravel(), np.arange(place.size))
    atoms = np.broadcast_to(np.arange(len(mask))[:, None], mask.shape)
    np.testing.assert_array_equal(np.asarray(graph.neighbours).ravel()[place][mask], atoms[mask])
    vectors = np.asarray(graph.vectors)
    np.testing.assert_allclose(vectors.reshape(-1, 3)[place][mask], -vectors[mask], atol=1e-12)


def test_every_pair_has_two_edges_of_its_length(graph):
    pairs, mask = graph.pairs(), np.asarray(graph.edge_mask)
    numbers = np.asarray(pairs.number)
    found = np.bincount(numbers[mask], minlength=len(pairs.distances))
    assert sorted(found)[::-1] == [2] * (mask.sum() // 2) + [0] * (found == 0).sum()
    np.testing.assert_allclose(pairs.distances[numbers][mask], graph.distances[mask], rtol=1e-14)
    np.testing.assert_array_equal(numbers.ravel()[np.asarray(graph.opposite)][mask], numbers[mask])


def test_derivatives_are_those_of_indexing(graph):
    """`gather`, `reversed_edges` and `Pairs.spread` have their own, made of gathers."""
    rng, pairs = np.random.default_rng(0), graph.pairs()
    atoms, slots = graph.edge_mask.shape
    mask = graph.edge_mask[:, :, None]
    cases = [
        (graph.gather, lambda x: x[graph.neighbours], (atoms, 2)),
        (
            graph.reversed,
            lambda x: x.reshape(-1, 2)[graph.opposite],
            (atoms, slots, 2),
        ),
        (
            pairs.spread,
            lambda x: jnp.where(mask, x[pairs.number], 0),
            (len(pairs.distances), 2),
        ),
    ]
    for ours, plain, shape in cases:
        x, g = jnp.asarray(rng.normal(size=shape)), jnp.asarray(rng.normal(size=(atoms, slots, 2)))
        (value, pull), (expected, plain_pull) = jax.vjp(ours, x), jax.vjp(plain, x)
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_allclose(pull(g)[0], plain_pull(g)[0], rtol=0, atol=1e-13)


def test_all_pairs_within_the_cutoff_are_those_of_the_list():
    frames, cutoff = FRAMES["molecules"]
    structures = Structures.from_atoms(frames)
    rows = np.arange(len(structures))
    batch = structures.pad(rows, atoms=11)
    found = []
    for prepare in (with_edges, with_neighbours):
        graph = Graph.of(prepare(batch, structures, rows, cutoff), cutoff)
        mask = np.asarray(graph.edge_mask)
        ends = np.argwhere(mask)[:, 0], np.asarray(graph.neighbours)[mask]
        order = np.lexsort(ends[::-1])
        found.append([a[order] for a in (*ends, np.asarray(graph.vectors)[mask])])
    for listed, dense in zip(*found, strict=True):
        np.testing.assert_array_equal(listed, dense)
