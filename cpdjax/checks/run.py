"""Four independent checks of the method on any feature set, one page of pass and fail.

- isomers: what composition cannot order, and the residual can;
- compositional targets: nothing of them is left in the residual;
- planted truth: estimates against what is known on paper;
- leakage: what a projection that has seen held-out rows does.

A fifth, on request, shows what nonlinear probes find in the residual, and why it is no geometry.
Each is a function of arrays; `run` does them all for models by name, files or arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import jax
from rich.console import Console
from threadpoolctl import threadpool_limits

from cpdjax.checks.compositional import Compositional, check_compositional
from cpdjax.checks.criterion import Criterion, all_passed
from cpdjax.checks.isomers import Isomers, check_isomers
from cpdjax.checks.leakage import Leakage, check_leakage
from cpdjax.checks.nonlinear import Nonlinear, check_nonlinear
from cpdjax.checks.planted import Planted, check_planted
from cpdjax.checks.procedures import Alpha
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.features.sources import collect
from cpdjax.sweeps.channels import ALL, Channel, channels
from cpdjax.sweeps.inputs import load
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets

DEFAULT_FEATURES = "ani-2x-aev"
DEFAULT_TARGETS = ("gap",)


@dataclass(frozen=True)
class ChannelChecks:
    """What the checks of one set of features found."""

    features: int
    isomers: Isomers
    compositional: Compositional
    leakage: Leakage
    nonlinear: Nonlinear | None

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """All lines of these checks."""
        parts = (self.isomers, self.compositional, self.leakage, self.nonlinear)
        return tuple(line for part in parts if part is not None for line in part.criteria)


@dataclass(frozen=True)
class Checks:
    """What all checks found; planted truth needs composition only and is done once."""

    dataset: str
    molecules: int
    planted: Planted
    channels: Mapping[str, ChannelChecks]

    @property
    def lines(self) -> Iterator[tuple[str, Criterion]]:
        """Every line, with the features that it is about."""
        for line in self.planted.criteria:
            yield "synthetic", line
        for label, channel in self.channels.items():
            for line in channel.criteria:
                yield label, line

    @property
    def passed(self) -> bool:
        """Whether no line failed."""
        return all_passed(tuple(line for _, line in self.lines))


def run(
    features: Any = DEFAULT_FEATURES,
    *,
    dataset: str | Path | Structures | Sequence[ase.Atoms] | None = None,
    targets: Any = None,
    n: int | None = None,
    layers: Sequence[str] | None = None,
    folds: int = 5,
    alpha: Alpha = 1.0,
    seed: int = 0,
    nonlinear: bool = False,
    progress: bool = False,
) -> Checks:
    """Check the method on every feature set.

    Args:
        features: what `features.sources.collect` takes: models by name, arrays, tables, files.
        dataset, n: as in `cpdjax.sweep`; by default 2,000 molecules of QM9.
        targets: as in `cpdjax.sweep`; by default the gap of QM9, all numeric columns of a table.
        layers: layers to check; by default the last of every feature set, all irreps together.
        folds, seed: of the cross-validations.
        alpha: one Ridge penalty, or "loo".
        nonlinear: also run nonlinear probes (minutes; needs `cpdjax[nonlinear]`).
        progress: say on standard error what is being done.

    Raises:
        InputError: data that cannot be used, or in which no two molecules share a formula.
    """
    if targets is None and (dataset is None or dataset in ("qm9", "qm9-probe")):
        targets = DEFAULT_TARGETS
    structures, molecules = load(dataset, targets, n, Settings(seed=seed))
    sets = collect(features, structures, layers=layers, progress=progress)
    chosen = [c for f in sets for c in _channels(f, len(molecules), layers)]
    with _one_thread():
        planted = check_planted(molecules.counts, folds=folds, seed=seed)
        found = {}
        for channel in chosen:
            if progress:
                Console(stderr=True).print(f"checking {channel.label}", markup=False)
            found[channel.label] = _check(channel, molecules, folds, alpha, seed, nonlinear)
    return Checks(molecules.name, len(molecules), planted, found)


def _channels(
    features: Features, molecules: int, layers: Sequence[str] | None
) -> Iterator[Channel]:
    """Of every wanted layer the one channel of all its irreps."""
    wanted = list(features)[-1:] if layers is None else list(features)
    found = channels([features], molecules)
    for layer in wanted:
        own = [c for c in found if c.layer == layer]
        channel = next((c for c in own if c.irrep == ALL), own[0])
        if not channel.x.shape[1]:
            raise InputError(f"{channel.label}: every feature is constant, nothing to check")
        yield channel


def _check(
    channel: Channel, molecules: Targets, folds: int, alpha: Alpha, seed: int, nonlinear: bool
) -> ChannelChecks:
    X, C, Y = channel.x, molecules.counts, molecules.y
    names, formulas, elements = tuple(molecules.by_name), molecules.formulas, molecules.elements
    probe: dict[str, Any] = {"folds": folds, "seed": seed}
    linear: dict[str, Any] = {**probe, "alpha": alpha}
    return ChannelChecks(
        channel.n_features,
        check_isomers(X, C, formulas, Y, targets=names, **linear),
        check_compositional(X, C, formulas, elements, **linear),
        check_leakage(X, C, Y, targets=names, **linear),
        check_nonlinear(X, C, formulas, elements, **probe) if nonlinear else None,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """On a CPU, threads of BLAS keep spinning after each small factorisation."""
    limit = 1 if jax.default_backend() == "cpu" else None
    with threadpool_limits(limit, user_api="blas"):
        yield
