"""All checks of the method on any set of features: one page of pass and fail.

- isomers: composition cannot order structural isomers, and the residual can;
- compositional targets: nothing of them is left in the residual;
- planted truth: estimates agree with what is known on paper;
- leakage: a projection that has seen held-out rows changes the score.

A fifth check, on request, shows what nonlinear probes find in the residual, and why it is not
geometry. Each check is a function of arrays; `run` does them all for models by name, files or
arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase

from cpdjax.checks.compositional import Compositional, check_compositional
from cpdjax.checks.isomers import Isomers, check_isomers
from cpdjax.checks.leakage import Leakage, check_leakage
from cpdjax.checks.nonlinear import Nonlinear, check_nonlinear
from cpdjax.checks.outcome import Outcome, all_passed
from cpdjax.checks.planted import Planted, check_planted
from cpdjax.checks.procedures import Alpha
from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.features.sources import collect, named_sources
from cpdjax.machine.threads import one_blas_thread
from cpdjax.progress import expect, shown, stage
from cpdjax.sweeps import inputs
from cpdjax.sweeps.channels import Channel, whole_layers
from cpdjax.sweeps.pairing import paired
from cpdjax.sweeps.settings import Settings
from cpdjax.sweeps.targets import Targets

DEFAULT_FEATURES = "ani-2x-aev"
DEFAULT_TARGETS = ("gap",)


@dataclass(frozen=True)
class ChannelChecks:
    """Hold what the checks of one set of features found."""

    features: int
    """The number of features."""
    isomers: Isomers
    compositional: Compositional
    leakage: Leakage
    nonlinear: Nonlinear | None

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return the outcomes of all these checks."""
        parts = (self.isomers, self.compositional, self.leakage, self.nonlinear)
        return tuple(outcome for part in parts if part is not None for outcome in part.outcomes)


@dataclass(frozen=True)
class Checks:
    """Hold what all checks found; planted truth needs composition only and is checked once."""

    dataset: str
    molecules: int
    planted: Planted
    channels: Mapping[str, ChannelChecks]
    facts: Mapping[str, str]
    """What the checks were run with, by name."""

    @property
    def outcomes(self) -> Iterator[tuple[str, Outcome]]:
        """Yield every outcome with the name of the features that it is about."""
        for outcome in self.planted.outcomes:
            yield "synthetic", outcome
        for label, channel in self.channels.items():
            for outcome in channel.outcomes:
                yield label, outcome

    @property
    def passed(self) -> bool:
        """Return whether no requirement is missed."""
        return all_passed(outcome for _, outcome in self.outcomes)


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
    """Check the method on every set of features.

    Args:
        features: what `features.sources.collect` takes: models by name, arrays, tables, files.
        dataset, n: as in `cpdjax.sweep`; by default 2,000 molecules of QM9.
        targets: as in `cpdjax.sweep`; by default the gap of QM9, or all numeric columns of a
            table.
        layers: the layers to check; by default the last layer of every set of features, all irreps
            together.
        folds: the number of folds of each cross-validation.
        alpha: one Ridge penalty, or "loo".
        seed: the random seed of the molecules drawn from QM9 and of the folds.
        nonlinear: whether to run nonlinear probes as well (minutes; needs `cpdjax[nonlinear]`).
        progress: whether standard error shows what is being done, and how far it is.

    Raises:
        InputError: the data cannot be used, or no two molecules share a formula.
    """
    if targets is None and inputs.of_qm9(dataset):
        targets = DEFAULT_TARGETS
    settings = checked(Settings, {"seed": seed, "folds": folds})
    with shown(progress), one_blas_thread():
        sources = len(named_sources(features))
        expect(3 + 2 * sources)
        with stage("data"):
            structures, molecules = inputs.load(dataset, targets, n, settings)
        sets = collect(features, structures, layers=layers)
        chosen = [
            channel
            for f in sets
            for channel in whole_layers(
                paired(f, molecules), len(molecules), list(f)[-1:] if layers is None else list(f)
            )
        ]
        expect(len(chosen) - sources)
        with stage("planted truth"):
            planted = check_planted(molecules.counts, folds=folds, seed=seed)
        found = {
            channel.label: _check(channel, molecules, folds, alpha, seed, nonlinear)
            for channel in chosen
        }
    facts = {
        "targets": ", ".join(molecules.by_name),
        "settings": f"folds {folds}, alpha {alpha}, seed {seed}",
        "dataset hash": molecules.hash,
        "elements": " ".join(molecules.elements),
    }
    return Checks(molecules.name, len(molecules), planted, found, facts)


def _check(
    channel: Channel, molecules: Targets, folds: int, alpha: Alpha, seed: int, nonlinear: bool
) -> ChannelChecks:
    X, C, Y = channel.x, molecules.counts, molecules.y
    names, formulas, elements = tuple(molecules.by_name), molecules.formulas, molecules.elements
    folding: dict[str, Any] = {"folds": folds, "seed": seed}
    linear: dict[str, Any] = {**folding, "alpha": alpha}
    with stage(f"checking {channel.label}"):
        expect(3 + nonlinear)
        with stage("isomers"):
            isomers = check_isomers(X, C, formulas, Y, targets=names, **linear)
        with stage("compositional targets"):
            compositional = check_compositional(X, C, formulas, elements, **linear)
        with stage("leakage"):
            leakage = check_leakage(X, C, Y, targets=names, **linear)
        found = None
        if nonlinear:
            with stage("nonlinear probes"):
                found = check_nonlinear(X, C, formulas, elements, **folding)
    return ChannelChecks(channel.n_features, isomers, compositional, leakage, found)
