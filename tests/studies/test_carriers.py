"""The molecules that carry a score are those of the sweep that gave it."""

import numpy as np
import pytest
from helpers import one_line

import cpdjax
from cpdjax.errors import InputError
from cpdjax.probes.least_squares import residual
from cpdjax.studies.carriers import MOST_SCATTERS, carriers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
TABLE = {"formula": ["CH4", "C2H6", "H2O", "CO2", "NH3"] * 12, "gap": X[:, 0], "mu": X[:, 1] ** 2}
LAYERS = {"interaction_0": X, "interaction_1": np.tanh(X), "readout": X[:, :2]}


def test_scores_are_those_of_the_first_repeat_of_a_sweep():
    found = carriers({"mine": LAYERS}, targets=TABLE, folds=4, seed=2, alpha=0.5)
    table = cpdjax.sweep({"mine": LAYERS}, targets=TABLE, folds=4, seed=2, alphas=0.5, sizes=[60])
    assert list(found.channels) == [("mine", "interaction_1")]  # the last, before the readout
    own = found.channels["mine", "interaction_1"]
    swept = table.r2_geom.sel(layer="interaction_1").isel(
        model=0, irrep=0, repeat=0, size=0, alpha=0
    )
    np.testing.assert_allclose(own.r2_geom, swept.transpose("fold", "target"), atol=1e-12)
    assert found.structures is None


def test_composition_is_predicted_of_held_out_molecules():
    found = carriers({"mine": LAYERS}, targets=TABLE, folds=4)
    [own] = found.channels.values()
    train = own.fold != own.fold[7]
    left = residual(found.targets.y, found.targets.counts, train)
    np.testing.assert_allclose(found.composition[7], (found.targets.y - left)[7])


def test_layers_are_those_that_are_named():
    found = carriers({"mine": LAYERS}, targets=TABLE, layers=["readout", "interaction_0"])
    assert set(found.channels) == {("mine", "interaction_0"), ("mine", "readout")}


def test_more_than_a_page_holds_is_refused():
    many = {f"t{i}": RNG.normal(size=60) for i in range(MOST_SCATTERS + 1)}
    with pytest.raises(InputError) as caught:
        carriers({"mine": X}, targets={"formula": TABLE["formula"], **many})
    one_line(caught, f"{MOST_SCATTERS + 1} scatters", "--targets")
