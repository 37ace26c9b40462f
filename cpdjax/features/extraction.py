"""Compute the features of structures: run a model on padded batches and pool on the device."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import Any

import jax
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jax.sharding import Mesh
from jaxtyping import Int

from cpdjax.configuration import names_in
from cpdjax.data.composition import formulas
from cpdjax.data.neighbours import most_neighbours
from cpdjax.data.padding import MAX_BUCKETS, bucket_sizes
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.features.layer_names import called
from cpdjax.features.programs import Program, Wanted, program, stamp
from cpdjax.irreps import INVARIANTS, POOLS, Blocks, blocks
from cpdjax.machine.devices import local_mesh, put_whole
from cpdjax.machine.precision import float_dtype
from cpdjax.machine.threads import cores
from cpdjax.models import load
from cpdjax.models.conformance import check_model
from cpdjax.models.interface import Model
from cpdjax.models.limits import check_features, check_structures
from cpdjax.models.prediction import padded
from cpdjax.progress import count, shown, stage

_log = logging.getLogger(__name__)

# The bytes of a batch's intermediate results. On a CPU they should fit in its caches, since larger
# batches are slower; on an accelerator they fill it with work in a small part of its memory.
_CPU_BYTES, _ACCELERATOR_BYTES = 2**23, 2**30
_QUEUED = 2  # So many batches are on an accelerator at once: one is computed, one waits.
_ACCELERATOR_BUCKETS = 2  # An accelerator has time to compute padding.
# A program is worth its compilation where it saves so many numbers of `Model.memory`. Compiling the
# models of `cpdjax models` takes as long as computing 4e7 to 6e8 of them (MACE: 1e9) on two cores
# of a Xeon. Ours is the lower half, because a program is often used again or read from a cache.
_COMPILED = 1e8


def extract(
    model: str | Model,
    structures: Structures,
    *,
    layers: Sequence[str] | None = None,
    pool: str = "mean",
    invariants: str | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    progress: bool = False,
) -> Features:
    """Return a model's features of every structure, pooled over atoms, in the structures' order.

    Args:
        model: a name of `cpdjax.models.names()`, or a model.
        structures: the molecules or crystals.
        layers: the layers to compute, or "last" for the last interaction layer; by default all.
        pool: "mean" or "sum" over atoms, or "atom" for a row per atom. It has no effect on models
            of level "molecule".
        invariants: one of `cpdjax.irreps.INVARIANTS`, to make scalars at once; by default layers
            keep their irreps.
        batch_size: the molecules in one call; by default as many as suit the device's memory.
        dtype: float32 or float64; by default float64 wherever the backend has it. The caller's
            JAX flags have no influence and are not changed.
        progress: whether standard error shows how far the extraction is.

    Raises:
        UnknownNameError: if the model, a layer, the pooling or the way of making scalars is
            unknown.
        InputError: if the model cannot take a structure (an unknown element, a periodic cell, too
            many atoms, overlapping atoms), which the error names; or if features are not finite.

    >>> from ase.build import molecule
    >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
    >>> extract("coulomb-spectrum", ds)
    Features('coulomb-spectrum', molecules=2, pool='none', layers={'spectrum': '29x0e'})
    """
    run = Extraction.of(model, structures, layers, pool, invariants, batch_size, dtype)
    with shown(progress), stage(f"features of {run.model.name}"):
        return run.all_features()


@dataclass(frozen=True, eq=False)
class Extraction:
    """Hold what is computed in one run of a model: structures, layers, pooling and precision."""

    model: Model
    structures: Structures
    layers: tuple[str, ...]
    pool: str
    how: str | None
    batch_size: int | None
    dtype: np.dtype
    stamp: str = ""
    """What tells apart programs that a model of somebody's own code has compiled over time."""

    @classmethod
    def of(
        cls,
        model: str | Model,
        structures: Structures,
        layers: Sequence[str] | None = None,
        pool: str = "mean",
        how: str | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
    ) -> Extraction:
        """Return the run that `extract` describes, after every check that needs no computation."""
        encoder = load(model) if isinstance(model, str) else check_model(model)
        if pool not in POOLS:
            raise UnknownNameError("pooling", pool, POOLS)
        if how is not None and how not in INVARIANTS:
            raise UnknownNameError("way of making scalars", how, INVARIANTS)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        known = known_layers(encoder, layers)
        run = cls(encoder, structures, known, pool, how, batch_size, float_dtype(dtype))
        check_structures(encoder, structures)
        return run

    def stamped(self) -> Extraction:
        """Return the run with the stamp of what its model computes now, if the code is not ours."""
        first = padded(self.model, self.structures, np.zeros(1, int), int(self.structures.sizes[0]))
        first = first._replace(positions=first.positions.astype(self.dtype))
        with self._arithmetic():
            return replace(self, stamp=stamp(self.model, first))

    @property
    def per_atom(self) -> bool:
        """Return whether results have a row per atom."""
        return self.pool == "atom" and self.model.level == "atom"

    @property
    def origins(self) -> dict[str, Blocks]:
        """Return the irreps from which the columns come, for layers that are made into scalars."""
        if self.how is None:
            return {}
        return {layer: blocks(self.model.irreps[layer], self.how) for layer in self.layers}

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Return the irreps of the results, by layer."""
        if self.how is None:
            return {layer: self.model.irreps[layer] for layer in self.layers}
        counts = {layer: sum(n for _, n in found) for layer, found in self.origins.items()}
        return {layer: Irreps(f"{n}x0e") for layer, n in counts.items()}

    def all_features(self) -> Features:
        """Compute the features of all structures; the open stage counts them."""
        everything = np.arange(len(self.structures))
        return self.features(self.rows(everything, count(len(everything)).advance))

    def features(self, arrays: Mapping[str, np.ndarray]) -> Features:
        """Return the results of all structures as `Features`."""
        return Features(
            {layer: IrrepsArray(self.irreps[layer], array) for layer, array in arrays.items()},
            model=self.model.name,
            pool=self.pool if self.model.level == "atom" else "none",
            structures_hash=self.structures.geometry_hash,
            origins=self.origins,
            parity=self.model.parity,
            invariants=self.how or "",
            ids=self.structures.ids,
            formulas=formulas(self.structures),
        )

    def rows(
        self, indices: Int[np.ndarray, " molecule"], advance: Callable[[int], Any] = lambda n: None
    ) -> dict[str, np.ndarray]:
        """Return the results of the molecules at `indices`, in that order; per atom, atom by atom.

        `advance` is called with the number of molecules after each batch. Several batches are under
        way at once, each on a thread of its own: while one is computed, others are padded, sent and
        fetched, and where the device is a CPU every core computes one.

        Raises:
            InputError: if a feature is not finite.
        """
        starts = np.concatenate([[0], np.cumsum(self.structures.sizes[indices])])
        total = int(starts[-1]) if self.per_atom else len(indices)
        arrays = {k: np.empty((total, irreps.dim), self.dtype) for k, irreps in self.irreps.items()}
        model = self._model

        def compute(places: np.ndarray, bucket: Bucket) -> int:
            rows = places
            if self.per_atom:
                rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in places])
            for layer, values in self._batch(model, indices[places], bucket).items():
                arrays[layer][rows] = values
            return len(places)

        with ThreadPoolExecutor(cores()) as threads:
            futures = [threads.submit(compute, *batch) for batch in self._batches(indices)]
            try:
                for future in as_completed(futures):
                    advance(future.result())
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        owners = np.repeat(indices, np.diff(starts)) if self.per_atom else indices
        for layer, array in arrays.items():
            check_features(self.model, layer, array, self.structures.ids, owners)
        return arrays

    def _batch(
        self, model: Model, molecules: Int[np.ndarray, " molecule"], bucket: Bucket
    ) -> dict[str, np.ndarray]:
        """Return the results of a few molecules from one call, padded to the bucket's shape."""
        # The last batch of a bucket repeats a molecule, because a new shape would be compiled.
        rows = np.pad(molecules, (0, bucket.molecules - len(molecules)), mode="edge")
        batch = padded(self.model, self.structures, rows, bucket.atoms)
        batch = batch._replace(positions=batch.positions.astype(self.dtype))
        with self._arithmetic():
            with bucket.lock:  # the first thread compiles, and the others wait for it
                if bucket.program is None:
                    wanted = Wanted(self.layers, self.pool, self.how)
                    bucket.program = program(model, batch, wanted, self._mesh, self.stamp)
            with self._ahead:
                found = bucket.program.run(model, batch)
        mask = batch.mask[: len(molecules)] if self.per_atom else ...
        return {layer: values[: len(molecules)][mask] for layer, values in found.items()}

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Set the precision in this thread, whatever the caller's JAX flags are."""
        # Accelerators round float32 products to fewer bits unless they are told not to.
        precise = jax.default_matmul_precision("highest")
        with jax.enable_x64(self.dtype == np.float64), precise:
            yield

    @cached_property
    def _model(self) -> Model:
        """Return the model on the devices, where it is sent once instead of with every batch.

        It goes without its name, by which programs of models with equal shapes would differ.
        """
        with self._arithmetic():
            placed: Model = put_whole(getattr(self.model, "nameless", self.model), self._mesh)
            return placed

    @cached_property
    def _mesh(self) -> Mesh:
        return local_mesh()

    @property
    def _on_cpu(self) -> bool:
        return self._mesh.devices.flat[0].platform == "cpu"

    @cached_property
    def _ahead(self) -> threading.Semaphore:
        """Return what limits the batches that hold memory of the devices at once."""
        return threading.Semaphore(cores() if self._on_cpu else _QUEUED)

    @cached_property
    def _buckets(self) -> list[Bucket]:
        """Return the shapes of batches, by ascending number of atoms, for all structures."""
        sizes = self.structures.sizes
        most = MAX_BUCKETS if self._on_cpu else _ACCELERATOR_BUCKETS
        bounds = bucket_sizes(sizes, self._memory, _COMPILED, most)
        counts = np.bincount(np.searchsorted(bounds, sizes), minlength=len(bounds))
        shapes = zip(bounds.tolist(), counts.tolist(), strict=True)
        found = [Bucket(atoms, self._per_call(atoms, count)) for atoms, count in shapes]
        batches = ", ".join(f"{bucket.molecules} of up to {bucket.atoms} atoms" for bucket in found)
        _log.debug("%s computes molecules in batches of %s", self.model.name, batches)
        return found

    def _memory(self, atoms: int) -> int:
        """Return about how many numbers the model keeps at once for one molecule."""
        if self.model.cutoff is None:
            return self.model.memory(atoms, 0)
        neighbours = most_neighbours(self.structures, atoms, self.model.cutoff)
        return self.model.memory(atoms, neighbours)

    def _per_call(self, atoms: int, count: int) -> int:
        """Return how many of `count` molecules all devices compute in one call."""
        parts, bytes_each = self._mesh.size, self._memory(atoms) * self.dtype.itemsize
        weights = sum(leaf.size for leaf in jax.tree.leaves(self._model)) * self.dtype.itemsize
        # A batch on a CPU is not smaller than the weights, which are read for every batch.
        budget = max(_CPU_BYTES, weights) if self._on_cpu else _ACCELERATOR_BYTES
        fitting = parts * max(budget // bytes_each, 1)
        share = ceil(count / cores()) if self._on_cpu else count  # something for every core
        return ceil((self.batch_size or min(fitting, share)) / parts) * parts

    def _batches(
        self, indices: Int[np.ndarray, " molecule"]
    ) -> Iterator[tuple[np.ndarray, Bucket]]:
        """Yield places in `indices` and their bucket; first those for which a program is compiled.

        Programs are compiled side by side then, before any of them is waited for.
        """
        bounds = [bucket.atoms for bucket in self._buckets]
        bucket_of = np.searchsorted(bounds, self.structures.sizes[indices])
        members = [np.flatnonzero(bucket_of == number) for number in range(len(bounds))]
        for places, bucket in zip(members, self._buckets, strict=True):
            if len(places):
                yield places[: bucket.molecules], bucket
        for places, bucket in zip(members, self._buckets, strict=True):
            for start in range(bucket.molecules, len(places), bucket.molecules):
                yield places[start : start + bucket.molecules], bucket


@dataclass(eq=False)
class Bucket:
    """Hold one shape of batches, and the program that is compiled for it."""

    atoms: int
    molecules: int
    program: Program | None = None
    lock: AbstractContextManager[Any] = field(default_factory=threading.Lock)


def known_layers(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the layers that are asked for, or refuse those that the model does not have."""
    if layers is None:
        return tuple(model.irreps)
    if isinstance(layers, str):
        raise InputError(
            f"layers must be a list of names, such as {names_in(layers)}, got the string {layers!r}"
        )
    if not len(layers):
        raise InputError(f"layers is empty; {model.name} has {', '.join(model.irreps)}")
    named = tuple(called(layer, list(model.irreps)) for layer in layers)
    for layer in named:
        if layer not in model.irreps:
            raise UnknownNameError(f"layer of {model.name}", layer, model.irreps)
    return named
