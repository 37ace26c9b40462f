"""Compute the features of structures: run a model on padded batches and pool on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Array, Int

from cpdjax.data.batch import Batch
from cpdjax.data.composition import formulas
from cpdjax.data.neighbours import most_neighbours, with_neighbours
from cpdjax.data.padding import bucket_sizes
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.features.limits import check_features, check_structures
from cpdjax.irreps import INVARIANTS, POOLS, Blocks, blocks, invariants, pool
from cpdjax.models import load
from cpdjax.models.interface import Model
from cpdjax.precision import float_dtype
from cpdjax.progress import progress_bar

# The bytes of a batch's intermediate results. On a CPU they should fit in its caches, since larger
# batches are slower; on an accelerator they fill it with work in a small part of its memory.
_CPU_BYTES, _ACCELERATOR_BYTES = 2**23, 2**30


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
        layers: the layers to compute; by default all.
        pool: "mean" or "sum" over atoms, or "atom" for a row per atom. It has no effect on models
            of level "molecule".
        invariants: one of `cpdjax.irreps.INVARIANTS`, to make scalars at once; by default layers
            keep their irreps.
        batch_size: the molecules in one call; by default as many as suit the device's memory.
        dtype: float32 or float64; by default float64 wherever the backend has it. The caller's
            JAX flags have no influence and are not changed.
        progress: whether a progress bar is shown on standard error.

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
    with progress_bar(progress) as shown:
        task = shown.add_task(run.model.name, total=len(structures))
        return run.features(run.rows(np.arange(len(structures)), lambda n: shown.advance(task, n)))


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
        encoder = load(model) if isinstance(model, str) else model
        if pool not in POOLS:
            raise UnknownNameError("pooling", pool, POOLS)
        if how is not None and how not in INVARIANTS:
            raise UnknownNameError("way of making scalars", how, INVARIANTS)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        known = _known_layers(encoder, layers)
        run = cls(encoder, structures, known, pool, how, batch_size, float_dtype(dtype))
        check_structures(encoder, structures)
        return run

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

        `advance` is called with the number of molecules after each batch.
        """
        starts = np.concatenate([[0], np.cumsum(self.structures.sizes[indices])])
        total = int(starts[-1]) if self.per_atom else len(indices)
        arrays = {k: np.empty((total, irreps.dim), self.dtype) for k, irreps in self.irreps.items()}
        # Accelerators round float32 products to fewer bits unless they are told not to.
        precise = jax.default_matmul_precision("highest")
        with jax.enable_x64(self.dtype == np.float64), precise:
            model = jax.device_put(self.model)  # once, instead of with every batch
            for places, size, atoms in self._batches(indices):
                rows = places
                if self.per_atom:
                    rows = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in places])
                for layer, values in self._batch(model, indices[places], size, atoms).items():
                    arrays[layer][rows] = values
                advance(len(places))
        return arrays

    def _batch(
        self, model: Model, molecules: Int[np.ndarray, " molecule"], size: int, atoms: int
    ) -> dict[str, np.ndarray]:
        """Return the results of a few molecules from one call, padded to `size` molecules."""
        # The last batch of a bucket repeats a molecule, because a new shape would be compiled.
        padding = (0, size - len(molecules))
        batch = padded(self.model, self.structures, np.pad(molecules, padding, mode="edge"), atoms)
        ids, mask = self.structures.ids[molecules], batch.mask[: len(molecules)]
        batch = batch._replace(positions=batch.positions.astype(self.dtype))
        found = {}
        for layer, array in _pooled(model, batch, self.layers, self.pool, self.how).items():
            values = np.asarray(array)[: len(molecules)]
            if self.per_atom:
                values = values[mask]
            owners = np.repeat(ids, mask.sum(1)) if self.per_atom else ids
            check_features(self.model, layer, values, owners)
            found[layer] = values
        return found

    @cached_property
    def _buckets(self) -> list[tuple[int, int]]:
        """Return the atoms to pad to and the molecules per call, ascending, for all structures."""
        sizes = self.structures.sizes
        budget = _CPU_BYTES if jax.default_backend() == "cpu" else _ACCELERATOR_BYTES
        buckets = bucket_sizes(sizes)
        counts = np.bincount(np.searchsorted(buckets, sizes), minlength=len(buckets))
        found = []
        for atoms, count in zip(buckets.tolist(), counts.tolist(), strict=True):
            neighbours = 0
            if self.model.cutoff is not None:
                neighbours = most_neighbours(self.structures, atoms, self.model.cutoff)
            bytes_each = self.model.memory(atoms, neighbours) * self.dtype.itemsize
            size = self.batch_size or max(budget // bytes_each, 1)
            found.append((atoms, min(size, count)))
        return found

    def _batches(
        self, indices: Int[np.ndarray, " molecule"]
    ) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yield places in `indices`, the molecules of a full batch, and the atoms to pad to."""
        bounds = [atoms for atoms, _ in self._buckets]
        bucket_of = np.searchsorted(bounds, self.structures.sizes[indices])
        for bucket, (atoms, size) in enumerate(self._buckets):
            members = np.flatnonzero(bucket_of == bucket)
            for start in range(0, len(members), size):
                yield members[start : start + size], size, atoms


def padded(model: Model, structures: Structures, indices: np.ndarray, atoms: int) -> Batch:
    """Return the molecules at `indices` padded, with neighbours if `model` has a cutoff."""
    batch = structures.pad(indices, atoms)
    if model.cutoff is None:
        return batch
    return with_neighbours(batch, structures, indices, model.cutoff)


@partial(jax.jit, static_argnames=("layers", "pooling", "how"))
def _pooled(
    model: Model, batch: Batch, layers: tuple[str, ...], pooling: str, how: str | None
) -> dict[str, Array]:
    """Return the model's layers, pooled and made into scalars as asked."""
    features = model.features(batch)
    found = {}
    for layer in layers:
        array = features[layer]
        if how == "norm-then-pool":
            scalars = invariants(array, how=how)
            array = IrrepsArray(Irreps(f"{scalars.shape[-1]}x0e"), scalars)
        if model.level == "atom":
            array = pool(array, batch.mask, pooling)
        if how is None or how == "norm-then-pool":
            found[layer] = array.array
        else:
            found[layer] = invariants(array, how=how)
    return found


def _known_layers(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    """Return the layers that are asked for, or refuse those that the model does not have."""
    if layers is None:
        return tuple(model.irreps)
    if isinstance(layers, str):
        raise InputError(f"layers must be a list of names, got the string {layers!r}")
    if not len(layers):
        raise InputError(f"layers is empty; {model.name} has {', '.join(model.irreps)}")
    for layer in layers:
        if layer not in model.irreps:
            raise UnknownNameError(f"layer of {model.name}", layer, model.irreps)
    return tuple(layers)
