"""Training molecules per second of each architecture beside its torch reference.

    python benchmarks/bench_train.py --reference schnet=envs/pyg/bin/python \
        --reference mace=envs/mace/bin/python ...
    python benchmarks/bench_train.py --fast        # ports alone, tiny

The sizes are those of the zoo's models (`TRAINING` in the file of each architecture), the batches
those that `cpdjax train` makes. Both sides do the same step in float32: mean over atoms, absolute
error of the standardised gap, gradient, AdamW. Each reference runs in a process of its own
(`reference_models.py`), in turn with its port, which starts from the reference's weights; losses of
the first step must agree before the port is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import reference
from timing import Blas, Timing, clock, environment, table, write_json

from cpdjax import Structures, models
from cpdjax.data import datasets
from cpdjax.models import Encoder
from cpdjax.models.training.batches import Batches, Labelled
from cpdjax.models.training.recipes import Recipe, recipe, trainable, training_of
from cpdjax.models.weights.translate import example

# Relative: both sides sum in float32, in different orders.
TOLERANCE = 1e-4
# QM9's, in the order of the reference's weights.
ELEMENTS = (1, 6, 7, 8, 9)
# Options that make the networks shallow, so that they compile in seconds.
SHALLOW: dict[str, dict[str, Any]] = {
    "schnet": {"num_interactions": 1},
    "dimenet++": {"num_blocks": 1},
    "painn": {"n_interactions": 1},
    "visnet": {"num_layers": 2},
    "mace": {
        "hidden": ("8x0e", "8x0e"),
        "correlation": (1, 1),
        "lmax": 1,
    },
}


@dataclass(frozen=True)
class Data:
    """Batches of an epoch as `cpdjax train` makes them, and the same as places of molecules."""

    molecules: Structures
    batches: list[Labelled]
    rows: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, molecules: Structures, cutoff: float, size: int) -> Data:
        """The standardised gap; a first set of labels tells which molecule is where."""
        gap = molecules.target("gap")
        standard = ((gap - gap.mean()) / gap.std()).astype(np.float32)
        places = np.arange(len(molecules), dtype=float)
        drawn = list(Batches.of(molecules, places, cutoff).shuffled(size, (0, 0)))
        drawn = [labelled for labelled in drawn if labelled.weights.all()]  # without padding
        rows = np.stack([labelled.values.astype(int) for labelled in drawn])
        batches = [b._replace(values=standard[r]) for b, r in zip(drawn, rows, strict=True)]
        return cls(molecules, batches, rows, standard[rows])


class Trainer:
    """A port that goes from epoch to epoch."""

    def __init__(self, encoder: Encoder, batches: Sequence[Labelled], chosen: Recipe) -> None:
        fixed = dict(encoder.variables)
        first = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), fixed.pop("params"))
        optimizer = optax.adamw(chosen.learning_rate, weight_decay=chosen.weight_decay)
        self.state = (first, optimizer.init(first))
        self.fixed = jax.tree.map(jnp.asarray, fixed)
        self.batches = batches
        self.parameters = sum(a.size for a in jax.tree.leaves(first))

        def loss_of(params: Any, fixed: Any, labelled: Labelled) -> jax.Array:
            variables = {"params": params, **fixed}
            network = Encoder(encoder.name, encoder.architecture, variables, "mean")
            return jnp.abs(network.output(labelled.batch) - labelled.values).mean()

        @jax.jit
        def step(state: Any, fixed: Any, labelled: Labelled) -> tuple[Any, jax.Array]:
            params, memory = state
            loss, gradient = jax.value_and_grad(loss_of)(params, fixed, labelled)
            updates, memory = optimizer.update(gradient, memory, params)
            return (optax.apply_updates(params, updates), memory), loss

        self.step = step

    def epoch(self) -> tuple[Any, list[jax.Array]]:
        """The weights after one more epoch, and its losses."""
        losses = []
        for labelled in self.batches:
            self.state, loss = self.step(self.state, self.fixed, labelled)
            losses.append(loss)
        return self.state, losses


def row(name: str, options: argparse.Namespace, python: str | None) -> dict[str, Any]:
    """Return one architecture's times and rates."""
    shallow = SHALLOW[name] if options.fast else {}
    chosen = recipe(architecture=name, target="gap", batch_size=options.batch, options=shallow)
    network: Any = chosen.network(ELEMENTS)
    data = Data.of(datasets.qm9(options.molecules, 0), network.cutoff, options.batch)
    port, blas, ours, others = None, Blas(), [], []
    record: dict[str, Any] = {"model": name}
    for _ in range(options.rounds):
        theirs = None if python is None else run_reference(python, name, data, chosen, options)
        if theirs is not None:
            others += theirs["seconds"].tolist()
        if port is None:
            port = Trainer(start(name, network, theirs), data.batches, chosen)
            first, (_, losses) = clock(port.epoch)
            record["parameters"] = port.parameters
            if theirs is not None:
                record |= compare(name, np.stack(losses), theirs)
        with blas.threads(1):
            ours += [clock(port.epoch)[0] for _ in range(options.repeats)]
    timing = Timing.of(ours, first, 1)
    record |= {"port": timing, "per_second": data.rows.size / timing.median}
    if theirs is not None:
        other = Timing.of(others, float(theirs["first"]), None)
        record |= {"reference": other, "reference_per_second": data.rows.size / other.median}
        record["ratio"] = other.median / timing.median
    return record


def start(name: str, network: Any, theirs: dict[str, np.ndarray] | None) -> Encoder:
    """The port with the reference's first weights, or with weights of its own."""
    if theirs is None:
        return Encoder(name, network, network.init(jax.random.key(0), example()))
    config = json.loads(str(theirs["config"]))
    return models.from_state_dict(name, config, reference.state_of(theirs))


def run_reference(
    python: str, name: str, data: Data, chosen: Recipe, options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """What the reference's process writes down."""
    sizes = {**training_of(name).sizes, **chosen.options}
    arguments = ["--train", repr(chosen.learning_rate), "--sizes", json.dumps(sizes)]
    arguments += ["--repeats", str(options.repeats)]
    more = {"rows": data.rows, "values": data.values, "decay": np.array(chosen.weight_decay)}
    return reference.run(python, name, data.molecules, arguments, options.threads, more)


def compare(name: str, ours: np.ndarray, theirs: dict[str, np.ndarray]) -> dict[str, Any]:
    """Differences of losses, relative: of the first step, and the largest of an epoch."""
    difference = np.abs(ours - theirs["losses"]) / theirs["losses"]
    if not difference[0] <= TOLERANCE:
        raise SystemExit(
            f"{name}: losses of the first step differ by {difference[0]:.1e}; "
            "its time means nothing"
        )
    return {
        "error": float(difference[0]),
        "drift": float(difference.max()),
        "losses": ours.tolist(),
        "reference_losses": theirs["losses"].tolist(),
        "reference_parameters": int(theirs["trained"]),
    }


HEADER = (
    "model", "molecules/s", "IQR", "reference/s", "IQR", "port : reference", "compile s",
    "parameters", "first loss", "epoch",
)  # fmt: skip


def cells(record: dict[str, Any]) -> list[str]:
    """The table's row of a record."""

    def spread(timing: Timing) -> str:
        return f"{timing.iqr / timing.median:.0%}"

    rate = [f"{record['per_second']:.0f}", spread(record["port"])]
    compile_time, count = f"{record['port'].compile:.1f}", f"{record['parameters']:,}"
    if "ratio" not in record:
        return [record["model"], *rate, "-", "-", "-", compile_time, count, "-", "-"]
    other = [f"{record['reference_per_second']:.0f}", spread(record["reference"])]
    errors = [f"{record['error']:.0e}", f"{record['drift']:.0e}"]
    return [
        record["model"], *rate, *other, f"{record['ratio']:.2f}", compile_time, count, *errors
    ]  # fmt: skip


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="append", default=[], metavar="MODEL=PYTHON")
    parser.add_argument("--molecules", type=int, default=1536)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2, help="epochs of either side a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("results/bench_train.json"))
    options = parser.parse_args(arguments)
    if options.fast:
        options.molecules, options.batch, options.rounds = 16, 8, 1
    return options


def main(arguments: Sequence[str]) -> None:
    """Print the table and write the record."""
    options = parse(arguments)
    wanted = dict(pair.split("=", 1) for pair in options.reference) or dict.fromkeys(trainable())
    records = []
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),  # Optax needs it
        jax.default_matmul_precision("highest"),
    ):
        for name, python in wanted.items():
            records.append(row(name, options, python))
            print(*cells(records[-1]), sep="  ", file=sys.stderr, flush=True)
    print(table(HEADER, [cells(record) for record in records]))
    write_json(options.json, {"environment": environment(Blas()), "rows": records})


if __name__ == "__main__":
    main(sys.argv[1:])
