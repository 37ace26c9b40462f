"""`cpdjax.spaces` beside a loop over pairs of channels, with scikit-learn, NumPy and netrep.

    python benchmarks/bench_spaces.py            # 14 models × 4 layers, about ten minutes
    python benchmarks/bench_spaces.py --fast     # for CI

See README.md in this folder for what every row means.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import permutations, product
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from e3nn_jax import IrrepsArray
from space_peers import ALPHA, LOOP, NEIGHBOURS, Peer, Space, held_out, netrep
from timing import (
    SETTLE,
    Blas,
    Disagreement,
    Target,
    Timing,
    clock,
    environment,
    seconds,
    table,
    write_json,
)

import cpdjax
from cpdjax.machine.threads import cores
from cpdjax.probes.folds import kfold

#: Of every measure, over raw and residual features. Distances in float64 that differ by rounding
#: may order two rows either way, and each row's rank is one of thousands.
TOLERANCE = {"imbalance": 1e-5, "shared_neighbours": 1e-4, "procrustes": 1e-7}
TOLERANCE_ELSE = 1e-9
NETREP = ", netrep"
#: Columns of the models' layers, as invariants of encoders have.
WIDTHS = (32, 48, 64, 64, 64, 80, 88, 96, 96, 112, 128, 128, 128, 128)


@dataclass(frozen=True)
class Problem:
    """Models × layers on synthetic molecules, and how they are compared."""

    widths: tuple[int, ...] = WIDTHS
    layers: int = 4
    molecules: int = 2000
    folds: int = 5
    seed: int = 0

    @cached_property
    def data(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Features of every channel, and composition.

        Element counts have QM9's means. Every channel sees composition and its squares, 64 shared
        factors and noise of its own, in weights that are its own and fall over three decades,
        through a random matrix; in float32, as encoders give them.
        """
        rng = np.random.default_rng(self.seed)
        n = self.molecules
        c = rng.poisson(np.array([9.2, 6.3, 1.0, 1.4, 0.05]), (n, 5)).astype(float)
        counts = (c - c.mean(0)) / np.maximum(c.std(0), 0.1)
        shared = np.hstack([3 * counts, counts**2, rng.normal(size=(n, 64))])

        def features(width: int) -> np.ndarray:
            weights = 10 ** rng.uniform(-3, 0, shared.shape[1])
            seen = (shared * weights) @ rng.normal(size=(shared.shape[1], width))
            seen += 0.1 * rng.normal(size=(n, width)) * 10 ** rng.uniform(-2, 0, width) + 1
            return seen.astype(np.float32).astype(float)

        return [features(w) for w in self.widths for _ in range(self.layers)], c

    @cached_property
    def features(self) -> list[cpdjax.Features]:
        """The channels as `cpdjax.extract` would return them."""
        channels = iter(self.data[0])
        found = []
        for number, width in enumerate(self.widths):
            layers = {
                f"layer_{k}": IrrepsArray(f"{width}x0e", jnp.asarray(next(channels), jnp.float32))
                for k in range(self.layers)
            }
            name = f"model_{number:02d}"
            found.append(cpdjax.Features(layers, model=name, pool="mean", structures_hash=""))
        return found

    def ours(self) -> xr.Dataset:
        """Every measure of every pair, raw and residual."""
        return cpdjax.spaces(
            self.features,
            self.data[1],
            projection="ols",
            folds=self.folds,
            alpha=ALPHA,
            neighbours=NEIGHBOURS,
            seed=self.seed,
        )

    @property
    def fold(self) -> np.ndarray:
        return kfold(self.molecules, self.folds, seed=self.seed)

    def space(self, channel: int, projection: str) -> Space:
        features, c = self.data
        return Space(features[channel], None if projection == "none" else c, self.fold)

    @property
    def channels(self) -> int:
        return len(self.widths) * self.layers


# ---------------------------------------------------------------- the loop


#: What composition explains of the features; no measure, but the loop spends time on it.
TAKEN_OUT = Peer(held_out, lambda *_: 0.0)


class Sample:
    """A measure too slow to run on all pairs: timed on some of them."""

    def __init__(self, peer: Peer):
        self.peer = peer
        self.threads = 1
        self.own: list[float] = []
        self.pair: list[float] = []

    def calibrate(self, problem: Problem, pair: tuple[int, int], blas: Blas) -> None:
        """Choose the number of BLAS threads that is faster on one pair, after a warm-up."""

        def cost(threads: int) -> float:
            own, both = min(self._time(problem, pair, threads, blas) for _ in range(2))
            return sum(own) + both

        self.threads = min((1, cores()), key=cost)

    def add(self, problem: Problem, pair: tuple[int, int], blas: Blas) -> None:
        """Time one more pair, of residuals."""
        own, both = self._time(problem, pair, self.threads, blas)
        self.own += own
        self.pair.append(both)

    def _time(
        self, problem: Problem, pair: tuple[int, int], threads: int, blas: Blas
    ) -> tuple[list[float], float]:
        spaces = [problem.space(i, "ols") for i in pair]
        if self.peer is not TAKEN_OUT:
            for space in spaces:
                space.held_out  # noqa: B018  (is kept; its time counts once, for all measures)
        with blas.threads(threads):
            time.sleep(SETTLE)
            own, states = zip(*(clock(partial(self.peer.own, s)) for s in spaces), strict=True)
            return list(own), clock(partial(self.peer.pair, *states))[0]

    def record(self, problem: Problem) -> dict[str, Any]:
        """Seconds a channel and a pair take, and the whole, raw and residual, in two ways.

        A loop over pairs makes what it needs of both channels for every pair, and both directions
        of it; one that keeps it makes it once for every channel.
        """
        own, pair = (Timing.of(t, 0, self.threads) for t in (self.own, self.pair))
        channels = problem.channels
        pairs = channels * (channels - 1) // 2
        of_pair = np.mean(self.pair) * (2 if self.peer.directed else 1)
        of_channel = np.mean(self.own)
        times = 1 if self.peer is TAKEN_OUT else 2  # raw features have nothing taken out
        return {
            "own": own,
            "pair": pair,
            "directed": self.peer.directed,
            "loop": times * pairs * (of_pair + 2 * of_channel),
            "keeping": times * (pairs * of_pair + channels * of_channel),
        }


def sampled_pairs(problem: Problem, number: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(problem.seed)
    every = list(permutations(range(problem.channels), 2))
    return [every[i] for i in rng.choice(len(every), number, replace=False)]


def agree(
    peers: dict[str, Peer], problem: Problem, ours: xr.Dataset, pairs: list[tuple[int, int]]
) -> dict[str, float]:
    """Largest difference of every measure from ours over some pairs; raises if too large."""
    errors = dict.fromkeys(peers, 0.0)
    for projection, (a, b) in product(("ols", "none"), pairs):
        spaces = [problem.space(i, projection) for i in (a, b)]
        found = ours.sel(projection=projection)[{"channel_a": a, "channel_b": b}]
        for name, peer in peers.items():
            theirs = peer.pair(*map(peer.own, spaces))
            errors[name] = max(errors[name], abs(theirs - float(found[measure(name)].mean())))
    for name, error in errors.items():
        bound = TOLERANCE.get(measure(name), TOLERANCE_ELSE)
        if not error <= bound:  # not > : NaN must fail
            raise Disagreement(f"{name} differs by {error:.2e}, more than {bound:.0e}")
    return errors


def measure(name: str) -> str:
    """The measure of a peer's name."""
    return name.removesuffix(NETREP)


# ---------------------------------------------------------------- ours


def fresh(problem: Problem) -> dict[str, Any]:
    """What a process of its own says that has compiled nothing yet."""
    ran = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(asdict(problem))],
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def child(problem: Problem) -> None:
    """Print what `fresh` returns: seconds of the first call and the most memory held."""
    features = problem.features
    before, start = peak(), time.process_time()
    cold = clock(problem.ours)[0]
    record = {"cold": cold, "cpu": time.process_time() - start, "peak": peak()}
    held = sum(a.array.nbytes for f in features for a in f.values())
    print(json.dumps(record | {"above": peak() - before, "features": held}))


def peak() -> int:
    """The most memory that this process has held so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ---------------------------------------------------------------- all together


def run(options: argparse.Namespace) -> dict[str, Any]:
    blas = Blas()
    problem = Problem(widths=(32, 48), layers=2, molecules=500) if options.fast else Problem()
    turns, each = (2, 2) if options.fast else (5, 4)
    record: dict[str, Any] = {"fast": options.fast, "environment": environment(blas)}
    record["problem"] = asdict(problem) | {"channels": problem.channels}
    record["fresh"] = fresh(problem)
    peers = LOOP | {f"{name}{NETREP}": peer for name, peer in netrep().items()}
    first, ours = clock(problem.ours)
    pairs = sampled_pairs(problem, turns * each)
    record["agreement"] = agree(peers, problem, ours, pairs[:each])
    samples = {name: Sample(p) for name, p in ({"projection": TAKEN_OUT} | peers).items()}
    for sample in samples.values():
        sample.calibrate(problem, pairs[0], blas)
    warm, busy = [], []
    for turn in range(turns):
        start = time.process_time()
        warm.append(clock(problem.ours)[0])
        busy.append(time.process_time() - start)
        for pair, sample in product(pairs[turn * each :][:each], samples.values()):
            sample.add(problem, pair, blas)
    record["ours"] = Timing.of(warm, first, None)
    record["cpu"] = float(np.median(busy))
    record["sampled_pairs"] = len(pairs)
    record["peers"] = {name: sample.record(problem) for name, sample in samples.items()}
    record |= totals(record)
    show(record)
    return record


def totals(record: dict[str, Any]) -> dict[str, float]:
    """Seconds of both loops, by NumPy alone and with netrep where it has the measure."""
    peers = record["peers"]
    found = {}
    for way in ("loop", "keeping"):
        names = ("projection", *LOOP)
        found[way] = sum(peers[name][way] for name in names)
        best = (peers.get(f"{name}{NETREP}", peers[name]) for name in names)
        found[f"{way}_netrep"] = sum(peer[way] for peer in best)
    return found


def show(record: dict[str, Any]) -> None:
    p, ours = record["problem"], record["ours"].median
    print(
        f"\nA. {len(p['widths'])} models × {p['layers']} layers, "
        f"{sum(p['widths']) * p['layers']:,} columns, {p['molecules']:,} molecules, "
        f"{p['folds']} folds, all measures, raw and residual\n"
    )
    cold, cpu = record["fresh"], record["cpu"]
    rows = [
        ("cpdjax.spaces", seconds(cold["cold"]), seconds(ours), seconds(record["ours"].iqr),
         seconds(cpu), ""),
    ]  # fmt: skip
    names = {
        "loop": "loop over pairs, NumPy and scikit-learn",
        "keeping": "  the same, keeping what belongs to a channel",
    }
    if any(name.endswith(NETREP) for name in record["peers"]):
        names["loop_netrep"] = "loop over pairs, with netrep"
        names["keeping_netrep"] = "  the same, keeping what belongs to a channel"
    else:
        print("netrep is not installed (GitHub: ahwillia/netrep); NumPy stands in for it\n")
    for key, name in names.items():
        total = seconds(record[key])
        rows.append((name, total, total, "", "", f"{record[key] / ours:.0f}"))
    print(table(("contender", "cold", "warm", "IQR", "CPU", "× ours"), rows))
    print(
        f"\nThe loops are scaled from {record['sampled_pairs']} pairs of channels drawn at random "
        f"to {p['channels'] * (p['channels'] - 1) // 2:,}:\n"
    )
    rows = [
        (name, seconds(r["own"].median), seconds(r["own"].iqr), seconds(r["pair"].median),
         seconds(r["pair"].iqr), 2 if r["directed"] else 1, r["pair"].blas_threads,
         seconds(r["loop"]), f"{record['agreement'].get(name, 0):.0e}")
        for name, r in record["peers"].items()
    ]  # fmt: skip
    header = ("measure", "channel", "IQR", "pair", "IQR", "ways", "BLAS", "loop", "differs")
    print(table(header, rows))
    print(
        f"\nB. Memory: {cold['above'] / 2**20:,.0f} MiB on top of what is held before the call, "
        f"{cold['peak'] / 2**20:,.0f} MiB in all; the features take "
        f"{cold['features'] / 2**20:,.1f} MiB"
    )


def targets(record: dict[str, Any]) -> list[Target]:
    """What was promised of the whole; a small problem says nothing about it."""
    ours = record["ours"].median
    found = [
        Target("14 models × 4 layers once compiled, seconds", ours, 60, False),
        Target("× faster than the loop over pairs", record["loop"] / ours, 60, True),
    ]
    return [] if record["fast"] else found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a few small channels, for CI")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "bench_spaces.json"
    )
    options = parser.parse_args()
    if options.child:
        child(Problem(**json.loads(options.child)))
        return 0
    try:
        record = run(options)
    except Disagreement as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = targets(record)
    record["targets"] = [{**asdict(t), "met": t.met} for t in found]
    write_json(options.json, record)
    if found:
        print("\nTargets\n")
        print(table(("target", "measured", "bound", ""), [t.row() for t in found]))
    print(f"\nwritten to {options.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
