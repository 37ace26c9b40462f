"""Spaces are compared raw and with composition out, with nulls, intervals and a folder."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from e3nn_jax import IrrepsArray
from helpers import one_line
from sklearn.linear_model import Ridge
from spaces_data import FOLD, SPACES, A, C, cka, residual

import cpdjax
from cpdjax.errors import LeftOutWarning
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.representations import results
from cpdjax.representations.settings import MEASURES
from cpdjax.sweeps.checkpoint import Checkpoint

SIDES = ("ols", "none")


@pytest.fixture(scope="module")
def table():
    with pytest.warns(LeftOutWarning, match="counts / features / 0e.*nothing is left"):
        return cpdjax.spaces(SPACES, C, permutations=19, bootstrap=30, neighbours=5)


def pair(table, measure, a, b, side="ols"):
    one = table[measure].sel(projection=side)
    return one[table.model.values.tolist().index(a), table.model.values.tolist().index(b)].values


def test_there_is_every_measure_of_every_pair_on_both_sides(table):
    assert table.projection.values.tolist() == list(SIDES)
    assert table.model.values.tolist() == list(SPACES)
    for end in ("_a", "_b"):
        assert table[f"channel{end}"].values.tolist() == table.channel.values.tolist()
        assert table[f"model{end}"].dims == (f"channel{end}",)
        assert {f"layer{end}", f"irrep{end}"} <= set(table.coords)
    assert set(MEASURES) <= set(table)
    assert table.r2.dims == ("projection", "channel_a", "channel_b", "fold")
    assert table.n_features.values.tolist() == [5, 5, 2, 5, 3]
    for name in MEASURES:
        own = table[name].sel(projection="none").isel({table[name].dims[1]: slice(4)})
        assert own.notnull().all(), name
        assert table[name].attrs["description"]
    assert table.twins.sel(projection="none").values.tolist() == [0, 0, 0, 0, 80]  # 10 a formula


def test_a_space_and_its_rotation_in_another_unit_are_one_space(table):
    for side in SIDES:
        for measure in ("cka", "cka_debiased", "cca", "shared_neighbours"):
            assert pair(table, measure, "a", "turned", side) == pytest.approx(1, abs=1e-9)
        assert pair(table, "procrustes", "a", "turned", side) == pytest.approx(0, abs=1e-6)
        assert pair(table, "imbalance", "a", "turned", side) == pytest.approx(2 / 80)
        r2 = pair(table, "r2", "a", "turned", side)
        assert r2 == pytest.approx(pair(table, "r2", "a", "a", side), abs=1e-9)
        assert (r2 > 0.9).all()


def test_numbers_are_those_of_a_loop_over_folds(table):
    for side, concepts in (("ols", C), ("none", C[:, :0])):
        a, b = residual(A, concepts), residual(SPACES["noise"], concepts)
        assert pair(table, "cka", "a", "noise", side) == pytest.approx(cka(a, b), rel=1e-9)
    train, held_out = FOLD != 0, FOLD == 0
    x, y = (z / np.sqrt(z[train].var(0).mean()) for z in (A, SPACES["noise"]))
    predicted = Ridge(alpha=1.0).fit(x[train], y[train]).predict(x[held_out])
    error = ((y[held_out] - predicted) ** 2).sum()
    expected = 1 - error / ((y[held_out] - y[held_out].mean(0)) ** 2).sum()
    assert pair(table, "r2", "a", "noise", "none")[0] == pytest.approx(expected, abs=1e-9)


def test_a_part_is_told_by_the_whole_and_not_the_other_way(table):
    for side in SIDES:
        there, back = (pair(table, "r2", *ways, side).mean() for ways in ARROWS)
        assert there > 0.9 > back
        there, back = (pair(table, "imbalance", *ways, side) for ways in ARROWS)
        assert there < back


ARROWS = (("a", "part"), ("part", "a"))


def test_what_is_nothing_but_composition_is_compared_raw_alone(table):
    assert np.isnan(table.cka.sel(projection="ols")[4]).all()
    assert np.isnan(table.effective_rank.sel(projection="ols")[4])
    left_out = json.loads(table.attrs["left_out"])["channels"]
    assert left_out == {"counts / features / 0e": "nothing is left after projection 'ols'"}


def test_noise_is_at_its_null_and_a_rotation_is_not(table):
    for measure in OF_PAIRS:
        assert pair(table, f"{measure}_p", "a", "turned") == pytest.approx(1 / 20)
        assert pair(table, f"{measure}_p_adjusted", "a", "turned") == pytest.approx(1 / 20)
        assert pair(table, f"{measure}_p_adjusted", "a", "noise") > 1 / 20
        assert np.isnan(pair(table, f"{measure}_p", "a", "a"))
    assert abs(pair(table, "cka_debiased_null", "a", "noise")) < 0.05
    # Molecules change places within formulas: what formulas share stays, raw.
    assert pair(table, "cka_null", "a", "counts", "none") > 0.5
    assert table.attrs["exchangeable"] == 80


def test_symmetric_measures_and_their_nulls_are_symmetric(table):
    for measure in ("cka", "cka_debiased", "cca", "procrustes", "shared_neighbours"):
        for end in ("", "_null", "_p", "_p_adjusted", "_low", "_high"):
            values = table[f"{measure}{end}"]
            np.testing.assert_allclose(
                values, values.transpose("projection", "channel_b", "channel_a"), atol=1e-12
            )


def test_intervals_hold_what_they_are_intervals_of(table):
    for measure in ("r2", "cka_debiased", "procrustes", "shared_neighbours", "effective_rank"):
        value = table[measure].mean("fold") if measure == "r2" else table[measure]
        low, high = table[f"{measure}_low"], table[f"{measure}_high"]
        known = value.notnull().values
        assert (low <= high).values[known].all()
        off = ~np.eye(5, dtype=bool) if value.ndim == 3 else np.ones(5, bool)
        inside = (low - 0.05 <= value) & (value <= high + 0.05)
        assert inside.values[known & off].mean() > 0.8


CHEAP = {"measures": ["procrustes", "effective_rank"], "bootstrap": 9, "permutations": 2}
FEW = {name: SPACES[name] for name in ("a", "noise", "part")}


def test_an_interrupted_comparison_goes_on_bit_for_bit(tmp_path):
    whole = cpdjax.spaces(FEW, C, out=tmp_path / "whole", **CHEAP)
    units = sorted((tmp_path / "whole" / "units").glob("*.npz"))
    assert len(units) == 3 * 2 + 2 * 2
    for unit in units[::2]:
        unit.unlink()
    kept = {unit: unit.stat().st_mtime_ns for unit in units[1::2]}
    again = cpdjax.spaces(FEW, C, out=tmp_path / "whole", **CHEAP)
    xr.testing.assert_identical(whole, again)
    assert {unit: unit.stat().st_mtime_ns for unit in kept} == kept
    xr.testing.assert_identical(whole.drop_attrs(), cpdjax.spaces(FEW, C, **CHEAP).drop_attrs())
    others = dict(reversed(FEW.items()))
    for features, settings, said in (
        (FEW, {**CHEAP, "alpha": 2}, "settings.alpha"),
        (others, CHEAP, "channels"),
    ):
        with pytest.raises(cpdjax.FileError) as caught:
            cpdjax.spaces(features, C, out=tmp_path / "whole", **settings)
        one_line(caught, "comparison of spaces of another configuration", said)


def test_the_folder_of_a_sweep_is_refused_and_the_other_way(tmp_path):
    Checkpoint(tmp_path / "sweep", {"seed": 0}).save("unit", {"x": A})
    with pytest.raises(cpdjax.FileError) as caught:
        cpdjax.spaces(FEW, C, out=tmp_path / "sweep", **CHEAP)
    one_line(caught, "units exists, but no spaces.json")
    Checkpoint(tmp_path / "spaces", {"seed": 0}, results.SPACES).save("unit", {"x": A})
    with pytest.raises(cpdjax.FileError, match=r"units exists, but no sweep\.json"):
        Checkpoint(tmp_path / "spaces", {"seed": 0})
    with pytest.raises(cpdjax.FileError, match="no results at"):
        results.load(tmp_path / "sweep")


@pytest.mark.parametrize("end", [".zarr", ".nc"])
def test_results_are_read_as_they_were_written_and_damage_is_told(table, tmp_path, end):
    table = table[["cka", "r2", "n_features"]]
    path = results.save(table, tmp_path / f"spaces{end}")
    xr.testing.assert_identical(results.load(path), table)
    xr.testing.assert_identical(results.load(tmp_path), table)
    assert results.holds(path)
    assert results.holds(tmp_path)
    file = path if path.is_file() else sorted((path / "cka").glob("[0-9]*"))[0]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(cpdjax.FileError, match="damaged"):
        results.load(path)
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    assert not results.holds(tmp_path / "none")


def test_a_csv_has_a_row_for_every_measure_of_every_pair(table, tmp_path):
    rows = pd.read_csv(results.save(table, tmp_path / "spaces.csv"))
    one = rows.query("projection == 'ols' and measure == 'r2' and model_a == 'a'")
    assert one.model_b.tolist() == ["a", "turned", "part", "noise"]
    assert one.value.iloc[3] == pytest.approx(pair(table, "r2", "a", "noise").mean())
    alone = rows.query("measure == 'effective_rank'")
    assert alone.model_b.isna().all()
    assert len(alone) == 9
    assert {"low", "high", "null", "p", "p_adjusted"} <= set(rows)


def known(rows, model, structures_hash="", **labels):
    """Features that know something of their molecules."""
    layer = IrrepsArray("2x0e", np.random.default_rng(len(model)).random((rows, 2)))
    return cpdjax.Features({"x": layer}, model, "mean", structures_hash, **labels)


IDS = np.array([f"m{i}" for i in range(80)])


@pytest.mark.parametrize(
    ("features", "c", "settings", "said"),
    [
        ({"a": A}, C, {}, ["two channels or more", "only 'a / features / 0e'"]),
        ({"a": A, "b": A * 0}, C, {}, ["two channels or more", "constant: b / features / 0e"]),
        ({"a": A * 0, "b": A * 0}, C, {}, ["two channels or more", "got none"]),
        ({"a": A, "b": A[:50]}, C, {}, ["features 'b'", "have 50 rows", "has 80"]),
        ({"a": A, "b": A}, C[:50], {}, ["features 'a'", "have 80 rows", "has 50"]),
        ({"a": A, "b": A}, C[:, 0], {}, ["C must have axes (row, element)", "(80,)"]),
        ({"a": A, "b": A}, None, {}, ["give C (row, element), or a dataset"]),
        ({"a": A, "b": A}, C * np.nan, {}, ["C has 240 NaN"]),
        ({"a": A, "b": A}, C, {"measures": ["ckaa"]}, ["unknown measure 'ckaa'; did you mean cka"]),
        ({"a": A, "b": A}, C, {"alhpa": 1}, ["unknown setting 'alhpa'", "alpha"]),
        ({"a": A, "b": A}, C, {"projection": "bonds"}, ["SMILES"]),
        ({"a": A, "b": A}, C, {"projection": "leace"}, ["projection", "'leace'"]),
        ({"a": A, "b": A}, C, {"alpha": 0}, ["alpha", "greater than 0"]),
        ({"a": A, "b": A}, C, {"probe": "atom"}, ["probe 'atom' needs structures"]),
        ({"a": A, "b": A}, C, {"dataset": "qm9"}, ["C goes with arrays alone"]),
        (["no-file.npz"], None, {"dataset": "qm9", "n": 10**6}, ["of qm9", "1,000,000"]),
        ({"a": A, "b": A}, C, {"probe": "equivariant"}, ["no layer has vectors or tensors"]),
        (
            {"a": A, "b": A}, C, {"probe": "equivariant", "measures": ["imbalance"]},
            ["imbalance", "frame"],
        ),
        (
            {"a": A[:9], "b": A[:9]}, C[:9], {"neighbours": 3},
            ["intrinsic_dimension (TwoNN)", "10 rows", "got 9"],
        ),
        (
            {"a": A[:9], "b": A[:9]}, C[:9], {"measures": "shared_neighbours"},
            ["shared_neighbours", "11 rows", "got 9"],
        ),
        ({"a": A[:4], "b": A[:4]}, C[:4], {}, ["folds", "4"]),
        ({"a": A[:3], "b": A[:3]}, C[:3], {"folds": 3, "measures": "cka"}, ["cka", "4", "got 3"]),
        ({"a": A, "b": A}, C, {"variance": True}, ["variance"]),
        (
            {"a": A, "b": np.hstack([A, A])}, C, {"alpha": 1e-300, "measures": "cka"},
            ["channel 'b / features / 0e' has columns that depend", "alpha=1e-300 is too small"],
        ),
        (
            {"a": A[:50], "b": A[:50]}, np.arange(50.0)[:, None], {"permutations": 3},
            ["no two of 50 rows share a formula"],
        ),
        (
            [known(80, ids=IDS, model="x"), known(80, ids=IDS[::-1], model="y")], C, {},
            ["features 'y'", "another order", "row 0 is 'm79' instead of 'm0'", "'x'"],
        ),
        (
            [known(80, structures_hash="1", model="x"), known(80, structures_hash="2", model="y")],
            C, {}, ["features 'y' were computed from other molecules than 'features x'"],
        ),
        (
            [known(80, formulas=np.array(["CH4", "H2O"] * 40), model="x"), A], C, {},
            ["C is not the composition of the features' molecules"],
        ),
        (
            {"a": C, "b": 2 * C}, C, {"measures": "cka"},
            ["projection 'ols' leaves nothing of any channel"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_one_line(features, c, settings, said):
    with pytest.raises(cpdjax.InputError) as caught:
        cpdjax.spaces(features, c, **settings)
    one_line(caught, *said)


@pytest.mark.slow
def test_cca_of_nearly_as_many_columns_as_rows_is_warned_of():
    wide = {name: np.random.default_rng(i).normal(size=(80, 70)) for i, name in enumerate("ab")}
    settings = {"projection": "none", "measures": "cca"}
    with pytest.warns(UserWarning, match=r"2 of 2 channels .* 0.88 with 'a / features / 0e'"):
        table = cpdjax.spaces(wide, C, **settings)
    assert pair(table, "cca", "a", "b", "none") == pytest.approx(70 / 80, abs=0.05)
    cpdjax.spaces({name: x[:, :39] for name, x in wide.items()}, C, **settings)  # says nothing


def test_models_without_a_vector_are_named_where_too_few_are_left():
    features = {"vectors": {"l": IrrepsArray("1o", A[:, :3])}, "scalars": A}
    with pytest.raises(cpdjax.InputError) as caught, pytest.warns(LeftOutWarning, match="scalars"):
        cpdjax.spaces(features, C, probe="equivariant", projection="none")
    one_line(caught, "only 'vectors / l / 1o'", "no channel in the layers given: scalars")


@pytest.mark.parametrize("compute", [cpdjax.spaces, cpdjax.sweep])
def test_without_rdkit_projections_that_need_it_are_refused_before_models_are_opened(
    monkeypatch, compute
):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(cpdjax.InputError, match="needs RDKit"):
        compute(["no-such-model"], projection="groups")


def test_formulas_that_features_know_stand_for_composition():
    formulas = np.array(["CH4", "C2H6", "H2O", "CO2"] * 20)
    a, b = (known(80, formulas=formulas, model=name) for name in "ab")
    settings = {"measures": ["procrustes"], "projection": "formula"}
    table = cpdjax.spaces([a, b], **settings)
    assert json.loads(table.attrs["elements"]) == ["H", "C", "O"]
    same = cpdjax.spaces([a, b], cpdjax.composition(formulas), **settings)
    np.testing.assert_array_equal(table.procrustes, same.procrustes)
    raw = cpdjax.spaces({"a": A, "b": SPACES["part"]}, projection="none", measures="procrustes")
    assert raw.projection.values.tolist() == ["none"]
