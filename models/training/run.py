"""Training of an architecture on one target: AdamW, warm-up and cosine, EMA, exact resume.

A run is a folder. While it trains: `config.json`, `split.npz`, `log.csv` and checkpoints of
everything that the next step depends on; the order of the molecules follows from seed and epoch. At
its end: the model as `cpdjax.models.save` writes it, and `card.json`.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cpdjax import checksums, models
from cpdjax.data.splits import Split
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic, clean
from cpdjax.locks import sole_writer
from cpdjax.machine.programs import options
from cpdjax.models import runs
from cpdjax.models.encoder import Encoder
from cpdjax.models.naming import CARD, CONFIG, MODEL, SPLIT
from cpdjax.models.training import checkpoints
from cpdjax.models.training.baselines import baselines
from cpdjax.models.training.batches import Batches, Labelled
from cpdjax.models.training.loss_figure import plot
from cpdjax.models.training.recipes import Recipe, renamed
from cpdjax.models.training.standardized import Standardized, fit
from cpdjax.models.weights import saved_models
from cpdjax.models.weights.translate import example
from cpdjax.progress import count, shown, stage

_LOG, _FIGURE, _CHECKPOINTS, _LOCK = "log.csv", "loss.png", "checkpoints", ".lock"
_EVALUATED = 128  # Molecules that are evaluated in one call.
COLUMNS = ("epoch", "step", "molecules", "learning_rate", "train_loss", "validation_mae", "seconds")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Hold all that the next step depends on, beside the data and the recipe."""

    params: Any
    ema: Any
    """Moving average of `params`: the weights that are evaluated and kept."""
    optimizer: Any
    step: jax.Array
    loss: jax.Array
    """Sum of the losses of the epoch's molecules so far."""


def train(
    recipe: Recipe,
    structures: Structures,
    out: str | Path,
    *,
    progress: bool = False,
    checkpoint_seconds: float = 60.0,
) -> Encoder:
    """Train a model into the folder `out`; after an interruption, call again to go on.

    On the same machine, losses are the same to the bit with or without an interruption.

    Args:
        recipe: the settings of the run.
        structures: the molecules, with the recipe's target.
        progress: whether standard error shows how far the training is.
        checkpoint_seconds: seconds between checkpoints; an interruption loses as much work.

    Returns:
        The trained model, its weights the moving average of the run.

    Raises:
        UnknownNameError: there is no such target or option of the architecture.
        InputError: there are fewer molecules than the recipe asks for, or the loss is not finite.
        FileError: `out` holds another run, or something else, or another process is training
            there.
    """
    out = Path(out)
    run = Run.of(recipe, structures)
    with sole_writer(out, out / _LOCK), shown(progress), stage(f"training {recipe.name}"):
        return _trained(run, out, checkpoint_seconds)


def _trained(run: Run, out: Path, checkpoint_seconds: float) -> Encoder:
    """Train what is not trained yet, in a folder that no other process writes to."""
    _claim(out, run)
    if (out / CARD).exists():  # an earlier call has finished it
        trained: Any = models.load(out)
        return trained
    folder = out / _CHECKPOINTS
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),  # Optax needs it
        jax.default_matmul_precision("highest"),
    ):
        state = checkpoints.restore(folder, run.first())
        log = Log(out / _LOG, int(state.step))
        steps = count(run.steps, int(state.step))
        state = _loop(run, state, folder, log, steps.advance, checkpoint_seconds)
        encoder = replace(
            run.encoder(state.ema),
            name=out.resolve().name,
            target=run.recipe.target,
            unit=run.structures.units[run.recipe.target],
        )
        _finish(out, run, encoder, log)
    return encoder


def _loop(
    run: Run,
    state: State,
    folder: Path,
    log: Log,
    advance: Callable[[], Any],
    every: float,
) -> State:
    per_epoch, saved_at = run.train.steps(run.recipe.batch_size), time.monotonic()
    for epoch in range(int(state.step) // per_epoch, run.recipe.epochs):
        first = int(state.step) - epoch * per_epoch
        for number, labelled in enumerate(
            run.train.shuffled(run.recipe.batch_size, (run.recipe.seed, epoch))
        ):
            if number < first:  # done before an interruption
                continue
            state = run.step(state, labelled)
            advance()
            if time.monotonic() - saved_at > every and number + 1 < per_epoch:
                checkpoints.save(folder, int(state.step), state)
                saved_at = time.monotonic()
        loss = float(state.loss) / len(run.train)
        if not np.isfinite(loss):
            raise InputError(
                f"{run.recipe.name}: the loss is {loss} in epoch {epoch}; "
                "lower learning_rate or clip"
            )
        log.write(run, epoch, state, loss, run.error(state.ema, run.validation))
        state = replace(state, loss=jnp.zeros_like(state.loss))
        checkpoints.save(folder, int(state.step), state)
    return state


@dataclass(frozen=True, eq=False)
class Run:
    """Hold a recipe and its data, which `train` works on."""

    recipe: Recipe
    structures: Structures
    split: Split
    module: Standardized
    constants: Mapping[str, np.ndarray]
    spread: float
    """Unit of the loss: the standard deviation that references leave of the target."""
    train: Batches
    validation: Batches

    @classmethod
    def of(cls, recipe: Recipe, structures: Structures) -> Run:
        """Split the data, fit the constants, pad the molecules."""
        if structures.target(recipe.target).ndim > 1:
            raise InputError(f"target {recipe.target!r} is no scalar: train on one number")
        split = Split.draw(
            structures, recipe.train, recipe.validation, recipe.held_out, recipe.split_seed
        )
        train, validation = split.of(structures, "train"), split.of(structures, "validation")
        values = train.target(recipe.target)
        constants, spread = fit(train, values, recipe.readout)
        elements = tuple(np.unique(train.numbers).tolist())
        network = recipe.network(elements)
        parts = {
            "train": Batches.of(train, values, network.cutoff),
            "validation": Batches.of(validation, validation.target(recipe.target), network.cutoff),
        }
        module = Standardized(network, elements)
        return cls(recipe, structures, split, module, constants, spread, **parts)

    @property
    def steps(self) -> int:
        """Return the number of steps of the whole run."""
        return self.recipe.epochs * self.train.steps(self.recipe.batch_size)

    @cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """Return AdamW behind clipping by the global norm."""
        return optax.chain(
            optax.clip_by_global_norm(self.recipe.clip),
            optax.adamw(self.schedule, weight_decay=self.recipe.weight_decay),
        )

    @property
    def schedule(self) -> optax.Schedule:
        """Return a linear warm-up, then half a cosine down to a hundredth of the peak."""
        peak = self.recipe.learning_rate
        warmup = max(round(self.recipe.warmup * self.steps), 1)
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, self.steps, peak / 100)

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """Return the variables that are not trained."""
        variables = dict(self.module.init(jax.random.key(self.recipe.seed), example()))
        del variables["params"]
        own = {k: jnp.asarray(v, jnp.float32) for k, v in self.constants.items()}
        return {**variables, "constants": {**variables.get("constants", {}), **own}}

    def first(self) -> State:
        """Return the state before the first step."""
        params = self.module.init(jax.random.key(self.recipe.seed), example())["params"]
        zero = jnp.zeros((), jnp.float32)
        return State(params, params, self.optimizer.init(params), jnp.zeros((), jnp.int32), zero)

    def encoder(self, params: Any) -> Encoder:
        """Return the model with these weights."""
        variables = {"params": params, **self.fixed}
        return Encoder(self.recipe.name, self.module, variables, self.recipe.readout)

    def step(self, state: State, labelled: Labelled) -> State:
        """Return the state after one more batch."""
        return self._step(state, self.fixed, labelled)

    def loss(self, params: Any, fixed: Any, labelled: Labelled) -> jax.Array:
        """Return the mean absolute error of a batch's molecules in units of the spread."""
        variables = {"params": params, **fixed}
        encoder = Encoder(self.recipe.name, self.module, variables, self.recipe.readout)
        errors = jnp.abs(encoder.output(labelled.batch) - labelled.values)
        return (errors * labelled.weights).sum() / labelled.weights.sum() / self.spread

    @cached_property
    def _step(self) -> Callable[[State, Any, Labelled], State]:
        def step(state: State, fixed: Any, labelled: Labelled) -> State:
            loss, gradient = jax.value_and_grad(self.loss)(state.params, fixed, labelled)
            updates, optimizer = self.optimizer.update(gradient, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
            # A short memory at first, so that the average forgets the start.
            kept = jnp.minimum(self.recipe.ema, (1 + state.step) / (10 + state.step))
            ema = optax.incremental_update(params, state.ema, 1 - kept)
            total = state.loss + loss * labelled.weights.sum()
            return State(params, ema, optimizer, state.step + 1, total)

        return jax.jit(step, compiler_options=options(jax.default_backend()))

    def error(self, params: Any, batches: Batches) -> float:
        """Return the mean absolute error in the target's units."""
        encoder, total = self.encoder(params), 0.0
        for labelled in batches.all(_EVALUATED):
            found = np.asarray(encoder.output(labelled.batch)) - labelled.values
            total += float((np.abs(found) * labelled.weights).sum())
        return total / len(batches)


class Log:
    """Hold the rows of a run's CSV, one for each epoch that is not repeated on resuming."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.began = path, time.monotonic()
        rows = _rows(path)
        self.rows = [row for row in rows if int(row["step"]) <= step]
        self.before = float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def write(self, run: Run, epoch: int, state: State, loss: float, error: float) -> None:
        """Add the row of an epoch."""
        step = int(state.step)
        values = {
            "epoch": epoch,
            "step": step,
            "molecules": (epoch + 1) * len(run.train),
            "learning_rate": repr(float(run.schedule(step - 1))),
            "train_loss": repr(loss),
            "validation_mae": repr(error),
            "seconds": f"{self.before + time.monotonic() - self.began:.1f}",
        }
        self.rows.append({k: str(v) for k, v in values.items()})
        with (
            atomic(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("it has other columns")
            rows = list(reader)
        for row in rows:
            numbers = [float(row[column]) for column in COLUMNS]
            if len(row) != len(COLUMNS) or not np.isfinite(numbers).all():
                raise ValueError("a row holds other things than numbers")
            int(row["step"])
    except (OSError, ValueError, TypeError, LookupError, csv.Error) as error:
        raise FileError(
            f"{path} is no log of a run, or it is damaged ({error}): take it from a copy, or "
            "remove the run's folder to train again"
        ) from None
    return rows


def _claim(out: Path, run: Run) -> None:
    """Claim the folder for this run, or refuse one that holds anything else."""
    facts = {**run.recipe.model_dump(mode="json"), "split": run.split.hash, "format": runs.FORMAT}
    if (out / CONFIG).exists():
        known = renamed(runs.read_json(out / CONFIG))
        if known.setdefault("format", 1) != runs.FORMAT and not (out / CARD).exists():
            raise FileError(
                f"{out} holds the start of a run of another version of cpdjax, which draws other "
                "batches: go on with that version, or choose another folder"
            )
        facts["format"] = known["format"]  # a finished run stays as it is
        told = json.loads(json.dumps(facts))
        changed = [k for k in {**told, **known} if k not in told or known.get(k) != told[k]]
        if changed:
            raise FileError(
                f"{out} holds another run (different: {', '.join(changed)}): choose another folder"
            )
    else:
        _claim_new(out, run, facts)
    if not (out / CARD).exists():
        run.split.save(out / SPLIT)  # whatever an interruption left of it


def _claim_new(out: Path, run: Run, facts: Mapping[str, Any]) -> None:
    """Write `config.json` into a folder that holds nothing, or the start of this run."""
    clean(out)
    if any(path.name not in (_LOCK, SPLIT) for path in out.iterdir()):
        raise FileError(f"{out} holds something else: choose another folder")
    if (out / SPLIT).exists() and Split.load(out / SPLIT).hash != run.split.hash:
        raise FileError(f"{out} holds the split of another run: choose another folder")
    with atomic(out / CONFIG) as temporary:
        temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _finish(out: Path, run: Run, encoder: Encoder, log: Log) -> None:
    recipe, structures, split = run.recipe, run.structures, run.split
    held_out = split.of(structures)
    values = held_out.target(recipe.target)
    test = Batches.of(held_out, values, encoder.architecture.cutoff)
    unit = structures.units[recipe.target]
    card = {
        "format": runs.FORMAT,
        "name": encoder.name,
        "architecture": recipe.architecture,
        "target": recipe.target,
        "unit": unit,
        "dataset": structures.name,
        "molecules": len(split.train),
        "molecules_seen": recipe.epochs * len(run.train),
        "seed": recipe.seed,
        "parameters": encoder.parameters,
        "validation_mae": float(log.rows[-1]["validation_mae"]),
        "test_mae": run.error(encoder.variables["params"], test),
        **baselines(split.of(structures, "train"), held_out, recipe.target),
        "split": split.hash,
        "command": f"cpdjax train {CONFIG} --out {encoder.name}",
    }
    figures = [_FIGURE] if len(log.rows) > 1 else []  # one epoch is no line
    for figure in figures:
        plot(log.rows, unit, out / figure)
    saved_models.save(out / MODEL, encoder, {"target": recipe.target, "split": split.hash})
    with atomic(out / CARD) as temporary:  # last: from now on the run is finished
        temporary.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        kept = (CONFIG, SPLIT, _LOG, *figures, f"{MODEL}/{checksums.RECORD}")
        checksums.write(out, {CARD: temporary, **{name: out / name for name in kept}})
