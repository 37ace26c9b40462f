"""A text names targets, or a table of them: a dot in a name does not make it a path."""

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.io import write
from helpers import one_line

from cpdjax.data.datasets import read
from cpdjax.errors import FileError, InputError
from cpdjax.sweeps.inputs import load
from cpdjax.sweeps.settings import Settings

FORMULAS = ["H2O", "CH4", "NH3"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A file of structures whose targets have names that look like paths, and tables."""
    frames = [molecule(name) for name in FORMULAS]
    for i, frame in enumerate(frames):
        frame.info = {"E.gap": float(i), "gap": 2.0 * i, "E.csv": 3.0 * i, "a.b.pq": 4.0 * i}
    write(tmp_path / "x.extxyz", frames)
    pd.DataFrame({"mine": np.arange(3.0)}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "gap").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(targets, dataset="x.extxyz"):
    return list(load(dataset, targets, None, Settings())[1].by_name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gap", ["gap"]),
        ("E.gap", ["E.gap"]),
        ("gap,E.gap", ["gap", "E.gap"]),
        ("E.gap,gap", ["E.gap", "gap"]),
        ("E.csv", ["E.csv"]),
        (" a.b.pq , E.csv", ["a.b.pq", "E.csv"]),
        ("t.csv", ["mine"]),
        ("./t.csv", ["mine"]),
        (["E.csv"], ["E.csv"]),
    ],
)
def test_a_name_is_a_name_and_a_table_a_table(folder, text, found):
    assert names(text) == found
    if "t.csv" not in text:
        assert names(text, read("x.extxyz")) == found


def test_a_table_need_not_end_as_one(folder):
    (folder / "t.csv").rename(folder / "targets.dat")
    assert names("targets.dat") == ["mine"]


@pytest.mark.parametrize("name", ["E.csv", "E.gap"])
def test_what_is_both_is_refused_and_can_be_named_otherwise(folder, name):
    (folder / "t.csv").rename(folder / name)
    with pytest.raises(InputError) as caught:
        names(name)
    one_line(caught, f"{name!r} is a file, and a target", f"./{name}", f'["{name}"]')
    assert names(f"./{name}") == ["mine"]
    assert names([name]) == [name]


def test_what_is_neither_is_said(folder):
    for dataset in ("x.extxyz", None):
        with pytest.raises(FileError) as caught:
            names("none.csv", dataset)
        one_line(caught, "none.csv")
    with pytest.raises(InputError) as caught:
        names("E.gpa")
    one_line(caught, "unknown target 'E.gpa'", "E.gap")
    with pytest.raises(InputError) as caught:
        names(",".join(f"E.{i}" for i in range(200)))  # longer than any file's name
    one_line(caught, "unknown target 'E.0'")
