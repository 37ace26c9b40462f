"""From structures to features: padded buckets through a model, pooled on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from ase.data import chemical_symbols
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Array, Int

from cpdjax.data.batch import Batch
from cpdjax.data.neighbours import most_neighbours, with_edges
from cpdjax.data.padding import bucket_sizes
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.irreps import INVARIANTS, POOLS, Blocks, blocks
from cpdjax.irreps import invariants as make_invariants
from cpdjax.irreps import pool as pool_atoms
from cpdjax.models import load
from cpdjax.models.interface import Model
from cpdjax.precision import float_dtype
from cpdjax.progress import progress_bar

OVERLAP = 1e-3
"""Å; two atoms closer than this are taken for a mistake."""

# Bytes of a batch's intermediates: on a CPU few enough for its caches (larger batches are slower),
# on an accelerator a small part of any device's memory that still fills it with work.
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
    """A model's features of every structure, pooled over atoms, in the structures' order.

    Args:
        model: a name of `cpdjax.models.names()`, or a model.
        layers: the layers to compute, all by default.
        pool: "mean" or "sum" over atoms, "atom" for a row per atom; without effect for models of
            level "molecule".
        invariants: make scalars at once, one of `features.INVARIANTS`; by default layers keep
            their irreps.
        batch_size: molecules per call; by default as many as suit the device's memory.
        dtype: float32 or float64; by default float64 wherever the backend has it. The caller's
            JAX flags neither change nor matter.
        progress: show a progress bar on standard error.

    Raises:
        UnknownNameError: unknown model, layer, pooling or way of making scalars.
        InputError: a structure that the model cannot take (an unknown element, a periodic cell,
            too many atoms, overlapping atoms), named with the reason; features that are not
            finite.

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
    """One model on one set of structures: what is computed, in which buckets and precision."""

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
        """Check everything that can be checked before any work; see `extract`."""
        encoder = load(model) if isinstance(model, str) else model
        if pool not in POOLS:
            raise UnknownNameError("pooling", pool, POOLS)
        if how is not None and how not in INVARIANTS:
            raise UnknownNameError("way of making scalars", how, INVARIANTS)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        known = _known_layers(encoder, layers)
        run = cls(encoder, structures, known, pool, how, batch_size, float_dtype(dtype))
        check(encoder, structures)
        return run

    @property
    def per_atom(self) -> bool:
        """Whether results have a row per atom."""
        return self.pool == "atom" and self.model.level == "atom"

    @property
    def origins(self) -> dict[str, Blocks]:
        """Of layers made into scalars, the irreps behind the columns."""
        if self.how is None:
            return {}
        return {layer: blocks(self.model.irreps[layer], self.how) for layer in self.layers}

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Irreps of the results."""
        if self.how is None:
            return {layer: self.model.irreps[layer] for layer in self.layers}
        counts = {layer: sum(n for _, n in found) for layer, found in self.origins.items()}
        return {layer: Irreps(f"{n}x0e") for layer, n in counts.items()}

    def features(self, arrays: Mapping[str, np.ndarray]) -> Features:
        """Results of all structures, as `Features`."""
        return Features(
            {layer: IrrepsArray(self.irreps[layer], array) for layer, array in arrays.items()},
            model=self.model.name,
            pool=self.pool if self.model.level == "atom" else "none",
            structures_hash=self.structures.hash,
            origins=self.origins,
            parity=self.model.parity,
        )

    def rows(
        self, indices: Int[np.ndarray, " molecule"], advance: Callable[[int], Any] = lambda n: None
    ) -> dict[str, np.ndarray]:
        """Results of the molecules at `indices`, in that order; per atom, atom after atom."""
        sizes, ids = self.structures.sizes[indices], self.structures.ids[indices]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        total = int(starts[-1]) if self.per_atom else len(indices)
        arrays = {k: np.empty((total, irreps.dim), self.dtype) for k, irreps in self.irreps.items()}
        # Accelerators round float32 products to fewer bits unless told not to.
        precise = jax.default_matmul_precision("highest")
        with jax.enable_x64(self.dtype == np.float64), precise:
            model = jax.device_put(self.model)  # once, not with every batch
            for places, size, atoms in self._batches(indices):
                # The last batch of a bucket repeats a molecule: its shape needs no compilation.
                rows = np.pad(indices[places], (0, size - len(places)), mode="edge")
                batch = padded(self.model, self.structures, rows, atoms)
                _check_overlap(batch, ids[places])
                batch = batch._replace(positions=batch.positions.astype(self.dtype))
                found = _pooled(model, batch, self.layers, self.pool, self.how)
                owners = into = places
                if self.per_atom:
                    owners = np.repeat(places, sizes[places])
                    spans = [np.arange(starts[i], starts[i + 1]) for i in places]
                    into = np.concatenate(spans)
                for layer, array in found.items():
                    values = np.asarray(array)[: len(places)]
                    values = values[batch.mask[: len(places)]] if self.per_atom else values
                    _check_finite(self.model, layer, values, ids[owners])
                    arrays[layer][into] = values
                advance(len(places))
        return arrays

    @cached_property
    def _buckets(self) -> list[tuple[int, int]]:
        """Atoms to pad to and molecules a call, ascending; the same for every part of the data."""
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
        """Places in `indices`, the batch's full size, and the atoms to pad to."""
        bounds = [atoms for atoms, _ in self._buckets]
        bucket_of = np.searchsorted(bounds, self.structures.sizes[indices])
        for bucket, (atoms, size) in enumerate(self._buckets):
            members = np.flatnonzero(bucket_of == bucket)
            for start in range(0, len(members), size):
                yield members[start : start + size], size, atoms


def padded(model: Model, structures: Structures, indices: np.ndarray, atoms: int) -> Batch:
    """The molecules at `indices` as `model` reads them, with neighbours if it has a cutoff."""
    batch = structures.pad(indices, atoms)
    return batch if model.cutoff is None else with_edges(batch, structures, indices, model.cutoff)


@partial(jax.jit, static_argnames=("layers", "pool", "how"))
def _pooled(
    model: Model, batch: Batch, layers: tuple[str, ...], pool: str, how: str | None
) -> dict[str, Array]:
    features = model.features(batch)
    found = {}
    for layer in layers:
        array = features[layer]
        if how == "norm-then-pool":
            scalars = make_invariants(array, how=how)
            array = IrrepsArray(Irreps(f"{scalars.shape[-1]}x0e"), scalars)
        if model.level == "atom":
            array = pool_atoms(array, batch.mask, pool)
        if how is None or how == "norm-then-pool":
            found[layer] = array.array
        else:
            found[layer] = make_invariants(array, how=how)
    return found


def _known_layers(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
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


def check(model: Model, structures: Structures) -> None:
    """Refuse structures that are outside what the model says of itself.

    Raises:
        InputError: a periodic cell, too many atoms or an unknown element, with the molecule's id.
    """
    if not model.periodic and structures.pbc is not None and structures.pbc.any():
        first = structures.ids[structures.pbc.any(1).argmax()]
        raise InputError(f"molecule '{first}' is periodic; {model.name} knows no cells")
    largest = structures.sizes.argmax()
    if model.max_atoms is not None and structures.sizes[largest] > model.max_atoms:
        raise InputError(
            f"molecule '{structures.ids[largest]}' has {structures.sizes[largest]} atoms; "
            f"{model.name} takes at most {model.max_atoms}"
        )
    if model.elements is not None:
        unknown = ~np.isin(structures.numbers, model.elements)
        if unknown.any():
            atom = unknown.argmax()
            owner = np.searchsorted(structures.offsets, atom, side="right") - 1
            raise InputError(
                f"molecule '{structures.ids[owner]}' has "
                f"{chemical_symbols[structures.numbers[atom]]}; {model.name} knows "
                f"{_symbols(model.elements)}"
            )


def _symbols(numbers: Sequence[int]) -> str:
    """By atomic number, three and more in a row as the first and the last: "H, C–F"."""
    found = np.unique(numbers)
    rows = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    names = [[chemical_symbols[n] for n in row] for row in rows]
    return ", ".join(f"{n[0]}–{n[-1]}" if len(n) > 2 else ", ".join(n) for n in names)


def _check_finite(model: Model, layer: str, rows: np.ndarray, ids: np.ndarray) -> None:
    """Refuse features that mean nothing; a model may say so of a whole batch."""
    finite = np.isfinite(rows).all(1)
    if not finite.all():
        raise InputError(
            f"{model.name} gives NaN or infinity in layer {layer!r} for molecule "
            f"'{ids[finite.argmin()]}' or one computed with it: leave it out, or see by "
            "batch_size=1 which it is"
        )


def _check_overlap(batch: Batch, ids: np.ndarray) -> None:
    """Refuse two atoms in one place, where no descriptor or model means anything."""
    edges = batch.edges
    if edges is None or edges.offsets is None:
        vectors = batch.positions[:, :, None] - batch.positions[:, None]
        pair = (
            batch.mask[:, :, None] & batch.mask[:, None] & ~np.eye(batch.mask.shape[1], dtype=bool)
        )
    else:  # periodic images count as well
        molecule = np.arange(len(batch.positions))[:, None, None]
        neighbours = batch.positions[molecule, edges.neighbours] + edges.offsets
        vectors, pair = neighbours - batch.positions[:, :, None], edges.mask
    close = pair & (np.einsum("mijx,mijx->mij", vectors, vectors) < OVERLAP**2)
    if close.any():
        molecule, first, second = np.argwhere(close)[0]
        if edges is not None and edges.offsets is not None:
            second = edges.neighbours[molecule, first, second]
        raise InputError(
            f"molecule '{ids[molecule]}' has atoms {first} and {second} closer than {OVERLAP:g} Å"
        )
