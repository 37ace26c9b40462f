"""Procrustes distances against SciPy's rotation, and replicates against their derivatives."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from cpdjax.likeness.procrustes import procrustes_row


@dataclass(eq=False)
class Spaces:
    """Channels side by side, as `Prepared` holds them."""

    e: np.ndarray
    owner: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, *channels, unit=None):
        owner = np.repeat(np.arange(len(channels)), [c.shape[1] for c in channels])
        rows = np.arange(len(channels[0])) if unit is None else unit
        return cls(np.hstack(channels), owner, rows)

    @property
    def stack(self):
        columns = lambda c: slice(*np.searchsorted(self.owner, [c, c + 1]))  # noqa: E731
        return SimpleNamespace(columns=columns, channels=self.owner[-1] + 1, unit=self.unit)

    @property
    def own(self):
        return SimpleNamespace(trace=np.bincount(self.owner, (self.e**2).sum(0)))


def by_rotation(a, b):
    """The distance of unit spaces after the rotation that SciPy finds."""
    width = max(a.shape[1], b.shape[1])
    a, b = (np.pad(x / np.linalg.norm(x), ((0, 0), (0, width - x.shape[1]))) for x in (a, b))
    turn, _ = orthogonal_procrustes(a, b)
    return np.linalg.norm(a @ turn - b)


def related(widths, rows=120, seed=0):
    """Spaces that are linear maps of a few variables in common, with noise."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 4))
    x = [common @ rng.normal(size=(4, w)) + rng.normal(size=(rows, w)) for w in widths]
    return [part - part.mean(0) for part in x]


def rotated(x, seed=0):
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1], x.shape[1])))
    return x @ turn


def between(a, b):
    return procrustes_row(Spaces.of(a), Spaces.of(b), 0)[0][0]


def test_distances_are_those_of_scipys_rotation():
    x = related([5, 5, 9, 2])
    p = Spaces.of(*x)
    expected = np.array([[by_rotation(a, b) for b in x] for a in x])
    for a in range(4):
        found, replicates = procrustes_row(p, p, a)
        assert replicates is None
        assert np.isnan(found[:a]).all()
        np.testing.assert_allclose(found[a:], expected[a, a:], atol=1e-7)
        other = Spaces(p.e, p.owner, p.unit)  # another one, though it holds the same
        np.testing.assert_allclose(procrustes_row(p, other, a)[0], expected[a], atol=1e-7)


def test_a_rotation_scale_and_repeated_columns_are_no_distance():
    x = related([6])[0]
    for same in (rotated(x), -x, 1e4 * x, np.hstack([x, x]), np.hstack([x, 0 * x])):
        assert between(x, same) < 1e-7
        assert between(same, x) < 1e-7
    a, b = related([6, 3])
    assert between(rotated(a), 5 * rotated(b)) == pytest.approx(between(a, b), rel=1e-12)


def test_spaces_with_nothing_in_common_are_farthest():
    x, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 8)))
    assert between(x[:, :3], x[:, 3:]) == pytest.approx(np.sqrt(2), rel=1e-12)
    noise = np.random.default_rng(0).normal(size=(2, 4000, 5))
    assert between(*noise) > 1.35


def test_a_part_is_nearer_the_more_of_the_space_it_holds():
    u, size, _ = np.linalg.svd(related([6])[0], full_matrices=False)
    x = u * size  # along principal axes
    found = [between(rotated(x), x[:, :width]) for width in (1, 3, 5, 6)]
    assert (np.diff(found) < 0).all()
    share = (x[:, :3] ** 2).sum() / (x**2).sum()
    assert found[1] == pytest.approx(np.sqrt(2 - 2 * np.sqrt(share)), rel=1e-12)


@pytest.mark.parametrize("widths", [(4, 4), (3, 7)])
def test_replicates_are_of_first_order(widths):
    rng = np.random.default_rng(1)
    unit = np.sort(rng.integers(0, 40, 120))
    unit[np.searchsorted(unit, np.arange(40)).clip(max=119)] = np.arange(40)  # none is empty
    unit = np.sort(unit)
    a, b = related(widths)
    p = Spaces.of(a, b, unit=unit)
    change = rng.normal(size=40)
    change /= np.abs(change).max()

    def error(h):
        """How far a replicate is above the distance of spaces whose rows have these weights."""
        weight = 1 + h * change
        root = np.sqrt(weight[unit])[:, None]
        return procrustes_row(p, p, 0, weight[None])[1][0, 1] - by_rotation(root * a, root * b)

    observed = by_rotation(a, b)
    assert procrustes_row(p, p, 0, np.ones((1, 40)))[1][0, 1] == pytest.approx(observed, rel=1e-12)
    first_order = [
        abs(procrustes_row(p, p, 0, 1 + h * change[None])[1][0, 1] - observed) for h in (1e-1, 1e-2)
    ]
    assert min(first_order) > 30 * error(1e-2)
    assert error(1e-1) > 0
    assert error(1e-2) == pytest.approx(error(1e-1) / 100, rel=0.2)


def test_replicates_have_the_place_of_distances():
    p = Spaces.of(*related([5, 6, 2]))
    weights = np.random.default_rng(0).multinomial(120, np.full(120, 1 / 120), 7).astype(float)
    distance, replicates = procrustes_row(p, p, 1, weights)
    np.testing.assert_array_equal(np.isnan(replicates), [[True, False, False]] * 7)
    np.testing.assert_allclose(distance, procrustes_row(p, p, 1)[0], rtol=0, atol=0)
    assert (replicates[:, 1] < 1e-7).all()  # of a space from itself


def test_directions_without_correlation_add_nothing_to_replicates():
    x, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 6)))
    weights = np.random.default_rng(0).multinomial(50, np.full(50, 1 / 50), 5).astype(float)
    common = Spaces.of(x[:, :3], x[:, 2:])  # one direction in common
    replicates = procrustes_row(common, common, 0, weights)[1][:, 1]
    sums = weights @ x**2
    nu = sums[:, 2] / np.sqrt(sums[:, :3].sum(1) * sums[:, 2:].sum(1))
    np.testing.assert_allclose(replicates, np.sqrt(2 - 2 * nu), rtol=1e-10)


def test_more_columns_than_rows_change_no_distance():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 9, 40))
    weights = rng.multinomial(9, np.full(9, 1 / 9), size=3)
    narrow = [np.linalg.svd(x)[0] * np.linalg.svd(x)[1] for x in (a, b)]
    wide, same = Spaces.of(a, b), Spaces.of(*narrow)
    found, drawn = procrustes_row(wide, wide, 0, weights)
    assert found[1] == pytest.approx(by_rotation(a, b))
    again, drawn_again = procrustes_row(same, same, 0, weights)
    np.testing.assert_allclose(found[1], again[1])
    np.testing.assert_allclose(drawn[:, 1], drawn_again[:, 1])
