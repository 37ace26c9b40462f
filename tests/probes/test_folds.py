"""Repeats are shuffles of their own, drawn from one random seed."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from helpers import one_line

from cpdjax import learning_curve
from cpdjax.errors import InputError
from cpdjax.probes.folds import cross_validation, nested


def test_every_repeat_is_another_shuffle():
    layout = nested(200, [40, 200], repeats=5, folds=5, seed=3)
    for a, b in combinations(range(5), 2):
        small = [set(layout.subset(r, 40)) for r in (a, b)]
        # Two random subsets of 40 among 200 share 8 molecules, give or take 2.3.
        assert len(small[0] & small[1]) < 20
        whole = [layout.subset(r, 200) for r in (a, b)]
        assert sorted(whole[0]) == sorted(whole[1]) == list(range(200))
        held_out = [
            dict(zip(w, layout.fold_ids(r, 200), strict=True))
            for r, w in zip((a, b), whole, strict=True)
        ]
        same = np.mean([held_out[0][m] == held_out[1][m] for m in range(200)])
        assert same == pytest.approx(0.2, abs=0.12)  # one fold of five by chance


@pytest.mark.slow
def test_scores_of_repeats_differ_and_follow_from_the_seed():
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(120, 4)), rng.integers(0, 4, (120, 2)).astype(float)
    Y = X[:, 0] + rng.normal(size=120)
    call = {"sizes": [60], "repeats": 4}
    first, again, other = (learning_curve(X, C, Y, seed=s, **call).r2_geom for s in (1, 1, 2))
    means = first.mean((1, 2, 3, 4))
    assert len(np.unique(means.round(6))) == 4
    np.testing.assert_array_equal(first, again)
    assert not set(means.round(6)) & set(other.mean((1, 2, 3, 4)).round(6))


# Bounds before work


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        (10**9, ["folds must be at most 1,000,000"]),
        (10**30, ["folds must be at most 1,000,000"]),
        (True, ["folds must be at least 2"]),
        ("five", ["folds must be at least 2", "'five'"]),
        (None, ["folds must be at least 2", "None"]),
        ([0] * 19 + [10**9], ["fold 1 has no molecule", "numpy.unique"]),
        (np.array([0] * 19 + [2**64 - 1], np.uint64), ["fold 1 has no molecule"]),
        (np.arange(1, 21) * 10**15, ["fold 0 has no molecule"]),
        ([[0], [1, 2]], ["one integer for each of 20"]),
        ([], ["one integer for each of 20"]),
        ({}, ["one integer for each of 20"]),
    ],
)
def test_folds_out_of_bounds_are_refused_before_memory_is_given_to_them(folds, words):
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        cross_validation(20, folds)
    with pytest.raises(InputError):
        nested(20, [10, 20], 2, folds)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    one_line(caught, *words)


def test_fold_ids_of_small_types_are_counted_right():
    ids = np.arange(512) % 256
    for kind in (np.uint8, np.int16, np.uint64):
        layout = nested(512, [512], 1, ids.astype(kind))
        assert layout.index.shape[1] == 256
        np.testing.assert_array_equal(layout.fold_ids(0, 512), ids[layout.subset(0, 512)])
    assert cross_validation(20, np.int64(5)).index.shape[1] == 5


def test_layouts_that_would_fill_the_memory_are_refused():
    with pytest.raises(InputError, match="repeats must be at most") as caught:
        nested(20, [20], 10**9)
    one_line(caught, "1,000,000", "1e+09")
    with pytest.raises(InputError, match="the shuffles of all repeats would be"):
        nested(10**5, [10**5], 10**6)
    lonely = np.concatenate([np.arange(1, 60_000), np.zeros(60_000, int)])
    with pytest.raises(InputError, match="padded to the longest"):
        cross_validation(len(lonely), lonely)


def test_equal_folds_are_laid_out_once():
    one = cross_validation(40, 5, seed=3)
    assert cross_validation(40, 5, seed=3) is one
    assert cross_validation(40, 5, seed=4) is not one
    with pytest.raises(ValueError, match="read-only"):
        one.index[0, 0, 0] = 7
    for wrong in (5.0, True):
        with pytest.raises(InputError, match="folds"):
            cross_validation(40, wrong, seed=3)
