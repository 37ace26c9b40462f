"""Progress bars: what they show before and after the first item, and where they show nothing."""

import io

import pytest
from rich.console import Console

from cpdjax import progress


def drawn(bar):
    """The bar as it stands on a terminal now."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    console.print(bar.get_renderable())
    return console.file.getvalue()


@pytest.mark.parametrize("done", [0, 7])
def test_a_bar_says_compiling_until_the_first_item_has_come_back(done, monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(progress, "Console", lambda **_: screen)
    with progress.progress_bar(True) as bar:
        task = bar.add_task("probing", total=20, completed=done)
        for _ in range(2):
            assert "compiling" in drawn(bar)
            assert "/20" not in drawn(bar)
        bar.advance(task)
        assert f"{done + 1}/20" in drawn(bar).replace(" ", "")
        assert "compiling" not in drawn(bar)


def test_nothing_is_compiled_where_nothing_is_left_to_do(monkeypatch):
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=io.StringIO(), width=100))
    with progress.progress_bar(True) as bar:
        bar.add_task("probing", total=20, completed=20)
        assert "20/20" in drawn(bar)


def test_a_bar_that_is_not_shown_writes_nothing(capsys):
    with progress.progress_bar(False) as bar:
        bar.advance(bar.add_task("probing", total=2))
    assert capsys.readouterr() == ("", "")
