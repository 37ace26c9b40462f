"""Hold what all units of a running sweep share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpdjax.probes.folds import Layout
from cpdjax.sweeps.channels import Channel
from cpdjax.sweeps.checkpoint import Checkpoint
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets


class Work(NamedTuple):
    """Hold the channels to probe, the targets to predict, the folds, and where units are kept."""

    channels: Sequence[Channel]
    targets: Targets
    layout: Layout
    settings: Settings
    checkpoint: Checkpoint
