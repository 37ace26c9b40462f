"""Open and close the one display of progress, and the stages that it shows."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cpdjax.progress.stages import Stage, Stages

_log = logging.getLogger(__name__)


class Display(Protocol):
    """Describe what shows stages: rows of a terminal, plain lines, a notebook's cell."""

    @property
    def height(self) -> int: ...
    def start(self) -> None: ...
    def changed(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None: ...


_now: tuple[Stages, Display] | None = None
_pausing = threading.RLock()
_away = False


@contextmanager
def shown(progress: bool, doing: str = "starting") -> Iterator[None]:
    """Show the stages of the block, if `progress` asks for it and no caller shows them already."""
    global _now
    if not progress or _now is not None:
        yield
        return
    stages = Stages(doing)
    display = _display(stages)
    display.start()
    _now = stages, display
    try:
        yield
    finally:
        with _pausing:
            _now = None
            display.stop()


@contextmanager
def stage(
    doing: str,
    total: int | None = None,
    *,
    done: int = 0,
    counts: bool = True,
    compiled: bool = True,
) -> Iterator[Stage]:
    """Say in plain words what the block does, where stages are shown; its time is logged.

    Args:
        doing: such as "reading QM9".
        total: the number of items, of which the block says `advance`.
        done: how many of them an earlier call has done.
        counts: whether this is one of the stages that `expect` announced.
        compiled: whether the first item waits for a program to be compiled.
    """
    own = _own()
    opened = Stage(doing, total, done, counts=counts, compiled=compiled)
    if own is not None:
        own[0].begin(opened)
        own[1].changed()
    try:
        yield opened
    finally:
        if own is not None:
            own[0].close(opened)
        _log.info("%s took %.1f s", doing, opened.seconds)


def expect(stages: int) -> None:
    """Announce so many stages inside the one that is open."""
    own = _own()
    if own is not None:
        own[0].innermost.expected += stages


def count(total: int, done: int = 0) -> Stage:
    """Say how many items the open stage has, and return it; a stage that nobody sees without one.

    A stage is opened where its name is known, which may be before its items are.
    """
    own = _own()
    return (Stage("") if own is None else own[0].innermost).count(total, done)


@contextmanager
def paused() -> Iterator[None]:
    """Take the display away while the block writes to the same terminal, from any thread."""
    global _away
    with _pausing:
        display = None if _now is None or _away else _now[1]
        if display is None:  # nothing is shown, or a caller has taken it away
            yield
            return
        _away = True
        display.pause()
        try:
            yield
        finally:
            _away = False
            display.resume()


def erased() -> str:
    """Return what to write to a terminal so that the display is gone and the cursor back."""
    above = (_now[1].height if _now is not None else 1) - 1
    return "\r\x1b[2K" + "\x1b[1A\x1b[2K" * max(above, 0) + "\x1b[?25h"


def _own() -> tuple[Stages, Display] | None:
    """Return what is shown, to the thread that shows it: others would mix up the order."""
    return _now if _now is not None and _now[0].thread == threading.get_ident() else None


def _display(stages: Stages) -> Display:
    """Return the display that suits where this process runs."""
    # Rich takes long to import, and nobody needs it before something is shown.
    from rich.console import Console

    from cpdjax.progress.lines import Lines
    from cpdjax.progress.notebook import Cell
    from cpdjax.progress.terminal import Rows

    console = Console(stderr=True)
    if console.is_jupyter:
        return Cell(stages)
    # Rich may be told to take a pipe for a terminal, so that colours get through.
    watched = sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal
    return Rows(stages, console) if watched else Lines(stages)
