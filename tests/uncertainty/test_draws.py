"""Disjoint draws, their plain standard error, and a layer chosen on other draws."""

import numpy as np
import pytest
import xarray as xr
from helpers import results_table
from scipy import stats

from cpdjax.errors import InputError
from cpdjax.sweeps.table import best_layer_elsewhere
from cpdjax.uncertainty.draws import draws, of_draws


def test_draws_share_no_molecule():
    found = draws(103, 20, seed=1)
    assert found.shape == (5, 20)
    assert len({*found.ravel().tolist()}) == 100
    np.testing.assert_array_equal(draws(103, 20, seed=1, count=3), found[:3])
    with pytest.raises(InputError, match="need 120, got 103"):
        draws(103, 20, count=6)
    with pytest.raises(InputError):
        draws(103, 60)


def test_interval_is_that_of_a_t_test():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 5)
    found = of_draws(scores)
    expected = stats.ttest_1samp(scores, 0)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_value == pytest.approx(expected.pvalue)
    with pytest.raises(InputError, match="two draws"):
        of_draws([0.5])


def made(values, draw):
    scores = {("a", layer, "0e", "gap"): v for layer, v in values.items()}
    table = results_table(scores, sizes=(50,), targets=("gap",))
    return table.assign_attrs(dataset_hash=draw)


def test_layer_is_chosen_on_the_other_draws():
    """The second layer is best in the third draw by chance, where another one is reported."""
    values = [
        {"embedding": 0.1, "interaction_0": 0.5, "readout": 0.4},
        {"embedding": 0.1, "interaction_0": 0.5, "readout": 0.4},
        {"embedding": 0.9, "interaction_0": 0.3, "readout": 0.2},
    ]
    tables = [made(v, str(i)) for i, v in enumerate(values)]
    found = best_layer_elsewhere(tables, "a", "gap")
    assert found.layers == ("embedding", "embedding", "interaction_0")
    np.testing.assert_allclose(found.scores, [0.1, 0.1, 0.3], atol=0.01)
    by_median = best_layer_elsewhere(tables, "a", "gap", 50, over=np.median)
    assert by_median.layers == found.layers


def test_refuses_draws_of_the_same_molecules_and_of_other_layers():
    one = made({"embedding": 0.1, "readout": 0.2}, "0")
    with pytest.raises(InputError, match="its own molecules"):
        best_layer_elsewhere([one, one], "a", "gap")
    with pytest.raises(InputError, match="same layers"):
        best_layer_elsewhere([one, made({"embedding": 0.1}, "1")], "a", "gap")
    assert isinstance(one, xr.Dataset)
