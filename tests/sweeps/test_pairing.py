"""Rows of features and of targets must be the same molecules: joined by id, checked, or refused."""

import dataclasses
import json

import ase.io
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.build import molecule
from e3nn_jax import IrrepsArray

import cpdjax
from cpdjax.checks import suite
from cpdjax.features.sources import collect
from cpdjax.features.store import extract_to
from cpdjax.irreps import INVARIANTS
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.targets import Targets

NAMES = ["H2O", "CH4", "NH3", "C2H6", "CH3OH", "C2H4", "C2H2", "CO2", "H2CO", "HCN"] * 2
SWEEP = {"sizes": [20], "folds": 2, "repeats": 1}


def frames(seed=0):
    rng = np.random.default_rng(seed)
    made = [molecule(name) for name in NAMES]
    for i, frame in enumerate(made):
        frame.rattle(0.05, rng=rng)
        frame.info |= {"id": f"mol-{seed}-{i}", "gap": float(rng.normal())}
    return made


@pytest.fixture(scope="module")
def structures():
    return cpdjax.Structures.from_atoms(frames(), "drawn")


@pytest.fixture(scope="module")
def features(structures):
    return cpdjax.extract("coulomb-spectrum", structures)


def targets_of(structures):
    return Targets.from_structures(structures, ["gap"])


def test_features_of_the_same_molecules_are_taken_whatever_their_targets(structures, features):
    assert paired(features, targets_of(structures)) is features
    other = dataclasses.replace(structures, targets={"gap": np.arange(20.0), "mu": np.ones(20)})
    assert other.hash != structures.hash
    assert paired(features, targets_of(other)) is features


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.select(np.arange(20)[::-1]), "another order (row 0 is 'mol-0-0' instead of"),
        (lambda s: s.select(np.r_[:20, 0]), "20 instead of 21"),
        (lambda s: dataclasses.replace(s, positions=s.positions + 1e-9), "ids agree, but pos"),
        (
            lambda s: dataclasses.replace(s, charge=np.arange(len(s)) % 2),
            "ids agree, but positions, elements, cells or charges",
        ),
        (lambda s: cpdjax.Structures.from_atoms(frames(1), "other"), "20 of 20 are missing"),
    ],
)
def test_features_of_other_molecules_are_refused_with_what_differs(
    structures, features, change, said
):
    with pytest.raises(cpdjax.InputError) as raised:
        cpdjax.sweep(features, dataset=change(structures), **SWEEP)
    assert said in str(raised.value)
    assert "coulomb-spectrum" in str(raised.value)


def test_a_store_of_other_molecules_is_refused_by_all_that_pair_rows(structures, tmp_path):
    store = extract_to(tmp_path / "f.zarr", "coulomb-spectrum", structures)
    other = cpdjax.Structures.from_atoms(frames(1), "other")
    for run in (cpdjax.sweep, suite.run):
        with pytest.raises(cpdjax.InputError, match="computed from other molecules"):
            run(store, dataset=other)
    again = cpdjax.sweep(store, dataset=structures, **SWEEP)
    assert again.r2_geom.notnull().all()


def test_a_store_is_paired_with_a_table_by_id_and_by_formula(structures, tmp_path):
    store = extract_to(tmp_path / "f.zarr", "coulomb-spectrum", structures)
    formulas = cpdjax.formulas(structures)
    table = pd.DataFrame({"formula": formulas, "gap": structures.targets["gap"]})
    plain = cpdjax.sweep(store, targets=table, **SWEEP)
    order = np.random.default_rng(1).permutation(20)
    named = table.assign(id=structures.ids).iloc[order]
    joined = paired(collect(store, None)[0], Targets.from_table(named))
    original = collect(store, None)[0]["spectrum"].array
    np.testing.assert_array_equal(joined["spectrum"].array, original[order])
    assert plain.r2_geom.notnull().all()
    with pytest.raises(cpdjax.InputError, match="formulas differ, row 0 is H2O instead of CH4"):
        cpdjax.sweep(store, targets=table.iloc[np.roll(np.arange(20), -1)], **SWEEP)


@pytest.fixture
def files(tmp_path):
    """Return the paths of tables of features and targets whose column `id` they share."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    ids = [f"m{i:02}" for i in range(20)]
    wanted = pd.DataFrame({"id": ids, "formula": NAMES, "y": x @ [1.0, 2.0]})
    own = pd.DataFrame({"id": ids, "a": x[:, 0], "b": x[:, 1]})
    wanted.to_csv(tmp_path / "y.csv", index=False)

    def written(rows):
        own.iloc[rows].to_csv(tmp_path / "x.csv", index=False)
        return {"features": tmp_path / "x.csv", "targets": tmp_path / "y.csv"}

    return written


def test_a_shared_column_of_ids_joins_both_tables(files):
    scores = cpdjax.sweep(**files(np.arange(20)), **SWEEP)
    assert (scores.r2_full > 0.5).all()
    shuffled = cpdjax.sweep(**files(np.random.default_rng(2).permutation(20)), **SWEEP)
    np.testing.assert_array_equal(shuffled.r2_full, scores.r2_full)


@pytest.fixture(params=["npz", "mapping", "zarr"])
def arrays(request, tmp_path):
    """Return what holds the features of the same molecules as `files`, as arrays by name."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    ids = np.array([f"m{i:02}" for i in range(20)])

    def written(rows, *names):
        own = {"features": x[rows], "ids": ids[rows], "formula": np.array(NAMES)[rows]}
        own = {name: own[name] for name in ("features", *names)}
        if request.param == "mapping":
            return {"x": own}
        path = tmp_path / f"x.{request.param}"
        if request.param == "npz":
            np.savez(path, **own)
        else:
            axes = {"features": ("molecule", "feature")}
            data = {k: (axes.get(k, ("molecule",)), v) for k, v in own.items()}
            xr.Dataset(data).to_zarr(path, mode="w", zarr_format=2, consolidated=False)
        return path

    return written


def test_ids_beside_arrays_join_them_as_those_of_a_table_do(files, arrays):
    targets = files(np.arange(20))["targets"]
    expected = cpdjax.sweep(**files(np.arange(20)), **SWEEP)
    shuffled = np.random.default_rng(2).permutation(20)
    for rows in (np.arange(20), shuffled):
        scores = cpdjax.sweep(arrays(rows, "ids", "formula"), targets=targets, **SWEEP)
        np.testing.assert_array_equal(scores.r2_full, expected.r2_full)
    unlabelled = cpdjax.sweep(arrays(shuffled), targets=targets, **SWEEP)
    assert (unlabelled.r2_full < expected.r2_full - 0.3).all()  # that is what the ids are good for
    with pytest.raises(cpdjax.InputError, match="id 'm03' more than once"):
        cpdjax.sweep(arrays([*range(20), 3], "ids"), targets=targets, **SWEEP)
    with pytest.raises(cpdjax.InputError, match="no row for 2 of 20 molecules, the first 'm18'"):
        cpdjax.sweep(arrays(np.arange(18), "ids"), targets=targets, **SWEEP)


def test_formulas_beside_arrays_are_compared_row_by_row(files, arrays):
    targets = files(np.arange(20))["targets"]
    with pytest.raises(cpdjax.InputError, match="formulas differ, row 0 is CH4 instead of H2O"):
        cpdjax.sweep(arrays(np.roll(np.arange(20), -1), "formula"), targets=targets, **SWEEP)


def test_spaces_of_arrays_in_another_order_are_refused(arrays):
    first = dataclasses.replace(collect(arrays(np.arange(20), "ids"), None)[0], model="first")
    other = dataclasses.replace(collect(arrays(np.arange(20)[::-1], "ids"), None)[0], model="other")
    with pytest.raises(cpdjax.InputError, match="in another order"):
        cpdjax.spaces([first, other], projection="none", measures=["cka"])


def test_ids_that_are_missing_double_or_too_many(files):
    with pytest.raises(cpdjax.InputError, match="no row for 2 of 20 molecules, the first 'm18'"):
        cpdjax.sweep(**files(np.arange(18)), **SWEEP)
    with pytest.raises(cpdjax.InputError, match="id 'm03' more than once"):
        cpdjax.sweep(**files([*range(20), 3]), **SWEEP)
    more = files(np.arange(20))
    few = pd.read_csv(more["targets"]).iloc[:15]
    with pytest.warns(UserWarning, match="5 of 20 rows are left out"):
        cpdjax.sweep(more["features"], targets=few, sizes=[15], folds=2, repeats=1)


def test_a_table_of_features_is_joined_with_named_structures(files, tmp_path):
    named = frames()
    for i, frame in enumerate(named):
        frame.info["id"] = f"m{i:02}"
    ase.io.write(tmp_path / "s.extxyz", named)
    rows = np.random.default_rng(3).permutation(20)
    scores = [
        cpdjax.sweep(files(chosen)["features"], dataset=tmp_path / "s.extxyz", **SWEEP)
        for chosen in (np.arange(20), rows)
    ]
    np.testing.assert_array_equal(scores[0].r2_full, scores[1].r2_full)


def test_molecules_that_nobody_named_are_paired_row_by_row(files):
    unnamed = frames()
    for frame in unnamed:
        del frame.info["id"]
    cpdjax.sweep(files(np.arange(20))["features"], dataset=unnamed, **SWEEP)


def facts(table):
    return {name: json.loads(table.attrs[name]) for name in ("pool", "invariants")}


@pytest.mark.slow
def test_results_record_how_features_were_pooled_and_made_into_scalars(structures, tmp_path):
    sums = extract_to(tmp_path / "sums.zarr", "painn-qm9-gap", structures, pool="sum")
    table = cpdjax.sweep(
        {"stored": sums, "run": "coulomb-spectrum", "aev": "ani-2x-aev"}, dataset=structures,
        **SWEEP,
    )  # fmt: skip
    assert facts(table) == {
        "pool": {"stored": "sum", "run": "none", "aev": "mean"},
        "invariants": dict.fromkeys(("stored", "run", "aev"), "pool-then-norm"),
    }
    with pytest.raises(cpdjax.InputError, match="are sums over atoms, and means over atoms are"):
        cpdjax.sweep(sums, dataset=structures, pool="mean", **SWEEP)
    with pytest.raises(cpdjax.InputError, match="are sums over atoms, and one row an atom"):
        collect(sums, structures, pool="atom")


@pytest.mark.parametrize("how", INVARIANTS)
def test_stored_scalars_stay_as_they_were_made(structures, tmp_path, how):
    store = extract_to(
        tmp_path / "f.zarr", "painn-qm9-gap", structures, layers=["interaction_0"], invariants=how
    )
    assert facts(cpdjax.sweep(store, dataset=structures, **SWEEP))["invariants"] == {"f": how}
    for other in set(INVARIANTS) - {how}:
        with pytest.raises(cpdjax.InputError, match=f"made by {how}, and {other}"):
            cpdjax.sweep(store, dataset=structures, invariants=other, **SWEEP)


def test_labels_have_a_row_a_molecule(features):
    with pytest.raises(cpdjax.InputError, match="disagree in their molecules"):
        dataclasses.replace(features, ids=features.ids[1:])
    array = IrrepsArray("1x0e", np.ones((3, 1)))
    with pytest.raises(cpdjax.InputError, match="disagree in their molecules"):
        cpdjax.Features({"a": array}, "m", "mean", "", formulas=np.array(["H2"]))
