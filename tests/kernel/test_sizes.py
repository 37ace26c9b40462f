"""All sizes share few compiled bodies, and visit every row once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpdjax import cpd, learning_curve
from cpdjax.kernel import nested
from cpdjax.kernel.options import Options
from cpdjax.kernel.probe import probe
from cpdjax.probes import folds

SEVEN = (50, 100, 200, 500, 1000, 1500, 2000)


def lowered(width, sizes, **options):
    """The program of a learning curve in one repeat, before XLA works on it, in lines."""
    layout = folds.nested(sizes[-1], sizes, repeats=1)
    shapes = ((sizes[-1], width), (sizes[-1], 5), (sizes[-1], 12), (10,))
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float64) for shape in shapes]
    places = (jnp.asarray(layout.index), jnp.asarray(layout.rank))
    program = probe.lower(
        *arrays,
        *places,
        sizes=layout.sizes,
        bounds=layout.bounds,
        options=Options(elements=5, **options),
    )
    return program.as_text().splitlines()


def test_seven_sizes_are_hardly_more_of_a_program_than_two():
    """A body for many rows, and one for few; before, each size had one of its own."""
    two, seven = lowered(256, (200, 2000)), lowered(256, SEVEN)
    assert len(seven) < 1.2 * len(two)
    assert sum("lapack_dsytrd" in line for line in seven) == 2
    assert len(lowered(256, (2000,), refine=False)) < 1400


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=7),
    st.integers(2, 5),
    st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_every_row_is_visited_once_in_its_size(steps, number, seed):
    sizes = tuple((np.cumsum(steps) + 2 * number).tolist())
    layout = folds.nested(sizes[-1], sizes, 1, number, seed=seed)
    visits = nested._visits(layout.sizes, layout.bounds)
    rank = layout.rank[0]
    seen = np.zeros(rank.shape, int)
    for first, last, before, size, _ in visits.steps:
        assert last - first <= visits.slots
        own = rank[:, first:last]
        seen[:, first:last] += (own >= before) & (own < size)
    np.testing.assert_array_equal(seen, rank < sizes[-1])
    assert visits.steps[visits.steps[:, 4] > 0, 3].tolist() == list(sizes)
    assert len(visits.steps) * visits.slots < 3 * rank.shape[1] + len(sizes) * nested._VISIT * 2


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(40, 60, 100), (12, 20, 33, 90, 100)])
def test_padding_changes_no_score(sizes):
    """Every size as by itself: few rows share a body, and so do many."""
    rng = np.random.default_rng(0)
    X, C, Y = rng.normal(size=(100, 30)), rng.integers(0, 5, (100, 2)), rng.normal(size=(100, 3))
    options = {"folds": 4, "alphas": [1e-3, 1.0]}
    curve = learning_curve(X, C, Y, sizes=sizes, repeats=2, **options)
    layout = folds.nested(100, sizes, 2, 4)
    for repeat in range(2):
        for place, size in enumerate(sizes):
            rows = layout.subset(repeat, size)
            alone = cpd(
                *(a[rows] for a in (X, C, Y)),
                **options | {"folds": layout.fold_ids(repeat, size)},
            )
            found = curve.r2_geom[repeat, place], curve.r2_full[repeat, place]
            for got, expected in zip(found, (alone.r2_geom, alone.r2_full), strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)
