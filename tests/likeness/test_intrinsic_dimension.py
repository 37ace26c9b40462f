"""TwoNN on data whose dimension is known, and against the fit written out with NumPy."""

import numpy as np
import pytest

from cpdjax.likeness.dimension import two_nn, with_twin
from cpdjax.likeness.draws import weights
from cpdjax.likeness.neighbours import nearest


def by_least_squares(distance):
    """The slope of −ln(1 − F) against ln μ without the largest tenth of μ."""
    mu = np.sort(distance[:, 1] / distance[:, 0])
    kept = len(mu) - len(mu) // 10 if len(mu) % 10 == 0 else int(0.9 * len(mu))
    f = np.arange(1, len(mu) + 1) / len(mu)
    return np.linalg.lstsq(np.log(mu[:kept, None]), -np.log(1 - f[:kept]))[0][0]


def distances(x):
    return nearest(x - x.mean(0), 2).distance


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_cubes_in_more_columns_than_they_need_have_their_dimension(dimension):
    rng = np.random.default_rng(dimension)
    plane, _ = np.linalg.qr(rng.normal(size=(24, dimension)))
    x = rng.random((3000, dimension)) @ plane.T
    # 5 % is three standard errors, d/√N, and what the faces of a cube take.
    assert two_nn(distances(x)) == pytest.approx(dimension, rel=0.07)


@pytest.mark.parametrize("rows", [10, 57, 400])
def test_the_fit_is_that_of_least_squares(rows):
    distance = distances(np.random.default_rng(rows).normal(size=(rows, 6)))
    assert two_nn(distance) == pytest.approx(by_least_squares(distance), rel=1e-12)
    assert two_nn(3 * distance) == pytest.approx(two_nn(distance), rel=1e-12)


def test_rows_with_a_twin_are_left_out():
    x = np.random.default_rng(0).normal(size=(300, 4))
    twins = np.concatenate([x, x[:40]])
    distance = distances(twins)
    assert with_twin(distance).sum() == 80
    assert two_nn(distance) == pytest.approx(by_least_squares(distance[40:300]), rel=1e-12)


def test_fewer_than_ten_rows_have_no_dimension():
    distance = distances(np.random.default_rng(0).normal(size=(10, 4)))
    assert two_nn(distance) > 0
    assert np.isnan(two_nn(distance[:9]))
    assert np.isnan(two_nn(np.zeros((20, 2))))
    assert np.isnan(two_nn(np.ones((20, 2))))  # of a lattice


def test_replicates_are_the_fit_of_rows_drawn_as_often():
    distance = distances(np.random.default_rng(0).normal(size=(500, 4)))
    drawn = weights(500, draws=100, seed=0)
    found = two_nn(distance, drawn)
    assert two_nn(distance, np.ones((2, 500))) == pytest.approx([two_nn(distance)] * 2, rel=1e-12)
    copies = [by_least_squares(np.repeat(distance, w.astype(int), 0)) for w in drawn]
    np.testing.assert_allclose(found, copies, rtol=0.02)
    assert abs(found.mean() / two_nn(distance) - 1) < 0.02
    # The standard error of TwoNN is about d/√N: that of the maximum-likelihood estimate.
    assert found.std() == pytest.approx(two_nn(distance) / np.sqrt(500), rel=0.4)


def test_a_draw_of_too_few_rows_has_no_dimension():
    distance = distances(np.random.default_rng(0).normal(size=(50, 4)))
    drawn = np.zeros((2, 50))
    drawn[0, :9], drawn[1, :10] = 5, 5
    np.testing.assert_array_equal(np.isnan(two_nn(distance, drawn)), [True, False])
