"""A unit is what a sweep computes and keeps as one: the scores of one channel in one repeat.

Units are independent of each other. They are known before any of them runs, bear names that say
what is probed, and may run in any order, on any device and in any process.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain, cycle, islice, zip_longest
from typing import NamedTuple

from jax.sharding import Mesh

from cpdjax.machine.devices import full_call
from cpdjax.probes.folds import Layout
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets


class Work(NamedTuple):
    """Hold what all units share: channels, targets, folds, and where units are kept."""

    channels: Sequence[Channel]
    targets: Targets
    layout: Layout
    settings: Settings
    checkpoint: Checkpoint


class Unit(NamedTuple):
    """Name one channel, by its place in the list of channels, and one repeat."""

    channel: int
    repeat: int

    def name(self, channels: Sequence[Channel]) -> str:
        """Return a name made of what is probed, not of its place: the order may be another."""
        return f"{channels[self.channel].hash[:16]}-{self.repeat}"


_SIDE_BY_SIDE = 4  # shapes

#: Units whose channels have one shape, which one call of a compiled program computes.
Batch = tuple[Unit, ...]


def units(work: Work) -> list[Unit]:
    """Return all units of a sweep."""
    repeats = range(work.settings.repeats)
    return [Unit(channel, repeat) for repeat in repeats for channel in range(len(work.channels))]


def batches(work: Work, wanted: Sequence[Unit], done: Collection[Unit], mesh: Mesh) -> list[Batch]:
    """Group the units that are not done by the shapes of their channels, for calls on all devices.

    All calls of one shape have one length, for which one program is compiled; it depends on all
    wanted units, so that an interrupted sweep goes on with the same program. Where units are too
    few for the last call, it gets some of them twice.
    """
    groups: dict[tuple[int, int], list[Unit]] = {}
    for unit in wanted:
        channel = work.channels[unit.channel]
        groups.setdefault((channel.width, channel.components), []).append(unit)
    cut = []
    for (width, components), group in groups.items():
        most = at_once(width, components, work.layout, mesh)
        length = full_call(len(group), most, mesh)
        left = [unit for unit in group if unit not in done]
        starts = range(0, len(left), length)
        cut.append([tuple(islice(cycle(left[s : s + length]), length)) for s in starts])
    # Batches of a few shapes take turns, so that their programs are compiled side by side. Of more
    # shapes programs would have to be kept for long.
    few = (cut[i : i + _SIDE_BY_SIDE] for i in range(0, len(cut), _SIDE_BY_SIDE))
    turns = chain.from_iterable(zip_longest(*groups) for groups in few)
    return [batch for batch in chain.from_iterable(turns) if batch is not None]


def at_once(width: int, components: int, layout: Layout, mesh: Mesh) -> int:
    """Return how many units of one shape a device computes at once: on a CPU one.

    On an accelerator as many as fit in a quarter of its memory, since two calls are in flight.
    """
    device = mesh.devices.flat[0]
    if device.platform == "cpu":
        return 1
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit", 2**32) // 4
    _, folds, slots = layout.index.shape
    rows = folds * slots * components
    # All folds run at once. Each gathers its rows, and holds some eight square matrices.
    one = 8 * folds * width * (rows + 8 * min(width, rows))
    return max(int(limit // one), 1)
