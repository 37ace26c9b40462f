"""Keep which stages of a computation are open, and how much of each is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import get_ident

Clock = Callable[[], float]

#: Items by which the time left can be told, of many; of few, one in twenty.
_TELLING = 10


class Stage:
    """Hold one thing that takes a while, in plain words; it may consist of stages of its own."""

    def __init__(
        self,
        doing: str,
        total: int | None = None,
        done: int = 0,
        *,
        counts: bool = True,
        compiled: bool = True,
        clock: Clock = time.monotonic,
    ):
        self.doing, self.counts, self._compiled = doing, counts, compiled
        self.expected = self.finished = 0
        """How many stages of its own are expected, and have finished."""
        self._clock = clock
        self.began = clock()
        self.count(total, done)

    def count(self, total: int | None, done: int = 0) -> Stage:
        """Say how many items there are, and how many an earlier call has done; return itself."""
        self.total, self.done, self._first = total, done, done
        self._since: tuple[float, int] | None = None  # when the first items had come back
        return self

    def advance(self, items: int = 1) -> None:
        """Say that so many more items are done."""
        self.done += items
        if self._since is None:
            self._since = (self._clock(), self.done)

    @property
    def compiles(self) -> bool:
        """Return whether no item of a compiled program has come back: none is counted before."""
        none_yet = self.done == self._first and self.done < (self.total or 0)
        return self._compiled and none_yet

    @property
    def seconds(self) -> float:
        """Return how long this has taken so far."""
        return self._clock() - self.began

    @property
    def seconds_left(self) -> float | None:
        """Estimate the time left from the pace since the first items; None: it cannot be told."""
        if self.total is None or self._since is None:
            return None
        since, first = self._since
        if self.done - first < min(self.total / 20, _TELLING):
            return None  # more of it may have been compiled meanwhile
        pace = (self.done - first) / max(self._clock() - since, 1e-9)
        return (self.total - self.done) / pace if pace > 0 else None


class Stages:
    """Hold the stages that are open, outermost first; the first of them is the whole.

    >>> stages = Stages("starting")
    >>> stages.whole.expected = 2
    >>> reading = stages.begin(Stage("reading"))
    >>> stages.close(reading)
    >>> stages.number, stages.fraction
    (1, 0.5)
    """

    def __init__(self, doing: str, clock: Clock = time.monotonic):
        self.clock, self.thread = clock, get_ident()
        self._path: tuple[Stage, ...] = (Stage(doing, clock=clock),)
        self._last: tuple[Stage, ...] = self._path

    @property
    def whole(self) -> Stage:
        """Return the stage that holds all others."""
        return self._path[0]

    @property
    def innermost(self) -> Stage:
        """Return the stage that was opened last and is not closed."""
        return self._path[-1]

    @property
    def path(self) -> tuple[Stage, ...]:
        """Return the open stages inside the whole; between two stages, those that were last."""
        return self._last[1:] or self._last

    @property
    def number(self) -> int:
        """Return which of the whole's stages this is, from 1; 0: none of them has begun."""
        begun = len(self._path) > 1 and self._path[1].counts
        return min(self.whole.finished + begun, self.whole.expected)

    @property
    def fraction(self) -> float:
        """Return how much of the whole is done, every stage taken for as long as the others."""
        found = 0.0
        for stage in reversed(self._path):
            if stage.total:
                found = stage.done / stage.total
            elif stage.expected:
                found = min((stage.finished + found) / stage.expected, 1.0)
        return found

    def begin(self, stage: Stage) -> Stage:
        """Begin a stage inside the innermost one."""
        self._path = self._last = (*self._path, stage)
        return stage

    def close(self, stage: Stage) -> None:
        """End a stage, and those inside it that an error has left open."""
        if stage in self._path:
            self._path = self._path[: self._path.index(stage)]
            self.innermost.finished += stage.counts
