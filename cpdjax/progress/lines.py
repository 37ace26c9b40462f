"""Show progress in plain lines, where nobody watches a terminal: batch logs, pipes, CI."""

from __future__ import annotations

import math
import sys
import threading
from contextlib import suppress

from cpdjax.progress.stages import Stages
from cpdjax.progress.words import line

EVERY = 30.0
"""Seconds between two lines of one stage."""


class Lines:
    """Write a line when a stage begins, and one every 30 s from then on."""

    height = 0

    def __init__(self, stages: Stages):
        self._stages, self._said = stages, -math.inf
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to look: what goes on before the first stage is said if it takes a while."""
        self._thread.start()

    def changed(self) -> None:
        """Say what has begun."""
        self._said = self._stages.clock()
        self.write(line(self._stages))

    def look(self) -> None:
        """Say how far it is if nothing was said for long."""
        if self._stages.clock() - self._said >= EVERY:
            self.changed()

    def write(self, text: str) -> None:
        """Write a line to standard error, if anybody still reads it."""
        with suppress(OSError, ValueError):
            print(f"cpdjax: {text}", file=sys.stderr, flush=True)

    def pause(self) -> None:
        """Do nothing: lines stand in nobody's way."""

    resume = pause

    def stop(self) -> None:
        """Say no more."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(1.0):
            self.look()
