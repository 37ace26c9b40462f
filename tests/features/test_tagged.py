"""Irreps of arrays that others computed: in names, in attributes, beside them; and atoms pooled."""

import warnings
from itertools import pairwise

import ase.io
import numpy as np
import pytest
import xarray as xr
import zarr
from ase.build import molecule
from e3nn_jax import IrrepsArray
from helpers import one_line

from cpdjax import Features, InputError, Structures, UnknownNameError, sweep
from cpdjax.errors import LeftOutWarning
from cpdjax.features.sources import collect

RNG = np.random.default_rng(0)
FRAMES = [molecule(name) for name in ("H2O", "CH4", "NH3", "CO2")]
DS = Structures.from_atoms(FRAMES)
ATOMS = len(DS.numbers)
SCALARS, VECTORS = RNG.normal(size=(ATOMS, 2)), RNG.normal(size=(ATOMS, 4, 3))
BOTH = np.concatenate([SCALARS, VECTORS.reshape(ATOMS, 12)], axis=1)


def by_molecule(function):
    """What a loop over the molecules' own atoms gives."""
    return np.stack([function(slice(a, b)) for a, b in pairwise(DS.offsets)])


MEANS = by_molecule(lambda rows: BOTH[rows].mean(0))


@pytest.mark.parametrize(
    ("arrays", "irreps"),
    [
        ({"last": BOTH}, "2x0e + 4x1o"),
        ({"last": BOTH}, {"last": "2x0e + 4x1o"}),
        ({"last|2x0e+4x1o": BOTH}, None),
        ({"last": IrrepsArray("2x0e + 4x1o", BOTH)}, None),
        ({"last": {"1o": VECTORS, "0e": SCALARS}}, None),
        ({"last": {"0e": SCALARS[:, :, None], "1o": VECTORS.reshape(ATOMS, 12)}}, None),
    ],
)
def test_atoms_are_pooled_whatever_says_their_irreps(arrays, irreps):
    features = Features.from_atoms(arrays, DS.offsets, irreps, model="mine")
    assert (features.model, features.pool, str(features["last"].irreps)) == (
        *("mine", "mean"),
        "2x0e+4x1o",
    )
    np.testing.assert_allclose(features["last"].array, MEANS, rtol=1e-12)


def test_structures_in_place_of_offsets_are_remembered():
    features = Features.from_atoms(BOTH, DS, "2x0e+4x1o", pool="sum")
    assert (features.structures_hash, features.ids.tolist()) == (DS.geometry_hash, DS.ids.tolist())
    np.testing.assert_allclose(features["features"].array, MEANS * DS.sizes[:, None], rtol=1e-12)
    atoms = Features.from_atoms(BOTH, DS, "2x0e+4x1o", pool="atom")
    np.testing.assert_array_equal(atoms["features"].array, BOTH)


def test_norms_are_taken_before_or_after_pooling():
    of_atoms = np.concatenate([SCALARS, np.sqrt((VECTORS**2).sum(2))], axis=1)
    before = by_molecule(lambda rows: of_atoms[rows].mean(0))
    pooled = by_molecule(lambda rows: VECTORS[rows].mean(0))
    after = np.concatenate([MEANS[:, :2], np.sqrt((pooled**2).sum(2))], axis=1)
    for how, expected in (("norm-then-pool", before), ("pool-then-norm", after)):
        features = Features.from_atoms(BOTH, DS.offsets, "2x0e+4x1o", invariants=how)
        np.testing.assert_allclose(features.scalars("features", how=how), expected, rtol=1e-12)
        np.testing.assert_allclose(features.scalars("features", "1o"), expected[:, 2:], rtol=1e-12)
    assert not np.allclose(before, after)


@pytest.mark.parametrize(
    ("arrays", "offsets", "irreps", "words"),
    [
        (BOTH, DS.offsets, None, "irreps={'features': '8x0e+4x1o'}"),
        (BOTH, DS.offsets, "3x0e", "14 columns, but 3x0e is 3"),
        (BOTH, DS.offsets[1:], "14x0e", f"increase from 0 to {ATOMS}"),
        (BOTH, DS.offsets[:-1], "14x0e", f"{ATOMS} rows"),
        (BOTH, np.array([0, 3, 3, ATOMS]), "14x0e", "increase"),
        (VECTORS.swapaxes(1, 2), DS.offsets, "4x1o", "swapaxes(-1, -2)"),
        ({"last|8x0e+4x1": BOTH}, DS.offsets, None, "expected irreps such as 8x0e+4x1o"),
        ({"last|vector": BOTH}, DS.offsets, None, "layer 'last|vector' has no irreps"),
        ({"last|1x1o": BOTH}, DS.offsets, "14x0e", "is tagged 1x1o, but given as 14x0e"),
        ({"last": IrrepsArray("14x0e", BOTH)}, DS.offsets, "2x0e+4x1o", "keep the true one"),
        ({"last": {"x": BOTH}}, DS.offsets, None, "expected an irrep such as 0e or 1o"),
    ],
)
def test_what_cannot_be_pooled_is_one_line(arrays, offsets, irreps, words):
    with pytest.raises(InputError) as caught:
        Features.from_atoms(arrays, offsets, irreps)
    one_line(caught, words)


def test_unknown_ways_of_pooling():
    for options in ({"pool": "median"}, {"invariants": "angle"}):
        with pytest.raises(UnknownNameError):
            Features.from_atoms(BOTH, DS.offsets, "14x0e", **options)


def test_rows_of_molecules_with_axes_of_channels():
    vectors = RNG.normal(size=(4, 5, 3))
    features = Features.from_molecules({"last": vectors}, "5x1o", pool="mean", structures=DS)
    np.testing.assert_array_equal(features["last"].array.reshape(4, 5, 3), vectors)
    assert features.structures_hash == DS.geometry_hash
    with pytest.raises(InputError) as caught:
        Features.from_molecules(vectors[:3], "5x1o", structures=DS)
    one_line(caught, "have 3 rows, but the structures have 4")


def test_norms_before_pooling_are_refused_where_nothing_of_atoms_is_left(tmp_path):
    vectors = Features.from_molecules(RNG.normal(size=(4, 5, 3)), "5x1o")
    pseudoscalars = Features.from_molecules(RNG.normal(size=(4, 5)), "5x0o")
    for features in (vectors, pseudoscalars):
        with pytest.raises(InputError) as caught:
            features.scalars("features", how="norm-then-pool")
        one_line(caught, "pooled already", "Features.from_atoms")
    x = RNG.normal(size=(40, 4))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", **{"last|1x0e+1x1o": x})
    table = {"formula": ["CH4", "C2H6", "H2O", "CO2"] * 10, "y": x[:, 0]}
    layer = IrrepsArray("1x0e+1x1o", x)
    for source in (x, {"m": {"a": layer}}, tmp_path / "x.npy", tmp_path / "x.npz"):
        with pytest.raises(InputError) as caught:
            sweep(source, targets=table, invariants="norm-then-pool", sizes=[40], repeats=1)
        one_line(caught, "pooled already", "norm-then-pool")


# Files


def test_tags_in_the_names_of_npz(tmp_path):
    vectors = RNG.normal(size=(6, 4, 3))
    np.savez(
        tmp_path / "x.npz",
        **{"first|2x0e+1x1o": np.ones((6, 5)), "second|4x1o": vectors, "third": np.ones((6, 7))},
    )
    [features] = collect(tmp_path / "x.npz", None)
    irreps = {layer: str(array.irreps) for layer, array in features.items()}
    assert irreps == {"first": "2x0e+1x1o", "second": "4x1o", "third": "7x0e"}
    np.testing.assert_array_equal(features["second"].array, vectors.reshape(6, 12))
    np.savez(tmp_path / "y.npz", second=vectors, third=np.ones((6, 2)))
    with pytest.warns(LeftOutWarning, match=r"name it 'second\|4x1o'"):
        collect(tmp_path / "y.npz", None)
    np.savez(tmp_path / "z.npz", **{"a|2x0e": np.ones((6, 2)), "a": np.ones((6, 2))})
    with pytest.raises(InputError, match="two layers 'a'"):
        collect(tmp_path / "z.npz", None)


def test_irreps_in_the_attributes_of_zarr_and_xarray(tmp_path):
    root = zarr.open_group(tmp_path / "x.zarr", mode="w")
    root.create_array("flat", data=np.ones((6, 5))).attrs["irreps"] = "2x0e+1x1o"
    root.create_array("deep", data=np.ones((6, 4, 3))).attrs["irreps"] = "4x1o"
    data = xr.Dataset({"flat": (("molecule", "feature"), np.ones((6, 5)), {"irreps": "5x0o"})})
    data.to_zarr(tmp_path / "y.zarr", consolidated=False)
    [plain], [named] = (collect(tmp_path / f"{name}.zarr", None) for name in "xy")
    assert {k: str(x.irreps) for k, x in plain.items()} == {"flat": "2x0e+1x1o", "deep": "4x1o"}
    assert str(named["flat"].irreps) == "5x0o"


def written(path, name, columns):
    frames = [frame.copy() for frame in FRAMES]
    for frame, rows in zip(frames, np.split(columns, DS.offsets[1:-1]), strict=True):
        frame.arrays[name] = rows
    ase.io.write(path, frames)
    return path


def test_columns_of_atoms_are_tagged_by_their_names(tmp_path):
    path = written(tmp_path / "x.extxyz", "mine|2x0e+4x1o", BOTH)
    [features] = collect(path, None)
    assert (str(features["mine"].irreps), features.pool) == ("2x0e+4x1o", "mean")
    np.testing.assert_allclose(features["mine"].array, MEANS, rtol=1e-6, atol=1e-7)
    [before] = collect(path, None, invariants="norm-then-pool")
    expected = by_molecule(lambda rows: np.sqrt((VECTORS[rows] ** 2).sum(2)).mean(0))
    found = before.scalars("mine", "1o", "norm-then-pool")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("columns", [3, 9])
def test_columns_that_look_like_tensors_are_doubted_once(columns, tmp_path):
    x = RNG.normal(size=(ATOMS, columns))
    with pytest.warns(UserWarning, match=rf"'vec'.*'vec\|{columns}x0e'") as caught:
        collect(written(tmp_path / "x.extxyz", "vec", x), None)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collect(written(tmp_path / "y.extxyz", f"vec|{columns}x0e", x), None)
        collect({"mine": x}, None)  # a matrix without a name of its own
    np.savez(tmp_path / "x.npz", early=x[:, :3], late=np.ones((ATOMS, 4)))
    with pytest.warns(UserWarning, match=r"'early\|1x1o'"):
        collect(tmp_path / "x.npz", None)


def test_scores_of_tagged_vectors_do_not_depend_on_the_frame(tmp_path):
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    x = VECTORS[:, 0]
    found = []
    for tag in ("vec|1x1o", "vec|3x0e"):
        [plain] = collect(written(tmp_path / "a.extxyz", tag, x), None)
        [turned] = collect(written(tmp_path / "b.extxyz", tag, x @ turn.T), None)
        found.append(np.allclose(plain.scalars("vec"), turned.scalars("vec"), atol=1e-6))
    assert found == [True, False]
