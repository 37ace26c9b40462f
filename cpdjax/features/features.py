"""Hold features of molecules: layers that are tagged with irreps and can be made into scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from e3nn_jax import IrrepsArray
from jaxtyping import Float, Int

from cpdjax.data.composition import formulas
from cpdjax.data.structures import Structures
from cpdjax.displays import Shown
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.labels import Labels, apart
from cpdjax.features.tagged import layers_of, of_atoms
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import INVARIANTS, POOLS, Blocks, blocks, invariants


@dataclass(frozen=True, eq=False, repr=False)
class Features(Mapping[str, IrrepsArray]):
    """Hold one model's features of many molecules: a mapping of layer to pooled `IrrepsArray`.

    Arrays are (molecule, irreps.dim), or (atom, irreps.dim) where `pool` is "atom". They lie on the
    host, in the order of the structures. Two objects are equal when their hashes are.

    Raises:
        InputError: if layers disagree in their number of molecules.

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
    """Is "mean", "sum" or "atom", or "none" for a model whose features belong to the molecule."""
    structures_hash: str
    """Hold the `Structures.geometry_hash` of what they were computed from, or ""."""
    origins: Mapping[str, Blocks] = field(default_factory=dict)
    """Hold, for layers that were made into scalars, each irrep and its number of columns."""
    parity: bool = True
    """Say whether the parities of the irreps are true; if not, labels hold for rotations only."""
    invariants: str = ""
    """Hold how scalars were made, one of `irreps.INVARIANTS`, or ""."""
    ids: np.ndarray | None = None
    """Hold the names of the molecules, (molecule,) of str; None where they are unknown."""
    formulas: np.ndarray | None = None
    """Hold the formulas of the molecules, (molecule,) of str; None where they are unknown."""

    def __post_init__(self) -> None:
        rows = {layer: array.shape[0] for layer, array in self.layers.items()}
        if len(set(rows.values())) > 1:
            raise InputError(f"layers of {self.model!r} disagree in their molecules: {rows}")
        if self.pool != "atom" and rows:
            self._check_labels(next(iter(rows.values())))

    def _check_labels(self, molecules: int) -> None:
        """Refuse ids and formulas of another number of molecules."""
        for name, labels in (("ids", self.ids), ("formulas", self.formulas)):
            if labels is not None and len(labels) != molecules:
                raise InputError(
                    f"layers and {name} of {self.model!r} disagree in their molecules: {molecules} "
                    f"and {len(labels)}"
                )

    @classmethod
    def from_atoms(
        cls,
        arrays: Any,
        offsets: Int[np.ndarray, " offset"] | Structures,
        irreps: Any = None,
        *,
        pool: str = "mean",
        invariants: str | None = None,
        model: str = "features",
        parity: bool = True,
    ) -> Features:
        """Return the features of molecules from those of all their atoms, one after another.

        Args:
            arrays: one array, or a mapping of layer to array: (atom, irreps.dim), or (atom,
                channel, 2l+1) of one irrep. In place of an array, a mapping of irrep to array.
                Entries `ids` and `formulas` say who the molecules are, as columns of tables do.
            offsets: where the atoms of each molecule start, (molecule + 1,), or the structures,
                which the features then remember.
            irreps: the irreps of every layer, or a mapping of layer to irreps. Tagged names
                ("last|8x0e+4x1o"), `IrrepsArray` and mappings of irrep to array need none.
            pool: one of `irreps.POOLS`: "mean" or "sum" over atoms, or "atom" for a row per atom.
            invariants: one of `irreps.INVARIANTS`, to make scalars at once.
            model: what results call the features.
            parity: whether the parities of the irreps are true.

        Raises:
            InputError: if a layer has no irreps or others than its columns, or other rows than the
                molecules have atoms; UnknownNameError: another pooling or way of making scalars.

        >>> atoms = {"0e": np.ones((5, 2)), "1o": np.ones((5, 4, 3))}
        >>> Features.from_atoms({"last": atoms}, np.array([0, 3, 5]), model="toy")
        Features('toy', molecules=2, pool='mean', layers={'last': '2x0e+4x1o'})
        """
        known = offsets if isinstance(offsets, Structures) else None
        starts = np.asarray(offsets if known is None else known.offsets)
        labels, arrays = _apart(model, arrays)
        layers = layers_of(f"features {model!r}", arrays, irreps)
        made = {
            name: of_atoms(f"features {model!r}, layer {name!r}", x, starts, pool, invariants)
            for name, x in layers.items()
        }
        origins = {name: blocks(x.irreps, invariants) for name, x in layers.items() if invariants}
        own = cls(made, model, pool, "", origins, parity, invariants or "", *labels)
        own._check_labels(len(starts) - 1)
        return own if known is None else own._of(known)

    @classmethod
    def from_molecules(
        cls,
        arrays: Any,
        irreps: Any = None,
        *,
        pool: str = "none",
        structures: Structures | None = None,
        model: str = "features",
        parity: bool = True,
    ) -> Features:
        """Return features of molecules from arrays that have a row for each.

        Args:
            arrays: one array, or a mapping of layer to array: (molecule, irreps.dim), or (molecule,
                channel, 2l+1) of one irrep. In place of an array, a mapping of irrep to array.
                Entries `ids` and `formulas` say who the molecules are, as columns of tables do.
            irreps: as in `from_atoms`.
            pool: how the rows were pooled, "mean" or "sum"; "none" where they were not.
            structures: what the features were computed from, if they shall remember it.
            model: what results call the features.
            parity: whether the parities of the irreps are true.

        Raises:
            InputError: if a layer has no irreps or others than its columns, or other rows than
                there are structures.

        >>> Features.from_molecules(np.ones((6, 4, 3)), "4x1o", pool="sum")
        Features('features', molecules=6, pool='sum', layers={'features': '4x1o'})
        """
        if pool not in (*POOLS[:2], "none"):
            raise UnknownNameError("pooling", pool, (*POOLS[:2], "none"))
        labels, arrays = _apart(model, arrays)
        layers = layers_of(f"features {model!r}", arrays, irreps)
        own = cls(layers, model, pool, "", {}, parity, "", *labels)
        return own if structures is None else own._of(structures)

    def _of(self, structures: Structures) -> Features:
        """Return the features with what they remember of structures."""
        rows = len(structures.numbers) if self.pool == "atom" else len(structures)
        for layer, array in self.items():
            if array.shape[0] != rows:
                raise InputError(
                    f"features {self.model!r}, layer {layer!r}, have {array.shape[0]} rows, but "
                    f"the structures have {rows}: give a row for each, in their order"
                )
        if self.ids is not None and not np.array_equal(self.ids, structures.ids):
            raise InputError(
                f"features {self.model!r} have other ids than the structures: bring both into one "
                "order, or leave the ids out"
            )
        return replace(
            self,
            structures_hash=structures.geometry_hash,
            ids=structures.ids,
            formulas=formulas(structures),
        )

    def __getitem__(self, layer: str) -> IrrepsArray:
        if layer not in self.layers:
            raise UnknownNameError("layer", layer, self.layers)
        return self.layers[layer]

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def get(self, layer: str, default: Any = None) -> Any:
        """Return the layer, or `default` where there is none."""
        return self.layers.get(layer, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Features) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        irreps = {layer: str(array.irreps) for layer, array in self.items()}
        molecules = max((array.shape[0] for array in self.values()), default=0)
        return f"Features({self.model!r}, {molecules=}, pool={self.pool!r}, layers={irreps})"

    def _repr_html_(self) -> str:
        rows = max((array.shape[0] for array in self.values()), default=0)
        what = "atoms" if self.pool == "atom" else "molecules"
        pooled = "" if self.pool in ("atom", "none") else f", {self.pool} over atoms"
        parity = "" if self.parity else ", irreps hold for rotations only"
        title = f"Features of {self.model}: {rows:,} {what}{pooled}{parity}"
        cells = [(layer, array.irreps, array.shape[1]) for layer, array in self.items()]
        return Shown(title, ("layer", "irreps", "columns"), cells).html

    def scalars(
        self, layer: str, irrep: str | None = None, how: str | None = None
    ) -> Float[np.ndarray, "molecule feature"]:
        """Return the invariant features of a layer, from one irrep or from all.

        Args:
            layer: the layer.
            irrep: the irrep whose channels are used; all irreps by default.
            how: one of `irreps.INVARIANTS`; by default the way in which the scalars were made, or
                else "pool-then-norm".

        Raises:
            UnknownNameError: if the layer, the irrep or the way of making scalars is unknown.
            InputError: if the layer was made into scalars in another way, or if norms before
                pooling are asked of features that are already pooled.
        """
        array, how = self[layer], self.way(layer, how)
        if layer not in self.origins:
            if how == "norm-then-pool" and set(self.irreps_of(layer)) != {"0e"}:
                raise InputError(
                    f"{self.model!r}, layer {layer!r}, is pooled already: norm-then-pool needs "
                    "extract(..., invariants='norm-then-pool'), or Features.from_atoms with it"
                )
            return np.asarray(invariants(array, irrep, how))
        origins = self.origins[layer]
        if irrep is not None and irrep not in dict(origins):
            raise UnknownNameError("irrep", irrep, dict(origins))
        kept = np.repeat([irrep in (None, kind) for kind, _ in origins], [n for _, n in origins])
        return np.asarray(array.array)[:, kept]

    def way(self, layer: str, how: str | None = None) -> str:
        """Return how the scalars of a layer are made: as they were, or else as is asked for.

        Raises:
            InputError: if they were made in another way than the one that is asked for.
        """
        made = self.invariants if layer in self.origins else ""
        if made and how not in (None, made):
            raise InputError(
                f"{self.model!r}, layer {layer!r}, holds scalars made by {made}, and {how} is "
                f"asked for: leave `invariants` out, or extract the layer anew"
            )
        return made or how or INVARIANTS[0]

    def irreps_of(self, layer: str) -> tuple[str, ...]:
        """Return the kinds of irreps in a layer, or from which its scalars were made."""
        origins = self.origins.get(layer, [(str(ir), mul) for mul, ir in self[layer].irreps])
        return tuple(dict.fromkeys(kind for kind, _ in origins))

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of the features, the same on every platform.

        Arrays, irreps, the names of layers, model, pooling and structures are hashed; the order of
        the layers is not.
        """
        facts = (self.model, self.pool, self.structures_hash, sorted(self.origins.items()))
        layers = ((f"{layer}: {self[layer].irreps}", self[layer].array) for layer in sorted(self))
        return hash_arrays(layers, facts=repr(facts))


def _apart(model: str, arrays: Any) -> tuple[Labels, Any]:
    """Return the ids and formulas in a mapping of arrays, and the arrays without them."""
    if isinstance(arrays, Mapping):
        return apart(f"features {model!r}", arrays)
    return Labels(), arrays


def as_means(features: Features, structures: Structures) -> Features:
    """Return means over atoms in place of sums, without another run of the model.

    Features that are not sums are returned as they are.
    """
    if features.pool != "sum":
        return features
    sizes = structures.sizes[:, None]
    layers = {
        layer: IrrepsArray(x.irreps, np.asarray(x.array) / sizes.astype(x.array.dtype))
        for layer, x in features.items()
    }
    return replace(features, layers=layers, pool="mean")
