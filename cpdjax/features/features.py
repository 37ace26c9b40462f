"""Features of molecules: layers tagged with irreps, pooled over atoms, made into scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import Float

from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import Blocks, invariants


@dataclass(frozen=True, eq=False, repr=False)
class Features(Mapping[str, IrrepsArray]):
    """One model's features of many molecules: a mapping of layer to pooled `IrrepsArray`.

    Arrays are (molecule, irreps.dim), or (atom, irreps.dim) where `pool` is "atom", on the host, in
    the order of the structures. Two objects are equal when their hashes are.

    Raises:
        InputError: layers that disagree in their number of molecules.

    >>> feats = Features({"first": IrrepsArray("2x0e + 1x1o", np.ones((4, 5)))}, model="toy",
    ...                  pool="mean", structures_hash="")
    >>> feats["first"].irreps
    2x0e+1x1o
    >>> feats
    Features('toy', molecules=4, pool='mean', layers={'first': '2x0e+1x1o'})
    """

    layers: Mapping[str, IrrepsArray]
    model: str
    pool: str
    """"mean", "sum", "atom", or "none" for a model whose features belong to the molecule."""
    structures_hash: str
    """`Structures.hash` of what they were computed from."""
    origins: Mapping[str, Blocks] = field(default_factory=dict)
    """Of layers that were made into scalars: from which irrep come how many columns, in order."""
    parity: bool = True
    """Whether the irreps' parities are true; False: labels hold for rotations only."""

    def __post_init__(self) -> None:
        rows = {layer: array.shape[0] for layer, array in self.layers.items()}
        if len(set(rows.values())) > 1:
            raise InputError(f"layers of {self.model!r} disagree in their molecules: {rows}")

    def __getitem__(self, layer: str) -> IrrepsArray:
        if layer not in self.layers:
            raise UnknownNameError("layer", layer, self.layers)
        return self.layers[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def get(self, layer: str, default: Any = None) -> Any:
        """The layer, or `default` where there is none."""
        return self.layers.get(layer, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        irreps = {layer: str(array.irreps) for layer, array in self.items()}
        molecules = max((array.shape[0] for array in self.values()), default=0)
        return f"Features({self.model!r}, {molecules=}, pool={self.pool!r}, layers={irreps})"

    def scalars(
        self, layer: str, irrep: str | None = None, how: str = "pool-then-norm"
    ) -> Float[np.ndarray, "molecule feature"]:
        """Invariant features of a layer; of one irrep, or of all.

        Raises:
            UnknownNameError: no such layer, irrep or way of making scalars.
            InputError: norms before pooling are asked of features that are pooled already.
        """
        array = self[layer]
        if layer not in self.origins:
            if how == "norm-then-pool" and array.irreps.lmax > 0 and self.pool != "none":
                raise InputError(
                    f"{self.model!r}, layer {layer!r}, is pooled already: norm-then-pool needs "
                    "extract(..., invariants='norm-then-pool')"
                )
            return np.asarray(invariants(array, irrep, how))
        blocks = self.origins[layer]
        if irrep is not None and irrep not in dict(blocks):
            raise UnknownNameError("irrep", irrep, dict(blocks))
        kept = np.repeat([irrep in (None, kind) for kind, _ in blocks], [n for _, n in blocks])
        return np.asarray(array.array)[:, kept]

    def irreps_of(self, layer: str) -> tuple[str, ...]:
        """The kinds of irreps in a layer, or, of one made into scalars, behind it."""
        blocks = self.origins.get(layer, [(str(ir), mul) for mul, ir in self[layer].irreps])
        return tuple(dict.fromkeys(kind for kind, _ in blocks))

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of arrays, irreps and layer names, the model's name, pool and structures.

        The same on every platform; the order of layers does not enter.
        """
        facts = (self.model, self.pool, self.structures_hash, sorted(self.origins.items()))
        layers = ((f"{layer}: {self[layer].irreps}", self[layer].array) for layer in sorted(self))
        return hash_arrays(layers, facts=repr(facts))


def as_means(features: Features, structures: Structures) -> Features:
    """Means over atoms from sums, without another run of the model."""
    if features.pool != "sum":
        return features
    sizes = structures.sizes[:, None]
    layers = {
        layer: IrrepsArray(x.irreps, np.asarray(x.array) / sizes.astype(x.array.dtype))
        for layer, x in features.items()
    }
    return replace(features, layers=layers, pool="mean")
