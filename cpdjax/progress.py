"""Show progress bars on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


def progress_bar(shown: bool) -> Progress:
    """Return a progress bar that counts the finished items and estimates the time left.

    The bar prints nothing where `shown` is False.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Count(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )


class _Count(MofNCompleteColumn):
    """Show "compiling" until the first item has come back: nothing is counted before that."""

    def __init__(self) -> None:
        super().__init__()
        self._begun_with: dict[int, float] = {}

    def render(self, task: Task) -> Text:
        """Return what has been done of a task; a task that goes on may begin with some of it."""
        first = self._begun_with.setdefault(task.id, task.completed)
        if task.completed == first and task.remaining != 0:
            return Text("compiling", style="progress.download")
        return super().render(task)
