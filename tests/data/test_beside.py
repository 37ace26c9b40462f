"""One DataFrame may hold all; two tables may not hold each other."""

import numpy as np
import pandas as pd
import pytest
from helpers import one_line

import cpdjax
from cpdjax.data.tables.beside import without
from cpdjax.errors import InputError

N = 40
RNG = np.random.default_rng(0)
FEATURES = pd.DataFrame(RNG.normal(size=(N, 3)), columns=["a", "b", "c"])
TARGETS = pd.DataFrame({"formula": ["CH4", "H2O"] * (N // 2), "gap": RNG.normal(size=N)})
TARGETS["mu"] = FEATURES["a"] + RNG.normal(size=N)
ALL = pd.concat([FEATURES, TARGETS], axis=1)
CALL = {"sizes": [N], "repeats": 1}


@pytest.mark.parametrize("targets", [["gap", "mu"], ("gap", "mu"), "gap,mu"])
def test_one_table_is_the_same_as_two(targets):
    expected = cpdjax.sweep(FEATURES, targets=TARGETS, **CALL)
    found = cpdjax.sweep(ALL, targets=targets, **CALL)
    np.testing.assert_array_equal(found.r2_geom, expected.r2_geom)
    np.testing.assert_array_equal(found.r2_comp, expected.r2_comp)
    named = cpdjax.sweep({"mine": ALL}, targets=targets, **CALL)
    assert named.model.values.tolist() == ["mine"]
    assert expected.model.values.tolist() == ["features"]


def test_a_target_that_is_not_named_is_a_feature():
    found = cpdjax.sweep(ALL, targets=["gap"], **CALL)
    assert found.target.values.tolist() == ["gap"]
    assert found.n_features.item() == 4  # a, b, c and mu


def test_ids_join_rows_of_two_tables():
    ids = [f"m{i}" for i in range(N)]
    other = FEATURES.assign(id=ids).sample(frac=1, random_state=0)
    found = cpdjax.sweep(other, targets=TARGETS.assign(id=ids), **CALL)
    expected = cpdjax.sweep(FEATURES, targets=TARGETS, **CALL)
    np.testing.assert_array_equal(found.r2_geom, expected.r2_geom)


@pytest.mark.parametrize(
    ("features", "targets", "words"),
    [
        (ALL, ALL, ["column 'a' and 4 more", "predict itself", "sweep(df, targets=['gap'])"]),
        ({"mine": FEATURES}, ALL, ["column 'a' and 2 more", "predict itself"]),
        ([FEATURES[["a"]]], ALL, ["column 'a' would predict itself"]),
        (ALL, ["gap", "homo"], ["'homo'", "gap"]),
        (FEATURES.assign(gap=TARGETS.gap), ["gap"], ["column 'formula' or 'smiles'"]),
        (FEATURES.sample(frac=1, random_state=0), TARGETS, ["another order", "a column 'id'"]),
    ],
)
def test_tables_that_do_not_go_together_are_refused(features, targets, words):
    with pytest.raises(InputError) as caught:
        cpdjax.sweep(features, targets=targets, **CALL)
    one_line(caught, *words)


def test_files_are_held_to_the_same(tmp_path):
    ALL.to_csv(tmp_path / "all.csv", index=False)
    with pytest.raises(InputError) as caught:
        cpdjax.sweep([tmp_path / "all.csv"], targets=tmp_path / "all.csv", **CALL)
    one_line(caught, "predict itself")


def test_one_file_may_hold_features_and_the_targets_that_are_named(tmp_path):
    ALL.to_csv(tmp_path / "all.csv", index=False)
    found = cpdjax.sweep([tmp_path / "all.csv"], targets="gap", **CALL)
    expected = cpdjax.sweep({"all": ALL}, targets=["gap"], **CALL)
    assert found.model.values.tolist() == ["all"]
    np.testing.assert_allclose(found.r2_geom, expected.r2_geom)


def test_other_labels_of_rows_say_nothing():
    kept = FEATURES.set_index(np.arange(100, 100 + N))
    found = cpdjax.sweep(kept, targets=TARGETS, **CALL)
    expected = cpdjax.sweep(FEATURES, targets=TARGETS, **CALL)
    np.testing.assert_array_equal(found.r2_geom, expected.r2_geom)


def test_what_names_the_rows_stands_on_both_sides_by_whatever_name():
    frame = pd.DataFrame({"mol_id": ["a"], "formulas": ["CH4"], "gap": [1.0], "x": [2.0]})
    features, targets = without(frame, ["gap"])
    assert list(features) == ["mol_id", "formulas", "x"]
    assert list(targets) == ["mol_id", "formulas", "gap"]
    assert [list(part) for part in without(frame[["gap", "x"]], ["gap"])] == [["x"], ["gap"]]
