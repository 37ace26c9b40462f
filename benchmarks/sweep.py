"""The full sweep: what is computed, by whom, and how slow contenders are sampled and scaled."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import jax
import numpy as np
from peers import R2, Problem

import cpdjax
from cpdjax.probes.folds import Layout, nested

ALPHAS = 10.0 ** np.arange(-3, 7)


@dataclass(frozen=True)
class Sweep:
    """Feature sets × sizes × repeats × folds × α × targets on synthetic molecules."""

    widths: tuple[int, ...] = (128, 128, 192, 256, 256, 256, 320, 384, 512, 512)
    molecules: int = 2000
    elements: int = 5
    targets: int = 12
    sizes: tuple[int, ...] = (50, 100, 200, 500, 1000, 1500, 2000)
    repeats: int = 5
    folds: int = 5
    alphas: tuple[float, ...] = tuple(ALPHAS)
    seed: int = 0

    @cached_property
    def data(self) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Features, composition, targets; see `molecules_like`."""
        return synthetic(self)

    @cached_property
    def layout(self) -> Layout:
        return nested(self.molecules, self.sizes, self.repeats, self.folds, seed=self.seed)

    def ours(self, workers: int = 1) -> list[cpdjax.Scores]:
        """Every score of the sweep, `workers` feature sets at a time."""
        features, c, y = self.data

        def curve(x: np.ndarray) -> cpdjax.Scores:
            return jax.block_until_ready(
                cpdjax.learning_curve(
                    x,
                    c,
                    y,
                    sizes=self.sizes,
                    repeats=self.repeats,
                    folds=self.folds,
                    alphas=self.alphas,
                    seed=self.seed,
                )
            )

        widest_first = sorted(range(len(features)), key=lambda i: -self.widths[i])
        if workers == 1:
            done = [curve(features[i]) for i in widest_first]
        else:
            with ThreadPoolExecutor(workers) as pool:
                done = list(pool.map(curve, [features[i] for i in widest_first]))
        return [done[widest_first.index(i)] for i in range(len(features))]


def synthetic(sweep: Sweep) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Features like pooled encoder outputs: composition, shared geometry, a decaying spectrum.

    Element counts have QM9's means. Every set mixes composition (first), 64 shared geometric
    factors and noise of its own, in an order of falling variance (as 1/rank²), by a random
    rotation. Targets are composition, geometry, a product of factors and noise.
    """
    rng = np.random.default_rng(sweep.seed)
    n, q = sweep.molecules, sweep.elements
    c = rng.poisson(np.resize([9.2, 6.3, 1.0, 1.4, 0.05], q), (n, q)).astype(float)
    counts = (c - c.mean(0)) / np.maximum(c.std(0), 0.1)
    geometry = rng.normal(size=(n, 64))

    def features(width: int) -> np.ndarray:
        shared = np.hstack([3 * counts @ rng.normal(size=(q, q)), geometry])
        latent = np.hstack([shared, rng.normal(size=(n, max(width - shared.shape[1], 1)))])
        rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
        return (latent[:, :width] / np.arange(1, width + 1)) @ rotation + 1

    linear = geometry @ rng.normal(size=(64, sweep.targets)) / 8
    bent = geometry[:, :1] * geometry[:, 1:2]
    noise = 0.3 * rng.normal(size=(n, sweep.targets))
    y = counts @ rng.normal(size=(q, sweep.targets)) + linear + bent + noise
    return [features(width) for width in sweep.widths], c, y


@dataclass(frozen=True)
class Unit:
    """One piece of the sweep small enough to time: some folds, α and targets of one cell."""

    feature_set: int
    repeat: int
    size: int
    folds: tuple[int, ...]
    alphas: tuple[int, ...]
    targets: tuple[int, ...]

    def problem(self, sweep: Sweep) -> Problem:
        features, c, y = sweep.data
        rows = sweep.layout.subset(self.repeat, self.size)
        return Problem(
            features[self.feature_set][rows],
            c[rows],
            y[np.ix_(rows, self.targets)],
            sweep.layout.fold_ids(self.repeat, self.size),
            self.folds,
            np.asarray(sweep.alphas)[list(self.alphas)],
        )

    def of(self, sweep: Sweep, ours: Sequence[cpdjax.Scores]) -> R2:
        """The same scores in our result."""
        scores, size = ours[self.feature_set], sweep.sizes.index(self.size)
        every = np.ix_(self.folds, self.alphas, self.targets)
        geom, full = (
            np.asarray(a)[self.repeat, size][every] for a in (scores.r2_geom, scores.r2_full)
        )
        comp = np.asarray(scores.r2_comp)[self.repeat, size][np.ix_(self.folds, self.targets)]
        return R2(geom, full, comp)


@dataclass(frozen=True)
class Stratum:
    """All units of one width and size: near enough equal in work to be sampled."""

    width: int
    size: int

    def draw(self, sweep: Sweep, rng: np.random.Generator, *, per_probe: bool) -> Unit:
        """One unit at random: a probe over all folds, or a fold with all its α and targets."""
        sets = [i for i, width in enumerate(sweep.widths) if width == self.width]
        whole = Unit(
            int(rng.choice(sets)),
            int(rng.integers(sweep.repeats)),
            self.size,
            tuple(range(sweep.folds)),
            tuple(range(len(sweep.alphas))),
            tuple(range(sweep.targets)),
        )
        fold, alpha, target = (
            (int(rng.integers(len(a))),) for a in (whole.folds, whole.alphas, whole.targets)
        )
        if per_probe:
            return replace(whole, alphas=alpha, targets=target)
        return replace(whole, folds=fold)

    def units(self, sweep: Sweep, *, per_probe: bool) -> int:
        """How many such units the whole sweep holds."""
        cells = sweep.widths.count(self.width) * sweep.repeats
        return cells * (len(sweep.alphas) * sweep.targets if per_probe else sweep.folds)


def strata(sweep: Sweep) -> list[Stratum]:
    return [Stratum(w, n) for w, n in product(sorted(set(sweep.widths)), sweep.sizes)]


@dataclass(frozen=True)
class Estimate:
    """A scaled total with its standard error, from a stratified random sample."""

    total: float
    error: float
    sample: int
    population: int

    @classmethod
    def of(cls, seconds: dict[Stratum, list[float]], sweep: Sweep, *, per_probe: bool) -> Estimate:
        """Σ Nₛ·meanₛ and √Σ Nₛ²·varₛ/nₛ over strata s."""
        total = variance = 0.0
        for stratum, times in seconds.items():
            number = stratum.units(sweep, per_probe=per_probe)
            total += number * float(np.mean(times))
            if len(times) > 1:
                variance += number**2 * float(np.var(times, ddof=1)) / len(times)
        population = sum(s.units(sweep, per_probe=per_probe) for s in seconds)
        return cls(total, variance**0.5, sum(map(len, seconds.values())), population)
