"""Terminals show what they can: stand-ins for other characters, and nothing that they obey."""

import io
import json
import sys
from pathlib import Path

import pytest
from rich.table import Table

from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import put, say, show, show_all_characters, takes_json, tell


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r"R2 of alpha in A | \u5206 -"),
        ("latin-1", r"R² of alpha in Å | \u5206 -"),
        ("cp1252", r"R² of alpha in Å | \u5206 –"),
        ("cp437", r"R² of α in Å │ \u5206 -"),
        ("utf-8", "R² of α in Å │ 分 –"),
    ],
)
def test_a_terminal_that_lacks_characters_shows_stand_ins(
    encoding, expected, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    Path("α").mkdir()
    Path("α/\udcff").touch()
    text = "R² of α in Å │ 分 –"
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    show_all_characters()
    put(text)
    table = Table("R²")
    table.add_row(text)
    show(table, saved=[Path("α/\udcff")])
    say(text)
    found = {}
    for name, stream in streams.items():
        stream.flush()
        found[name] = stream.buffer.getvalue().decode(encoding)
    assert found["stdout"].splitlines()[0] == expected
    assert found["stderr"].strip() == f"cpdjax: {expected}"
    assert found["stdout"].count(expected) == 2
    assert found["stdout"].splitlines()[-1].endswith(r"/\udcff")


def test_streams_that_are_closed_or_broken_are_no_trouble(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    for stream in (None, Broken()):
        monkeypatch.setattr(sys, "stderr", stream)
        show_all_characters()
        say("x")
        assert show_progress() == (stream is not None)


def test_lines_are_lines(capsys):
    put("a\nb\x1b[2J")
    say("a\n  b\x1b[2J")
    printed, errors = capsys.readouterr()
    assert printed == "a\\nb\\x1b[2J\n"
    assert errors == "cpdjax: a b\\x1b[2J\n"


def test_sentences_break_between_words_in_a_terminal_and_nowhere_else(capsys, monkeypatch):
    text = f"targets left out: {', '.join(f'heat_of_formation-{i}' for i in range(9))} (known)"
    tell("left_out", {}, [text, "short"])
    assert capsys.readouterr().out.splitlines() == [text, "short"]
    monkeypatch.setattr("cpdjax.cli.terminal._is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "60")
    tell("left_out", {}, [text, "short"])
    first, *others, last = capsys.readouterr().out.splitlines()
    assert max(map(len, (first, *others))) < 60
    assert all(line.startswith("  heat") for line in others)
    assert " ".join([first, *map(str.strip, others)]) == text
    assert last == "short"


def test_sentences_are_part_of_the_json(capsys):
    @takes_json
    def command() -> None:
        tell("hints", ["take more"], ["take more"])

    command(as_json=True)
    assert json.loads(capsys.readouterr().out) == {"hints": ["take more"]}
