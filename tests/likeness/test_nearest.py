"""Neighbours and ranks against all distances at once, and the theorems that they obey."""

import jax
import numpy as np
import pytest
from helpers import one_line

from cpdjax import InputError
from cpdjax.likeness import neighbours
from cpdjax.likeness.neighbours import imbalance, nearest, ranks, shared


def space(rows=300, columns=9, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, columns))
    return x - x.mean(0)


def rotated(x, seed=0):
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))
    return x @ turn


def squares(x):
    """All squares of distances from differences, and infinity from each row to itself."""
    found = np.zeros((len(x), len(x)), x.dtype)
    for column in x.T:
        found += (column[:, None] - column) ** 2
    found = found.astype(float)
    np.fill_diagonal(found, np.inf)
    return found


def by_brute_force(d, k):
    index = np.argsort(d, axis=1, kind="stable")[:, :k]
    return index, np.sqrt(np.take_along_axis(d, index, 1))


def ranks_by_brute_force(d, index):
    to = np.take_along_axis(d, index.T, 1)
    return 1 + np.array([(d < one[:, None]).sum(1) for one in to.T])


def between(a, b):
    """Information imbalance from a to b."""
    found = imbalance(ranks(b, nearest(a, 1).index.T))
    return float(found.mean())


# More than 1,024 rows are more than one block.
@pytest.mark.parametrize(("rows", "columns", "k"), [(300, 3, 1), (300, 40, 299), (1500, 9, 10)])
def test_neighbours_and_ranks_are_those_of_all_distances(rows, columns, k):
    x, d = space(rows, columns), squares(space(rows, columns))
    found = nearest(x, k)
    index, distance = by_brute_force(d, k)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-7)
    others = np.stack([nearest(space(rows, 4, seed), 1).index[:, 0] for seed in (1, 2, 3)])
    np.testing.assert_array_equal(ranks(x, others), ranks_by_brute_force(d, others))


def test_shared_neighbours_are_those_in_both_lists():
    near = [nearest(space(80, 3, seed), 6).index for seed in range(3)]
    found = shared(near[0], np.stack(near).reshape(3, 1, 80, 6))
    assert found.shape == (3, 1, 80)
    for b in range(3):
        expected = [len(set(i) & set(j)) / 6 for i, j in zip(near[0], near[b], strict=True)]
        np.testing.assert_allclose(found[b, 0], expected, rtol=1e-15)


def test_ties_and_twins_go_by_row():
    # Points of a lattice, most of them several times: their squares are whole numbers.
    rng = np.random.default_rng(0)
    lattice = rng.integers(0, 3, (200, 3))
    d = squares(lattice)
    index, distance = by_brute_force(d, 10)
    x = rotated(lattice - lattice.mean(0)) / 7
    found = nearest(x, 10)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance / 7, rtol=1e-8)
    assert (found.distance[distance == 0] == 0).all()
    assert (distance == 0).any()
    others = (np.arange(200) + np.arange(1, 6)[:, None]) % 200
    for noise in (0, 1e-15, 1e-13):  # that of sums in another order, and of worse
        noisy = x + noise * rng.normal(size=x.shape)
        np.testing.assert_array_equal(ranks(noisy, others), ranks_by_brute_force(d, others))


def test_twins_in_float32_are_twins():
    x = space(60, 20)
    copies = np.concatenate([x, x + 1e-7 * np.random.default_rng(1).normal(size=x.shape)])
    found = nearest(copies, 1)
    np.testing.assert_array_equal(found.index[:, 0], (np.arange(120) + 60) % 120)
    assert not found.distance.any()


def test_rows_that_all_coincide_are_at_distance_zero():
    found = nearest(np.zeros((5, 3)), 2)
    assert not found.distance.any()
    np.testing.assert_array_equal(found.index, [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]])
    np.testing.assert_array_equal(ranks(np.zeros((5, 3)), found.index.T), np.ones((2, 5)))


def test_rotation_scale_and_repeated_columns_change_no_neighbour():
    x = space()
    near = nearest(x, 10)
    for same in (rotated(x), 1e6 * x, 1e-6 * x, np.hstack([x, x])):
        assert between(x, same) == between(same, x) == pytest.approx(2 / 300, rel=1e-12)
        assert (shared(near.index, nearest(same, 10).index) == 1).all()


def test_noise_has_neighbours_by_chance():
    rows, k = 800, 10
    a, b = space(rows, 5, 1), space(rows, 5, 2)
    # Ranks are even from 1 to N − 1: their mean N/2 has the standard error N/√(12 N).
    assert abs(between(a, b) - 1) < 4 * 2 / np.sqrt(12 * rows)
    alike = shared(nearest(a, k).index, nearest(b, k).index)
    assert abs(alike.mean() - k / (rows - 1)) < 4 * alike.std() / np.sqrt(rows)


def test_a_space_knows_its_part_and_not_the_other_way_round():
    whole = space(1000, 3)
    part = whole[:, :1]
    assert between(whole, part) < 0.25
    assert between(part, whole) > 0.4


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    x, others = space(257, 16), space(257, 3, seed=1)
    index = nearest(others, 2).index.T
    expected = nearest(x, 5), ranks(x, index)
    for size in (1, 1000, 9999):
        monkeypatch.setattr(neighbours, "IN_A_BLOCK", size)
        near = jax.jit(neighbours._nearest.__wrapped__, static_argnames="k")(x, k=5)
        of_index = jax.jit(neighbours._ranks.__wrapped__)(x, index.T)
        np.testing.assert_array_equal(near[0], expected[0].index)
        np.testing.assert_allclose(near[1], expected[0].distance, rtol=1e-7)
        np.testing.assert_array_equal(of_index.T, expected[1])


def shapes(jaxpr):
    """The shapes of all arrays in a program, of loops' bodies as well."""
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars)
        for inner in jax.core.jaxprs_in_params(equation.params):
            yield from shapes(inner)


@pytest.mark.parametrize("rows", [24_000, 100_000])
def test_memory_is_bounded_for_any_number_of_rows(rows):
    e = jax.ShapeDtypeStruct((rows, 96), np.float64)
    index = jax.ShapeDtypeStruct((rows, 4), np.int32)
    near = jax.jit(neighbours._nearest.__wrapped__, static_argnames="k")
    of_index = jax.jit(neighbours._ranks.__wrapped__)
    for lowered in (near.trace(e, k=10), of_index.trace(e, index)):
        numbers = [int(np.prod(shape)) for shape in shapes(lowered.jaxpr.jaxpr)]
        assert len(numbers) > 20
        assert max(numbers) <= rows * 96
        working = lowered.lower().compile().memory_analysis().temp_size_in_bytes
        assert working < 40e6 + 2 * rows * 96 * 8


@pytest.mark.parametrize("k", [0, 5, -1])
def test_as_many_neighbours_as_there_are_others(k):
    with pytest.raises(InputError) as caught:
        nearest(space(5), k)
    one_line(caught, str(k), "5 rows")
