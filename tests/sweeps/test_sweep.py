"""The sweep: the kernel's own numbers, channel by channel; interrupted, resumed, saved, read."""

import json
import platform
import shutil
import threading
from itertools import pairwise

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.build import molecule
from ase.io import write
from e3nn_jax import IrrepsArray
from helpers import one_line

import cpdjax
from cpdjax import provenance
from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.errors import ConstantTargetWarning, FileError, InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.irreps import invariants
from cpdjax.kernel.scores import Scores
from cpdjax.probes.folds import group_folds, nested
from cpdjax.sweeps import inputs, parallel, probing, results
from cpdjax.sweeps import sweep as sweep_module
from cpdjax.sweeps.channels import channels
from cpdjax.sweeps.probe_kinds import ScalarProbe
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets

N = 60
RNG = np.random.default_rng(0)
FORMULAS = np.array(
    ["CH4", "C2H6", "H2O", "CO2", "CH4O", "NH3", "C2H4", "HCN", "N2", "C3H8", "C4H10", "CH2O"]
)[np.arange(N) % 12]
C, ELEMENTS = cpdjax.composition(FORMULAS), cpdjax.elements(FORMULAS)
# Matrices of few shapes: the kernel compiles once for each.
A = RNG.normal(size=(N, 8)) + C[:, :1]
CONSTANT = np.where(np.arange(8) < 5, A, 1.0)  # in its last three columns
TAGGED = IrrepsArray("4x0e + 4x1o", RNG.normal(size=(N, 16)))
TABLE = pd.DataFrame({"formula": FORMULAS, "gap": A[:, 0] + RNG.normal(size=N), "mu": A[:, 1] ** 2})
FEATURES = {
    "flat": {"first": A, "second": CONSTANT},
    "tagged": {"first": TAGGED},
}
PAIR = {"m": A, "n": np.tanh(A)}
SETTINGS = {"sizes": [30, N], "repeats": 2, "alphas": [0.1, 10.0], "seed": 3}


def run(features=FEATURES, targets=TABLE, out=None, **changes):
    return cpdjax.sweep(features, targets=targets, out=out, **(SETTINGS | changes))


@pytest.fixture(scope="module")
def table():
    return run()


def kernel(x, **changes):
    """The same numbers without the sweep."""
    return cpdjax.learning_curve(x, C, TABLE[["gap", "mu"]].to_numpy(), **(SETTINGS | changes))


def assert_same(found: xr.Dataset, scores: Scores):
    for name in ("r2_geom", "r2_full", "r2_comp", "composition_share"):
        np.testing.assert_allclose(found[name], getattr(scores, name), rtol=1e-12, atol=1e-12)


# The numbers


@pytest.mark.parametrize(
    ("model", "layer", "irrep", "x"),
    [
        ("flat", "first", "0e", A),
        ("flat", "second", "0e", CONSTANT),
        ("tagged", "first", "all", invariants(TAGGED)),
        ("tagged", "first", "0e", invariants(TAGGED, "0e")),
        ("tagged", "first", "1o", invariants(TAGGED, "1o")),
    ],
)
def test_every_channel_is_the_kernel_on_its_matrix(table, model, layer, irrep, x):
    found = table.sel(model=model, layer=layer, irrep=irrep)
    assert found.n_features == x.shape[1]
    # Constant columns carry no variance, and so no share of it.
    assert_same(found, kernel(x))


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["none", "ridge", "quadratic", "formula", "leace"])
def test_a_projection_reaches_the_kernel_and_the_record(projection):
    found = run({"m": A}, projection=projection)
    x = np.pad(A, ((0, 0), (0, 8)))  # as a channel pads it
    assert_same(found.sel(model="m").squeeze(("layer", "irrep")), kernel(x, projection=projection))
    assert json.loads(found.attrs["settings"])["projection"] == projection


def test_dimensions_coordinates_and_units(table):
    own, curve = ("model", "layer", "irrep"), ("repeat", "size", "fold", "alpha", "target")
    assert table.r2_geom.dims == table.r2_full.dims == own + curve
    assert table.r2_comp.dims == ("repeat", "size", "fold", "target")
    assert table.composition_share.dims == (*own, "repeat", "size", "fold")
    assert dict(table.sizes) == {
        "model": 2, "layer": 2, "irrep": 3, "repeat": 2, "size": 2, "fold": 5, "alpha": 2,
        "target": 2,
    }  # fmt: skip
    assert list(table.irrep.values) == ["0e", "all", "1o"]
    assert list(table["size"].values) == [30, N]
    assert list(table.alpha.values) == [0.1, 10.0]
    assert list(table.unit.values) == ["", ""]
    assert table.r2_geom.attrs["units"] == "1"
    assert "residual" in table.r2_geom.attrs["description"]


def test_what_does_not_exist_is_nan(table):
    absent = table.n_features.to_numpy() == 0
    assert absent.sum() == 7
    undefined = np.isnan(table.r2_geom.to_numpy()).reshape(*absent.shape, -1)
    np.testing.assert_array_equal(undefined.all(-1), absent)
    np.testing.assert_array_equal(undefined.any(-1), absent)


def test_provenance(table):
    facts = dict(table.attrs)
    for name in ("settings", "packages", "features", "elements"):
        facts[name] = json.loads(facts[name])
    assert facts["settings"]["seed"] == 3
    assert facts["settings"]["alphas"] == [0.1, 10.0]
    assert facts["settings"]["dtype"] == "float64"
    assert facts["packages"]["jax"] == jax.__version__
    assert facts["molecules"] == N
    assert facts["elements"] == list(ELEMENTS)
    assert facts["device"].startswith("cpu")
    assert set(facts["features"]) == {
        "flat / first / 0e", "flat / second / 0e",
        "tagged / first / all", "tagged / first / 0e", "tagged / first / 1o",
    }  # fmt: skip
    molecules = Targets.from_table(TABLE)
    assert facts["dataset_hash"] == molecules.hash
    moved = Targets.from_table(TABLE.assign(gap=np.nextafter(TABLE["gap"], 9)))
    assert moved.hash != molecules.hash


def test_units_come_from_the_structures():
    atoms = [molecule(n) for n in ("H2O", "CH4", "NH3", "CO2")] * 5
    structures = Structures.from_atoms(
        atoms, "few", targets={"gap": RNG.normal(size=20)}, units={"gap": "eV"}
    )
    found = cpdjax.sweep(RNG.normal(size=(20, 3)), dataset=structures, repeats=1)
    assert list(found.unit.values) == ["eV"]
    assert found.attrs["dataset"] == "few"
    assert list(found["size"].values) == [20]


def test_widths_are_few_and_wide_enough():
    widths = {}
    for columns in range(1, 600):
        layer = IrrepsArray(f"{columns}x0e", RNG.normal(size=(2, columns)))
        [channel] = channels([Features({"a": layer}, "m", "none", "")], 2)
        assert channel.padded().shape == (2, channel.width)
        np.testing.assert_array_equal(channel.padded()[:, :columns], layer.array)
        assert not channel.padded()[:, columns:].any()
        widths[columns] = channel.width
    assert all(w >= c for c, w in widths.items())
    assert all(w <= 1.5 * c for c, w in widths.items() if c > 16)
    assert all(a <= b for a, b in pairwise(widths.values()))
    assert len(set(widths.values())) < 20


def test_a_channel_without_variance_predicts_the_mean():
    found = run({"m": np.full((N, 3), 7.0)})
    assert found.n_features.item() == 3
    assert found.composition_share.isnull().all()
    layout = nested(N, [30, N], 2, 5, seed=3)
    for repeat, size, fold in np.ndindex(2, 2, 5):
        rows, ids = (of(repeat, [30, N][size]) for of in (layout.subset, layout.fold_ids))
        y = TABLE["gap"].to_numpy()[rows]
        held = y[ids == fold]
        expected = 1 - ((held - y[ids != fold].mean()) ** 2).sum() / held.var() / len(held)
        scores = found.r2_geom.sel(target="gap").squeeze()[repeat, size, fold]
        np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_irreps_are_chosen(table):
    found = run(irreps=["1o"])
    own = {"model": ["tagged"], "layer": ["first"], "irrep": ["1o"]}
    np.testing.assert_array_equal(found.r2_geom, table.r2_geom.sel(own))
    with pytest.raises(UnknownNameError, match=r"unknown irrep '1e'.*1o"):
        run(irreps=["1e"])


def test_group_folds_share_no_formula():
    found = run({"m": A}, group_by="formula", sizes=[N]).squeeze(("model", "layer", "irrep"))
    ids = group_folds(cpdjax.formulas(FORMULAS), 5, seed=3)
    assert all(len(set(ids[f == FORMULAS])) == 1 for f in FORMULAS)
    y = TABLE["gap"].to_numpy()
    design = np.column_stack([np.ones(N), C])
    for fold in range(5):  # the score that depends on nothing but the folds
        train, held = ids != fold, ids == fold
        fitted = design @ np.linalg.lstsq(design[train], y[train], rcond=1e-10)[0]
        expected = 1 - ((y - fitted)[held] ** 2).sum() / (held.sum() * y[held].var())
        scores = found.r2_comp.sel(fold=fold, target="gap")
        np.testing.assert_allclose(scores, np.full((2, 1), expected), rtol=1e-9)


@pytest.mark.slow
def test_leave_one_out():
    found = run({"m": A}, alphas="loo", sizes=[N])
    scores = kernel(A, alphas="loo", sizes=[N])
    assert_same(found.squeeze(("model", "layer", "irrep")), scores)
    np.testing.assert_array_equal(np.squeeze(found.alpha_geom), np.squeeze(scores.alpha_geom))
    assert np.isnan(found.alpha.values).all()
    long = results.to_long(found)
    assert len(long) == found.r2_geom.size
    assert long["alpha_geom"].notna().all()


def test_float32(table):
    found = run({"m": A}, dtype="float32", sizes=[N])
    exact = table.sel(model=["flat"], layer=["first"], irrep=["0e"], size=[N])
    assert found.r2_geom.dtype == np.float32
    np.testing.assert_allclose(found.r2_geom, exact.r2_geom, rtol=0, atol=1e-3)
    assert not np.array_equal(found.r2_geom, exact.r2_geom)


def test_one_value_stands_for_a_list():
    one = {"alphas": 0.1, "sizes": N, "irreps": "0e", "layers": "aev"}
    assert checked(Settings, one) == checked(Settings, {k: [v] for k, v in one.items()})
    assert checked(Settings, {"alphas": np.logspace(-1, 1, 3)}).alphas == (0.1, 1.0, 10.0)
    assert checked(Settings, {"alphas": "loo"}).alphas == "loo"


def test_a_constant_target_is_undefined_with_a_warning():
    with pytest.warns(ConstantTargetWarning, match="held-out molecules: mu$"):
        found = run({"m": A}, TABLE.assign(mu=2.0))
    assert found.r2_geom.sel(target="mu").isnull().all()
    assert found.r2_comp.sel(target="mu").isnull().all()
    assert found.r2_geom.sel(target="gap").notnull().all()


def test_few_recompilations(monkeypatch):
    traced = []
    probe = ScalarProbe.kernel

    def counting(x, *arrays, **static):  # runs when `_probe` is traced, and only then
        traced.append(x.shape)
        return probe(x, *arrays, **static)

    monkeypatch.setattr(ScalarProbe, "kernel", staticmethod(counting))
    wide = RNG.normal(size=(N, 20))
    features = {"flat": {str(i): A[:, i:] for i in range(6)}, "wide": {"a": wide, "b": 2 * wide}}
    run(features, sizes=[50], repeats=3, alphas=[1.0])
    # Two widths, not eight channels in three repeats.
    assert sorted(traced) == [(N, 16), (N, 24)]
    run(features, sizes=[50], repeats=3, alphas=[3.0], seed=4)
    assert len(traced) == 2


def test_units_run_side_by_side(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 4)
    barrier = threading.Barrier(4, timeout=60)
    work = probing._probe_batch

    def together(*arguments):
        barrier.wait()  # returns only when four are here
        return work(*arguments)

    monkeypatch.setattr(probing, "_probe_batch", together)
    features = {"m": {"a": A, "b": 2 * A}}
    found = run(features)
    assert_same(found.sel(layer="a").squeeze(("model", "irrep")), kernel(A))
    assert_same(found.sel(layer="b").squeeze(("model", "irrep")), kernel(2 * A))


# Interrupted and resumed


@pytest.fixture
def computed(monkeypatch):
    """Names of the units that were computed, not loaded."""
    names = []
    save = sweep_module.Checkpoint.save

    def counting(self, name, arrays):
        names.append(name)
        save(self, name, arrays)

    monkeypatch.setattr(sweep_module.Checkpoint, "save", counting)
    return names


def test_interrupted_it_goes_on_to_the_same_bits(computed, tmp_path, monkeypatch):
    features = {"m": {"a": A, "b": np.tanh(A)}, "tagged": TAGGED}
    whole = run(features)  # 5 channels in 2 repeats
    computed.clear()
    out = tmp_path / "out"
    save = sweep_module.Checkpoint.save

    def interrupted(self, name, arrays):
        if len(computed) >= 3:
            raise KeyboardInterrupt
        save(self, name, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_module.Checkpoint, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(features, out=out)
    kept = len(list((out / "units").iterdir()))
    assert kept == len(computed)
    assert 3 <= kept < 10
    xr.testing.assert_identical(run(features, out=out), whole)
    assert len(computed) == 10
    xr.testing.assert_identical(run(features, out=out), whole)
    assert len(computed) == 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    run(PAIR, out=out)
    return out


@pytest.fixture
def folder(finished, tmp_path):
    """A finished sweep's folder that a test may change."""
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "pickle"])
def test_a_damaged_unit_is_computed_again(damage, folder, computed):
    unit, *_ = sorted((folder / "units").iterdir())
    whole = unit.read_bytes()
    content = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "flipped": whole.replace(whole[200:210], b"\x55" * 10, 1),
        "pickle": b"\x80\x04N.",
    }
    unit.write_bytes(content[damage])
    with pytest.warns(UserWarning, match=f"{unit.name} is damaged: it is computed again"):
        found = run(PAIR, out=folder)
    assert computed == [unit.stem]
    xr.testing.assert_identical(found, run(PAIR))
    assert len(list((folder / "units").iterdir())) == 4


def test_the_order_of_features_matters_not(folder, computed):
    found = run({"n": np.tanh(A), "m": A}, out=folder)
    assert not computed
    assert list(found.model.values) == ["n", "m"]
    xr.testing.assert_identical(found, run({"n": np.tanh(A), "m": A}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "settings.seed"),
        ({"sizes": [N]}, "settings.sizes"),
        ({"features": {"m": A, "n": 2 * A}}, "features.n / features / 0e"),
        ({"targets": TABLE[["formula", "gap"]]}, "dataset_hash"),
    ],
)
def test_another_configuration_is_refused(change, named, folder):
    units = sorted((folder / "units").iterdir())
    with pytest.raises(FileError, match=named) as caught:
        run(**({"features": PAIR, "out": folder} | change))
    assert "\n" not in str(caught.value)
    assert sorted((folder / "units").iterdir()) == units


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("platform.node", "another"),
        ("platform.platform", "Linux-99.9-another-kernel"),
        ("platform.python_version", platform.python_version() + "9"),
    ],
)
def test_what_only_informs_is_recorded_and_not_compared(name, value, folder, computed, monkeypatch):
    monkeypatch.setattr(name, lambda: value)
    found = run(PAIR, out=folder)
    assert not computed
    key = {"node": "hostname", "python_version": "python"}.get(name[9:], name[9:])
    assert found.attrs[key] == value


@pytest.mark.parametrize("package", ["jax", "cpdjax", "numpy"])
def test_a_version_that_changes_numbers_is_compared(package, folder, monkeypatch):
    real = provenance.version
    monkeypatch.setattr(provenance, "version", lambda n: "99" if n == package else real(n))
    with pytest.raises(FileError) as caught:
        run(PAIR, out=folder)
    one_line(caught, f"(different: packages.{package}): choose another folder")


def test_another_python_is_compared(folder, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    with pytest.raises(FileError, match=r"\(different: python\)"):
        run(PAIR, out=folder)


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_a_damaged_record_is_refused(content, folder):
    (folder / "sweep.json").write_text(content)
    with pytest.raises(FileError) as caught:
        run(PAIR, out=folder)
    assert "\n" not in str(caught.value)


# Saved and read


@pytest.mark.parametrize("name", ["results.zarr", "results.nc"])
def test_saved_results_are_identical(table, name, tmp_path, recwarn):
    path = results.save(table, tmp_path / name)
    for source in (path, tmp_path):
        xr.testing.assert_identical(results.load(source), table)
    results.save(table, path)  # over the old ones
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert not [str(w.message) for w in recwarn]


def test_long_csv_holds_every_number(table, tmp_path):
    results.save(table, tmp_path / "long.csv")
    long = pd.read_csv(tmp_path / "long.csv")
    assert len(long) == 5 * 2 * 2 * 5 * 2 * 2
    assert list(long.columns) == [
        "model", "layer", "irrep", "target", "unit", "size", "repeat", "fold", "alpha",
        "r2_geom", "r2_full", "r2_comp",
    ]  # fmt: skip
    for row in long.iloc[::37].itertuples():
        where = {k: getattr(row, k) for k in ("repeat", "size", "fold", "target")}
        cell = {k: getattr(row, k) for k in ("model", "layer", "irrep", "alpha")}
        assert row.r2_geom == table.r2_geom.sel(where | cell).item()
        assert row.r2_full == table.r2_full.sel(where | cell).item()
        assert row.r2_comp == table.r2_comp.sel(where).item()


@pytest.mark.parametrize("name", ["results.zarr", "results.nc", "results.csv"])
@pytest.mark.parametrize("existed", [True, False])
def test_a_writer_that_fails_leaves_what_was(table, name, existed, tmp_path, monkeypatch):
    path = tmp_path / name
    if existed:
        results.save(table, path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with monkeypatch.context() as patch:
        writers = [(xr.Dataset, "to_zarr"), (xr.Dataset, "to_netcdf"), (pd.DataFrame, "to_csv")]
        for cls, method in writers:
            writer = getattr(cls, method)

            def fails(data, *args, writer=writer, **options):
                writer(data, *args, **options)
                raise OSError("disk full")

            patch.setattr(cls, method, fails)
        with pytest.raises(OSError, match="disk full"):
            results.save(table, path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ([name] if existed else [])


def test_results_that_cannot_be_read(table, tmp_path):
    (tmp_path / "empty.nc").write_bytes(b"")
    (tmp_path / "noise.zarr").write_bytes(b"\xff" * 9)
    results.save(table, tmp_path / "cut.nc")
    whole = (tmp_path / "cut.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    (tmp_path / "folder").mkdir()
    names = ["empty.nc", "noise.zarr", "cut.nc", "other.nc", "folder", "missing.zarr", "missing"]
    for name in names:
        with pytest.raises(FileError, match=name) as caught:
            results.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match=r"\.zarr, \.nc or \.csv"):
        results.save(table, tmp_path / "results.xlsx")


# Bad input


def spoiled(value):
    x = A.copy()
    x[7, 3] = value
    return {"m": x}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": {"m": A[:50]}}, "50 molecules but the targets have 60"),
        ({"features": spoiled(np.nan)}, "at molecule 7, column 3"),
        ({"features": spoiled(np.inf)}, "at molecule 7, column 3"),
        ({"features": {}}, "no features"),
        ({"features": [Features({"a": TAGGED}, "m", "mean", "")] * 2}, "two feature sets"),
        ({"features": "coulomb-spectrum"}, "needs structures"),
        ({"targets": TABLE.assign(mu=np.nan)}, "the first at molecule 0, column mu"),
        ({"targets": TABLE.assign(mu=["bad", *map(str, range(59))])}, "'mu', row 0"),
        ({"targets": TABLE.drop(columns="formula")}, "'formula' or 'smiles'"),
        ({"targets": TABLE[["formula"]]}, "no numeric target"),
        ({"targets": TABLE.assign(formula="C?")}, "cannot read 'C?'"),
        ({"targets": {"formula": ["CH4"], "gap": [1, 2]}}, "no table"),
        ({"targets": "missing.csv"}, "missing.csv"),
        ({"sizes": [30, 61]}, "size 61 is larger than the data: 60 molecules"),
        ({"sizes": [4]}, "5 folds need at least as many molecules, got 4"),
        ({"sizes": [60, 30]}, "increasing"),
        ({"sizes": []}, "sizes: "),
        ({"folds": 13, "group_by": "formula"}, "13 folds need at least as many groups, got 12"),
        ({"alphas": -1}, "alphas: Input should be greater than or equal to 0"),
        ({"alphas": [np.nan]}, "alphas: Input should be"),
        ({"alphas": []}, "alphas: "),
        ({"seed": -1}, "seed: "),
        ({"repeat": 2}, "did you mean repeats"),
        ({"dtype": "float16"}, "dtype: Input should be 'float64' or 'float32'"),
        ({"layers": ["frist"]}, "did you mean first"),
        ({"n": 10}, "n draws molecules from QM9"),
        ({"dataset": "qm9"}, "a table of targets goes with"),
        ({"dataset": "missing.xyz"}, "missing.xyz"),
    ],
)
def test_bad_input_is_one_clear_line(change, words, tmp_path):
    arguments = {"features": FEATURES, "targets": TABLE, "out": tmp_path / "out", **SETTINGS}
    with pytest.raises(InputError) as caught:
        cpdjax.sweep(**(arguments | change))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_table_beside_a_structure_file_is_joined_on_id(tmp_path):
    atoms = [molecule(n) for n in ("H2O", "CH4", "NH3", "CO2") * 5]
    for i, one in enumerate(atoms):
        one.info["id"], one.info["own"] = f"m{i}", float(i)
    write(tmp_path / "x.extxyz", atoms)
    y = RNG.normal(size=20)
    table = pd.DataFrame({"id": [f"m{i}" for i in range(20)], "gap": y})[::-1]
    _, molecules = inputs.load(str(tmp_path / "x.extxyz"), table, None, Settings())
    assert list(molecules.by_name) == ["gap"]
    np.testing.assert_array_equal(molecules.by_name["gap"], y)
    _, molecules = inputs.load(tmp_path / "x.extxyz", None, None, Settings())
    assert list(molecules.by_name) == ["own"]
