"""Tables of every command: whole names in 80 columns, plain lines in a pipe, JSON for scripts."""

import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.io import write
from helpers import call
from rich.cells import cell_len
from rich.console import Console

import cpdjax
from cpdjax.checks import suite
from cpdjax.checks.outcome import reported, required
from cpdjax.cli import terminal
from cpdjax.models import training, zoo
from cpdjax.probes.ladder import Ladder
from cpdjax.reports import checks, findings, score_figures
from cpdjax.reports.sheet import Column, Sheet
from cpdjax.reports.spaces import figures as space_figures
from cpdjax.reports.spaces import page as space_page
from cpdjax.representations import results as compared
from cpdjax.studies import ladders, reproduction
from cpdjax.studies.finding import Finding
from cpdjax.studies.measured import Measured
from cpdjax.studies.reproduction import Reproduction

WIDTH, N = 80, 60
LONG, OTHER = "dimenet++-qm9-energy", "sevennet-0-22may2024"
LAYERS = ("interaction_0", "interaction_13", "readout")
TARGETS = ("gap", "mu", "alpha", "heat_of_formation_at_298_K")
RNG = np.random.default_rng(0)


def opened():
    """A pseudo-terminal of 80 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    return master, slave


def read(master):
    """What was written to a pseudo-terminal until it was closed."""
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # as Linux says that nobody writes any more
            part = b""
        if not part:
            os.close(master)
            return b"".join(parts).decode().replace("\r\n", "\n")
        parts.append(part)


def on_terminal(*arguments, status=0):
    """What a command in this process shows in a terminal of 80 columns."""
    master, slave = opened()
    shown = []
    reader = threading.Thread(target=lambda: shown.append(read(master)))
    reader.start()
    with pytest.MonkeyPatch.context() as patch, open(slave, "w", encoding="utf-8") as stream:
        patch.setattr(sys, "argv", ["cpdjax", *map(str, arguments)])
        patch.setattr(sys, "stdout", stream)
        patch.setenv("COLUMNS", str(WIDTH))
        patch.setenv("TERM", "dumb")
        with pytest.raises(SystemExit) as stopped:
            cpdjax.cli.app.main()
    reader.join()
    assert stopped.value.code == status
    return shown[0]


def piped(*arguments, status=0):
    found, text, errors = call(*arguments)
    assert (found, errors) == (status, "")
    return text


def as_json(*arguments, status=0):
    return json.loads(piped(*arguments, "--json", status=status))


def assert_whole(text, *words, width=WIDTH):
    """Nothing is cut, nothing is wider than the terminal, and all the words are there."""
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "…" not in text
    assert "Traceback" not in text
    assert [word for word in words if word not in text] == []


def in_one_line(text, *words):
    """The lines that hold all the words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sweeps of models with long names, and both joined; commands run where they are."""
    place = tmp_path_factory.mktemp("tables")
    x = RNG.normal(size=(N, 8))
    formulas = ["CH4", "C2H6", "H2O", "CO2", "CH4O", "NH3"] * 10
    y = dict(zip(TARGETS, (x[:, 0], x[:, 1], x[:, 2], RNG.normal(size=N)), strict=True))
    y["gap"] = y["gap"] + 0.1 * RNG.normal(size=N)
    pd.DataFrame({"formula": formulas, **y}).to_csv(place / "mine.csv", index=False)
    np.savez(place / f"{LONG}.npz", **dict(zip(LAYERS, (x, np.tanh(x), x[:, :1]), strict=True)))
    np.savez(place / f"{OTHER}.npz", interaction_0=x + RNG.normal(size=x.shape))
    return place


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    """Where the data are, and without figures, which others look at."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(score_figures, "save_figures", lambda *_: [])


SWEEP = ["--targets", "mine.csv", "--sizes", N, "--repeats", 2, "--permutations", 19]


@pytest.fixture(scope="module")
def joined(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(score_figures, "save_figures", lambda *_: [])
        printed = on_terminal("sweep", "--features", f"{LONG}.npz", *SWEEP, "--out", "a")
        found = as_json("sweep", "--features", f"{OTHER}.npz", *SWEEP, "--out", "b")
        both = on_terminal("merge", "a", "b", "--out", "both")
    return printed, found, both


def test_sweep_and_merge(joined):
    printed, found, both = joined
    assert_whole(printed, LONG, *LAYERS, *TARGETS, "composition alone", "saved a/results.csv")
    assert_whole(both, LONG, OTHER, *LAYERS, *TARGETS, "0.05 the smallest possible")
    assert set(found) == {"scores", "uncertainty", "left_out", "hints", "saved"}
    assert "b/results.csv" in found["saved"]
    rows = found["scores"]["rows"]
    assert [(row["model"], row["target"]) for row in rows] == [(OTHER, t) for t in TARGETS]
    assert {row["layer"] for row in rows} == {"interaction_0"}
    assert all(row["p_adjusted"] >= 0.05 for row in found["uncertainty"]["rows"])


def test_report(joined):
    assert_whole(on_terminal("report", "both"), LONG, OTHER, *LAYERS, *TARGETS)
    text = piped("report", "both")
    for layer in LAYERS:  # in both tables, and each with all targets
        assert [len(line.split()) for line in in_one_line(text, LONG, layer)] == [15, 11]
    assert len(in_one_line(text, *TARGETS)) == 2
    rows = as_json("report", "both")["scores"]["rows"]
    assert len(rows) == 4 * len(TARGETS)


def test_compare(joined):
    shown = on_terminal("compare", "both")
    assert_whole(shown, f"gap: minus {OTHER} (interaction_0)", LONG, "interaction_13", *TARGETS)
    piped_rows = in_one_line(piped("compare", "both", "--reference", LONG), LONG, OTHER)
    assert [line.split()[0] for line in piped_rows] == list(TARGETS)
    rows = as_json("compare", "both", "--layer", "interaction_0")["differences"]["rows"]
    assert {row["reference_layer"] for row in rows} == {"interaction_0"}
    by_hand = cpdjax.differences(cpdjax.sweeps.results.load("both"))
    assert set(by_hand["layer"]) == {"interaction_13"}  # the last interaction layer
    assert by_hand["p_adjusted"].tolist() == [
        row["p_adjusted"] for row in as_json("compare", "both")["differences"]["rows"]
    ]


def test_compare_takes_training_runs_together(folder):
    names = (LONG, OTHER, f"{OTHER}-run1", f"{OTHER}-run2")
    for name in names[2:]:
        np.savez(f"{name}.npz", interaction_0=RNG.normal(size=(N, 8)))
    given = [part for name in names for part in ("--features", f"{name}.npz")]
    on_terminal("sweep", *given, "--targets", "mine.csv", "--sizes", N, "--repeats", 2,
                "--layers", "interaction_0", "--alphas", 1, "--out", "runs")  # fmt: skip
    shown = on_terminal("compare", "runs", "--target", "gap")
    together = shown.partition("training runs together")[2]
    assert_whole(shown, *names, "Differences of R²_geom, training runs together")
    assert f"{OTHER}-run1" not in together
    assert "1 − 3" in together
    found = as_json("compare", "runs", "--target", "gap", "--reference", f"{OTHER}-run2")
    [row] = found["differences_of_runs"]["rows"]
    assert (row["model"], row["reference"], row["reference_runs"]) == (LONG, OTHER, 3)
    assert len(found["differences"]["rows"]) == 3
    assert row["low"] < row["difference"] < row["high"]


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """Folders of two comparisons of models with long names: five channels, and two."""
    place = tmp_path_factory.mktemp("spaces")
    formulas = np.repeat(RNG.poisson(3, (6, 3)), 10, axis=0).astype(float)
    x = RNG.normal(size=(N, 8)) + formulas @ RNG.normal(size=(3, 8))
    many = {LONG: dict(zip(LAYERS, (x, np.tanh(x), x[:, :1]), strict=True)), OTHER: x[:, :3]}
    settings = {"measures": ["procrustes", "effective_rank"], "permutations": 2, "bootstrap": 2}
    for name, features in {
        "many": many | {"counts": formulas},
        "two": {LONG: x, OTHER: -x},
    }.items():
        table = cpdjax.spaces(features, formulas, **settings)
        compared.save(table, place / name / "spaces.zarr")
    return place


@pytest.fixture
def unpictured(monkeypatch):
    """Neither figures nor a page, which take seconds and have tests of their own."""

    def page(table, figures, folder, command):
        (folder / "report.html").touch()
        return folder / "report.html"

    monkeypatch.setattr(space_figures, "save_figures", lambda *_: [])
    monkeypatch.setattr(space_page, "save", page)


@pytest.mark.filterwarnings("ignore::cpdjax.errors.LeftOutWarning")
def test_report_of_spaces(spaces, unpictured):
    shown = on_terminal("report", spaces / "many")
    assert_whole(shown, f"{LONG} / interaction_13", f"{OTHER} / features", "composition removed")
    assert "channels left out: counts" in shown
    assert_whole(on_terminal("report", spaces / "two"), f"{LONG} / features", "Procrustes")
    lines = in_one_line(
        piped("report", spaces / "many"), "Procrustes", "95 % interval", "adjusted p"
    )
    assert len(lines) == 1
    found = as_json("report", spaces / "many")
    assert len(found["channels"]["rows"]) == 10
    assert {row["projection"] for row in found["nearest"]["rows"]} == {"ols", "none"}
    assert len(found["measures"]) == 10 + 6  # pairs of five channels raw, and of four
    assert found["measures"][0]["value"] >= found["measures"][0]["low"] - 0.1


def test_spaces_are_compared_and_kept(tmp_path, monkeypatch, unpictured):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", RNG.normal(size=(30, 4)))
    np.save("b.npy", RNG.normal(size=(30, 3)))
    command = ["spaces", "--features", "a.npy", "--features", "b.npy", "--measures", "procrustes"]
    status, printed, errors = call(*command)
    assert (status, printed) == (2, "")
    assert errors.count("\n") == 1
    assert "give C (row, element), or a dataset" in errors
    text = piped(*command, "--projection", "none", "--format", "netcdf")
    assert "saved cpdjax-spaces/spaces.nc" in text
    again = as_json("report", "cpdjax-spaces")["pairs"]["rows"]
    assert f"{again[0]['value']:.2f}" in text
    for path in ("cpdjax-spaces", "cpdjax-spaces/spaces.nc"):
        status, printed, errors = call("compare", path)
        assert (status, printed, errors.count("\n")) == (2, "", 1)
        assert f"`cpdjax report {path}`" in errors
    status, _, errors = call("compare", "nothing")
    assert (status, errors.count("\n")) == (2, 1)
    assert "no results at nothing: give a sweep's folder" in errors


def test_recommend(joined, tmp_path, monkeypatch):
    shown = on_terminal("recommend", "both")
    assert_whole(shown, LONG, "interaction_13", "For gap take", "channels are left out")
    rows = as_json("recommend", "both")["recommendation"]["rows"]
    assert rows
    assert all(row["low"] > 0 for row in rows)
    assert "ms: cost" not in shown  # none is known
    assert "heat_of_formation_at_298_K" not in {row["target"] for row in rows}
    assert "For heat_of_formation_at_298_K no channel certainly" in piped("recommend", "both")
    monkeypatch.chdir(tmp_path)
    status, printed, errors = call("recommend")
    assert (status, printed) == (2, "")
    assert errors.count("\n") == 1
    assert "run `cpdjax reproduce` first" in errors


def test_verify_and_extract(joined):
    assert_whole(on_terminal("verify", "both"), "ok", "results.zarr", width=200)
    write("few.extxyz", [molecule(name) for name in ("H2O", "CH4")])
    for name, show in {"one": on_terminal, "two": piped}.items():
        text = show("extract", "coulomb-spectrum", "few.extxyz", "--out", f"{name}.zarr")
        assert text == f"saved {name}.zarr\n"


def test_models():
    shown, text = on_terminal("models"), piped("models")
    for name in cpdjax.models.names():
        assert len(in_one_line(shown, f"{name} ")) == 1
        assert len(in_one_line(text, f"{name} ")) == 1
        assert_whole(on_terminal("models", name), name)
    assert_whole(shown, "trained on")
    assert_whole(on_terminal("models", "--layers"), *cpdjax.models.names(), "128x0e+64x1e")
    assert [row["model"] for row in as_json("models")["models"]["rows"]] == [*cpdjax.models.names()]


def test_ladder(monkeypatch):
    rungs = ("composition", "bonds and rings", "functional groups", "geometry")
    r2 = np.round(RNG.uniform(size=(4, 5, 2)), 4)
    found = Ladder(rungs, (5, 22, 40, 23), r2, r2[:3])
    monkeypatch.setattr(ladders, "ladder", lambda *_, **__: found)
    arguments = ("ladder", "coulomb-spectrum", "--n", 30, "--targets", "gap,mu")
    assert_whole(on_terminal(*arguments), *rungs, "gap (eV)", "μ (D)", "added", "beyond")
    assert len(in_one_line(piped(*arguments), "μ (D)")) == 4
    rows = as_json(*arguments)["ladder"]["rows"]
    assert [row["rung"] for row in rows] == [*rungs, *rungs]
    assert rows[1]["r2_added"] == pytest.approx(rows[1]["r2"] - rows[0]["r2"])
    several = (arguments[0], "coulomb-spectrum,composition-only", *arguments[2:])
    shown = on_terminal(*several)
    assert_whole(shown, "1 composition", "3 functional groups", "composition-only", "beyond")
    assert "Controls: composition-only (no coordinate)." in shown
    rows = as_json(*several)["ladder"]["rows"]
    assert [row["model"] for row in rows[2:5]] == ["", "coulomb-spectrum", "composition-only"]
    assert rows[4]["r2_added"] == pytest.approx(rows[4]["r2"] - rows[2]["r2"])
    assert rows[4]["r2_geom_beyond"].keys() == set(rungs[:3])


def test_check(monkeypatch):
    wanted = "between the ends of an interval that is explained at some length"
    outcomes = [
        (f"{LONG} / interaction_13 / all", required("isomers", "accuracy, heat_of_formation", 0.9,
                                                     (0.5, 1), wanted, (0.8, 0.95))),
        (f"{LONG} / interaction_13 / all", required("leakage", "change of R²", 0.2, (0, 0.1), "")),
        (OTHER, reported("leakage", "change of R² where there is no projection", np.nan)),
    ]  # fmt: skip
    found = SimpleNamespace(dataset="mine", molecules=60, passed=False, outcomes=outcomes)
    monkeypatch.setattr(suite, "run", lambda *_, **__: found)
    monkeypatch.setattr(checks, "save", lambda *_: [])
    names = (f"{LONG} / interaction_13 / all, isomers", OTHER, "0.900 (0.800, 0.950)", "FAIL")
    assert_whole(on_terminal("check", status=1), *names, "A CHECK FAILS", "verdict")
    [line] = in_one_line(piped("check", status=1), LONG, "isomers")
    assert wanted in line
    rows = as_json("check", status=1)["checks"]["rows"]
    assert [row["verdict"] for row in rows] == ["pass", "FAIL", "reported"]
    assert rows[2]["value"] is None


def test_reproduce(monkeypatch):
    lines = [
        Finding(f"alignment-{name}", f"task alignment, {name}: trained on gap minus trained on "
                "energy", "about +0.25",
                f"{LONG} 0.123 (0.100, 0.150) to {OTHER} 0.456 (0.400, 0.500), a factor of 3.7",
                verdict, remark="remark")
        for name, verdict in {"painn": "holds", "mace": "does not hold"}.items()
    ]  # fmt: skip
    found = Reproduction(lines, Measured({}), [])
    monkeypatch.setattr(reproduction, "reproduce", lambda *_, **__: found)
    monkeypatch.setattr(findings, "save", lambda *_: [])
    monkeypatch.setattr(reproduction, "subjects", lambda *_: [])
    assert_whole(on_terminal("reproduce"), *(line.name for line in lines), LONG, OTHER, "verdict")
    assert len(in_one_line(piped("reproduce"), LONG, OTHER, "0.456 (0.400, 0.500)")) == 2
    rows = as_json("reproduce")["findings"]["rows"]
    assert [row["verdict"] for row in rows] == ["holds", "does not hold"]


def test_train(monkeypatch):
    made = SimpleNamespace(parameters=1234)
    monkeypatch.setattr(training, "train", lambda *_, **__: made)
    monkeypatch.setattr(zoo, "card", lambda _: {"architecture": "painn", "test_mae": 0.1})
    write("train.extxyz", [molecule("H2O")])
    given = ("train", "--model", "painn", "--target", "gap", "--dataset", "train.extxyz")
    for show in (on_terminal, piped):
        assert_whole(show(*given, "--out", "run"), "architecture", "saved run, 1,234 parameters")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("report", "both"), ("models",), ("compare", "both")])
def test_a_real_terminal(arguments, joined):
    master, slave = opened()
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "cpdjax.cli", *arguments, "--quiet"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True,
        env=environment | {"NO_COLOR": "1"},
    )  # fmt: skip
    os.close(slave)
    text = read(master)
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 0
    plain = text.replace("\x1b[1m", "").replace("\x1b[3m", "")
    plain = plain.replace("\x1b[0m", "").replace("\x1b[2m", "")
    names = cpdjax.models.names() if arguments == ("models",) else (LONG, OTHER, *TARGETS)
    assert_whole(plain, *names)


# Sheets

SHEET = Sheet(
    "x",
    "Scores",
    [Column("model", "name"), Column("layer", "name"), *(Column(f"target {i}") for i in range(6))],
    [[LONG, "interaction_13", *[f"{i}.50 (0.40, 0.60)" for i in range(6)]]] * 2,
    [],
)


@pytest.mark.parametrize("width", [1, 8, 20, 37, 40, 60, 80, 120, 300])
def test_at_any_width_every_character_is_shown(width):
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=True, color_system=None).print(SHEET)
    assert max(map(len, text.getvalue().splitlines())) <= width
    shown = "".join(text.getvalue().split())
    for word in [*(c.head for c in SHEET.columns), *SHEET.rows[0]]:
        assert word.replace(" ", "") in shown if width < 37 else word.split()[0] in text.getvalue()


def test_a_part_has_the_names_and_as_many_numbers_as_fit():
    text = io.StringIO()
    Console(file=text, width=80, force_terminal=True, color_system=None).print(SHEET)
    rows = in_one_line(text.getvalue(), LONG, "interaction_13")
    assert [line.split("interaction_13")[1].count("(") for line in rows] == [2, 2] * 3


def test_names_are_obeyed_nowhere():
    wild = "\x1b[31m[red]{0}:smile:"
    columns = [Column(wild, "group"), Column(wild, "name"), Column(wild)]
    sheet = Sheet("x", wild, columns, [[wild, wild, wild]], [], (wild,), heading="{0} of {0}")
    for width in (8, 40, 300):
        text = io.StringIO()
        Console(file=text, width=width, force_terminal=True, color_system=None).print(sheet)
        assert "\x1b" not in text.getvalue()
        assert "".join(text.getvalue().split()).count("[red]{0}:smile:") >= 5


def test_words_are_wrapped_before_anything_is_parted():
    sheet = Sheet("x", "", [Column("a", "name"), Column("b", "words"), Column("c")],
                  [["name", "many words " * 20, "1"]], [])  # fmt: skip
    text = io.StringIO()
    Console(file=text, width=50, force_terminal=True, color_system=None).print(sheet)
    assert text.getvalue().count("many") == 20
    assert max(map(len, text.getvalue().splitlines())) <= 50


def test_nothing_but_json_is_printed(capsys):
    @terminal.takes_json
    def command(number: int = 1):
        terminal.show(SHEET)
        terminal.show(SHEET, saved=[])
        return number

    assert command(number=3, as_json=True) == 3
    assert set(json.loads(capsys.readouterr().out)) == {"x"}
    assert command() == 1
    assert "Scores" in capsys.readouterr().out
