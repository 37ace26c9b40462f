"""Models that differ in data: paired differences on the same folds."""

import numpy as np
import pytest
import xarray as xr

from cpdjax import compare
from cpdjax.errors import UnknownNameError
from cpdjax.studies.diversity import PAIRS, pairs_by_data

AXES = ["model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target"]


def table():
    """Two models of two layers; noise that they share, and 0.1 between them in the last layer."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0.4, 0.2, size=(1, 2, 1, 5, 1, 5, 1, 2))
    scores = np.concatenate([shared, shared + rng.normal(0, 0.01, size=shared.shape)])
    scores[1, 1, ..., 0] += 0.1
    coords = {
        "model": ["narrow", "diverse"],
        "layer": ["interaction_0", "interaction_1"],
        "irrep": ["0e"],
        "target": ["gap", "cv"],
    }
    data = {"r2_geom": (AXES, scores), "n_features": (AXES[:3], np.full((2, 2, 1), 8))}
    return xr.Dataset(data, coords)


def test_noise_that_two_models_share_is_not_in_their_difference():
    found = table()
    ((first, second, gap),) = pairs_by_data(found, [("narrow", "diverse")], "gap")
    assert (first, second) == ("narrow", "diverse")
    assert 0.08 < gap.low < 0.1 < gap.high < 0.12
    last = found.r2_geom.isel(layer=1, irrep=0, size=0, alpha=0, target=0)
    assert gap == compare(last[1], last[0])
    ((_, _, back),) = pairs_by_data(found, [("diverse", "narrow")], "gap")
    assert back.value == -gap.value
    for other in ({"target": "cv"}, {"target": "gap", "layer": "interaction_0"}):
        ((_, _, none),) = pairs_by_data(found, [("narrow", "diverse")], **other)
        assert none.low < 0 < none.high


def test_what_the_table_lacks_is_named():
    for changed, match in (
        ({"pairs": [("narrow", "divers")]}, "unknown model 'divers'; did you mean diverse"),
        ({"target": "gab"}, "unknown target 'gab'"),
        ({"layer": "readout"}, "unknown layer of diverse 'readout'"),
    ):
        arguments = {"pairs": [("narrow", "diverse")], "target": "gap"} | changed
        with pytest.raises(UnknownNameError, match=match):
            pairs_by_data(table(), **arguments)


def test_every_pair_is_of_one_architecture():
    for pair in PAIRS:
        assert pair.narrow != pair.diverse
        assert pair.narrow.split("-")[0] == pair.diverse.split("-")[0]
