"""The matrix of objectives and targets: what is aligned, and how far it is ahead of its sisters."""

import numpy as np
import pandas as pd
import pytest
from helpers import one_line, results_table
from scipy import stats

from cpdjax.errors import InputError
from cpdjax.models import Encoder, save
from cpdjax.models.architectures.megnet import MEGNet
from cpdjax.models.weights.translate import shapes
from cpdjax.studies.objectives import Objective, ahead, matrix, objectives_of
from cpdjax.studies.quantities import ATOMIZED, TOTALS, in_order, same_target

SCORES = {"net-gap": (0.5, 0.1), "net-mu": (0.2, 0.3), "net-u0": (0.3, 0.2), "raw": (0.1, 0.1)}
TRAINED = [
    Objective("net-gap", "net", "gap"),
    Objective("net-mu", "net", "mu"),
    Objective("net-u0", "net", "u0_atom"),
    Objective("raw", "net", ""),
]


def table_of(targets=("mu", "gap"), scores=None):
    """Scores of two layers; in the second they are twice those of the first."""
    found = {}
    for model, values in (scores or SCORES).items():
        for target, value in zip(("gap", "mu", *targets[2:]), values, strict=False):
            found[model, "interaction_0", "all", target] = value / 2
            found[model, "interaction_1", "all", target] = value
    table = results_table(found, sizes=(100, 2000), targets=targets)
    dims = ("repeat", "size", "fold", "target")
    comp = np.broadcast_to([0.1, 0.4, 0.99, 0.99][: len(targets)], (3, 2, 5, len(targets)))
    return table.assign(r2_comp=(dims, comp))


def test_the_matrix_has_every_cell_and_marks_the_targets_trained_on():
    table = table_of()
    found = matrix(table, TRAINED)
    assert list(found.target[:2]) == ["gap", "mu"]  # in the order of QM9, not of the results
    assert list(found[found.aligned].model + " " + found[found.aligned].target) == [
        "net-gap gap",
        "net-mu mu",
    ]
    assert set(found.layer) == {"interaction_1"}
    row = found[(found.model == "net-u0") & (found.target == "gap")].iloc[0]
    own = {"model": "net-u0", "layer": "interaction_1", "target": "gap"}
    scores = table.r2_geom.sel(own).isel(size=-1, irrep=0, alpha=0).to_numpy().ravel()
    error = scores.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)
    low, high = stats.t.interval(0.95, 14, scores.mean(), error)
    np.testing.assert_allclose([row.r2_geom, row.low, row.high], [scores.mean(), low, high])
    assert row.r2_comp == pytest.approx(0.4)
    assert set(matrix(table, TRAINED, layer="interaction_0").layer) == {"interaction_0"}


def test_ahead_is_the_paired_difference_to_the_mean_of_trained_sisters():
    """Other families, untrained networks and the model itself are not among them."""
    table = table_of()
    more = [*TRAINED[:3], TRAINED[3], Objective("net-mu", "other", "mu")]
    found = ahead(table, more)
    assert list(found.family + " " + found.target) == ["net gap", "net mu"]
    scores = {
        m: table.r2_geom.sel(model=m, layer="interaction_1", target="gap")
        .isel(size=-1, irrep=0, alpha=0)
        .to_numpy()
        for m in SCORES
    }
    difference = scores["net-gap"] - (scores["net-mu"] + scores["net-u0"]) / 2
    row = found.iloc[0]
    assert (row.model, row.others) == ("net-gap", 2)
    assert row.difference == pytest.approx(difference.mean())
    error = difference.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)
    low, high = stats.t.interval(0.95, 14, difference.mean(), error)
    np.testing.assert_allclose([row.low, row.high], [low, high])


def test_energies_at_several_temperatures_are_no_other_quantity():
    one, other = Objective("a", "net", "u0_atom"), Objective("b", "net", "g298_atom")
    assert one.is_of("u0")
    assert not one.is_of("g298")
    assert not other.is_other_than("u0")
    assert one.is_other_than("gap")
    nothing = Objective("c", "net", "")
    assert not nothing.is_of("")
    assert not nothing.is_of("gap")
    assert not nothing.is_other_than("gap")


def test_what_models_say_of_themselves(tmp_path):
    module = MEGNet(hidden_channels=3, channels=2, readout_channels=2, interactions=1, gaussians=2)
    variables = _filled(shapes(module))
    encoder = Encoder("mine", module, variables, target="mu", unit="debye")
    save(tmp_path / "mine", encoder, {"family": "MEGNet"})
    found = objectives_of([tmp_path / "mine", "painn-qm9-gap", "coulomb-spectrum"])
    assert found[0] == Objective("mine", "MEGNet", "mu")
    assert found[1] == Objective("painn-qm9-gap", "painn", "gap")
    assert found[2].target == ""


def _filled(tree):
    if hasattr(tree, "shape"):
        return np.zeros(tree.shape, np.float32)
    return {name: _filled(leaf) for name, leaf in tree.items()}


def test_models_and_layers_that_the_results_lack_are_refused():
    table = table_of()
    with pytest.raises(InputError) as caught:
        matrix(table, [Objective("absent", "net", "gap")])
    one_line(caught, "absent", "net-gap")
    with pytest.raises(InputError) as caught:
        ahead(table, TRAINED, layer="readout")
    one_line(caught, "readout", "interaction_1")
    assert isinstance(ahead(table, TRAINED[:1]), pd.DataFrame)  # no sisters: no rows
    assert ahead(table, TRAINED[:1]).empty


def test_the_twelve_targets_are_those_of_qm9_whatever_is_subtracted():
    assert len(TOTALS) == len(ATOMIZED) == 12
    assert all(map(same_target, TOTALS, ATOMIZED))
    assert {*ATOMIZED} - {*TOTALS} == {"u0_atom", "u298_atom", "h298_atom", "g298_atom"}
    assert in_order(reversed((*ATOMIZED, "mine"))) == [*ATOMIZED, "mine"]
