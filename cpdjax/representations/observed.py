"""Measure all pairs of channels, in units of work that run side by side and are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from cpdjax.errors import InputError
from cpdjax.likeness.neighbours import Nearest
from cpdjax.likeness.prepared import Prepared, prepare
from cpdjax.likeness.residuals import ChannelError, NothingLeftError
from cpdjax.likeness.stack import Stack
from cpdjax.omissions import say_left_out
from cpdjax.representations.groups import Group
from cpdjax.representations.parts import (
    PARTS,
    REPLICATE,
    Matrices,
    Part,
    Side,
    Weights,
    matrices,
    near_of,
    own_of,
    parts_of,
)
from cpdjax.representations.settings import OF_NEIGHBOURS, SpaceSettings
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.parallel import each

_NEAREST = "nearest"


class Measured(NamedTuple):
    """Hold the measures of one group's channels, and their replicates."""

    group: Group
    side: Side
    values: Matrices
    replicates: Matrices


class Unit(NamedTuple):
    """Name what is computed and kept as one: a part of one channel of one group."""

    group: int
    part: str
    channel: int


class Work(NamedTuple):
    """Hold what all units share."""

    groups: Sequence[Group]
    settings: SpaceSettings
    weights: Weights
    checkpoint: Checkpoint

    def prepared(self, group: Group, stack: Stack, weights: Weights = None) -> Prepared:
        """Return what the projection of a group leaves of a stack.

        Raises:
            NothingLeftError: it leaves nothing of a channel.
            InputError: a channel cannot be compared with these settings.
        """
        alpha, variance = self.settings.alpha, self.settings.variance
        try:
            return prepare(stack, group.projection, alpha=alpha, variance=variance, weights=weights)
        except NothingLeftError:
            raise
        except ChannelError as error:
            label = group.channels[error.channel].label
            raise InputError(f"channel {label!r} {error.reason}") from None

    def kept(self, name: str, compute: Callable[[], Part]) -> Part:
        """Return what was kept under a name, or else compute it and keep it."""
        found = self.checkpoint.load(name)
        if found is None:
            self.checkpoint.save(name, found := compute())
        return found


def subtracted(work: Work) -> tuple[Work, list[Prepared]]:
    """Return what projections leave of all groups, less the channels of which nothing is left.

    Raises:
        InputError: a projection leaves nothing of any channel, or alpha is too small for one.

    Warns:
        LeftOutWarning: it leaves nothing of some.
    """
    units = range(len(work.groups))
    found = dict(each(partial(_subtracted, work), units, "subtracting what projections explain"))
    for i in units:
        left = {c.label for c in found[i][0].channels}
        empty = [c.label for c in work.groups[i].channels if c.label not in left]
        reason = f"nothing is left after projection {work.groups[i].projection!r}"
        say_left_out("channels", "spaces", dict.fromkeys(empty, reason), stacklevel=5)
    groups = [found[i][0] for i in units]
    return work._replace(groups=groups), [found[i][1] for i in units]


def _subtracted(work: Work, i: int) -> tuple[Group, Prepared]:
    group = work.groups[i]
    while True:
        try:
            return group, work.prepared(group, group.stack, work.weights)
        except NothingLeftError as error:
            if len(group.channels) == 1:
                raise InputError(
                    f"projection {group.projection!r} leaves nothing of any channel: compare raw "
                    "features alone (projection='none'), or name other models"
                ) from None
            group = group.without([error.channel])


def measured(work: Work, prepared: Sequence[Prepared]) -> list[Measured]:
    """Return the measures of all groups, computed or kept from an earlier run."""
    wanted = work.settings.wanted
    parts, sides = parts_of(wanted), [Side(p) for p in prepared]
    channels = [(i, c) for i, g in enumerate(work.groups) for c in range(len(g.channels))]
    if {*OF_NEIGHBOURS} & {*wanted}:
        units = [Unit(i, _NEAREST, c) for i, c in channels]
        near = dict(each(partial(_near, work, sides), units, "finding nearest neighbours"))
        sides = [
            Side(p, [near[Unit(i, _NEAREST, c)] for c in range(p.stack.channels)])
            for i, p in enumerate(prepared)
        ]
    units = [Unit(i, part, c) for part in parts for i, c in channels]
    found = dict(each(partial(_part, work, sides), units, "comparing channels"))
    return [
        _together(work, i, side, {p: [found[u] for u in units if u[:2] == (i, p)] for p in parts})
        for i, side in enumerate(sides)
    ]


def _name(work: Work, unit: Unit) -> str:
    """Return a name made of what is compared, and of its place among all channels."""
    group = work.groups[unit.group]
    channel = group.channels[unit.channel]
    return f"{channel.hash[:16]}-{group.places[unit.channel]}-{group.projection}-{unit.part}"


def _near(work: Work, sides: Sequence[Side], unit: Unit) -> Nearest:
    """Return the nearest neighbours of every row in one channel."""

    def compute() -> Part:
        prepared, k = sides[unit.group].prepared, work.settings.neighbours
        return near_of(prepared, unit.channel, k)._asdict()

    return Nearest(**work.kept(_name(work, unit), compute))


def _part(work: Work, sides: Sequence[Side], unit: Unit) -> Part:
    """Return a part of one channel against all others."""
    side, of = sides[unit.group], PARTS[unit.part].of
    return work.kept(_name(work, unit), lambda: of(side, side, unit.channel, work.weights))


def _together(work: Work, i: int, side: Side, parts: Mapping[str, Sequence[Part]]) -> Measured:
    """Return the matrices of one group, and what is measured of each of its channels."""
    values, replicates = own_of(side, work.weights)
    values |= matrices(parts, side, side)
    if work.weights is not None:
        replicates |= matrices(parts, side, side, REPLICATE)
    return Measured(work.groups[i], side, values, replicates)
