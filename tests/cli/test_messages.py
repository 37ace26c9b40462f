"""What `-q` and `-v` let through, and a package that says nothing unless it is asked."""

import logging
import os
import re
import select
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import call

from cpdjax import progress
from cpdjax.cli import messages
from cpdjax.cli.messages import show_progress
from cpdjax.errors import InputError
from cpdjax.progress.lines import Lines

LOG = logging.getLogger("cpdjax")


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A command that says something of every kind, and computes nothing."""

    def load(path):
        logging.getLogger("cpdjax.data").debug("a detail")
        warnings.warn("a warning", stacklevel=1)
        with progress.stage("reading"):
            raise InputError("an error")

    monkeypatch.setattr("cpdjax.sweeps.results.load", load)
    monkeypatch.setattr("helpers.Lines", Lines)  # lines of progress are part of what is said

    def said(*options, before=()):
        status, printed, errors = call(*before, "report", tmp_path, *options)
        assert (status, printed) == (2, "")
        return [line.removeprefix("cpdjax: ") for line in errors.splitlines()]

    return said


@pytest.mark.parametrize("place", ["before", "behind"])
def test_how_much_is_said(report, place):
    def said(option):
        return report(before=[option]) if place == "before" else report(option)

    assert report() == ["warning: a warning", "an error"]
    assert said("-q") == said("--quiet") == ["an error"]
    assert said("-v") == ["warning: a warning", "reading took 0.0 s", "an error"]
    assert said("-vv") == ["data: a detail", *said("-v")]


def test_both_at_once_are_refused(report):
    assert report("-q", "-v") == ["--quiet and --verbose: give one of them"]


def test_progress_is_shown_unless_it_is_quiet(capsys):
    assert show_progress()
    with messages.written():
        messages.ask_for(quiet=True, verbose=0)
        assert not show_progress()
        with progress.shown(show_progress()), progress.stage("reading"):
            pass
    assert show_progress()
    assert capsys.readouterr().err == ""


def test_the_package_says_nothing_unless_it_is_asked(caplog):
    code = """
import logging, cpdjax
from cpdjax.progress import stage
with stage("reading"):
    logging.getLogger("cpdjax.data").warning("nobody asked")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    with caplog.at_level(logging.INFO, "cpdjax"), progress.stage("reading"):
        pass
    assert "reading took" in caplog.text
    assert all(isinstance(handler, logging.NullHandler) for handler in LOG.handlers)


def silences(arguments, folder, environment=None):
    """Run a command on a terminal of 80 columns: its status, and the longest time between signs."""
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "cpdjax.cli", *map(str, arguments)], cwd=folder, stdin=theirs,
        stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(theirs)
    longest, last, text = 0.0, time.monotonic(), b""
    while True:
        select.select([ours], [], [], 600)
        try:
            found = os.read(ours, 65536)
        except OSError:  # the command has ended
            break
        if not found:
            break
        now = time.monotonic()
        longest, last, text = max(longest, now - last), now, text + found
    os.close(ours)
    return child.wait(), longest, text.decode()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["check", "--n", 400], ["loading libraries", "reading QM9", "checking ani-2x-aev"]),
        (["ladder", "ani-2x-aev", "--n", 400], ["counting bonds", "features of ani-2x-aev"]),
        (
            ["reproduce", "--models", "schnet-qm9-gap", "--n", 200, "--repeats", 2, "--sizes", 200],
            ["features of schnet-qm9-gap", "probing", "timing the best layers", "figures"],
        ),
    ],
)
def test_a_terminal_is_never_silent_for_five_seconds(command, words, tmp_path):
    status, longest, text = silences(command, tmp_path)
    assert status in (0, 1)
    assert longest <= 5
    assert all(word in text for word in words)
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_table_on_a_terminal_stands_alone_at_the_end(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", first=rng.normal(size=(40, 4)))
    formulas = ["CH4", "C2H6", "H2O", "CO2"] * 10
    pd.DataFrame({"formula": formulas, "gap": rng.normal(size=40)}).to_csv(tmp_path / "mine.csv")
    given = ["sweep", "--features", "mine.npz", "--targets", "mine.csv", "--repeats", 1]
    status, longest, text = silences([*given, "--sizes", 40], tmp_path)
    assert status == 0
    assert longest <= 5
    assert re.search(r"stage \d of 6", text)  # the first ones may be over in no time
    rows = re.compile(r"\x1b\[\?25l.*?\x1b\[\?25h\r?\n?(\r?\x1b\[1A\x1b\[2K)+", re.DOTALL)
    left = rows.sub("", text)  # without what was shown and taken away
    assert "R²_geom at N = 40" in left
    assert left.rstrip().endswith("saved cpdjax-results/report.html")
    assert "stage" not in left
