"""Padded sizes: the best there are, as all choices say."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpdjax.data.padding import MAX_BUCKETS, bucket_sizes


def padded(sizes, bounds):
    """Pairs of atoms after padding."""
    return np.square(np.asarray(bounds)[np.searchsorted(bounds, sizes)], dtype=float).sum()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(1, 400))
def test_no_choice_pads_fewer_pairs(distinct, copies):
    sizes = np.repeat(distinct, copies)
    bounds = bucket_sizes(sizes)
    count = int(np.clip(len(sizes) // 250, 1, MAX_BUCKETS))
    *smaller, largest = np.unique(sizes).tolist()
    choices = combinations(smaller, min(count - 1, len(smaller)))
    assert padded(sizes, bounds) == min(padded(sizes, [*c, largest]) for c in choices)
    assert len(bounds) <= count
    assert (np.diff(bounds) > 0).all()
    assert bounds[-1] == largest


@pytest.mark.parametrize("size", [1, 29])
def test_one_size_is_one_bucket(size):
    assert bucket_sizes(np.full(5000, size)).tolist() == [size]
