"""The same numbers give the same scores, in whatever they come; what would change them is told."""

import shutil
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from e3nn_jax import IrrepsArray
from helpers import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

import cpdjax
from cpdjax.errors import InputError, LeftOutWarning
from cpdjax.features.sources import collect

N, D = 12, 3
X = np.random.default_rng(0).normal(size=(N, D))
C = np.random.default_rng(1).integers(1, 9, (N, 2)).astype(float)
NAMES = ["a", "b", "c"]


def in_memory(x):
    """The same numbers in objects that functions of arrays take as well."""
    frame = pd.DataFrame(x, columns=NAMES)
    yield from (x, np.asfortranarray(x), x.astype(">f8"), x.astype(np.longdouble), x.tolist())
    yield from (list(x), np.ma.array(x), jnp.asarray(x), IrrepsArray(f"{D}x0e", x))
    yield from (frame, frame.convert_dtypes(), frame.astype("float64[pyarrow]"))
    yield from (xr.DataArray(x.T, dims=("feature", other)) for other in ("molecule", "sample"))


def in_files(x, folder):
    frame = pd.DataFrame(x, columns=NAMES)
    data = xr.Dataset({"features": (("feature", "molecule"), x.T)})
    yield from (data, frame.set_index(frame["a"].rank()))
    np.save(folder / "x.npy", np.asfortranarray(x))
    np.savez_compressed(folder / "x.npz", features=x)
    frame.to_csv(folder / "x.csv", index=False)
    frame.to_parquet(folder / "x.parquet")
    for version in (2, 3):
        data.to_zarr(folder / f"xarray{version}.zarr", zarr_format=version, consolidated=False)
        zarr.open_group(
            folder / f"plain{version}.zarr", mode="w", zarr_format=version
        ).create_array("features", data=x, chunks=(5, 2))
        zarr.create_array(folder / f"root{version}.zarr", data=x, zarr_format=version)
    shutil.make_archive(folder / "flat.zarr", "zip", folder / "plain3.zarr")
    shutil.make_archive(folder / "nested.zarr", "zip", folder, "plain2.zarr")
    yield from (p for p in sorted(folder.iterdir()) if p.suffix in (".npy", ".npz", ".csv", ".zip"))
    yield from sorted(folder.glob("*.zarr"))
    yield folder / "x.parquet"


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-8, 8))
def test_scores_do_not_change_with_the_container(seed, exponent, tmp_path_factory):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(N, D)) * 10.0**exponent, rng.normal(size=N)
    expected = cpdjax.cpd(x, C, y, folds=3)
    sources = [*in_memory(x), *in_files(x, tmp_path_factory.mktemp("files"))]
    for source in sources:
        [features] = collect([source], None)
        np.testing.assert_array_equal(features["features"].array, x)
    for same in in_memory(x):
        for scores in (
            cpdjax.cpd(same, C, y, folds=3),
            cpdjax.cpd(x, C.tolist(), list(y), folds=3),
        ):
            np.testing.assert_array_equal(scores.r2_full, expected.r2_full)
            np.testing.assert_array_equal(scores.r2_geom, expected.r2_geom)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.int8, bool])
def test_narrow_types_are_read_exactly(dtype):
    x = (10 * X).astype(dtype)
    exact = x.astype(np.float64)
    [features] = collect([x], None)
    np.testing.assert_array_equal(features["features"].array, exact)
    expected = cpdjax.cpd(exact, C, X[:, 0], folds=3).r2_full
    for source in (x, jnp.asarray(x)):
        np.testing.assert_array_equal(cpdjax.cpd(source, C, X[:, 0], folds=3).r2_full, expected)


MASKED = np.ma.array(X, mask=X[3, 1] == X)
REFUSED = {
    "masked": (
        MASKED,
        "masked values: fill them, or leave their rows out (1, the first at [3, 1])",
    ),
    "masked rows": (list(MASKED), "holds masked values"),
    "ragged": ([[1, 2], [3]] * 6, "different lengths"),
    "texts": (X.astype(str), "<U"),
    "texts in lists": (X.astype(str).tolist(), "<U"),
    "objects": (X.astype(object), "object"),
    "complex": (X + 0j, "complex128"),
    "durations": (X.astype("m8[s]"), "timedelta64"),
    "dates": (X.astype("M8[s]"), "datetime64"),
    "records": (np.zeros(N, [("a", float)]), "[('a', '<f8')]"),
    "vectors": (IrrepsArray("1x1o", X), "turns with the molecule"),
    "packed": (xr.DataArray(X, attrs={"scale_factor": 0.1}), "scale_factor"),
    "row numbers": (pd.DataFrame(X).assign(ID=range(N)), "column 'ID'"),
    "a date": (pd.DataFrame({"when": pd.date_range("2024", periods=N)}), "datetime64"),
    "categories": (pd.DataFrame({"kind": pd.Categorical([1, 2] * 6)}), "category"),
    "nothing": (None, "object"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_mean_more_than_their_numbers_are_refused(kind):
    source, words = REFUSED[kind]
    with pytest.raises(InputError) as caught:
        cpdjax.cpd(source, C, X[:, 0], folds=3)
    one_line(caught, words)
    with pytest.raises(InputError) as caught:
        cpdjax.cpd(X, C, source, folds=3)
    one_line(caught, words)


def test_rows_of_pandas_that_have_other_labels_are_refused():
    frame, y = pd.DataFrame(X), pd.Series(X[:, 0])
    assert cpdjax.cpd(frame, C, y, folds=3).r2_full.shape == (3, 1, 1)
    with pytest.raises(InputError) as caught:
        cpdjax.cpd(frame, C, y.sort_values(), folds=3)
    one_line(caught, "X and Y have different labels", "Y.loc[X.index]")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("named", [True, False])
def test_packed_numbers_are_unpacked(version, named, tmp_path):
    coded = np.round((X - 0.5) / 0.001).astype(np.int16)
    attributes = {"scale_factor": 0.001, "add_offset": 0.5, "missing_value": int(coded[3, 1])}
    expected = np.where(coded == coded[3, 1], np.nan, coded * 0.001 + 0.5)
    path = tmp_path / "x.zarr"
    if named:
        data = xr.Dataset({"features": (("molecule", "feature"), coded, attributes)})
        data.to_zarr(path, zarr_format=version, consolidated=False)
    else:
        group = zarr.open_group(path, mode="w", zarr_format=version)
        group.create_array("features", data=coded).attrs.update(attributes)
    [features] = collect(path, None)
    np.testing.assert_allclose(features["features"].array, expected, rtol=1e-12)


@pytest.mark.parametrize("version", [2, 3])
def test_a_fill_value_is_missing_where_xarray_wrote_it_and_zero_elsewhere(version, tmp_path):
    x = X.copy()
    x[0] = 0
    zarr.open_group(tmp_path / "plain.zarr", mode="w", zarr_format=version).create_array(
        "features", data=x
    )
    [features] = collect(tmp_path / "plain.zarr", None)
    np.testing.assert_array_equal(features["features"].array, x)
    x[0, 0] = np.nan
    xr.Dataset({"features": (("molecule", "feature"), x)}).to_zarr(
        tmp_path / "named.zarr",
        zarr_format=version,
        consolidated=False,
        encoding={"features": {"dtype": "int32", "scale_factor": 1e-6, "_FillValue": -1}},
    )
    [features] = collect(tmp_path / "named.zarr", None)
    np.testing.assert_allclose(features["features"].array, x, atol=1e-6)


def test_what_stands_beside_matrices_is_left_out_by_name(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        features=X,
        labels=np.array(["C"] * N, object),
        padded=np.zeros((N, 4, 2)),
        phase=X + 0j,
        when=X.astype("m8[s]"),
        sizes=np.arange(N),
        names=np.array(["x"] * N),
        smiles=np.array(["C"] * N),
        molecule=np.arange(N),
        ids=np.arange(N),
    )
    with pytest.warns(LeftOutWarning) as caught:
        [features] = collect(tmp_path / "x.npz", None)
    [message] = {str(warning.message) for warning in caught}
    assert list(features) == ["features"]
    for name in ("labels", "padded", "phase", "when", "sizes", "names", "smiles", "molecule"):
        assert repr(name) in message
    assert "'ids'" not in message  # which are not left out: they name the molecules
    assert features.ids.tolist() == [str(i) for i in range(N)]

    data = xr.Dataset({"features": (("molecule", "feature"), X), "cell": (("x", "y"), np.eye(3))})
    data["when"] = (("molecule", "step"), np.zeros((N, 2), "M8[ns]"))
    data.to_zarr(tmp_path / "x.zarr", consolidated=False)
    for source in (data, tmp_path / "x.zarr"):
        with pytest.warns(LeftOutWarning, match="'when'"):
            [features] = collect([source], None)
        assert "features" in features


def test_a_mask_beside_numbers_is_heeded(tmp_path):
    np.savez(tmp_path / "masked.npz", data=MASKED.data, mask=MASKED.mask)
    with pytest.raises(InputError, match="'mask' masks 1 values"):
        collect(tmp_path / "masked.npz", None)
    np.savez(tmp_path / "whole.npz", data=X, data_mask=np.zeros_like(X, bool))
    with pytest.warns(LeftOutWarning, match="masks nothing"):
        [features] = collect(tmp_path / "whole.npz", None)
    assert list(features) == ["data"]


def test_two_arrays_of_one_name_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
        archive.write(tmp_path / "x.npy", "x")
    with pytest.raises(InputError, match="two arrays of one name"):
        collect(tmp_path / "x.npz", None)


def test_tables_of_features_know_their_molecules(tmp_path):
    frame = pd.DataFrame(X, columns=NAMES).assign(id=[f"m{i}" for i in range(N)], formula="OH2")
    frame.to_csv(tmp_path / "x.csv", index=False)
    [features] = collect(tmp_path / "x.csv", None)
    assert features.ids.tolist() == frame["id"].tolist()
    assert set(features.formulas) == {"H2O"}
