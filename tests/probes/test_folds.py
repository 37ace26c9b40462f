"""Repeats are shuffles of their own, drawn from one random seed."""

from itertools import combinations

import numpy as np
import pytest

from cpdjax import learning_curve
from cpdjax.probes.folds import nested


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
