"""Show progress in a notebook: one line with a bar below the cell, which is written anew."""

from __future__ import annotations

import threading
from html import escape
from typing import Any

from cpdjax.progress.stages import Stages
from cpdjax.progress.words import duration, line

_EVERY = 0.5  # seconds between two looks


class Cell:
    """Write the current stage below the cell, and at the end how long all took.

    Rich would need ipywidgets here; the notebook's own elements do not.
    """

    height = 0

    def __init__(self, stages: Stages):
        self._stages, self._said = stages, ""
        self._handle: Any = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Make the line."""
        from IPython.display import display

        self._said = line(self._stages)
        self._handle = display(self._content(self._said), raw=True, display_id=True)
        self._thread.start()

    def changed(self) -> None:
        """Write the line anew, if there is anything new."""
        said = line(self._stages)
        if said != self._said and self._handle is not None:
            self._said = said
            self._handle.update(self._content(said), raw=True)

    def pause(self) -> None:
        """Do nothing: what is printed has a place of its own."""

    resume = pause

    def stop(self) -> None:
        """Leave how long it took, whether all was done or not."""
        self._over.set()
        self._thread.join()
        said = f"ended after {duration(self._stages.whole.seconds)}"
        self._handle.update({"text/plain": said, "text/html": escape(said)}, raw=True)

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self.changed()

    def _content(self, said: str) -> dict[str, str]:
        bar = f'<progress max="1" value="{self._stages.fraction:.3f}"></progress>'
        return {"text/plain": said, "text/html": f"{bar} {escape(said)}"}
