"""Channels: the matrices a sweep probes, one for every model, layer and irrep."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from cpdjax.arguments import check_finite
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features import Features

#: The irrep coordinate of a layer's invariants taken together.
ALL = "all"


@dataclass(frozen=True, eq=False)
class Channel:
    """Invariant features of one model, layer and irrep, without their constant columns.

    A constant column changes no score (every fit has an intercept), it only costs time.
    """

    model: str
    layer: str
    irrep: str
    x: Float[np.ndarray, "molecule feature"]
    n_features: int

    @property
    def label(self) -> str:
        """What it is called in progress, warnings and errors."""
        return f"{self.model} / {self.layer} / {self.irrep}"

    @property
    def width(self) -> int:
        """Columns after padding: the next of eight steps an octave, so that few shapes compile."""
        columns = max(self.x.shape[1], 16)
        step = max(2 ** (columns.bit_length() - 4), 8)
        return -(-columns // step) * step

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the matrix."""
        return hashlib.sha256(np.ascontiguousarray(self.x, "<f8").data).hexdigest()

    def padded(self) -> Float[np.ndarray, "molecule width"]:
        """The matrix with columns of zeros after its own, up to `width`."""
        return np.pad(self.x, ((0, 0), (0, self.width - self.x.shape[1])))


def channels(
    features: Sequence[Features],
    molecules: int,
    irreps: Sequence[str] | None = None,
    how: str = "pool-then-norm",
) -> list[Channel]:
    """Every channel of every layer: each irrep, and "all" where a layer has several.

    `how` is one of `features.INVARIANTS`.

    Raises:
        InputError: two models of one name, rows that are not the molecules, NaN or infinity.
        UnknownNameError: an irrep that no layer has.

    >>> from e3nn_jax import IrrepsArray
    >>> layer = IrrepsArray("2x0e + 1x1o", np.random.default_rng(0).normal(size=(4, 5)))
    >>> mine = Features({"first": layer}, model="toy", pool="mean", structures_hash="")
    >>> [(c.irrep, c.n_features) for c in channels([mine], 4)]
    [('all', 3), ('0e', 2), ('1o', 1)]
    """
    names = [f.model for f in features]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two feature sets are called {name!r}: rename a file, or name them by a mapping"
            )
    found = []
    for f in features:
        for layer, array in f.items():
            if array.shape[0] != molecules:
                raise InputError(
                    f"features {f.model!r}, layer {layer!r}, have {array.shape[0]} molecules but "
                    f"the targets have {molecules}: they must be row by row"
                )
            check_finite(f"features {f.model!r}, layer {layer!r},", array.array)
            kinds = f.irreps_of(layer)
            for kind in (*([ALL] if len(kinds) > 1 else []), *kinds):
                scalars = f.scalars(layer, None if kind == ALL else kind, how)
                matrix = np.asarray(scalars, np.float64)
                varying = (matrix != matrix[:1]).any(0)
                found.append(Channel(f.model, layer, kind, matrix[:, varying], matrix.shape[1]))
    if irreps is None:
        return found
    kept = [c for c in found if c.irrep in irreps]
    for irrep in irreps:
        if irrep not in {c.irrep for c in found}:
            raise UnknownNameError("irrep", irrep, {c.irrep for c in found})
    return kept


def stacks(found: Sequence[Channel], most: int) -> list[list[int]]:
    """Channels of equal width together, at most `most` at a time: what is probed under one vmap.

    >>> same = [Channel("m", str(i), "0e", np.ones((2, 20)), 20) for i in range(3)]
    >>> stacks(same, most=2)
    [[0, 1], [2]]
    """
    widths = sorted({c.width for c in found})
    groups = [[i for i, c in enumerate(found) if c.width == width] for width in widths]
    return [group[i : i + most] for group in groups for i in range(0, len(group), most)]
