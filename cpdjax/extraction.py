"""From structures to features: padded buckets through a model, pooled on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import Int
from rich.console import Console
from rich.progress import Progress

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features import POOLS, Features
from cpdjax.features import pool as pool_atoms
from cpdjax.models import Model, load
from cpdjax.structures import Batch, Structures

MAX_BUCKETS = 6
"""Padded sizes, and so compilations, of one extraction."""
OVERLAP = 1e-3
"""Å; two atoms closer than this are taken for a mistake."""

_BUCKET_MOLECULES = 250  # another bucket pays its compilation from about this many molecules
# Bytes of a batch's intermediates: on a CPU few enough for its caches (larger batches are slower),
# on an accelerator a small part of any device's memory that still fills it with work.
_CPU_BYTES, _ACCELERATOR_BYTES = 2**23, 2**30


def extract(
    model: str | Model,
    structures: Structures,
    *,
    layers: Sequence[str] | None = None,
    pool: str = "mean",
    batch_size: int | None = None,
    dtype: Any = None,
    progress: bool = False,
) -> Features:
    """A model's features of every structure, pooled over atoms, in the structures' order.

    Args:
        model: a name of `cpdjax.models.names()`, or a model.
        layers: the layers to compute, all by default.
        pool: "mean" or "sum" over atoms; without effect for models of level "molecule".
        batch_size: molecules per call; by default as many as suit the device's memory.
        dtype: float32 or float64; by default float64 wherever the backend has it. The caller's
            JAX flags neither change nor matter.
        progress: show a progress bar on standard error.

    Raises:
        UnknownNameError: unknown model, layer or pooling.
        InputError: a structure that the model cannot take (an unknown element, a periodic cell,
            too many atoms, overlapping atoms), named with the reason.

    >>> from ase.build import molecule
    >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
    >>> extract("coulomb-spectrum", ds)
    Features('coulomb-spectrum', molecules=2, pool='none', layers={'spectrum': '29x0e'})
    """
    encoder = load(model) if isinstance(model, str) else model
    layers = _known_layers(encoder, layers)
    dtype = _float_dtype(dtype)
    if pool not in POOLS:
        raise UnknownNameError("pooling", pool, POOLS)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    _check(encoder, structures)

    arrays: dict[str, Any] = {
        layer: np.empty((len(structures), encoder.irreps[layer].dim), dtype) for layer in layers
    }
    bar = Progress(console=Console(stderr=True), disable=not progress)
    with bar, jax.enable_x64(dtype == np.float64):
        task = bar.add_task(encoder.name, total=len(structures))
        for index, size, atoms in _batches(encoder, structures.sizes, batch_size, dtype.itemsize):
            # The last batch of a bucket repeats a molecule, so that its shape needs no compilation.
            batch = structures.pad(np.pad(index, (0, size - len(index)), mode="edge"), atoms)
            _check_overlap(batch, structures.ids[index])
            batch = batch._replace(positions=batch.positions.astype(dtype))
            for layer, array in _pooled(encoder, batch, layers, pool).items():
                arrays[layer][index] = np.asarray(array.array)[: len(index)]
            bar.advance(task, len(index))
    return Features(
        {layer: IrrepsArray(encoder.irreps[layer], array) for layer, array in arrays.items()},
        model=encoder.name,
        pool=pool if encoder.level == "atom" else "none",
        structures_hash=structures.hash,
    )


@partial(jax.jit, static_argnames=("layers", "how"))
def _pooled(
    model: Model, batch: Batch, layers: tuple[str, ...], how: str
) -> dict[str, IrrepsArray]:
    features = model.features(batch)
    if model.level == "molecule":
        return {layer: features[layer] for layer in layers}
    return {layer: pool_atoms(features[layer], batch.mask, how) for layer in layers}


def _buckets(sizes: Int[np.ndarray, " molecule"]) -> Int[np.ndarray, " bucket"]:
    """Padded sizes, ascending: quantiles, so that each compilation serves as many molecules."""
    count = int(np.clip(len(sizes) // _BUCKET_MOLECULES, 1, MAX_BUCKETS))
    return np.unique(np.quantile(sizes, np.linspace(0, 1, count + 1)[1:], method="higher"))


def _batches(
    model: Model, sizes: Int[np.ndarray, " molecule"], batch_size: int | None, itemsize: int
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Molecules' indices, the batch's full size, and the atoms to pad to."""
    budget = _CPU_BYTES if jax.default_backend() == "cpu" else _ACCELERATOR_BYTES
    buckets = _buckets(sizes)
    bucket_of = np.searchsorted(buckets, sizes)
    for bucket, atoms in enumerate(buckets.tolist()):
        members = np.flatnonzero(bucket_of == bucket)
        size = batch_size or max(budget // (model.memory(atoms) * itemsize), 1)
        size = min(size, len(members))
        for start in range(0, len(members), size):
            yield members[start : start + size], size, atoms


def _known_layers(model: Model, layers: Sequence[str] | None) -> tuple[str, ...]:
    if layers is None:
        return tuple(model.irreps)
    if isinstance(layers, str):
        raise InputError(f"layers must be a list of names, got the string {layers!r}")
    for layer in layers:
        if layer not in model.irreps:
            raise UnknownNameError(f"layer of {model.name}", layer, model.irreps)
    return tuple(layers)


def _float_dtype(dtype: Any) -> np.dtype:
    if dtype is None:
        return np.dtype("float32" if jax.default_backend() == "tpu" else "float64")
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = None
    if known not in (np.float32, np.float64):
        raise InputError(f"dtype must be float32 or float64, got {dtype!r}")
    return np.dtype(known)


def _check(model: Model, structures: Structures) -> None:
    """Refuse structures that are outside what the model says of itself."""
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
                f"molecule '{structures.ids[owner]}' has an element of atomic number "
                f"{structures.numbers[atom]}; {model.name} knows {list(model.elements)}"
            )


def _check_overlap(batch: Batch, ids: np.ndarray) -> None:
    """Refuse two atoms in one place, where no descriptor or model means anything."""
    vectors = batch.positions[:, :, None] - batch.positions[:, None]
    pair = batch.mask[:, :, None] & batch.mask[:, None] & ~np.eye(batch.mask.shape[1], dtype=bool)
    close = pair & (np.einsum("mijx,mijx->mij", vectors, vectors) < OVERLAP**2)
    if close.any():
        molecule, first, second = np.argwhere(close)[0]
        raise InputError(
            f"molecule '{ids[molecule]}' has atoms {first} and {second} closer than {OVERLAP:g} Å"
        )
