"""Structures per second of each port beside its own torch reference, on the same QM9 molecules.

    python benchmarks/bench_extract.py --reference schnet=envs/pyg/bin/python \
        --reference sevennet-0=envs/sevenn/bin/python ...
    python benchmarks/bench_extract.py --fast        # ports alone, if their weights are installed

The references cannot share one environment (tests/goldens/environment_*.txt pins theirs), so each
runs in a process of its own (`reference_models.py`), with the same weights, molecules, threads
and precision, just before its port; outputs must agree before a ratio is given.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import reference
from e3nn_jax import IrrepsArray
from timing import Blas, Contender, Timing, environment, measure, table, write_json

from cpdjax import Structures, models
from cpdjax.data import datasets
from cpdjax.features.extraction import Extraction, padded
from cpdjax.irreps import pool
from cpdjax.models import Encoder
from cpdjax.models.cards import card_of
from cpdjax.models.interface import Model

# Relative to the largest output: both sides sum in float32, in different orders.
TOLERANCE = 1e-4
FAST = ("sevennet-0", "so3lr", "chgnet-0.3.0", "ani-1x")


@dataclass(frozen=True)
class Speed:
    """Seconds for all molecules, by batch size; and what the model predicts."""

    seconds: dict[int, Timing]
    output: np.ndarray

    @property
    def best(self) -> int:
        """The batch size of the smallest median."""
        return min(self.seconds, key=lambda size: self.seconds[size].median)


def run_reference(
    python: str, model: str, molecules: Structures, options: argparse.Namespace
) -> tuple[Speed, dict[str, Any], dict[str, np.ndarray]]:
    """The reference's speed, and its hyperparameters and weights (empty for packaged ones)."""
    arguments = ["--batches", ",".join(map(str, options.batches))]
    arguments += ["--repeats", str(options.repeats)]
    stored = reference.run(python, model, molecules, arguments, options.threads)
    seconds = json.loads(str(stored["seconds"]))
    timings = {int(size): Timing.of(runs, 0, None) for size, runs in seconds.items()}
    config = json.loads(str(stored["config"]))
    return Speed(timings, stored["output"]), config, reference.state_of(stored)


def batches_of(model: Encoder, molecules: Structures, size: int) -> list[Any]:
    """Batches of equal shape, of molecules of like size, as `cpdjax.extract` makes them."""
    order = np.argsort(molecules.sizes, kind="stable")
    made = []
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        batch = padded(model, molecules, rows, int(molecules.sizes[rows].max()))
        made.append(batch._replace(positions=batch.positions.astype(np.float32)))
    return jax.device_put(made)


@jax.jit
def forward(model: Encoder, batch: Any) -> Any:
    """The output alone."""
    return model.output(batch)


@jax.jit
def features(model: Encoder, batch: Any) -> Any:
    """The output, and every layer pooled."""
    layers, output = model.features_and_output(batch)
    return output, {k: pool(x, batch.mask, "mean").array for k, x in layers.items()}


def run_port(
    model: Encoder, molecules: Structures, call: Callable[..., Any], options: argparse.Namespace
) -> Speed:
    """The port's speed by batch size; all batches of one size together are one repeat."""
    contenders = {}
    model = jax.device_put(model)  # as `cpdjax.extract` does
    for size in options.batches:
        batches = batches_of(model, molecules, size)
        contenders[str(size)] = Contender(
            lambda batches=batches: [call(model, batch) for batch in batches]
        )
    timings = measure(contenders, repeats=options.repeats, blas=Blas())
    order = np.argsort(molecules.sizes, kind="stable")
    output = np.empty(len(molecules))
    found = [forward(model, batch) for batch in batches_of(model, molecules, options.batches[0])]
    output[order] = np.concatenate(found)
    return Speed({int(size): timing for size, timing in timings.items()}, output)


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Nothing:
    """A model that computes nothing, whose pooled features have the shapes of another's."""

    model: Model
    level: str = "molecule"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def features(self, batch: Any) -> dict[str, IrrepsArray]:
        """Zeros that XLA cannot know beforehand."""
        zero = 0 * batch.positions[:, 0, :1]
        return {
            layer: IrrepsArray(irreps, jnp.broadcast_to(zero, (len(zero), irreps.dim)))
            for layer, irreps in self.model.irreps.items()
        }


def host_share(model: Model, molecules: Structures, repeats: int) -> float:
    """What is left of the time of `cpdjax.extract`, compiled, if the model computes nothing."""
    runs = [Extraction.of(each, molecules) for each in (model, Nothing(model))]
    rows = np.arange(len(molecules))
    contenders = {str(i): Contender(partial(run.rows, rows)) for i, run in enumerate(runs)}
    whole, host = measure(contenders, repeats=repeats, blas=Blas()).values()
    return host.median / whole.median


def row(
    name: str, molecules: Structures, options: argparse.Namespace, python: str | None
) -> dict[str, Any]:
    """Return one model's times and rates."""
    theirs = None
    if python is None:
        model = models.load(name)
    else:
        theirs, config, state = run_reference(python, name, molecules, options)
        model = models.from_state_dict(name, config, state) if state else models.load(name)
    plain = run_port(model, molecules, forward, options)
    full = run_port(model, molecules, features, options)
    record: dict[str, Any] = {"model": name, "port": plain.seconds, "features": full.seconds}
    record["per_second"] = len(molecules) / plain.seconds[plain.best].median
    record["overhead"] = full.seconds[full.best].median / plain.seconds[plain.best].median - 1
    record["host"] = host_share(model, molecules, options.repeats)
    if theirs is not None:
        spread = np.abs(theirs.output).max()
        error = np.abs(plain.output - theirs.output).max() / spread
        if not error <= TOLERANCE:
            raise SystemExit(f"{name}: outputs differ by {error:.1e}; its time means nothing")
        record["reference"] = theirs.seconds
        record["error"] = float(error)
        best = theirs.seconds[theirs.best].median
        record["ratio"] = best / plain.seconds[plain.best].median
    return record


def cells(record: dict[str, Any]) -> list[str]:
    """The table's row of a record."""
    port = record["port"]
    size = min(port, key=lambda k: port[k].median)
    spread = port[size].iqr / port[size].median
    ratio = f"{record['ratio']:.2f}" if "ratio" in record else "-"
    error = f"{record['error']:.0e}" if "error" in record else "-"
    compile_time = max(timing.compile for timing in port.values())
    return [
        record["model"], f"{record['per_second']:.0f}", f"{spread:.0%}", str(size), ratio,
        f"{record['overhead']:+.0%}", f"{record['host']:.1%}", f"{compile_time:.1f}", error,
    ]  # fmt: skip


HEADER = (
    "model", "structures/s", "IQR", "batch", "port : reference", "features", "host", "compile s",
    "error",
)  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="append", default=[], metavar="MODEL=PYTHON")
    parser.add_argument("--molecules", type=int, default=256)
    parser.add_argument("--batches", type=lambda s: [int(x) for x in s.split(",")],
                        default=[16, 64, 128])  # fmt: skip
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("results/bench_extract.json"))
    options = parser.parse_args(arguments)
    if options.fast:
        options.molecules, options.batches, options.repeats = 32, [16], 2
    return options


def main(arguments: Sequence[str]) -> None:
    """Print the table and write the record."""
    options = parse(arguments)
    molecules = datasets.qm9(options.molecules, 0)
    wanted = dict(pair.split("=", 1) for pair in options.reference)
    if not wanted:
        wanted = {name: None for name in FAST if name in models.names() and card_of(name).installed}
    records = []
    for name, python in wanted.items():
        if python is not None and name in models.names():
            known = set(models.load(name).elements)
            parts = np.split(molecules.numbers, molecules.offsets[1:-1])
            usable = molecules.select([set(part) <= known for part in parts])
        else:
            usable = molecules
        records.append(row(name, usable, options, python))
        print(*cells(records[-1]), sep="  ", file=sys.stderr, flush=True)
    print(table(HEADER, [cells(record) for record in records]))
    write_json(options.json, {"environment": environment(Blas()), "rows": records})


if __name__ == "__main__":
    main(sys.argv[1:])
