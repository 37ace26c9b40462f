"""Features from wherever they are: every kind of source gives the same numbers; damage is told."""

import os
import pickle
from pathlib import Path

import ase.io
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from ase.build import molecule
from e3nn_jax import IrrepsArray
from helpers import one_line

from cpdjax import models
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.extraction import extract
from cpdjax.features.features import Features
from cpdjax.features.sources import collect

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4))
WIDE = RNG.normal(size=(6, 5))  # as irreps: 2x0e + 1x1o
NAMES = [f"c{i}" for i in range(4)]


@pytest.fixture(scope="module")
def frames():
    return [molecule(name) for name in ("H2O", "CH4", "NH3")]


def numbers(source, layer="features", **options):
    [features] = collect(source, None, **options)
    return features[layer].array


# What is in memory


@pytest.mark.parametrize(
    "source",
    [
        X,
        pd.DataFrame(X, columns=NAMES).assign(id=range(6), smiles="C"),
        xr.DataArray(X.T, dims=("feature", "molecule")),
        xr.Dataset({"features": (("feature", "molecule"), X.T), "weight": ("molecule", X[:, 0])}),
        {"mine": X},
        [{"features": X}],
        {"mine": {"features": X}},
    ],
    ids=["numpy", "frame", "dataarray", "dataset", "mapping", "layers", "named-layers"],
)
def test_every_object_gives_the_same_numbers(source):
    np.testing.assert_array_equal(numbers(source), X)


def test_an_array_of_jax():
    np.testing.assert_array_equal(numbers(jnp.asarray(X)), X)


@pytest.mark.parametrize("column", ["name", "model", "features", "irreps"])
def test_a_column_may_be_called_like_an_attribute(column):
    frame = pd.DataFrame({column: X[:, 0], "b": X[:, 1]})
    np.testing.assert_array_equal(numbers(frame), X[:, :2])


def test_integers_and_fingerprints_become_numbers():
    np.testing.assert_array_equal(numbers(X > 0), (X > 0).astype(float))
    np.testing.assert_array_equal(numbers(np.arange(6)), np.arange(6.0)[:, None])
    frame = pd.DataFrame({"a": X[:, 0] > 0, "b": pd.array([1, 2, 3, 4, 5, 6], dtype="Int64")})
    np.testing.assert_array_equal(numbers(frame), np.stack([X[:, 0] > 0, np.arange(1.0, 7)], 1))


def test_irreps_stay():
    layer = IrrepsArray("2x0e + 1x1o", WIDE)
    features = Features({"a": layer}, model="toy", pool="mean", structures_hash="h")
    for source in ({"toy": {"a": layer}}, features, [features]):
        [found] = collect(source, None)
        assert found.model == "toy"
        assert str(found["a"].irreps) == "2x0e+1x1o"
        np.testing.assert_array_equal(found["a"].array, WIDE)


def test_names():
    features = Features({"a": IrrepsArray("4x0e", X)}, "toy", "sum", "h")
    sources = [X, xr.DataArray(X, name="given"), features, X]
    assert [f.model for f in collect(sources, None)] == ["features_0", "given", "toy", "features_3"]
    renamed = collect({"one": features, 2: features, "model": "coulomb-spectrum"}, water())
    assert [f.model for f in renamed] == ["one", "2", "model"]
    assert (renamed[0].pool, renamed[0].structures_hash) == ("sum", "h")


def test_saved_models_are_called_by_the_whole_name_of_their_folders(tmp_path, monkeypatch):
    model, names = models.load("coulomb-spectrum"), ["mace-0.1", "mace-0.2"]
    monkeypatch.setattr(models, "load", lambda _: model)
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("{}")
    for kind in (str, Path):
        found = collect([kind(tmp_path / name) for name in names], water())
        assert [features.model for features in found] == names


def water():
    return Structures.from_atoms([molecule("H2O")] * 6)


def test_a_model_runs_on_structures(frames):
    structures = Structures.from_atoms(frames)
    [found] = collect("coulomb-spectrum", structures)
    assert found == extract("coulomb-spectrum", structures)
    with pytest.raises(InputError) as caught:
        collect("coulomb-spectrum", None)
    one_line(caught, "'coulomb-spectrum'", "needs structures")


def test_layers_are_chosen_over_all_sources():
    sources = {"one": {"a": X, "b": X}, "two": {"b": X}, "three": {"c": X}}
    found = collect(sources, None, layers=["b"])
    assert [(f.model, list(f)) for f in found] == [("one", ["b"]), ("two", ["b"])]
    with pytest.raises(UnknownNameError) as caught:
        collect({"one": {"radial": X}}, None, layers=["radial", "radail"])
    one_line(caught, "unknown layer 'radail'", "did you mean radial")


def test_a_slip_is_told_before_a_model_runs(monkeypatch):
    monkeypatch.setattr(
        "cpdjax.features.sources.Extraction.rows", lambda *_, **__: pytest.fail("ran")
    )
    for sources, layers in ([("coulomb-spectrum", "mine.npz"), None], ["coulomb-spectrum", ["x"]]):
        with pytest.raises(UnknownNameError):
            collect(sources, water(), layers=layers)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "no features"),
        (np.zeros((6, 2, 2)), "(6, 2, 2)"),
        (np.zeros((6, 0)), "(6, 0)"),
        (X + 1j, "complex128"),
        (np.full((6, 2), "a"), "<U1"),
        (pd.DataFrame({"a": ["x"] * 6}), "no array"),
        (pd.DataFrame({"a": [1, 2, 3, 4, 5, "x"]}), "'a', row 5: expected a number, got 'x'"),
        ({"m": {"a": X, "b": X[:3]}}, "disagree"),
        ({"m": {"a": IrrepsArray("4x0e", np.zeros((6, 2, 4)))}}, "(6, 2, 4)"),
    ],
)
def test_what_is_no_features_is_told(source, words):
    with pytest.raises(InputError) as caught:
        collect(source, None)
    one_line(caught, words)


# Files


def write(path):
    kind = path.name
    frame = pd.DataFrame(X, columns=NAMES).assign(id=range(6), formula="CH4", flag="yes")
    if kind.endswith(".npy"):
        np.save(path, X)
    elif kind.endswith(".npz"):
        np.savez(path, features=X, ids=np.array(list("abcdef")))
    elif kind.endswith(".csv"):
        frame.to_csv(path, index=False)
    elif kind.endswith((".parquet", ".pq")):
        frame.to_parquet(path)
    elif kind == "flat.zarr":
        root = zarr.open_group(path, mode="w")
        root.create_array("features", data=X)
        root.create_array("weight", data=X[:, 0])
    elif kind == "xarray.zarr":
        data = xr.Dataset({"features": (("molecule", "feature"), X)}, {"molecule": list("abcdef")})
        data.to_zarr(path, zarr_format=2)
    return path


KINDS = ["x.npy", "x.npz", "x.csv", "x.parquet", "x.pq", "flat.zarr", "xarray.zarr", "X.NPY"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_gives_the_same_numbers(kind, tmp_path):
    path = tmp_path / kind
    if kind == "X.NPY":
        path.write_bytes(write(tmp_path / "x.npy").read_bytes())
    else:
        write(path)
    for source in (path, str(path)):
        [features] = collect(source, None)
        assert features.model == path.stem
        assert list(features) == ["features"]
        np.testing.assert_array_equal(features["features"].array, X)


def test_an_npz_holds_layers(tmp_path):
    np.savez(tmp_path / "x.npz", first=X, second=WIDE)
    [features] = collect(tmp_path / "x.npz", None)
    assert list(features) == ["first", "second"]
    np.testing.assert_array_equal(features["second"].array, WIDE)


def test_a_zarr_store_of_layers_and_irreps(tmp_path):
    vectors = RNG.normal(size=(6, 3, 3))
    root = zarr.open_group(tmp_path / "x.zarr", mode="w")
    layer = root.create_group("layer_0")
    layer.create_array("1o", data=vectors)
    layer.create_array("0e", data=X[:, :, None])
    [features] = collect(tmp_path / "x.zarr", None)
    assert str(features["layer_0"].irreps) == "4x0e+3x1o"
    expected = np.concatenate([X, vectors.reshape(6, 9)], axis=1)
    np.testing.assert_array_equal(features["layer_0"].array, expected)


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_per_atom_columns_are_pooled(how, tmp_path, frames):
    columns = [RNG.normal(size=(len(frame), 3)) for frame in frames]
    for frame, column in zip(frames, columns, strict=True):
        frame.arrays["embedding"] = column
        frame.arrays["forces"] = column  # physics, no feature
    path = tmp_path / "x.extxyz"
    ase.io.write(path, frames)
    [features] = collect(path, None, pool=how)
    assert list(features) == ["embedding"]
    expected = [getattr(column, how)(axis=0) for column in columns]
    np.testing.assert_allclose(features["embedding"].array, expected, rtol=1e-7)


def test_a_structure_file_without_features(tmp_path, frames):
    ase.io.write(tmp_path / "x.extxyz", [molecule("H2O")])
    with pytest.raises(InputError) as caught:
        collect(tmp_path / "x.extxyz", None)
    one_line(caught, "no per-atom feature columns")


def test_an_unknown_name_has_its_neighbours():
    with pytest.raises(UnknownNameError) as caught:
        collect("coulomb-spectrm", None)
    one_line(caught, "did you mean coulomb-spectrum")


# Damage


@pytest.mark.parametrize("kind", ["x.npy", "x.npz", "x.csv", "x.parquet"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "noise", "folder"])
def test_a_damaged_file_is_told_in_one_line(kind, damage, tmp_path):
    path = write(tmp_path / kind)
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif kind == "x.csv" and damage == "truncated":
        path.write_text('a,b\n1,"2\n')
    else:
        content = {"empty": b"", "truncated": whole[: len(whole) // 2], "noise": b"\xff\x00" * 99}
        path.write_bytes(content[damage])
    # A folder of Parquet files is a table as well, here one without columns.
    error = InputError if (kind, damage) == ("x.parquet", "folder") else FileError
    with pytest.raises(error) as caught:
        collect(path, None)
    one_line(caught, "x")


def test_one_kind_of_numpy_file_under_the_name_of_the_other(tmp_path):
    write(tmp_path / "x.npy").rename(tmp_path / "y.npz")
    np.testing.assert_array_equal(numbers(tmp_path / "y.npz"), X)


@pytest.mark.parametrize("damage", ["noise", "chunk", "layout"])
def test_a_damaged_zarr_store(damage, tmp_path):
    path = tmp_path / "x.zarr"
    if damage == "noise":
        path.write_bytes(b"\xff" * 99)
    elif damage == "chunk":
        write(tmp_path / "flat.zarr").rename(path)
        [chunk] = (
            p for p in (path / "features").rglob("*") if p.is_file() and p.name != "zarr.json"
        )
        chunk.write_bytes(chunk.read_bytes()[:20])
    else:
        zarr.open_group(path, mode="w").create_group("layer").create_array("what", data=X)
    with pytest.raises(FileError) as caught:
        collect(path, None)
    one_line(caught, "cannot read features", str(path))


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pkl", "x.pt", "x.csv", "x.traj", "x.zarr"])
def test_nothing_is_unpickled(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "x.npz":
        np.savez(name, features=np.array([[Trap()]], dtype=object))
    elif name == "x.npy":
        np.save(name, np.array([[Trap()]], dtype=object))
    elif name == "x.zarr":
        array = tmp_path / name / "a"
        array.mkdir(parents=True)
        (tmp_path / name / ".zgroup").write_text('{"zarr_format": 2}')
        (array / ".zarray").write_text(
            '{"zarr_format": 2, "shape": [2, 2], "chunks": [2, 2], "dtype": "|O", "order": "C",'
            ' "compressor": null, "fill_value": 0,'
            ' "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}'
        )
        (array / "0.0").write_bytes(pickle.dumps(Trap()))
    else:
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError) as caught:
        collect(name, None)
    one_line(caught, "x")
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_missing_is_compared_with_files(tmp_path):
    np.savez(tmp_path / "mine.npz", h=np.ones((1, 2)))
    with pytest.raises(UnknownNameError, match=r"unknown file .*nime.npz'; did you mean .*mine"):
        collect(tmp_path / "nime.npz", water())
