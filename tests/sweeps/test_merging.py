"""Folders of sweeps made apart: joined they are one sweep of all, or a line says why not."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from helpers import DAMAGES, call

import cpdjax
from cpdjax.sweeps import results
from cpdjax.sweeps import sweep as sweep_module
from cpdjax.verification import verify

N = 40
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "formula": ["CH4", "C2H6", "H2O", "CO2"] * 10,
        "gap": RNG.normal(size=N),
        "mu": RNG.normal(size=N),
    }
)
X = RNG.normal(size=(N, 8)) + TABLE[["gap"]].to_numpy()
MODELS = {
    "a": {"first": X, "second": np.tanh(X)},
    "b": {"first": X**2},
    "c": {"embedding": np.sin(X)},
}
SETTINGS = {"sizes": [N], "folds": 2, "repeats": 2}
DRAWS = {"permutations": 19}


def run(folder, names, **changes):
    """A sweep as the command makes it: with its results."""
    models = {name: MODELS[name] for name in names}
    table = cpdjax.sweep(
        **{"features": models, "targets": TABLE, **SETTINGS, **changes}, out=folder
    )
    results.save(table, folder / "results.zarr")
    return table


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Two sweeps, one of two models and one of two, of which one is in both."""
    folder = tmp_path_factory.mktemp("apart")
    run(folder / "ab", "ab", **DRAWS)
    run(folder / "bc", "bc", **DRAWS)
    return folder


def joined(*folders, out):
    status, printed, errors = call("merge", *folders, "--out", out)
    assert (status, errors) == (0, "")
    return printed


def test_what_is_joined_is_one_sweep_of_all(apart, tmp_path, monkeypatch):
    out = tmp_path / "all"
    printed = joined(apart / "ab", apart / "bc", out=out)
    assert f"saved {out / 'results.zarr'}" in printed
    assert {item.verdict for item in verify(out)} == {"ok"}
    found, whole = results.load(out), run(tmp_path / "whole", "abc", **DRAWS)
    xr.testing.assert_identical(found, whole)
    # Fewer tests were adjusted for in each part.
    parts = results.load(apart / "ab")
    ours = found.p_adjusted.sel(model=parts.model, layer=parts.layer)
    assert (ours >= parts.p_adjusted).where(parts.p_adjusted.notnull(), True).all()
    assert (ours > parts.p_adjusted).any()
    # A sweep of all models goes on in the folder, and has nothing left to do.
    monkeypatch.setattr(sweep_module.Checkpoint, "save", lambda *_: pytest.fail("computed"))
    xr.testing.assert_identical(run(out, "abc", **DRAWS), whole)


def test_max_t_is_that_of_all_channels_and_each_machine_is_recorded(tmp_path, monkeypatch):
    settings = DRAWS | {"adjust": "max-t", "permute_within": "formula"}
    for names in ("a", "c"):
        monkeypatch.setattr("platform.node", lambda names=names: f"node-{names}")
        run(tmp_path / names, names, **settings)
    joined(tmp_path / "a", tmp_path / "c", out=tmp_path / "all")
    found, whole = results.load(tmp_path / "all"), run(tmp_path / "whole", "ac", **settings)
    xr.testing.assert_identical(found, whole.assign_attrs(hostname="node-a, node-c"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "different: settings.seed"),
        ({"repeats": 1}, "different: settings.repeats"),
        ({"targets": TABLE.assign(gap=0.5 * TABLE["gap"])}, "different: dataset_hash"),
        (
            {"features": {"b": {"first": X**3}}},
            "different features under one name (b / first / 0e)",
        ),
    ],
)
def test_what_differs_is_one_line(change, said, apart, tmp_path):
    run(tmp_path / "other", "c", **DRAWS | change)
    before = sorted(p.name for p in tmp_path.iterdir())
    status, _, error = call("merge", apart / "ab", tmp_path / "other", "--out", tmp_path / "all")
    assert status == 2
    assert error.count("\n") == 1
    assert said in error
    assert str(apart / "ab") in error
    assert str(tmp_path / "other") in error
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_other_versions_are_told(apart, tmp_path):
    other = shutil.copytree(apart / "bc", tmp_path / "other")
    record = json.loads((other / "sweep.json").read_text())
    record["packages"]["jax"] = "0.0.1"
    (other / "sweep.json").write_text(json.dumps(record))
    refused(apart / "ab", other, out=tmp_path / "all", said="sweep.json is damaged")
    (other / "SHA256SUMS").unlink()  # and its results still say another version
    refused(apart / "ab", other, out=tmp_path / "all", said="different: packages")


def refused(*folders, out, said):
    status, _, error = call("merge", *folders, "--out", out)
    assert (status, error.count("\n")) == (2, 1)
    assert said in error
    assert not out.is_dir() or not (out / "results.zarr").exists()


def test_folders_that_cannot_be_joined(apart, tmp_path):
    out = tmp_path / "all"
    refused(apart / "ab", out=out, said="two folders or more")
    refused(apart / "ab", tmp_path / "missing", out=out, said="missing holds no sweep")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note").write_text("mine")
    refused(apart / "ab", apart / "bc", out=tmp_path / "mine", said="mine exists: choose another")
    unfinished = shutil.copytree(apart / "bc", tmp_path / "unfinished")
    shutil.rmtree(unfinished / "results.zarr")
    refused(apart / "ab", unfinished, out=out, said=f"no results at {unfinished}")
    damaged = shutil.copytree(apart / "bc", tmp_path / "damaged")
    unit = next((damaged / "units").glob("*-0.npz"))
    DAMAGES[0](unit)
    refused(apart / "ab", damaged, out=out, said=f"{unit} is damaged")
