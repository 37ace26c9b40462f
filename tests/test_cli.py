"""The command line on real files: what it writes and says, and one line for whatever is wrong."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.build import molecule
from ase.io import write
from helpers import call, without_progress

import cpdjax
from cpdjax.cli import models as model_commands
from cpdjax.errors import InputError
from cpdjax.models import listing, training
from cpdjax.models.cards import card_of
from cpdjax.sweeps import probing, results

N = 60
RNG = np.random.default_rng(0)
SMILES = ["C", "CC", "O", "O=C=O", "CO", "N", "C=C", "C#N", "N#N", "CCC", "CCCC", "C=O"] * 5
FORMULAS = ["CH4", "C2H6", "H2O", "CO2", "CH3OH", "NH3", "C2H4", "HCN", "N2", "C3H8", "C4H10"]
FORMULAS = [*FORMULAS, "CH2O"] * 5
QUICK = ["--sizes", "30,60", "--repeats", "2", "--alphas", "0.1,10"]
WRITTEN = [
    "SHA256SUMS",
    "learning_curves.png",
    "r2_geom.png",
    "report.html",
    "results.csv",
    "results.zarr",
    "sweep.json",
    "units",
]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files that several tests read."""
    folder = tmp_path_factory.mktemp("data")
    x = RNG.normal(size=(N, 8))
    table = pd.DataFrame({"formula": FORMULAS, "gap": x[:, 0] + RNG.normal(size=N), "mu": x[:, 1]})
    np.savez(folder / "mine.npz", first=x, second=np.tanh(x))
    np.savez(folder / "short.npz", first=x[:50])
    np.savez(folder / "nan.npz", first=np.where(x == x[7, 3], np.nan, x))
    np.savez(folder / "few.npz", first=x[:4])
    (folder / "cut.npz").write_bytes((folder / "mine.npz").read_bytes()[:999])
    table.to_csv(folder / "mine.csv", index=False)
    table.iloc[:4].to_csv(folder / "few.csv", index=False)
    table.assign(mu=1.5).to_csv(folder / "flat.csv", index=False)
    table.assign(formula="C?").to_csv(folder / "badformula.csv", index=False)
    table.drop(columns="formula").assign(smiles=SMILES).to_csv(folder / "smiles.csv", index=False)
    table.drop(columns="formula").to_csv(folder / "alone.csv", index=False)
    (folder / "broken.toml").write_text("sizes = [30,\n")
    (folder / "typo.toml").write_text("repeat = 3\n")
    (folder / "mine.toml").write_text(
        f'features = "{folder}/mine.npz"\ntargets = "{folder}/mine.csv"\n'
        'sizes = [30, 60]\nrepeats = 3\nalphas = [0.1, 10]\nlayers = ["first"]\n'
    )
    return folder


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A sweep that has run: its folder and what it said."""
    out = tmp_path_factory.mktemp("finished") / "deep" / "out"
    said = call(
        "sweep", "--features", data / "mine.npz", "--targets", data / "mine.csv", *QUICK,
        "--out", out,
    )  # fmt: skip
    return out, said


def test_a_sweep_prints_its_table_and_says_what_it_saved(finished):
    out, (status, printed, errors) = finished
    assert (status, errors) == (0, "")
    assert "R²_geom at N = 60" in printed
    for word in ("gap", "mu", "first", "second", "R²_comp"):
        assert word in printed
    assert names(out) == WRITTEN
    for name in WRITTEN[1:6]:
        assert f"saved {out / name}" in printed.splitlines()


def test_its_numbers_are_the_kernels(finished, data):
    out, _ = finished
    table, frame = results.load(out), pd.read_csv(data / "mine.csv")
    x = np.load(data / "mine.npz")["first"]
    scores = cpdjax.learning_curve(
        x, cpdjax.composition(FORMULAS), frame[["gap", "mu"]].to_numpy(),
        sizes=[30, 60], repeats=2, alphas=[0.1, 10],
    )  # fmt: skip
    found = table.sel(model="mine", layer="first", irrep="0e")
    np.testing.assert_allclose(found.r2_geom, scores.r2_geom, rtol=1e-12, atol=1e-12)
    long = pd.read_csv(out / "results.csv")
    assert len(long) == table.r2_geom.size
    np.testing.assert_array_equal(np.sort(long["r2_geom"]), np.sort(table.r2_geom.values.ravel()))


def test_the_same_command_again_has_nothing_left_to_do(finished, data, monkeypatch):
    out, (_, printed, _) = finished
    before = (out / "results.csv").read_bytes()
    monkeypatch.setattr(probing, "_probe", lambda *_, **__: pytest.fail("computed"))
    said = call(
        "sweep", "--features", data / "mine.npz", "--targets", data / "mine.csv", *QUICK,
        "--out", out,
    )  # fmt: skip
    assert said == (0, printed, "")
    assert (out / "results.csv").read_bytes() == before
    assert names(out) == WRITTEN


def test_smiles_are_as_good_as_formulas(finished, data, tmp_path):
    status, _, errors = call(
        "sweep", "--features", data / "mine.npz", "--targets", data / "smiles.csv", *QUICK,
        "--out", tmp_path / "out", "--format", "netcdf",
    )  # fmt: skip
    assert (status, errors) == (0, "")
    assert names(tmp_path / "out") == sorted(
        [*(w for w in WRITTEN if "zarr" not in w), "results.nc"]
    )
    by_smiles, by_formula = results.load(tmp_path / "out"), results.load(finished[0])
    xr.testing.assert_equal(by_smiles, by_formula)


def test_options_overrule_the_config(finished, data, tmp_path):
    out = tmp_path / "out"
    status, _, errors = call("sweep", data / "mine.toml", "--repeats", 2, "--out", out)
    assert (status, errors) == (0, "")
    table = results.load(out)
    assert (table.sizes["repeat"], list(table.layer.values)) == (2, ["first"])
    whole = results.load(finished[0])
    np.testing.assert_array_equal(table.r2_geom, whole.r2_geom.sel(layer=["first"]))


def test_report_shows_it_again(finished, tmp_path):
    out, (_, printed, _) = finished
    for path in (out, out / "results.zarr"):
        figures = tmp_path / path.name
        status, again, errors = call("report", path, "--out", figures)
        assert (status, errors) == (0, "")
        assert again.splitlines()[0] in printed
        _, head, *rows = again.splitlines()
        assert head.split() == ["model", "layer", "irrep", "gap", "mu"]
        assert [row in printed for row in rows[:3]] == [True] * 3
        assert names(figures) == ["SHA256SUMS", "learning_curves.png", "r2_geom.png", "report.html"]


def test_report_draws_into_the_folder_by_default(finished):
    out, _ = finished
    (out / "r2_geom.png").unlink()
    for path in (out, out / "results.zarr"):
        assert call("report", path)[0] == 0
        assert names(out) == WRITTEN
    assert "r2_geom.png" not in names(out / "results.zarr")


def test_a_scatter_says_who_carries_the_score(data, tmp_path):
    out = tmp_path / "out"
    status, printed, errors = call(
        "scatter", data / "mine.npz", "--targets", data / "mine.csv", "--out", out
    )
    assert (status, errors) == (0, "")
    assert names(out) == ["SHA256SUMS", "scatter.html"]
    assert f"saved {out / 'scatter.html'}" in printed.splitlines()
    rows = [line.split() for line in printed.splitlines() if " second " in line]
    assert [row[2] for row in rows] == ["gap", "mu"]
    assert {row[4] for row in rows} < {*cpdjax.formulas(FORMULAS)}
    assert "cpdjax scatter" in (out / "scatter.html").read_text()


def test_a_scatter_of_too_much_is_refused(data, tmp_path):
    status, _, errors = call("scatter", "coulomb-spectrum", "--alpha", "x", "--out", tmp_path / "o")
    assert (status, errors.count("\n")) == (2, 1)
    assert "--alpha" in errors


def listed():
    """The facts of `cpdjax models --json` by the model's name."""
    status, printed, errors = call("models", "--json")
    assert (status, errors) == (0, "")
    return {fact["model"]: fact for fact in json.loads(printed)["models"]["rows"]}


def test_models_are_listed():
    facts = listed()
    lines = call("models")[1].splitlines()
    for name in cpdjax.models.names():
        fact, card = facts[name], card_of(name)
        assert (fact["licence"], fact["trained_on"]) == (card.licence, card.data)
        [line] = (line for line in lines if line.split()[:1] == [name])
        assert card.family.split()[0] in line
        assert line.split()[-1] == ("yes" if card.installed else "no")
        absent = f"pip install --no-deps {card.distribution}=="
        assert fact["weights"] == "installed" if card.installed else absent in fact["weights"]
    assert facts["ani-2x-aev"]["layers"]["aev"] == "1008x0e"
    assert "1008x0e" in call("models", "--layers")[1]


def test_a_model_is_shown_by_its_name_and_by_its_folder(tmp_path):
    by_name = call("models", "painn-qm9-gap")
    assert call("models", "show", "painn-qm9-gap") == by_name
    assert by_name[0] == 0
    for word in ("painn", "20,000 molecules of qm9, gap", "87,937", "Apache-2.0", "48x0e+48x1o"):
        assert word in by_name[1]
    mine = shutil.copytree(listing.ZOO / "painn-qm9-gap", tmp_path / "mine")
    status, printed, errors = call("models", "show", mine, "--json")
    assert (status, errors) == (0, "")
    shown = json.loads(printed)
    assert shown["model"]["rows"][0]["parameters"] == 87937
    assert shown["layers"]["rows"][1]["irreps"] == "48x0e+48x1o"
    status, printed, errors = call("models", "pain-qm9-gap")
    assert (status, printed) == (2, "")
    assert "did you mean" in errors


def test_weights_that_are_absent_or_altered_are_said_in_their_row(monkeypatch, tmp_path):
    known = listing.listed()
    absent = replace(known["so3lr"].card, distribution="no-such-wheel")
    known["so3lr"] = replace(known["so3lr"], card=absent)
    # A file of a wheel that is always there, with another hash than it has.
    foreign = replace(known["coulomb-spectrum"].card, distribution="numpy")
    known["coulomb-spectrum"] = replace(
        known["coulomb-spectrum"], card=foreign, weights={"numpy/__init__.py": "0" * 64}
    )
    zoo = shutil.copytree(listing.ZOO / "painn-qm9-gap", tmp_path / "painn-qm9-gap")
    weights = next((zoo / "model").glob("*.npz"))
    weights.write_bytes(weights.read_bytes()[:-1])
    monkeypatch.setattr(listing, "ZOO", tmp_path)
    monkeypatch.setattr(listing, "listed", lambda: known)
    chosen = ["so3lr", "coulomb-spectrum", "painn-qm9-gap"]
    monkeypatch.setattr(cpdjax.models, "names", lambda: chosen)
    monkeypatch.setattr(
        model_commands, "INSTALL", "pip install --no-deps sevenn==1 no-such-wheel==0.2.1"
    )
    rows = listed()
    assert rows["so3lr"]["weights"] == "pip install --no-deps no-such-wheel==0.2.1"
    assert "not the file these weights were published in" in rows["coulomb-spectrum"]["weights"]
    assert "is damaged: weights.npz" in rows["painn-qm9-gap"]["weights"]
    printed = call("models")[1]
    assert [line.split()[-1] for line in printed.splitlines()[1:4]] == ["no", "damaged", "damaged"]
    assert "so3lr: pip install --no-deps no-such-wheel==0.2.1" in printed


@pytest.mark.parametrize("option", ["--probe", "--held-out"])
def test_the_former_name_of_an_option_is_read_with_a_warning(option, monkeypatch):
    def stop(chosen, *_, **__):
        raise InputError(f"{chosen.held_out} held out")

    monkeypatch.setattr(training, "train", stop)
    given = ("--model", "schnet", "--target", "gap", "--dataset", "qm9", option, 123)
    status, printed, errors = call("train", *given)
    *warned, said = errors.splitlines()
    assert (status, printed, said) == (2, "", "cpdjax: 123 held out")
    former = ["cpdjax: warning: --probe is called --held-out now"]
    assert warned == (former if option == "--probe" else [])


def test_help_without_arguments():
    status, printed, errors = call()
    assert (status, errors) == (0, "")
    assert all(command in printed for command in ("sweep", "report", "models"))
    assert "--alphas" in call("sweep", "--help")[1]


@pytest.mark.slow
def test_a_constant_target_in_a_process_of_its_own(data, tmp_path):
    """One warning in one line, 'undefined' in the table, and nothing else on standard error."""
    command = [
        *(sys.executable, "-m", "cpdjax.cli", "sweep", "--features", str(data / "mine.npz")),
        *("--targets", str(data / "flat.csv"), "--layers", "first", *QUICK),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, encoding="utf8", timeout=300,
        env=os.environ | {"PYTHONIOENCODING": "utf8"},
    )  # fmt: skip
    [line] = without_progress(done.stderr).splitlines()
    assert line.startswith("cpdjax: warning: R² is undefined (NaN) where")
    assert line.endswith(": mu")
    [row] = (row for row in done.stdout.splitlines() if row.startswith("mine"))
    assert row.split()[-1] == "undefined"
    assert done.returncode == 0
    assert names(tmp_path / "cpdjax-results") == WRITTEN


def test_interrupted(finished, data, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    command = [
        "sweep", "--features", data / "mine.npz", "--targets", data / "mine.csv", *QUICK,
        "--out", tmp_path / "out",
    ]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("cpdjax.sweeps.checkpoint.Checkpoint.save", interrupted)
        status, printed, errors = call(*command)
    assert (status, printed) == (130, "")
    assert errors == "cpdjax: interrupted; the same command goes on where it stopped\n"
    assert names(tmp_path / "out") == ["SHA256SUMS", "sweep.json"]
    assert call(*command)[0] == 0
    assert (tmp_path / "out/results.csv").read_bytes() == (finished[0] / "results.csv").read_bytes()


# One line for whatever is wrong

MINE = ["--features", "mine.npz", "--targets", "mine.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--features", "mine.npy", "--targets", "mine.csv"], "unknown file 'mine.npy'"),
        (
            ["--features", "coulomb-spectrm", "--targets", "mine.csv"],
            "did you mean coulomb-spectrum",
        ),
        (["--features", "coulomb-spectrum", "--targets", "mine.csv"], "needs structures"),
        (["--features", "short.npz", "--targets", "mine.csv"], "50 molecules but the targets have"),
        (["--features", "nan.npz", "--targets", "mine.csv"], "molecule 7, column 3"),
        (["--features", "cut.npz", "--targets", "mine.csv"], "cannot read features from cut.npz"),
        (["--features", "few.npz", "--targets", "few.csv"], "5 folds need at least as many"),
        (["--features", "mine.npz", "--targets", "none.csv"], "cannot read none.csv"),
        (["--features", "mine.npz", "--targets", "alone.csv"], "'formula' or 'smiles'"),
        (["--features", "mine.npz", "--targets", "badformula.csv"], "cannot read 'C?' as formula"),
        (["--dataset", "none.extxyz", "--targets", "gap"], "cannot read none.extxyz"),
        (["--dataset", "mine.csv"], "cannot read mine.csv as structures"),
        ([*MINE, "--layers", "frist"], "did you mean first"),
        ([*MINE, "--layers", ","], "layers: "),
        ([*MINE, "--irreps", "1o"], "unknown irrep '1o'; known: 0e"),
        ([*MINE, "--sizes", "30,61"], "size 61 is larger than the data: 60 molecules"),
        ([*MINE, "--sizes", "thirty"], "sizes: "),
        ([*MINE, "--alphas", "-1"], "alphas: Input should be greater than or equal to 0"),
        ([*MINE, "--alphas", "lo"], "'loo', got 'lo'"),
        ([*MINE, "--repeats", "0"], "repeats: "),
        ([*MINE, "--repeats", "two"], "--repeats"),
        ([*MINE, "--seed", "-1"], "seed: "),
        ([*MINE, "--pool", "max"], "'mean' or 'sum'"),
        ([*MINE, "--format", "hdf"], "'zarr' or 'netcdf'"),
        ([*MINE, "--group-by", "mass"], "group_by: "),
        ([*MINE, "--n", "50"], "n draws molecules from QM9"),
        ([*MINE, "--repeat", "3"], "No such option: --repeat"),
        (["broken.toml"], "broken.toml is no valid TOML"),
        (["none.toml"], "cannot read none.toml"),
        (["mine.npz"], "mine.npz is no valid TOML"),
        (["typo.toml"], "unknown setting 'repeat'; did you mean repeats"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, words, data, tmp_path, monkeypatch):
    monkeypatch.chdir(data)
    before = names(data)
    status, printed, errors = call("sweep", *arguments, "--out", tmp_path / "out")
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("cpdjax: ")
    assert words in line
    assert not (tmp_path / "out").exists()
    assert names(data) == before


def test_an_unknown_target_has_its_neighbours(tmp_path):
    water = "3\nProperties=species:S:1:pos:R:3 gap={}\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"
    (tmp_path / "x.extxyz").write_text("".join(water.format(i) for i in range(20)))
    status, printed, errors = call(
        "sweep", "--dataset", tmp_path / "x.extxyz", "--targets", "gpa", "--out", tmp_path / "out"
    )
    assert (status, printed) == (2, "")
    assert errors == "cpdjax: unknown target 'gpa'; did you mean gap?\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["mine.csv", "mine.csv/out", "/dev/null/out"])
def test_where_no_folder_can_be_made(out, data, monkeypatch):
    monkeypatch.chdir(data)
    before = (data / "mine.csv").read_bytes()
    status, printed, errors = call("sweep", *MINE, *QUICK, "--out", out)
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("cpdjax: ")
    assert out.split("/out")[0] in line
    assert (data / "mine.csv").read_bytes() == before


def test_another_configuration_in_the_same_folder(finished, data, monkeypatch):
    out, _ = finished
    monkeypatch.chdir(data)
    before = (out / "results.csv").read_bytes()
    status, printed, errors = call("sweep", *MINE, *QUICK, "--seed", 1, "--out", out)
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert "another configuration (different: settings.seed)" in line
    assert (out / "results.csv").read_bytes() == before


@pytest.mark.parametrize("path", ["none", "mine.npz", "."])
def test_report_without_results(path, data, monkeypatch):
    monkeypatch.chdir(data)
    before = names(data)
    status, printed, errors = call("report", path)
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert line.startswith("cpdjax: ")
    assert names(data) == before


def test_an_unknown_command():
    status, printed, errors = call("swep")
    assert (status, printed) == (2, "")
    assert errors.startswith("cpdjax: No such command 'swep'")
    assert len(errors.splitlines()) == 1


@pytest.mark.slow
def test_extract_then_sweep(tmp_path):
    """From a model's name and a file of molecules to a store, and from the store to a table."""
    frames = [molecule(name) for name in ("CH4", "H2O", "NH3", "C2H6", "CH3OH", "HCN") * 4]
    rng = np.random.default_rng(0)
    for frame in frames:
        frame.positions += 0.05 * rng.normal(size=frame.positions.shape)
        frame.info["gap"] = rng.normal()
    file, store = tmp_path / "mine.extxyz", tmp_path / "features.zarr"
    write(file, frames)
    status, printed, errors = call("extract", "ani-2x-aev", file, "--out", store, "--pool", "sum")
    assert (status, printed, errors) == (0, f"saved {store}\n", "")
    assert call("extract", "ani-2x-aev", file, "--out", store, "--pool", "sum")[0] == 0
    says(call("extract", "ani-2x-aev", file, "--out", store), "pool")
    targets = tmp_path / "targets.csv"
    formulas = [frame.get_chemical_formula() for frame in frames]
    gap = [frame.info["gap"] for frame in frames]
    pd.DataFrame({"formula": formulas, "gap": gap}).to_csv(targets, index=False)
    command = ["sweep", "--features", store, "--targets", targets, "--sizes", "24"]
    status, printed, errors = call(*command, "--repeats", "1", "--out", tmp_path / "out")
    assert status == 0, errors
    assert "radial" in printed


def test_extract_says_what_is_wrong(tmp_path):
    out = tmp_path / "features.zarr"
    write(tmp_path / "si.extxyz", molecule("SiH4"))
    mine = ("extract", "ani-2x-aev", tmp_path / "si.extxyz", "--out", out)
    says(call(*mine), "has Si; ani-2x-aev knows H")
    says(call(*mine, "--layers", ""), "layers is empty")
    says(call("extract", "sevenet-0", "qm9", "--out", out), "did you mean")
    says(call("extract", "ani-2x-aev", tmp_path / "no.extxyz", "--out", out), "no.extxyz")
    says(call("extract", "ani-2x-aev", tmp_path / "si.extxyz", "--n", "3", "--out", out), "--n")
    assert not out.exists()


def says(result, text):
    """One line on standard error that holds `text`, exit status 2 and nothing printed."""
    status, printed, errors = result
    assert (status, printed) == (2, "")
    [line] = errors.splitlines()
    assert text in line
