"""What cannot be compared is refused in one line."""

import numpy as np
import pytest
from helpers import one_line
from likeness_oracle import stack_of

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.likeness.prepared import prepare
from cpdjax.likeness.residuals import NothingLeftError

C = np.random.default_rng(0).integers(0, 3, (20, 3)).astype(float)
X = np.random.default_rng(1).normal(size=(20, 4))


def test_a_channel_that_composition_explains_is_refused_by_its_number():
    explained = C @ np.ones((3, 2)) * [1, 2]
    with pytest.raises(NothingLeftError) as caught:
        prepare(stack_of([X, explained], C), "ols", alpha=1.0)
    one_line(caught, "channel 1", "explains")
    assert caught.value.channel == 1
    prepare(stack_of([X, explained], C), "none", alpha=1.0)


def test_an_element_of_one_molecule_makes_no_channel_of_its_count():
    rare = np.column_stack([C, np.arange(20) == 7])
    with pytest.raises(NothingLeftError):
        prepare(stack_of([X, rare], rare), "ols", alpha=1.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"alpha": 0.0}, ("alpha", "positive")),
        ({"alpha": np.nan}, ("alpha", "nan")),
        ({"alpha": 1.0, "variance": 1.5}, ("variance", "1.5")),
        ({"alpha": 1.0, "variance": 0.0}, ("variance", "0.0")),
    ],
)
def test_penalties_and_shares_out_of_their_range_are_refused(given, words):
    with pytest.raises(InputError) as caught:
        prepare(stack_of([X, X], C), "ols", **given)
    one_line(caught, *words)


def test_too_few_rows_are_refused():
    with pytest.raises(InputError) as caught:
        prepare(stack_of([X[:3], X[:3]], C[:3], folds=3), "none", alpha=1.0)
    one_line(caught, "4 rows", "got 3")


def test_an_unknown_projection_is_refused():
    with pytest.raises(UnknownNameError):
        prepare(stack_of([X, X], C), "olz", alpha=1.0)


def test_dependent_columns_need_a_penalty_that_tells_them_apart():
    with pytest.raises(InputError) as caught:
        prepare(stack_of([np.hstack([X, X])], C), "ols", alpha=1e-300)
    one_line(caught, "channel 0", "alpha=1e-300")
