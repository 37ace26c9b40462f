"""Progress: stages within stages, on a terminal, in plain lines, in a notebook, and where not."""

import io
import re
import sys
import threading

import numpy as np
import pytest
from rich.console import Console

from cpdjax import progress
from cpdjax.features import sources
from cpdjax.progress import showing
from cpdjax.progress.lines import EVERY, Lines
from cpdjax.progress.stages import Stage, Stages
from cpdjax.progress.terminal import Rows
from cpdjax.progress.words import line


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stages(clock):
    """A whole of six stages."""
    found = Stages("starting", clock)
    found.whole.expected = 6
    return found


def drawn(stages, width=80):
    """The rows of a terminal as they stand now."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(Rows(stages, console).rows())
    return console.file.getvalue()


@pytest.fixture
def lines(stages, monkeypatch):
    """What a log says of these stages; nothing looks at the clock but the test."""
    written = []
    monkeypatch.setattr(Lines, "write", lambda _, text: written.append(text))
    display = Lines(stages)
    monkeypatch.setattr(showing, "_now", (stages, display))
    return display, written


# Stages


@pytest.mark.parametrize("done", [0, 7])
def test_a_stage_says_compiling_until_the_first_item_has_come_back(done, stages, clock):
    probing = stages.begin(Stage("probing", 20, done, clock=clock))
    for _ in range(2):
        clock.now += 1
        assert "compiling" in drawn(stages)
        assert "/20" not in drawn(stages)
    probing.advance()
    assert f"{done + 1}/20" in drawn(stages)
    assert "compiling" not in drawn(stages)


def test_a_line_parts_compiling_from_what_is_done_and_counts_follow_at_once(stages, clock):
    stages.begin(Stage("permutations", clock=clock))
    drawing = stages.begin(Stage("drawing permutations", 9, clock=clock))
    assert line(stages).endswith("permutations: drawing permutations: compiling")
    drawing.advance()
    assert line(stages).endswith("permutations: drawing permutations 1/9")


def test_items_that_wait_for_no_program_are_counted_from_the_first_on(stages, clock):
    stages.begin(Stage("making conformers", 20, clock=clock, compiled=False))
    assert "0/20" in drawn(stages)
    assert "compiling" not in drawn(stages)


def test_nothing_is_compiled_where_nothing_is_left_to_do(stages, clock):
    stages.begin(Stage("probing", 20, 20, clock=clock))
    assert "20/20" in drawn(stages)


def test_the_time_left_is_that_of_the_pace_after_compilation(stages, clock):
    probing = stages.begin(Stage("features of painn-qm9-gap", 2000, clock=clock))
    clock.now += 60  # of compilation
    probing.advance(200)
    assert probing.seconds_left is None
    clock.now += 10
    probing.advance(300)  # 30 a second
    assert probing.seconds_left == pytest.approx(50)
    assert line(stages) == "stage 1 of 6: features of painn-qm9-gap 500/2,000, 50 s left"


def test_no_time_is_told_while_more_may_be_compiled(stages, clock):
    probing = stages.begin(Stage("probing", 60, clock=clock))
    for _ in range(3):
        probing.advance()
        assert probing.seconds_left is None
        clock.now += 20  # of compilation, again
    clock.now += 2
    probing.advance()
    assert probing.seconds_left is not None


def test_the_whole_counts_its_own_stages_and_not_those_inside(stages, clock):
    reading = stages.begin(Stage("data", clock=clock))
    inner = stages.begin(Stage("reading QM9", clock=clock))
    assert line(stages) == "stage 1 of 6: data: reading QM9"
    stages.close(inner)
    stages.close(reading)
    assert (stages.number, stages.whole.finished) == (1, 1)
    sweep = stages.begin(Stage("means of all models", clock=clock))
    sweep.expected = 4
    stages.close(stages.begin(Stage("opening", clock=clock)))
    stages.begin(Stage("probing", 10, clock=clock)).advance(5)
    assert stages.number == 2
    assert stages.fraction == pytest.approx((1 + (1 + 0.5) / 4) / 6)


def test_a_stage_that_fails_is_closed_with_all_inside(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.shown(True):
        with pytest.raises(KeyError), progress.stage("outer"), progress.stage("inner"):
            raise KeyError
        assert len(showing._now[0]._path) == 1
    assert showing._now is None


def test_stages_of_other_threads_are_not_shown(lines):
    _, written = lines

    def work():
        with progress.stage("elsewhere"):
            progress.count(3).advance()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not written


# Plain lines


def test_a_log_has_a_line_at_every_stage_and_one_every_30_seconds(lines, clock):
    display, written = lines
    with progress.stage("probing", 40) as probing:
        probing._clock = clock
        assert written == ["stage 1 of 6: probing: compiling"]
        for _ in range(29):
            clock.now += 1
            display.look()
        assert len(written) == 1
        probing.advance(10)
        clock.now += 1
        probing.advance(2)  # two a second
        display.look()
        assert written[1:] == ["stage 1 of 6: probing 12/40, 14 s left"]
        clock.now += EVERY
        display.look()
        assert len(written) == 3
    with progress.stage("figures"):
        pass
    assert written[3:] == ["stage 2 of 6: figures"]
    assert EVERY == 30


def test_a_stage_without_items_says_how_long_it_has_taken(lines, clock):
    display, written = lines
    with progress.stage("planted truth") as planted:
        planted.began, planted._clock = clock.now, clock
        clock.now += 90
        display.look()
    assert written == ["stage 1 of 6: planted truth", "stage 1 of 6: planted truth 1 min 30 s"]


def test_models_and_files_are_counted_while_they_are_opened(stages, lines, monkeypatch):
    said, own = [], sources._source

    def opened(*source):
        said.append(line(stages))
        return own(*source)

    monkeypatch.setattr(sources, "_source", opened)
    sources.open_sources({name: np.ones((4, 2)) for name in ("mine", "other", "third")})
    for text, count in zip(said, ("0/3", "1/3", "2/3"), strict=True):
        assert f"opening models and files {count}" in text


def test_lines_go_to_standard_error_and_are_lines(capsys):
    with progress.shown(True):
        progress.expect(2)
        with progress.stage("features of a\nb\x1b[2J", 4) as shown:
            shown.advance(4)
        with progress.stage("figures"):
            pass
    printed, errors = capsys.readouterr()
    assert printed == ""
    first, second = errors.splitlines()
    assert first == r"cpdjax: stage 1 of 2: features of a\nb\x1b[2J: compiling"
    assert second == "cpdjax: stage 2 of 2: figures"


def test_nothing_is_shown_where_nobody_asks(capsys):
    with progress.shown(False), progress.stage("probing", 2) as shown:
        progress.expect(3)
        shown.advance()
        progress.count(5).advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_a_standard_error_that_is_gone_is_no_trouble(error, monkeypatch):
    class Gone(io.StringIO):
        def write(self, _):
            raise error

    for stream in (None, Gone()):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.shown(True), progress.stage("probing"):
            pass


# Terminals


class Terminal(io.StringIO):
    """A terminal that keeps what it is told."""

    encoding = "utf-8"

    def isatty(self):
        return True


def watched(monkeypatch, kind="xterm"):
    """A terminal in place of standard error, from now to the end of the test."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "80")
    return found


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_two_rows_of_80_columns_say_what_is_done_and_how_far_all_is(stages, clock):
    stages.begin(Stage("irreps of painn-qm9-gap", clock=clock))
    stages.begin(Stage("power-spectrum", clock=clock))
    stages.begin(Stage("features of painn-qm9-gap", 2000, clock=clock)).advance(640)
    clock.now += 125
    first, second = drawn(stages).splitlines()
    assert first.startswith("stage 1 of 6: irreps of painn-qm9-gap ")
    assert "2 min 5 s" in first
    assert second.startswith("power-spectrum: features of painn-qm9-gap ")
    assert "640/2,000" in second
    assert all(len(row) <= 80 for row in (first, second))
    stages.begin(Stage("x" * 100, clock=clock))
    assert all(len(row) <= 80 for row in drawn(stages).splitlines())


def test_a_terminal_shows_the_stages_of_nested_calls_and_is_clean_at_the_end(monkeypatch):
    terminal = watched(monkeypatch)

    def inner():
        with progress.shown(True), progress.stage("probing", 3) as probing:
            probing.advance()
            showing._now[1]._live.refresh()

    with progress.shown(True):
        progress.expect(2)
        inner()
    text = terminal.getvalue()
    assert "stage 1 of 2" in plain(text)
    assert "probing" in plain(text)
    assert "1/3" in plain(text)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    assert text.endswith("\x1b[1A\x1b[2K")  # and the rows are gone


def test_what_is_written_meanwhile_stands_above_the_rows(monkeypatch):
    terminal = watched(monkeypatch)
    with progress.shown(True), progress.stage("probing"):
        with progress.paused(), progress.paused():  # one that calls another
            terminal.write("<a table>")
        showing._now[1]._live.refresh()
    before, after = terminal.getvalue().split("<a table>")
    assert before.endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or before.endswith("\x1b[2K")
    assert "probing" in plain(after)


def test_what_takes_the_rows_away_counts_them(monkeypatch):
    watched(monkeypatch)
    assert progress.erased() == "\r\x1b[2K\x1b[?25h"
    with progress.shown(True), progress.stage("probing"):
        assert progress.erased() == "\r\x1b[2K\x1b[?25h"
    with progress.shown(True):
        progress.expect(2)
        with progress.stage("probing"):
            assert progress.erased() == "\r\x1b[2K\x1b[1A\x1b[2K\x1b[?25h"


def test_a_terminal_that_moves_no_cursor_gets_lines(monkeypatch):
    terminal = watched(monkeypatch, "dumb")
    with progress.shown(True), progress.stage("probing"):
        pass
    assert terminal.getvalue() == "cpdjax: probing\n"


# Notebooks


def test_a_notebook_has_one_line_that_is_written_anew(monkeypatch):
    display = pytest.importorskip("IPython.display")
    shown = []

    class Handle:
        def update(self, content, raw):
            shown.append(content)

    def first(content, raw, display_id):
        shown.append(content)
        return Handle()

    monkeypatch.setattr(display, "display", first)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    with progress.shown(True):
        progress.expect(2)
        with progress.stage("features of <mine>", 4) as features:
            features.advance(2)
            showing._now[1].changed()
    assert [content["text/plain"] for content in shown] == [
        "starting",
        "stage 1 of 2: features of <mine>: compiling",
        "stage 1 of 2: features of <mine> 2/4",
        "ended after 0 s",
    ]
    assert 'value="0.250"' in shown[2]["text/html"]
    assert "&lt;mine&gt;" in shown[2]["text/html"]
