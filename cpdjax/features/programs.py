"""Compile what computes one batch on all local devices; keep the last few programs, and no more.

A program holds dozens of memory maps, of which Linux allows a process 65,530. One run needs a
program for each padded size, and a second run of the same model needs the same ones.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jax.sharding import Mesh
from jaxtyping import Array

from cpdjax.data.batch import Batch
from cpdjax.errors import InputError
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import invariants, pool
from cpdjax.machine.devices import shares, spread, whole
from cpdjax.machine.programs import options
from cpdjax.models.interface import Model
from cpdjax.models.wrapped import Wrapped

KEPT = 12
"""Limit the programs that are kept (our choice: two runs of most models)."""

# LLVM's level 1 compiles the ports in up to a quarter less time than the default, and they run as
# fast. At level 0 they compile in half the time and run two to six times as long; without XLA's
# fusion emitters most compile longer.
_LEVEL = "xla_backend_optimization_level"

# Two batched LAPACK calls at once on the threads of a CPU can wait for each other for ever, in
# jaxlib 0.10.2: they wait for tasks on the threads that they occupy.
_ALONE = threading.Lock()


class Wanted(NamedTuple):
    """Say which layers are computed, how they are pooled and how made into scalars."""

    layers: tuple[str, ...]
    pooling: str
    how: str | None

    def of(self, batch: Batch, model: Model) -> dict[str, Array]:
        """Return the model's layers, pooled and made into scalars as asked."""
        features = model.features(batch)
        found = {}
        for layer in self.layers:
            array = _layer(model, features, layer)
            if self.how == "norm-then-pool":
                scalars = invariants(array, how=self.how)
                array = IrrepsArray(Irreps(f"{scalars.shape[-1]}x0e"), scalars)
            if model.level == "atom":
                array = pool(array, batch.mask, self.pooling)
            if self.how is None or self.how == "norm-then-pool":
                found[layer] = array.array
            else:
                found[layer] = invariants(array, how=self.how)
        return found


def _layer(model: Model, features: Any, layer: str) -> IrrepsArray:
    """Return a layer of what a model has computed.

    Raises:
        InputError: it is not there, or of other irreps than the model says.
    """
    array = features.get(layer) if isinstance(features, Mapping) else None
    expected = model.irreps[layer]
    if not isinstance(array, IrrepsArray) or array.irreps != expected:
        got = getattr(array, "irreps", type(array).__name__)
        raise InputError(
            f"{model.name}: features must return layer {layer!r} as an e3nn_jax.IrrepsArray of "
            f"{expected}, as its irreps say, got {got}"
        )
    return array


@dataclass(frozen=True)
class Program:
    """Hold a compiled function of a model and a batch."""

    compiled: Any
    turn: AbstractContextManager[Any]
    """What a thread holds while it runs the program."""

    def run(self, model: Model, batch: Batch) -> Mapping[str, np.ndarray]:
        """Return the layers of a batch, on the host."""
        with self.turn:
            found: Mapping[str, np.ndarray] = jax.device_get(self.compiled(batch, model))
        return found


def program(model: Model, batch: Batch, wanted: Wanted, mesh: Mesh, stamp: str = "") -> Program:
    """Return the program for models and batches of these shapes, compiled unless it is kept.

    Programs of another `stamp` are others, though the models be equal.
    """
    leaves, structure = jax.tree.flatten((batch, model))
    return _program(tuple(map(_shape, leaves)), structure, wanted, mesh, stamp)


def stamp(model: Model, batch: Batch) -> str:
    """Return the SHA-256 (hex) of what code of somebody else computes; "" where all is ours.

    Neither the name nor the weights of such a model tell that its code has changed, or an array
    that a function holds. What JAX makes of it does: the program that is compiled, constants
    included.
    """
    if _is_ours(model):
        return ""

    def run(batch: Batch, model: Model) -> dict[str, Array]:
        return {layer: x.array for layer, x in model.features(batch).items()}

    lowered = jax.jit(run).trace(batch, model).lower(lowering_platforms=("cpu",))
    return hash_arrays((), facts=lowered.as_text())


def _is_ours(model: Any) -> bool:
    """Return whether cpdjax's version stands for all code of a model."""
    architecture = getattr(model, "architecture", None)
    parts = (model, architecture, getattr(architecture, "network", None))
    code = {type(part).__module__ for part in parts if part is not None}
    return not isinstance(model, Wrapped) and all(name.startswith("cpdjax.") for name in code)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    weak = isinstance(leaf, jax.Array) and leaf.weak_type
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=weak)


@lru_cache(maxsize=KEPT)
def _program(
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    structure: Any,
    wanted: Wanted,
    mesh: Mesh,
    stamp: str,
) -> Program:
    """Compile the program in which every device computes its part of the batch, on its own."""
    # Models are free to mix the molecules of a batch in one axis, which XLA alone would not split.
    run = jax.jit(spread(wanted.of, mesh, split=1), in_shardings=(shares(mesh), whole(mesh)))
    chosen = options(mesh.devices.flat[0].platform, **{_LEVEL: 1})
    compiled = run.lower(*structure.unflatten(shapes)).compile(compiler_options=chosen)
    return Program(compiled, _ALONE if "lapack" in (compiled.as_text() or "") else nullcontext())
