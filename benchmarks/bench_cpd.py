"""cpdjax beside the paper's procedure, vectorised peers and the floor of one SYRK.

    python benchmarks/bench_cpd.py            # everything, about ten minutes
    python benchmarks/bench_cpd.py --fast     # for CI

See README.md in this folder for what every row means.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import peers
from scipy.linalg.blas import dsyrk
from sweep import Estimate, Stratum, Sweep, Unit, strata, synthetic
from timing import (
    SETTLE,
    Blas,
    Contender,
    Disagreement,
    Target,
    Timing,
    clock,
    environment,
    measure,
    seconds,
    table,
    write_json,
)

import cpdjax
from cpdjax.kernel.probe import probe
from cpdjax.probes.arguments import Arguments
from cpdjax.probes.folds import cross_validation

# In R². Ours: 2e-9 where rows hardly outnumber features, at the smallest α it does not refine.
TOLERANCE = 1e-9
# With fewer rows than features the libraries' own rounding grows as 1/α along composition, which
# they leave in the targets: up to 1e-4 where a fold lacks an element. In 50 digits ours is the
# one that is right, to 1e-12; the reference, which takes composition out, agrees to TOLERANCE.
TOLERANCE_WIDE = 1e-3
LOOP = "the paper's procedure, as a loop"
KERNEL = "  its compiled kernel alone"
AS_FOUND = "cpdjax.cpd, BLAS threads as found"
SINGLE = Sweep(widths=(256,))  # X of the single call, of the permutations and of memory


# ---------------------------------------------------------------- the full sweep


@dataclass(frozen=True)
class Setting:
    """How a peer uses the cores: threads within BLAS, or units side by side."""

    blas_threads: int
    workers: int = 1


def peer_settings() -> list[Setting]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    several = [Setting(2), Setting(1, workers=2)] if cores and cores > 1 else []
    return [Setting(1), *several]


class Peer:
    """A contender too slow to run in full: timed on units drawn from every stratum."""

    def __init__(self, call: Callable[[peers.Problem], peers.R2], per_probe: bool):
        self.call, self.per_probe = call, per_probe
        self.setting = Setting(1)
        self.seconds: dict[Stratum, list[float]] = {}
        self.error = {"rows ≥ features": 0.0, "rows < features": 0.0}
        self.failures = 0

    def time(self, unit: Unit, sweep: Sweep, blas: Blas, setting: Setting) -> float:
        """Seconds a unit takes, or, with workers, its share of as many run side by side."""
        problem = unit.problem(sweep)
        with blas.threads(setting.blas_threads):
            if setting.workers == 1:
                return clock(lambda: self.call(problem))[0]
            with ThreadPoolExecutor(setting.workers) as pool:
                copies = [problem] * setting.workers
                return clock(lambda: list(pool.map(self.call, copies)))[0] / setting.workers

    def sample(self, stratum: Stratum, sweep: Sweep, blas: Blas, rng: np.random.Generator) -> None:
        """Time one more unit.

        Another one is drawn where LAPACK gives up: side by side on processors with AVX-512,
        OpenBLAS's SVD now and then does not converge.
        """
        for last in (False, False, True):
            unit = stratum.draw(sweep, rng, per_probe=self.per_probe)
            try:
                elapsed = self.time(unit, sweep, blas, self.setting)
            except np.linalg.LinAlgError:
                self.failures += 1
                if last:
                    raise
            else:
                self.seconds.setdefault(stratum, []).append(elapsed)
                return

    def agree(self, unit: Unit, sweep: Sweep, ours: list[cpdjax.Scores], name: str) -> None:
        difference = self.call(unit.problem(sweep)).difference(unit.of(sweep, ours))
        wide = unit.size * (sweep.folds - 1) < sweep.widths[unit.feature_set] * sweep.folds
        shape = "rows < features" if wide else "rows ≥ features"
        self.error[shape] = max(self.error[shape], difference)
        loose = wide and self.call is not peers.REFERENCE
        check(difference, f"{name} at {unit}", TOLERANCE_WIDE if loose else TOLERANCE)

    def calibrate(self, sweep: Sweep, blas: Blas, rng: np.random.Generator) -> None:
        """Choose the setting that is fastest on a small, a middle and a large stratum."""
        every = strata(sweep)
        chosen = [every[0], every[len(every) // 2], every[-1]]
        units = [(s, s.draw(sweep, rng, per_probe=self.per_probe)) for s in chosen]

        def cost(setting: Setting) -> float:
            return sum(
                s.units(sweep, per_probe=self.per_probe) * self.time(u, sweep, blas, setting)
                for s, u in units
            )

        self.setting = min(peer_settings(), key=cost)

    def estimate(self, sweep: Sweep) -> Estimate:
        return Estimate.of(self.seconds, sweep, per_probe=self.per_probe)


def check(difference: float, what: str, tolerance: float = TOLERANCE) -> None:
    if not difference <= tolerance:  # not > : NaN must fail
        raise Disagreement(f"{what}: R² differs by {difference:.2e}, more than {tolerance:.0e}")


def full_sweep(sweep: Sweep, samples: int, workers: list[int], blas: Blas) -> dict[str, Any]:
    """Ours in full, peers by sample; agreement in every stratum before anything is timed."""
    rng = np.random.default_rng(sweep.seed)
    contenders = {LOOP: Peer(peers.loop, per_probe=True)}
    contenders |= {n: Peer(call, per_probe=False) for n, call in peers.VECTORISED.items()}
    with blas.threads(1):
        first, ours = clock(sweep.ours)
    reference = Peer(peers.REFERENCE, per_probe=False)
    for stratum in strata(sweep):
        for name, peer in {"reference": reference, **contenders}.items():
            unit = stratum.draw(sweep, rng, per_probe=peer.per_probe)
            peer.agree(unit, sweep, ours, name)
    for peer in contenders.values():
        peer.calibrate(sweep, blas, rng)
    ours_seconds: dict[int, list[float]] = {number: [] for number in workers}
    for _ in range(samples):
        time_ours(sweep, ours_seconds, blas)
        time_peers(sweep, contenders, blas, rng)
    record = summarise(sweep, contenders, ours_seconds, first)
    return record | {"agreement": {"reference": reference.error} | errors(contenders)}


def errors(contenders: dict[str, Peer]) -> dict[str, dict[str, float]]:
    return {name: peer.error for name, peer in contenders.items()}


def cold(sweep: Sweep, workers: int) -> float:
    """Seconds of the whole sweep in a process of its own, which has compiled nothing yet."""
    code = (
        "import json, sys, time; from sweep import Sweep; s = Sweep(**json.loads(sys.argv[1])); "
        "s.data; start = time.perf_counter(); s.ours(int(sys.argv[2])); "
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code, json.dumps(asdict(sweep)), str(workers)]
    ran = subprocess.run(
        command,
        cwd=Path(__file__).parent,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(ran.stdout)


def time_ours(sweep: Sweep, record: dict[int, list[float]], blas: Blas) -> None:
    for number, times in record.items():
        with blas.threads(1):
            time.sleep(SETTLE)
            times.append(clock(partial(sweep.ours, number))[0])


def time_peers(
    sweep: Sweep, contenders: dict[str, Peer], blas: Blas, rng: np.random.Generator
) -> None:
    """One more unit of every stratum for every peer, in turn."""
    for stratum in strata(sweep):
        for peer in contenders.values():
            peer.sample(stratum, sweep, blas, rng)


def summarise(
    sweep: Sweep, contenders: dict[str, Peer], ours: dict[int, list[float]], first: float
) -> dict[str, Any]:
    timings = {n: Timing.of(times, first, blas_threads=1) for n, times in ours.items()}
    workers, best = min(timings.items(), key=lambda item: item[1].median)
    estimates = {name: peer.estimate(sweep) for name, peer in contenders.items()}
    vectorised = [e.total for name, e in estimates.items() if name != LOOP]
    colds = {n: cold(sweep, n) for n in timings}
    return {
        "sweep": asdict(sweep),
        "ours": {str(n): t for n, t in timings.items()},
        "ours_workers": workers,
        "compile": timings[1].compile,
        "cold": colds[workers],
        "cold_of_workers": {str(n): value for n, value in colds.items()},
        "cold_vectorised_ratio": min(vectorised) / colds[workers],
        "peers": {
            name: {
                **asdict(estimates[name]),
                "unit": "probes" if peer.per_probe else "folds",
                "setting": asdict(peer.setting),
                "failures": peer.failures,
                "ratio": estimates[name].total / best.median,
            }
            for name, peer in contenders.items()
        },
        "best_of_vectorised": best_of_vectorised(sweep, contenders),
        "seconds": best.median,
        "loop_ratio": estimates[LOOP].total / best.median,
        "vectorised_ratio": min(vectorised) / best.median,
    }


def best_of_vectorised(sweep: Sweep, contenders: dict[str, Peer]) -> float:
    """Seconds of a peer that would know the fastest library for every width and size."""
    peers_only = [peer for name, peer in contenders.items() if name != LOOP]
    return sum(
        s.units(sweep, per_probe=False) * min(float(np.mean(p.seconds[s])) for p in peers_only)
        for s in strata(sweep)
    )


def print_sweep(record: dict[str, Any]) -> None:
    s = record["sweep"]
    print(
        f"\nA. Full sweep: {len(s['widths'])} feature sets of {min(s['widths'])} to "
        f"{max(s['widths'])} columns, {s['targets']} targets, sizes {s['sizes']}, "
        f"{s['repeats']} repeats, {s['folds']} folds, {len(s['alphas'])} α\n"
    )
    rows = []
    for workers, t in record["ours"].items():
        label = f"cpdjax, {workers} feature set{'s' if workers != '1' else ''} at a time"
        first = seconds(record["cold_of_workers"][workers])
        spread = f"IQR {seconds(t.iqr)}"
        rows.append((label, first, seconds(t.median), spread, f"all ×{t.repeats}", "", 1))
    for name, p in record["peers"].items():
        sample = f"{p['sample']:,} of {p['population']:,} {p['unit']}"
        if p["failures"]:
            sample += f", {p['failures']} failed"
        threads = f"{p['setting']['blas_threads']} BLAS × {p['setting']['workers']}"
        spread = f"± {seconds(p['error'])}"
        total = seconds(p["total"])  # cold as well: these compile nothing
        rows.append((name, total, total, spread, sample, threads, f"{p['ratio']:.0f}"))
    mixed = record["best_of_vectorised"]
    ratio = f"{mixed / record['seconds']:.0f}"
    mixed_time = seconds(mixed)
    rows.append(("best vectorised, cell by cell", mixed_time, mixed_time, "", "", "", ratio))
    print(table(("contender", "cold", "warm", "spread", "timed", "threads", "× ours"), rows))
    print(f"cpdjax compiles {len(set(s['widths']))} widths once: {record['compile']:.3g} s")


# ---------------------------------------------------------------- single calls


def device_arrays(targets: np.ndarray) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x,), c, _ = synthetic(SINGLE)
    with jax.enable_x64(True):
        return jax.block_until_ready(tuple(jnp.asarray(a) for a in (x, c, targets)))


def oracle(targets: np.ndarray, columns: list[int]) -> peers.R2:
    (x,), c, _ = synthetic(SINGLE)
    layout = cross_validation(len(x), SINGLE.folds)
    ids = layout.fold_ids(0, len(x))
    folds = tuple(range(SINGLE.folds))
    return peers.loop(peers.Problem(x, c, targets[:, columns], ids, folds, np.ones(1)))


def check_call(targets: np.ndarray, columns: list[int]) -> float:
    """Largest difference from the oracle in some columns of one call; raises if too large."""
    scores = cpdjax.cpd(*device_arrays(targets), alphas=1.0)
    mine = peers.R2(*(np.asarray(a)[..., columns] for a in (scores.r2_geom, scores.r2_full)), 0)
    mine = mine._replace(comp=np.asarray(scores.r2_comp)[..., columns])
    difference = oracle(targets, columns).difference(mine)
    check(difference, "cpdjax.cpd against the oracle")
    return difference


def lowered(arrays: tuple[jax.Array, ...]) -> tuple[jax.stages.Lowered, tuple[jax.Array, ...]]:
    """The kernel behind `cpdjax.cpd` and its array arguments, to compile and run by itself."""
    arguments = Arguments.of(*arrays, 1.0, None)
    layout = cross_validation(len(arrays[0]), SINGLE.folds)
    with jax.enable_x64(True):
        alphas = jnp.asarray(arguments.arrays[-1], jnp.float64)
        index, rank = jnp.asarray(layout.index), jnp.asarray(layout.rank)
        inputs = (*arrays, alphas, index, rank)
        static = {"sizes": layout.sizes, "bounds": layout.bounds, "options": arguments.options}
        return probe.lower(*inputs, **static), inputs


def compiled(function: Callable[..., Any], *arrays: jax.Array) -> Callable[[], Any]:
    with jax.enable_x64(True):
        executable = jax.jit(function).lower(*arrays).compile()
    return lambda: executable(*arrays)


def single_call(repeats: int, inner: int, blas: Blas) -> dict[str, Any]:
    """2,000 × 256, 12 targets, one α, 5 folds, beside one SYRK over the same rows."""
    _, _, y = synthetic(SINGLE)
    arrays = device_arrays(y)
    compile_seconds, _ = clock(lambda: lowered(arrays)[0].compile() and ())
    difference = check_call(y, [0, SINGLE.targets // 2, SINGLE.targets - 1])
    quick = measure(pieces(arrays), repeats=repeats, inner=inner, blas=blas)
    others = measure(single_peers(y), repeats=max(repeats // 5, 1), blas=blas)
    floor = min(t.median for name, t in quick.items() if name.startswith("SYRK"))
    return {
        "timings": quick | others,
        "floor": floor,
        "compile": compile_seconds,
        "max_r2_difference": difference,
        "ratio": quick["cpdjax.cpd"].median / floor,
        "as_found": quick[AS_FOUND].median / quick["cpdjax.cpd"].median,
        "kernel_ratio": quick[KERNEL].median / floor,
    }


def pieces(arrays: tuple[jax.Array, ...]) -> dict[str, Contender]:
    """The floor, our call, and what it is made of."""
    x = np.asarray(arrays[0])
    fortran = np.asfortranarray(x)
    kernel, inputs = lowered(arrays)
    executable = kernel.compile()
    with jax.enable_x64(True):
        grams = jnp.asarray(np.stack([x.T @ x + np.eye(x.shape[1])] * 2 * SINGLE.folds))
    gram = compiled(lambda a: a.T @ a, arrays[0])
    factorise = compiled(partial(jax.lax.map, jnp.linalg.cholesky), grams)
    return {
        "SYRK, 1 BLAS thread": Contender(lambda: dsyrk(1.0, fortran, trans=1), 1),
        "SYRK, 2 BLAS threads": Contender(lambda: dsyrk(1.0, fortran, trans=1), 2),
        "cpdjax.cpd": Contender(lambda: cpdjax.cpd(*arrays, alphas=1.0), 1),
        AS_FOUND: Contender(lambda: cpdjax.cpd(*arrays, alphas=1.0), None),
        KERNEL: Contender(lambda: executable(*inputs), 1),
        "  XᵀX by XLA": Contender(gram, 1),
        "  10 Cholesky factorisations": Contender(factorise, 1),
    }


def single_peers(y: np.ndarray) -> dict[str, Contender]:
    (x,), c, _ = synthetic(SINGLE)
    ids = np.arange(len(x)) % SINGLE.folds
    problem = peers.Problem(x, c, y, ids, tuple(range(SINGLE.folds)), np.ones(1))
    vectorised = peers.vectorised(peers.ridge_cholesky)
    return {
        "scikit-learn, all targets at once": Contender(lambda: vectorised(problem), 1),
        LOOP: Contender(lambda: peers.loop(problem), 1),
        "matscope 0.2.0, 1 target (not the same procedure)": Contender(
            lambda: peers.matscope(x, c, y[:, 0]), 1
        ),
    }


def print_single(record: dict[str, Any]) -> None:
    print("\nB. One call: 2,000 × 256, 12 targets, one α, 5 folds\n")
    rows = [
        (name, seconds(t.median), seconds(t.iqr), t.repeats, f"{t.median / record['floor']:.2f}")
        for name, t in record["timings"].items()
    ]
    print(table(("contender", "median", "IQR", "repeats", "× floor"), rows))
    print(f"cpdjax compiles it once: {record['compile']:.3g} s")


def permuted(columns: int, repeats: int, blas: Blas) -> dict[str, Any]:
    """A permutation test: shuffled copies of one target as more columns of Y."""
    rng = np.random.default_rng(1)
    _, _, y = synthetic(SINGLE)
    shuffled = np.stack([rng.permutation(y[:, 0]) for _ in range(columns)], axis=1)
    difference = check_call(shuffled, [0, columns // 2, columns - 1])
    arrays = device_arrays(shuffled)
    call = Contender(lambda: cpdjax.cpd(*arrays, alphas=1.0), 1)
    timing = measure({"permuted": call}, repeats=repeats, blas=blas)["permuted"]
    rate = columns / timing.median
    return {"timing": timing, "columns": columns, "rate": rate, "max_r2_difference": difference}


def print_permuted(record: dict[str, Any]) -> None:
    t = record["timing"]
    print(
        f"\nC. {record['columns']:,} permuted targets, 2,000 × 256, 5 folds: {seconds(t.median)} "
        f"(IQR {seconds(t.iqr)}), {record['rate']:,.0f} five-fold probes a second"
    )


# ---------------------------------------------------------------- memory


def memory() -> dict[str, Any]:
    """What the single call needs on top of its arguments, by XLA's account."""
    _, _, y = synthetic(SINGLE)
    arrays = device_arrays(y)
    account = lowered(arrays)[0].compile().memory_analysis()
    xla = account.temp_size_in_bytes + account.output_size_in_bytes
    return {
        "x_bytes": arrays[0].nbytes,
        "xla_bytes": xla,
        "xla_ratio": xla / arrays[0].nbytes,
    }


def print_memory(record: dict[str, Any]) -> None:
    print(
        f"\nD. Memory of call B beyond its arguments, by XLA's account: "
        f"{record['xla_bytes'] / 1e6:.1f} MB, {record['xla_ratio']:.2f} × X"
    )


# ---------------------------------------------------------------- all together


def print_agreement(record: dict[str, Any]) -> None:
    found = record["sweep"]["agreement"]
    shapes = list(found["reference"])
    rows = [(name, *(f"{found[name][shape]:.1e}" for shape in shapes)) for name in found]
    for section, name in (("single_call", "single call"), ("permuted", "permuted targets")):
        rows.append((f"{name}, the loop", f"{record[section]['max_r2_difference']:.1e}", ""))
    print("\nE. Largest difference in R² from ours, over all three scores\n")
    print(table(("contender", *shapes), rows))


def targets(record: dict[str, Any]) -> list[Target]:
    sweep, single, memory = record["sweep"], record["single_call"], record["memory"]
    found = [
        Target("full sweep, × faster than the loop", sweep["loop_ratio"], 500, True),
        Target("full sweep, × fastest vectorised", sweep["vectorised_ratio"], 20, True),
        Target("full sweep cold, seconds", sweep["cold"], 18, False),
        Target("full sweep cold, × fastest vectorised", sweep["cold_vectorised_ratio"], 2.5, True),
        Target("single call, × SYRK", single["ratio"], 5, False),
        Target("single call as found, × one thread", single["as_found"], 1.15, False),
        Target("five-fold probes a second", record["permuted"]["rate"], 5000, True),
        Target("memory, × X, by XLA", memory["xla_ratio"], 4, False),
    ]
    # The first four speak of the full sweep: a small one says nothing about them.
    return found[4:] if record["fast"] else found


def run(options: argparse.Namespace) -> dict[str, Any]:
    jax.block_until_ready(jnp.linalg.cholesky(jnp.eye(2)))  # loads LAPACK, for Blas to find
    blas = Blas()
    small = Sweep(widths=(64, 128), sizes=(50, 500), molecules=500, repeats=2)
    sweep, samples, repeats = (small, 2, 5) if options.fast else (Sweep(), 4, 25)
    record: dict[str, Any] = {"fast": options.fast, "environment": environment(blas)}
    record["sweep"] = full_sweep(sweep, samples, sorted({1, *options.workers}), blas)
    print_sweep(record["sweep"])
    record["single_call"] = single_call(repeats, 3 if options.fast else 10, blas)
    print_single(record["single_call"])
    record["permuted"] = permuted(1000, repeats, blas)
    print_permuted(record["permuted"])
    record["memory"] = memory()
    print_memory(record["memory"])
    print_agreement(record)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a small sweep, for CI")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).parent / "results" / "bench_cpd.json"
    )
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[1, 2],
        help="feature sets of the sweep run at a time; the fastest number counts",
    )
    options = parser.parse_args()
    try:
        record = run(options)
    except Disagreement as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = targets(record)
    record["targets"] = [{**asdict(t), "met": t.met} for t in found]
    write_json(options.json, record)
    print("\nTargets\n")
    print(table(("target", "measured", "bound", ""), [t.row() for t in found]))
    print(f"\nwritten to {options.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
