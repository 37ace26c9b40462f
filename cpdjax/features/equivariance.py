"""Does a model transform as its irreps say? A check for any model on any structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import Float

from cpdjax.data.structures import Structures
from cpdjax.features.extraction import check, padded
from cpdjax.models import load
from cpdjax.models.interface import Model
from cpdjax.precision import float_dtype

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
"""Largest relative error, by precision."""

Matrix = Float[np.ndarray, "3 3"]


def assert_equivariant(
    model: str | Model,
    structures: Structures,
    *,
    dtype: Any = np.float64,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check every layer under rotation, inversion, permutation of atoms and translation.

    A layer passes when moving the structures and then computing differs from computing and then
    transforming by at most `tolerance` times the layer's largest value. Inversion is checked
    where `model.parity` says that parities are true.

    Args:
        model: a name of `cpdjax.models.names()`, or a model.
        dtype: float64 or float32.
        tolerance: by default `TOLERANCE` of the dtype.
        seed: of the random rotation, permutation and translation.

    Raises:
        AssertionError: naming the layer, the motion and the error.
        UnknownNameError: no such model.
        InputError: another dtype, or a structure that the model cannot take.

    >>> from ase.build import molecule
    >>> assert_equivariant("ani-2x-aev", Structures.from_atoms([molecule("H2O")]))
    """
    encoder = load(model) if isinstance(model, str) else model
    check(encoder, structures)
    dtype = float_dtype(dtype)
    limit = TOLERANCE[dtype.name] if tolerance is None else tolerance
    rng = np.random.default_rng(seed)
    rotation = _rotation(rng)
    motions: dict[str, tuple[Structures, Callable[[IrrepsArray], Any]]] = {
        "rotation": (_turned(structures, rotation), _by(rotation)),
        "permutation": _permuted(encoder, structures, rng),
        "translation": (
            replace(structures, positions=structures.positions + rng.normal(size=3)),
            lambda features: features.array,
        ),
    }
    if encoder.parity:
        motions["inversion"] = (_turned(structures, -np.eye(3)), _by(-np.eye(3)))
    with jax.enable_x64(dtype == np.float64):
        before = _features(encoder, structures, dtype)
        for motion, (moved, transform) in motions.items():
            after = _features(encoder, moved, dtype)
            for layer, features in before.items():
                expected, got = np.asarray(transform(features)), np.asarray(after[layer].array)
                error = np.abs(expected - got).max() / max(np.abs(expected).max(), 1e-30)
                if not error <= limit:
                    raise AssertionError(
                        f"{encoder.name}, layer {layer!r} ({features.irreps}): {motion} changes it "
                        f"by {error:.1e} of its largest value, more than {limit:.0e}"
                    )


def _features(model: Model, structures: Structures, dtype: np.dtype) -> dict[str, IrrepsArray]:
    atoms = int(structures.sizes.max())
    batch = padded(model, structures, np.arange(len(structures)), atoms)
    edges = batch.edges
    if edges is not None and edges.offsets is not None:
        edges = edges._replace(offsets=edges.offsets.astype(dtype))
    batch = batch._replace(positions=batch.positions.astype(dtype), edges=edges)
    found = model.features(batch)
    if model.level == "molecule":
        return found
    mask = batch.mask
    return {k: IrrepsArray(f.irreps, np.asarray(f.array)[mask]) for k, f in found.items()}


def _by(matrix: Matrix) -> Callable[[IrrepsArray], Any]:
    """How features transform under an orthogonal matrix."""

    def transform(features: IrrepsArray) -> Any:
        blocks, x = [], np.asarray(features.array)
        for (channels, ir), columns in zip(features.irreps, features.irreps.slices(), strict=True):
            block = x[:, columns].reshape(len(x), channels, ir.dim)
            turn = np.asarray(ir.D_from_matrix(np.asarray(matrix)), x.dtype)
            blocks.append((block @ turn.T).reshape(len(x), -1))
        return np.concatenate(blocks, axis=1)

    return transform


def _turned(structures: Structures, matrix: Matrix) -> Structures:
    cells = None if structures.cells is None else structures.cells @ matrix.T
    return replace(structures, positions=structures.positions @ matrix.T, cells=cells)


def _permuted(
    model: Model, structures: Structures, rng: np.random.Generator
) -> tuple[Structures, Callable[[IrrepsArray], Any]]:
    parts = zip(structures.offsets[:-1], structures.offsets[1:], strict=True)
    order = np.concatenate([start + rng.permutation(stop - start) for start, stop in parts])
    moved = replace(
        structures,
        numbers=structures.numbers[order],
        positions=structures.positions[order],
        atom_targets={},
    )
    if model.level == "molecule":
        return moved, lambda features: features.array
    return moved, lambda features: np.asarray(features.array)[order]


def _rotation(rng: np.random.Generator) -> Matrix:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)
