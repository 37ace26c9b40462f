"""Which molecules a sweep trains on and is scored on: a test set, the first ones, fractions."""

import json

import numpy as np
import pytest
from helpers import one_line
from sklearn.model_selection import KFold

import cpdjax
from cpdjax.errors import InputError
from cpdjax.models.zoo import qm9_probe
from cpdjax.reports.hints import hints
from cpdjax.sweeps import inputs, merging, results
from cpdjax.sweeps.table import ranking, score_of, summary

N = 90


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(N, 5)), rng.integers(1, 6, (N, 3))
    formulas = [f"C{c}H{h}O{o}" for h, c, o in C]
    return X, C, {"formula": formulas, "gap": X[:, 0] + C[:, 0] + 0.3 * rng.normal(size=N)}


def test_a_test_set_is_held_out_of_all_sizes(data, tmp_path):
    """The sweep goes on where it stopped, and joins with one of other features."""
    X, C, targets = data
    how = {"targets": targets, "test": 30, "sizes": [20, 50], "repeats": 3, "alphas": 1}
    table = cpdjax.sweep({"mine": X}, out=tmp_path / "mine", **how)
    held_out = np.flatnonzero(table.in_test)
    curve = cpdjax.learning_curve(
        X, C, targets["gap"], sizes=[20, 50], repeats=3, test=held_out, alphas=1.0
    )
    assert table.sizes["fold"] == 1
    np.testing.assert_allclose(table.r2_geom.squeeze(), curve.r2_geom.squeeze(), atol=1e-9)
    assert "10 of 90 molecules" in table.attrs["left_out"]
    assert "folds" not in json.loads(table.attrs["settings"])

    again = cpdjax.sweep({"mine": X}, out=tmp_path / "mine", **how)
    np.testing.assert_array_equal(table.r2_geom, again.r2_geom)
    results.save(table, tmp_path / "mine" / "results.zarr")
    other = cpdjax.sweep({"other": X[:, :2]}, out=tmp_path / "other", **how)
    results.save(other, tmp_path / "other" / "results.zarr")
    with merging.merged([tmp_path / "mine", tmp_path / "other"], tmp_path / "both") as (joined, _):
        assert joined.model.values.tolist() == ["mine", "other"]
        np.testing.assert_array_equal(np.flatnonzero(joined.in_test), held_out)

    found = score_of(table, "mine", "features", "0e", "gap", 20)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(curve.r2_geom[:, 0].mean())
    assert {row[0] for row in ranking(joined, "gap")} == {"mine", "other"}
    assert np.isfinite(summary(joined)[["low", "high"]]).all(axis=None)


def test_repeats_of_all_molecules_are_one_and_have_no_interval(data):
    X, _, targets = data
    sets = {"mine": X, "other": X[:, :2]}
    how = {"targets": targets, "test": 30, "repeats": 2, "alphas": 1}
    table = cpdjax.sweep(sets, sizes=[60], **how)
    assert np.isnan(summary(table)[["low", "high"]]).all(axis=None)
    assert "N = 60" in hints(table)[-1]
    with pytest.raises(InputError) as caught:
        cpdjax.differences(table)
    one_line(caught, "N = 60", "--sizes")
    smaller = cpdjax.differences(cpdjax.sweep(sets, sizes=[40], **how))
    assert smaller.low[0] < smaller.difference[0] < smaller.high[0]


def test_the_first_molecules_in_blocks_with_fractions(data):
    X, C, targets = data
    how = {"targets": targets, "composition": "fractions", "shuffle": False, "alphas": 1}
    table = cpdjax.sweep({"mine": X}, sizes=60, **how)
    fractions = (C / C.sum(1, keepdims=True))[:60]
    split = list(KFold(5).split(X[:60]))
    expected = cpdjax.cpd(X[:60], fractions, targets["gap"][:60], folds=split, alphas=1.0)
    np.testing.assert_allclose(table.r2_geom.squeeze(), expected.r2_geom.squeeze(), atol=1e-9)
    np.testing.assert_allclose(table.r2_comp.squeeze(), expected.r2_comp.squeeze(), atol=1e-9)
    assert table.sizes["repeat"] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"test": 30, "permutations": 9}, ["test set", "permutations=9"]),
        ({"test": 30, "folds": 3}, ["test set", "folds=3"]),
        ({"test": 30, "group_by": "formula"}, ["group_by='formula'"]),
        ({"test": 30, "projection": "within"}, ["a test set", "projection='within'"]),
        ({"shuffle": False, "projection": "within"}, ["shuffle=False", "projection='within'"]),
        ({"test": 30, "folds": np.arange(N) % 3}, ["folds of your own", "test=30"]),
        ({"test": 89}, ["leaves 1 of 90"]),
        ({"shuffle": False, "sizes": [50, 60]}, ["one size"]),
        ({"shuffle": False, "test": 30}, ["shuffle=False"]),
        ({"projection": "formula", "composition": "fractions"}, ["C2H4 and C3H6", "fractions"]),
        ({"components": 0}, ["components", "at least 1"]),
    ],
)
def test_refuses_in_one_line(data, given, words):
    X, _, targets = data
    with pytest.raises(InputError) as caught:
        cpdjax.sweep({"mine": X}, targets=targets, alphas=1, **given)
    one_line(caught, *words)


@pytest.mark.parametrize(
    ("dataset", "n", "most"),
    [
        ("qm9", 130_832, "130,831"),
        ("qm9-probe", 10_001, "10,000"),
        ("conformers", 20_000, "10,000"),
    ],
)
def test_too_large_draws_are_refused_before_anything_is_opened(dataset, n, most, monkeypatch):
    def opened(*_, **__):
        pytest.fail("something was opened or read")

    monkeypatch.setattr("cpdjax.sweeps.sweep.open_sources", opened)
    monkeypatch.setattr(inputs, "qm9_probe", opened)
    for refused in (
        lambda: cpdjax.sweep(["coulomb-spectrum"], dataset=dataset, n=n),
        lambda: inputs.molecules(dataset, n),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        one_line(caught, f"1 to {most} molecules of {dataset}", f"{n:,}")


def test_the_probe_set_is_not_cut_to_its_size():
    assert len(qm9_probe(3)) == 3
    with pytest.raises(InputError) as caught:
        qm9_probe(10_001)
    one_line(caught, "1 to 10,000 molecules")
