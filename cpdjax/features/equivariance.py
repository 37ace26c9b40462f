"""Check whether a model's features transform as their irreps say, on any structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import Float

from cpdjax.data.batch import Edges
from cpdjax.data.structures import Structures
from cpdjax.machine.precision import float_dtype
from cpdjax.models import load
from cpdjax.models.conformance import check_model
from cpdjax.models.interface import Model
from cpdjax.models.limits import check_structures
from cpdjax.models.prediction import padded

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
"""Hold the largest relative error that passes, by precision."""

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
        structures: the molecules or crystals to check it on.
        dtype: float64 or float32.
        tolerance: the largest relative error that passes; by default `TOLERANCE` of the dtype.
        seed: the random seed of the rotation, the permutation and the translation.

    Raises:
        AssertionError: if a layer fails; it names the layer, the motion and the error.
        UnknownNameError: if there is no such model.
        InputError: if the dtype is another, or the model cannot take a structure.

    >>> from ase.build import molecule
    >>> assert_equivariant("ani-2x-aev", Structures.from_atoms([molecule("H2O")]))
    """
    encoder = load(model) if isinstance(model, str) else check_model(model, compiled=False)
    check_structures(encoder, structures)
    dtype = float_dtype(dtype)
    limit = TOLERANCE[dtype.name] if tolerance is None else tolerance
    rng = np.random.default_rng(seed)
    rotation = _rotation(rng)
    motions: dict[str, tuple[Structures, Callable[[IrrepsArray], Any]]] = {
        "rotation": (_turned(structures, rotation), _transform_by(rotation)),
        "permutation": _permuted(encoder, structures, rng),
        "translation": (
            replace(structures, positions=structures.positions + rng.normal(size=3)),
            lambda features: features.array,
        ),
    }
    if encoder.parity:
        motions["inversion"] = (_turned(structures, -np.eye(3)), _transform_by(-np.eye(3)))
    with jax.enable_x64(dtype == np.float64):
        before = _computed(encoder, structures, dtype)
        for motion, (moved, transform) in motions.items():
            after = _computed(encoder, moved, dtype)
            for layer, features in before.items():
                expected, got = np.asarray(transform(features)), np.asarray(after[layer].array)
                error = np.abs(expected - got).max() / max(np.abs(expected).max(), 1e-30)
                if not error <= limit:
                    raise AssertionError(
                        f"{encoder.name}, layer {layer!r} ({features.irreps}): {motion} changes it "
                        f"by {error:.1e} of its largest value, more than {limit:.0e}"
                    )


def _computed(model: Model, structures: Structures, dtype: np.dtype) -> dict[str, IrrepsArray]:
    """Return the features of all structures in `dtype`, per atom without padding."""
    atoms = int(structures.sizes.max())
    batch = padded(model, structures, np.arange(len(structures)), atoms)
    edges = batch.edges
    if isinstance(edges, Edges) and edges.offsets is not None:
        edges = edges._replace(offsets=edges.offsets.astype(dtype))
    batch = batch._replace(positions=batch.positions.astype(dtype), edges=edges)
    found = model.features(batch)
    if model.level == "molecule":
        return found
    mask = batch.mask
    return {k: IrrepsArray(f.irreps, np.asarray(f.array)[mask]) for k, f in found.items()}


def _transform_by(matrix: Matrix) -> Callable[[IrrepsArray], Any]:
    """Return the function that transforms features by an orthogonal matrix, as their irreps say."""

    def transform(features: IrrepsArray) -> Any:
        blocks, x = [], np.asarray(features.array)
        for (channels, ir), columns in zip(features.irreps, features.irreps.slices(), strict=True):
            block = x[:, columns].reshape(len(x), channels, ir.dim)
            turn = np.asarray(ir.D_from_matrix(np.asarray(matrix)), x.dtype)
            blocks.append((block @ turn.T).reshape(len(x), -1))
        return np.concatenate(blocks, axis=1)

    return transform


def _turned(structures: Structures, matrix: Matrix) -> Structures:
    """Return the structures with positions and cells transformed by an orthogonal matrix."""
    cells = None if structures.cells is None else structures.cells @ matrix.T
    return replace(structures, positions=structures.positions @ matrix.T, cells=cells)


def _permuted(
    model: Model, structures: Structures, rng: np.random.Generator
) -> tuple[Structures, Callable[[IrrepsArray], Any]]:
    """Return the structures with their atoms in another order, and the same change of features."""
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
    """Return a random rotation matrix."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)
