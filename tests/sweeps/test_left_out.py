"""Nothing is left out silently: rows, targets, channels, layers and models, by name and reason."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.io import write
from e3nn_jax import IrrepsArray
from helpers import Toy, call

import cpdjax
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, LeftOutWarning
from cpdjax.probes.composition_scores import composition_scores
from cpdjax.probes.folds import nested
from cpdjax.sweeps import results
from cpdjax.sweeps.left_out import left_out_of, lines
from cpdjax.sweeps.settings import default_sizes
from cpdjax.sweeps.targets import EXPLAINED

N = 40
RNG = np.random.default_rng(0)
FORMULAS = ["CH4", "C2H6", "H2O", "CO2"] * 10
TABLE = pd.DataFrame({"formula": FORMULAS, "gap": RNG.normal(size=N), "mu": RNG.normal(size=N)})
X = RNG.normal(size=(N, 8))
TAGGED = IrrepsArray("4x0e + 4x1o", RNG.normal(size=(N, 16)))
QUICK = {"folds": 2, "repeats": 2}


def swept(features, targets=TABLE, **changes):
    """A sweep that says nothing on standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftOutWarning)
        return cpdjax.sweep(features, targets=targets, **QUICK | changes)


def molecules(**targets):
    """Forty molecules of four formulas with targets of their own."""
    frames = [molecule(name) for name in ("CH4", "C2H6", "H2O", "CO2") * 10]
    return Structures.from_atoms(frames, "few", targets=targets)


# Rows


def test_sizes_end_with_all_rows():
    assert default_sizes(2000) == (50, 100, 200, 500, 1000, 2000)
    assert default_sizes(400) == (50, 100, 200, 400)
    assert default_sizes(50) == (50,)
    assert default_sizes(49) == (49,)
    assert default_sizes(10_000) == (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
    table = swept({"m": np.tile(X, (2, 1))}, pd.concat([TABLE, TABLE]))
    assert list(table["size"].values) == [50, 80]
    assert left_out_of(table) == {}
    assert lines(table) == []


def test_rows_beyond_the_last_size_are_said():
    table = swept({"m": X}, sizes=[20, 30])
    assert left_out_of(table) == {"rows": {"10 of 40 molecules": "the last size is 30"}}
    assert lines(table) == ["rows left out: 10 of 40 molecules (the last size is 30)"]


def test_rows_of_features_without_targets_are_said():
    mine = pd.DataFrame(X).add_prefix("x").assign(id=[f"m{i}" for i in range(N)])
    targets = TABLE.assign(id=mine["id"]).iloc[:30]
    assert "10 of 40 rows of features 'mine'" in left_out_of(swept({"mine": mine}, targets))["rows"]


# Targets


def test_columns_that_are_no_targets_are_in_the_results():
    table = swept({"m": X}, TABLE.assign(note="new"))
    assert left_out_of(table) == {"targets": {"note": "text"}}


def test_targets_that_composition_explains_are_left_out_unless_they_are_named():
    structures = molecules(gap=X[:, 0])
    counts = cpdjax.composition(structures)
    known = counts @ [1.0, 5.0, 2.0] + 0.01 * X[:, 1]
    structures = molecules(gap=X[:, 0], energy=known)
    with pytest.warns(LeftOutWarning, match=r"'energy' \(composition explains it: R²_comp of 0.98"):
        table = cpdjax.sweep({"m": X}, dataset=structures, **QUICK)
    assert list(table.target.values) == ["gap"]
    assert list(left_out_of(table)["targets"]) == ["energy"]
    named = swept({"m": X}, ["gap", "energy"], dataset=structures)
    assert list(named.target.values) == ["gap", "energy"]
    assert left_out_of(named) == {}
    # The rule is that of the table's own column.
    medians = named.r2_comp.isel(size=-1).median(("repeat", "fold"))
    assert medians.sel(target="energy") >= EXPLAINED > medians.sel(target="gap")


def test_where_composition_explains_all_targets_all_are_kept():
    structures = molecules(gap=X[:, 0])
    structures = molecules(energy=cpdjax.composition(structures) @ [1.0, 5.0, 2.0])
    with pytest.warns(UserWarning, match="explains every target of 'few'.*for want of others"):
        table = cpdjax.sweep({"m": X}, dataset=structures, **QUICK)
    assert list(table.target.values) == ["energy"]
    assert left_out_of(table) == {}


def test_the_score_of_composition_is_that_of_the_kernel():
    C, Y = cpdjax.composition(FORMULAS), TABLE[["gap", "mu"]].to_numpy() + X[:, :1] ** 2
    found = composition_scores(C, Y, nested(N, [20, N], 2, 3, seed=1))
    scores = cpdjax.learning_curve(X, C, Y, sizes=[20, N], repeats=2, folds=3, seed=1)
    np.testing.assert_allclose(found, scores.r2_comp[:, -1], rtol=1e-9)
    constant = composition_scores(C, np.ones((N, 1)), nested(N, [N], 1, 2))
    assert np.isnan(constant).all()


def test_vectors_are_said_where_scalars_are_probed():
    structures = molecules(gap=X[:, 0], force=X[:, :3])
    table = swept({"m": X}, None, dataset=structures)
    assert left_out_of(table) == {"targets": {"force": "a vector or a tensor: probe equivariant"}}


# Models, layers, channels


def test_models_without_a_layer_that_is_asked_for():
    features = {"a": {"first": X, "second": X**2}, "b": {"second": X}}
    with pytest.warns(LeftOutWarning, match=r"left out 'b' \(has no layer first\)"):
        table = cpdjax.sweep(features, targets=TABLE, layers="first", **QUICK)
    assert list(table.model.values) == ["a"]
    assert left_out_of(table) == {"models": {"b": "has no layer first"}}


def test_models_and_layers_without_an_irrep_that_is_asked_for():
    features = {"a": {"flat": X, "tagged": TAGGED}, "b": X}
    table = swept(features, irreps="1o")
    assert left_out_of(table) == {
        "layers": {"a / flat": "has no 1o"},
        "models": {"b": "has no 1o"},
    }


def test_channels_that_turn_as_no_target_does():
    structures = molecules(push=X[:, :3])
    features = {"m": {"flat": IrrepsArray("8x0e", X), "tagged": TAGGED}}
    table = swept(features, None, dataset=structures, probe="equivariant", sizes=[N])
    found = left_out_of(table)
    [reason] = set(found["channels"].values())
    assert reason.startswith("turns as no target does (")
    assert list(found["channels"]) == ["m / tagged / 0e"]
    assert list(found["layers"]) == ["m / flat"]


# Kept and told


def test_what_was_left_out_is_kept_merged_and_said_once(tmp_path):
    np.savez(tmp_path / "a.npz", first=X, second=X**2)
    np.savez(tmp_path / "b.npz", second=np.tanh(X))
    np.savez(tmp_path / "c.npz", first=np.tanh(X))
    TABLE.assign(note="new").to_csv(tmp_path / "t.csv", index=False)
    common = ["--targets", tmp_path / "t.csv", "--sizes", "30", "--folds", "2", "--repeats", "1"]
    said = {}
    for name, files in {"ab": "ab", "ac": "ac"}.items():
        features = [word for f in files for word in ("--features", tmp_path / f"{f}.npz")]
        out = tmp_path / name
        status, said[name], errors = call(
            "sweep", *features, *common, "--layers", "first", "--out", out
        )
        assert (status, errors) == (0, "")
    told = ["rows left out: 10 of 40", "targets left out: note (text)", "models left out: b (has"]
    for text in told:
        assert said["ab"].count(text) == 1
    found = results.load(tmp_path / "ab")
    assert left_out_of(found)["models"] == {"b": "has no layer first"}
    status, printed, errors = call(
        "merge", tmp_path / "ac", tmp_path / "ab", "--out", tmp_path / "all"
    )
    assert (status, errors) == (0, "")
    assert left_out_of(results.load(tmp_path / "all")) == left_out_of(found)
    assert json.loads((tmp_path / "all" / "sweep.json").read_text())["left_out"] == left_out_of(
        found
    )
    assert printed.count("models left out: b (has") == 1


# Elements


def test_molecules_are_chosen_by_their_elements():
    structures = molecules(gap=X[:, 0])
    assert structures.of_elements(["C", 1]).sizes.tolist() == [5, 8] * 10
    with pytest.raises(InputError, match="no molecule of 'few' is made of N only"):
        structures.of_elements(["N"])
    with pytest.raises(InputError, match="unknown element 'Cx'"):
        structures.of_elements(["Cx"])
    table = swept({"toy": Toy()}, ["gap"], dataset=structures, elements=["H", "C"])
    assert table.attrs["molecules"] == 20
    assert left_out_of(table) == {"rows": {"20 of 40 molecules with O": "elements are H, C"}}
    alone = swept({"toy": Toy()}, ["gap"], dataset=structures.of_elements(["H", "C"]))
    assert alone.attrs["dataset_hash"] == table.attrs["dataset_hash"]
    np.testing.assert_array_equal(alone.r2_geom, table.r2_geom)
    with pytest.raises(InputError, match="elements are chosen among structures"):
        cpdjax.sweep({"m": X}, targets=TABLE, elements=["H"])


def test_molecules_that_a_model_does_not_know_are_skipped_for_all_models():
    structures = molecules(gap=X[:, 0])
    sources = {"any": Toy("any"), "few": Toy("few", elements=(1, 6))}
    with pytest.raises(InputError) as caught:
        cpdjax.sweep(sources, dataset=structures, targets=["gap"], **QUICK)
    message = str(caught.value)
    assert "\n" not in message
    assert "few knows H, C: 20 of 40 molecules hold O; leave these out by --skip-unknown" in message
    assert sources["any"].traces == 0
    table = swept(sources, ["gap"], dataset=structures, skip_unknown=True, sizes=[20])
    assert left_out_of(table) == {"rows": {"20 of 40 molecules with O": "unknown to few"}}
    assert table.attrs["molecules"] == 20
    np.testing.assert_array_equal(table.r2_geom.sel(model="any"), table.r2_geom.sel(model="few"))


def test_the_command_line_chooses_by_elements_too(tmp_path):
    frames = [molecule(name) for name in ("CH4", "SiH4", "H2O", "C2H6") * 10]
    for i, frame in enumerate(frames):
        frame.info["gap"] = float(X[i, 0])
    write(tmp_path / "mine.extxyz", frames)
    data = ["--dataset", tmp_path / "mine.extxyz", "--targets", "gap"]
    quick = ["--layers", "radial", "--folds", "2", "--repeats", "1"]
    sweep = ["sweep", "--models", "ani-2x-aev", *data, *quick, "--out"]
    status, printed, errors = call(*sweep, tmp_path / "no")
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert "10 of 40 molecules hold Si; leave these out by --skip-unknown or --elements" in line
    assert not (tmp_path / "no").exists()
    for option, reason in (
        (["--skip-unknown"], "unknown to ani-2x-aev"),
        (["--elements", "H,C,O"], "elements are H, C, O"),
    ):
        status, printed, errors = call(*sweep, tmp_path / option[0], *option)
        assert (status, errors) == (0, "")
        assert f"rows left out: 10 of 40 molecules with Si ({reason})" in printed.splitlines()
    tables = [results.load(tmp_path / name) for name in ("--skip-unknown", "--elements")]
    np.testing.assert_array_equal(*(table.r2_geom for table in tables))
    store = tmp_path / "radial.zarr"
    extract = [
        "extract",
        "ani-2x-aev",
        tmp_path / "mine.extxyz",
        "--out",
        store,
        "--layers",
        "last",
    ]
    status, printed, errors = call(*extract)
    assert (status, "10 of 40 molecules hold Si" in errors) == (2, True)
    status, printed, errors = call(*extract, "--skip-unknown")
    assert (status, printed) == (0, f"saved {store}\n")
    assert "left out '10 of 40 molecules with Si' (unknown to ani-2x-aev)" in errors
    assert cpdjax.read_features(store)["aev"].shape[0] == 30
