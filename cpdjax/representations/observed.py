"""Measure all pairs of channels, in units of work that run side by side and are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cpdjax.likeness.neighbours import Nearest
from cpdjax.likeness.prepared import Prepared, prepare
from cpdjax.likeness.residuals import NothingLeftError
from cpdjax.omissions import say_left_out
from cpdjax.representations.groups import Group
from cpdjax.representations.parts import (
    PARTS,
    REPLICATE,
    Matrices,
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
    """Hold the measures of one group, and its side, against which nulls are measured."""

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

    settings: SpaceSettings
    weights: Weights
    checkpoint: Checkpoint

    def prepared(self, group: Group) -> tuple[Group, Prepared]:
        """Return what a projection leaves of a group, less the channels of which nothing is left.

        Warns:
            LeftOutWarning: there are such channels.
        """
        left_out: dict[str, str] = {}
        while True:
            try:
                found = self.of(group, group.stack)
            except NothingLeftError as error:
                left_out[group.channels[error.channel].label] = (
                    f"nothing is left after projection {group.projection!r}"
                )
                group = group.without([error.channel])
                if not group.channels:
                    raise
            else:
                break
        say_left_out("channels", "spaces", left_out)
        return group, found

    def of(self, group: Group, stack: Any, weights: Weights = None) -> Prepared:
        """Return what the projection of a group leaves of a stack."""
        chosen = self.settings
        return prepare(
            stack, group.projection, alpha=chosen.alpha, variance=chosen.variance, weights=weights
        )
