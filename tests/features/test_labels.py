"""Ids and formulas beside arrays are read as those of tables are, in whatever they come."""

import ase.io
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from ase.build import molecule
from helpers import one_line

import cpdjax
from cpdjax.data.tables.identity import roles
from cpdjax.errors import InputError, LeftOutWarning
from cpdjax.features.features import Features
from cpdjax.features.sources import collect

pytestmark = pytest.mark.filterwarnings("ignore:The data type:")  # of texts in Zarr's format 3
N = 6
X = np.random.default_rng(0).normal(size=(N, 2))
IDS = np.array([f"m{i}" for i in range(N)])
FORMULAS = np.array(["H2O", "CH4", "H3N", "CH4O", "C2H6", "NaN"])
TYPED = ["OH2", "H4C", "NH3", "CH3OH", "H6C2", "NaN"]
HILL = ["H2O", "CH4", "H3N", "CH4O", "C2H6", "NNa"]


def sources(folder, ids, formulas, key="ids", of="formulas"):
    """The same labels beside the same features: in files, in memory, in a table."""
    plain = {"features": X, key: ids, of: formulas}
    data = xr.Dataset({"features": (("molecule", "feature"), X)})
    data[key], data[of] = ("molecule", ids), ("molecule", formulas)
    np.savez(folder / "mine.npz", **plain)
    root = zarr.open_group(folder / "plain.zarr", mode="w")
    for name, values in plain.items():
        root.create_array(name, data=values)
    yield from (folder / "mine.npz", folder / "plain.zarr", plain, {**plain, key: list(ids)}, data)
    yield from (data.set_coords([key, of]), data.set_coords([key, of])["features"])
    yield data.assign({key: ("molecule", ids.astype(object))})
    for version in (2, 3) if ids.dtype.kind == "U" else ():
        path = folder / f"objects{version}.zarr"
        objects = {name: ("molecule", data[name].values.astype(object)) for name in (key, of)}
        kept = {"zarr_format": version, "consolidated": False, "mode": "w"}
        data.assign(objects).to_zarr(path, **kept)
        yield path
    yield pd.DataFrame(X).assign(**{key: ids, of: formulas})


def read(source):
    [features] = collect([source], None)
    return features


@pytest.mark.filterwarnings("ignore::cpdjax.errors.LeftOutWarning")  # of a table, beside reading
@pytest.mark.parametrize(
    ("key", "of"), [("ids", "formulas"), ("id", "formula"), ("Mol_ID", "FORMULA")]
)
def test_labels_are_read_whatever_holds_them(key, of, tmp_path):
    for source in sources(tmp_path, IDS, np.array(TYPED), key, of):
        features = read(source)
        assert features.ids.tolist() == IDS.tolist(), source
        assert features.formulas.tolist() == HILL
        assert features.ids.dtype.kind == "U"
        assert list(features) == ["features"]


def test_numbers_as_ids_are_texts_as_in_a_table(tmp_path):
    for ids in (np.arange(N), np.arange(N).astype(float), np.array(range(N), "S1")):
        for source in sources(tmp_path, ids, np.array(TYPED)):
            assert read(source).ids.tolist() == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["a", "b", "", "d", "e", "f"], "row 2: expected a text"),
        ([0.0, 1.0, np.nan, 3.0, 4.0, 5.0], "row 2: expected a text"),
    ],
)
def test_missing_labels_are_refused_wherever_they_stand(ids, words, tmp_path):
    for source in sources(tmp_path, np.array(ids), np.array(TYPED)):
        with pytest.raises(InputError) as caught:
            read(source)
        one_line(caught, "'ids'", words)


def test_labels_of_another_number_or_shape_are_refused(tmp_path):
    np.savez(tmp_path / "few.npz", features=X, ids=IDS[1:])
    for source in (tmp_path / "few.npz", {"features": X, "ids": IDS[1:]}):
        with pytest.raises(InputError) as caught:
            read(source)
        one_line(caught, "ids", "disagree in their molecules")
    np.savez(tmp_path / "wide.npz", features=X, ids=X)
    zarr.open_group(tmp_path / "wide.zarr", mode="w").create_array("ids", data=X)
    for source in (tmp_path / "wide.npz", tmp_path / "wide.zarr", {"features": X, "ids": X}):
        with pytest.raises(InputError) as caught:
            read(source)
        one_line(caught, "'ids' names the molecules", "got shape (6, 2)", "rename")


def test_what_is_no_text_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", features=X, ids=IDS.astype(object))
    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.npz")
    one_line(caught, "'ids'", "Python objects", ".astype(str)")
    nested = [["a"], ["b"]] * 3
    for source in ({"features": X, "ids": nested}, pd.DataFrame(X).assign(id=nested)):
        with pytest.raises(InputError) as caught:
            read(source)
        one_line(caught, "row 0: expected a text, got list")
    with pytest.raises(InputError) as caught:
        read({"features": X, "formula": ["no formula"] * N})
    one_line(caught, "no formula")


def test_ids_whose_rows_have_other_labels_are_refused():
    frame, ids = pd.DataFrame(X), pd.Series(IDS)
    assert read({"features": frame, "ids": ids}).ids.tolist() == [*IDS]
    with pytest.raises(InputError) as caught:
        read({"features": frame, "ids": ids[::-1]})
    one_line(caught, "'features' and 'ids' have different labels")


def test_two_arrays_of_ids_are_refused_and_of_two_names_the_first_counts():
    with pytest.raises(InputError) as caught:
        read({"features": X, "id": IDS, "ID": IDS})
    one_line(caught, "'id' and 'ID' both give the id")
    with pytest.warns(LeftOutWarning, match="'mol_id' .it numbers or names the rows"):
        assert read({"features": X, "id": IDS, "mol_id": np.arange(N)}).ids.tolist() == [*IDS]
    assert roles(["ids", "mol_id"]) == {}  # which of them names the molecules, nobody knows


def test_columns_that_are_no_features_are_left_out_by_name():
    with pytest.warns(LeftOutWarning, match="'idx' .it numbers or names the rows"):
        assert list(read({"features": X, "idx": np.arange(N)})) == ["features"]
    for texts in (FORMULAS, FORMULAS.tolist(), pd.Series(FORMULAS)):
        with pytest.warns(LeftOutWarning, match="'smiles' .text"):
            assert list(read({"features": X, "smiles": texts})) == ["features"]
    assert list(read({"features": X, "size": X[:, 0]})) == ["features", "size"]
    with pytest.raises(InputError) as caught:
        read({"features": [[1.0, 2.0], [3.0]]})
    one_line(caught, "rows of different lengths")


def test_ids_where_sources_are_named_are_refused():
    for ids in (IDS, np.arange(N), IDS.tolist()):
        with pytest.raises(InputError) as caught:
            collect({"mine": X, "ids": ids}, None)
        one_line(caught, "'ids' is no source of features", "beside its arrays")
    assert read(X).ids is None
    assert [f.model for f in collect({"id": X}, None)] == ["id"]


def test_features_are_made_with_their_labels():
    made = Features.from_molecules({"a": X, "ids": IDS, "formulas": TYPED}, "2x0e")
    assert (made.ids.tolist(), made.formulas.tolist(), [*made]) == ([*IDS], HILL, ["a"])
    atoms = {"a|2x0e": np.repeat(X, 2, axis=0), "ids": IDS}
    offsets = 2 * np.arange(N + 1)
    for pool in ("mean", "atom"):
        assert Features.from_atoms(atoms, offsets, pool=pool).ids.tolist() == [*IDS]
        with pytest.raises(InputError) as caught:
            Features.from_atoms(atoms | {"ids": IDS[1:]}, offsets, pool=pool)
        one_line(caught, "disagree in their molecules")
    known = cpdjax.Structures.from_atoms([molecule("H2O")] * N)
    with pytest.raises(InputError) as caught:
        Features.from_molecules({"a": X, "ids": IDS}, "2x0e", structures=known)
    one_line(caught, "other ids than the structures")


def frames(names=True):
    made = [molecule(name) for name in ["H2O", "CH4", "NH3", "CH3OH", "C2H6", "HCN"]]
    for i, frame in enumerate(made):
        frame.arrays["embedding"] = np.full((len(frame), 2), X[i])
        if names:
            frame.info["id"] = IDS[i]
    return made


def test_a_structure_file_of_features_says_who_its_molecules_are(tmp_path):
    for names, ids in ((True, [*IDS]), (False, None)):
        ase.io.write(tmp_path / "x.extxyz", frames(names))
        features = read(tmp_path / "x.extxyz")
        assert (None if features.ids is None else features.ids.tolist()) == ids
        assert features.formulas.tolist() == [*HILL[:5], "CHN"]
        np.testing.assert_allclose(features["embedding"].array, X)
