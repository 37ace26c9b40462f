"""Show progress on a terminal: two rows that move, and that are gone when all is done."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cpdjax.progress.stages import Stages
from cpdjax.progress.words import counted, doing, duration, place

_BAR, _COUNTS = 12, 24  # columns


class Rows:
    """Draw the whole and the current stage, each with a bar, several times a second."""

    def __init__(self, stages: Stages, console: Console):
        self._stages, self._console = stages, console
        self._live: Live | None = None

    @property
    def height(self) -> int:
        """Return how many rows stand on the terminal now."""
        return 0 if self._live is None else 1 + bool(place(self._stages))

    def start(self) -> None:
        """Begin to draw."""
        self._live = Live(
            get_renderable=self.rows, console=self._console, transient=True,
            refresh_per_second=8, redirect_stdout=False,
        )  # fmt: skip
        self._live.start(refresh=True)

    def changed(self) -> None:
        """Do nothing: the rows are drawn again within moments."""

    def stop(self) -> None:
        """Take the rows away, so that something else can be written."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    pause, resume = stop, start

    def rows(self) -> RenderableType:
        """Return what stands on the terminal now."""
        *above, stage = self._stages.path
        where, known = place(self._stages), bool(stage.total) and not stage.compiles
        inner = [*above[1:], stage] if where else [*above, stage]
        current = _row(
            doing(inner),
            ProgressBar(
                total=stage.total if known else None, completed=stage.done, width=_BAR,
                pulse=not known, animation_time=self._stages.clock(),
            ),
            counted(stage) or duration(stage.seconds),
        )  # fmt: skip
        if not where:
            return current
        bar = ProgressBar(total=1.0, completed=self._stages.fraction, width=_BAR)
        outer = ": ".join([where, doing(above[:1])] if above else [where])
        return Group(_row(outer, bar, duration(self._stages.whole.seconds)), current)


def _row(said: str, bar: ProgressBar, counts: str) -> Table:
    """Return one row; what is too long for it is cut."""
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    row.add_column(width=_BAR)
    row.add_column(width=_COUNTS, no_wrap=True)
    row.add_row(Text(said), bar, Text(counts, style="progress.remaining"))
    return row
