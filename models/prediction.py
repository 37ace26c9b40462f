"""Predict what a model was made for: its output for many structures, in padded batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.data.batch import Batch
from cpdjax.data.neighbours import most_neighbours, with_edges, with_neighbours
from cpdjax.data.padding import bucket_sizes
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.machine.precision import float_dtype
from cpdjax.models.interface import Model, Reader
from cpdjax.models.limits import check_features, check_structures

if TYPE_CHECKING:
    import xarray as xr

_BYTES = 2**27  # of a batch's intermediate results (our choice: little beside any device's memory)


class Predictor(Model, Protocol):
    """Describe a model that has an output as well."""

    @property
    def target(self) -> str:
        """Return what the output is."""
        ...

    @property
    def unit(self) -> str:
        """Return the unit of the output."""
        ...

    def output(self, batch: Batch) -> Float[Array, " molecule"]:
        """Return the output of every molecule of a batch."""
        ...


class PredictsNothing:
    """Let a model without an output say so."""

    name: str

    def predict(self, structures: Structures, **options: Any) -> NoReturn:
        """Refuse to predict.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{self.name} has features but no output, so it predicts nothing: probe its features "
            "with cpdjax.sweep, or name a model that was trained"
        )


def padded(model: Model, structures: Structures, indices: np.ndarray, atoms: int) -> Batch:
    """Return the molecules at `indices` padded, with neighbours if `model` has a cutoff.

    Models that say `finds_pairs` get no list of the neighbours in small molecules. A `Reader` gets
    what it reads.
    """
    batch = structures.pad(indices, atoms)
    if isinstance(model, Reader):
        batch = batch._replace(read=model.read(structures.select(indices)))
    if model.cutoff is None:
        return batch
    prepare = with_neighbours if getattr(model, "finds_pairs", False) else with_edges
    return prepare(batch, structures, indices, model.cutoff)


def predicted(
    model: Predictor, structures: Structures, batch_size: int | None, dtype: Any
) -> xr.DataArray:
    """Return the outputs of all structures, which `Encoder.predict` describes."""
    import xarray as xr  # which models of features alone do without

    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    check_structures(model, structures)
    precision = float_dtype(dtype)
    found = np.empty(len(structures), precision)
    precise = jax.default_matmul_precision("highest")
    with jax.enable_x64(precision == np.float64), precise:
        for rows, atoms, size in _batches(model, structures, batch_size, precision):
            # The last batch repeats a molecule, because a new shape would be compiled.
            batch = padded(model, structures, np.pad(rows, (0, size - len(rows)), "edge"), atoms)
            batch = batch._replace(positions=batch.positions.astype(precision))
            found[rows] = np.asarray(model.output(batch))[: len(rows)]
    owners = np.arange(len(structures))
    check_features(model, "output", found[:, None], structures.ids, owners)
    return xr.DataArray(
        found,
        dims="molecule",
        coords={"molecule": structures.ids},
        name=model.target or "output",
        attrs={"units": model.unit},
    )


def _batches(
    model: Predictor, structures: Structures, batch_size: int | None, precision: np.dtype
) -> Iterator[tuple[Int[np.ndarray, " molecule"], int, int]]:
    """Yield the molecules of each batch, to how many atoms they are padded, and its size."""
    bounds = bucket_sizes(structures.sizes)
    bucket_of = np.searchsorted(bounds, structures.sizes)
    for bucket, atoms in enumerate(bounds.tolist()):
        members = np.flatnonzero(bucket_of == bucket)
        neighbours = 0
        if model.cutoff is not None:
            neighbours = most_neighbours(structures, atoms, model.cutoff)
        each = model.memory(atoms, neighbours) * precision.itemsize
        size = min(batch_size or max(_BYTES // each, 1), len(members))
        for start in range(0, len(members), size):
            yield members[start : start + size], atoms, size
