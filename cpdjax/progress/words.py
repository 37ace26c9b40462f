"""Put the stages of a computation into plain words."""

from __future__ import annotations

from collections.abc import Sequence

from cpdjax.characters import printable
from cpdjax.progress.stages import Stage, Stages

COMPILING = "compiling"
"""Stand where items are counted, until a compiled program has given back the first of them."""


def line(stages: Stages) -> str:
    """Return what is going on in one line.

    >>> from cpdjax.progress.stages import Stage
    >>> stages = Stages("starting")
    >>> stages.whole.expected = 6
    >>> stages.begin(Stage("probing", 40, done=12)).advance()
    >>> line(stages)
    'stage 1 of 6: probing 13/40'
    """
    stage = stages.path[-1]
    so_far = duration(stage.seconds) if stage.seconds >= 1 else ""
    counts = counted(stage) or so_far
    said = (": " if counts == COMPILING else " ").join(filter(None, (doing(stages.path), counts)))
    return ": ".join(filter(None, (place(stages), said)))


def place(stages: Stages) -> str:
    """Return which stage of how many this is, or nothing where there is only one."""
    if not stages.number or stages.whole.expected < 2:
        return ""
    return f"stage {stages.number} of {stages.whole.expected}"


def doing(path: Sequence[Stage]) -> str:
    """Return what is being done, the outer stages first."""
    return printable(": ".join(stage.doing for stage in path))


def counted(stage: Stage) -> str:
    """Return how much of a stage is done, and the time left; nothing if it counts no items."""
    if not stage.total:
        return ""
    if stage.compiles:
        return COMPILING
    left = stage.seconds_left
    so_far = f"{stage.done:,}/{stage.total:,}"
    return f"{so_far}, {duration(left)} left" if left else so_far


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it has.

    >>> duration(7.4), duration(200), duration(7500)
    ('7 s', '3 min 20 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
