"""Channels are the matrices that a sweep probes, one for every model, layer and irrep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from e3nn_jax import Irrep
from jaxtyping import Float, Int

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.features import Features
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import components
from cpdjax.machine.programs import padded_width
from cpdjax.omissions import note, say_left_out
from cpdjax.probes.within import deviations
from cpdjax.sweeps.settings import ALL
from cpdjax.validation import check_finite


@dataclass(frozen=True, eq=False)
class Channel:
    """Hold what is probed of one model, layer and irrep, without columns that carry nothing.

    For probes of scalars that is a matrix of invariants without its constant columns: these change
    no score, since every fit has an intercept, and only cost time. For equivariant probes it is the
    channels of the irrep with their components, without channels of zeros.
    """

    model: str
    layer: str
    irrep: str
    x: Float[np.ndarray, "row feature"] | Float[np.ndarray, "row feature component"]
    n_features: int
    #: Whether the parity of the irrep is true; if not, its label holds for rotations only.
    parity: bool = True
    #: How the features of atoms were pooled; "none" where nothing was.
    pool: str = "none"
    #: How scalars were made of irreps; "" where they were not.
    invariants: str = ""

    @property
    def label(self) -> str:
        """Return the name of the channel in progress bars, warnings and errors."""
        return f"{self.model} / {self.layer} / {self.irrep}"

    @property
    def width(self) -> int:
        """Return the number of columns after padding."""
        return padded_width(self.x.shape[1])

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of the matrix."""
        return hash_arrays([("", self.x)])

    @property
    def components(self) -> int:
        """Return how many components a feature has: 1, or 2l+1 where it turns with the molecule."""
        return 1 if self.x.ndim == 2 else self.x.shape[2]

    def within(self, copies: Int[np.ndarray, " row"]) -> Channel:
        """Return the channel less its means over the copies of each row; see `Targets.copies`."""
        x = deviations(self.x, copies)
        varying = (x != 0).any(tuple(axis for axis in range(x.ndim) if axis != 1))
        return replace(self, x=x[:, varying])

    def padded(self) -> Float[np.ndarray, "row width"] | Float[np.ndarray, "row width component"]:
        """Return the matrix with columns of zeros after its own, up to `width`."""
        more = ((0, 0), (0, self.width - self.x.shape[1]), (0, 0))
        return np.pad(self.x, more[: self.x.ndim])


def channels(
    features: Sequence[Features],
    rows: int,
    irreps: Sequence[str] | None = None,
    how: str | None = None,
    *,
    what: str = "molecules",
) -> list[Channel]:
    """Make the channels of every layer: one for each irrep, and "all" where a layer has several.

    Args:
        rows: how many rows the targets have.
        irreps: the irreps that are wanted, "all" for a layer's scalars together, also where they
            are of one irrep; by default each of them, and all.
        how: one of `irreps.INVARIANTS`; by default as stored scalars were made, or else
            "pool-then-norm".
        what: what a row is called in complaints.

    Raises:
        InputError: two models have one name, the rows are not those of the targets, or a feature
            is NaN or infinite.
        UnknownNameError: no layer has such an irrep.

    >>> from e3nn_jax import IrrepsArray
    >>> layer = IrrepsArray("2x0e + 1x1o", np.random.default_rng(0).normal(size=(4, 5)))
    >>> mine = Features({"first": layer}, model="toy", pool="mean", structures_hash="")
    >>> [(c.irrep, c.n_features) for c in channels([mine], 4)]
    [('all', 3), ('0e', 2), ('1o', 1)]
    """
    found = []
    for f, layer in _layers(features, rows, what):
        kinds = f.irreps_of(layer)
        for kind in (*([ALL] if len(kinds) > 1 else []), *kinds):
            scalars = f.scalars(layer, None if kind == ALL else kind, how)
            matrix = np.asarray(scalars, np.float64)
            check_finite(f"scalars of features {f.model!r}, layer {layer!r},", matrix)
            varying = (matrix != matrix[:1]).any(0)
            kept = matrix[:, varying]
            made = f.way(layer, how)
            found.append(
                Channel(f.model, layer, kind, kept, matrix.shape[1], f.parity, f.pool, made)
            )
    of_layer = Counter((c.model, c.layer) for c in found)
    alone = {c for c in found if of_layer[c.model, c.layer] == 1}
    wanted = _chosen(found, irreps, alone)
    _say_without(features, wanted, f"has no {' or '.join(irreps or ())}")
    return wanted


def whole_layers(features: Features, rows: int, layers: Iterable[str]) -> Iterator[Channel]:
    """Yield the channel of all irreps together, layer by layer.

    Raises:
        InputError: as `channels`, and where every feature of a layer is constant.
    """
    found = channels([features], rows)
    for layer in layers:
        of_layer = [c for c in found if c.layer == layer]
        channel = next((c for c in of_layer if c.irrep == ALL), of_layer[0])
        if not channel.x.shape[1]:
            raise InputError(f"{channel.label}: every feature is constant and tells nothing")
        yield channel


def tensor_channels(
    features: Sequence[Features],
    rows: int,
    targets: Collection[str],
    irreps: Sequence[str] | None = None,
    *,
    what: str = "molecules",
    reason: str | None = None,
) -> list[Channel]:
    """Make the channels of every layer that can predict targets of the irreps `targets`.

    These are channels of the same degree and parity; of the same degree alone where the labels of a
    model hold for rotations only. Others are left out, and so are layers without any.

    Args:
        rows, what: as in `channels`.
        irreps: those of the channels that are wanted; by default all that fit.
        reason: why others are left out; by default that no target turns as they do.

    Raises:
        InputError: as `channels`, and where there is no such channel at all.
        UnknownNameError: no layer has such an irrep.

    >>> from e3nn_jax import IrrepsArray
    >>> layer = IrrepsArray("2x0e + 4x1o + 1x1e", np.ones((4, 17)))
    >>> mine = Features({"first": layer}, model="toy", pool="mean", structures_hash="")
    >>> [(c.irrep, c.x.shape) for c in tensor_channels([mine], 4, ["1o", "2e"])]
    [('1o', (4, 4, 3))]
    """
    degrees = {Irrep(target).l for target in targets}
    reason = reason or f"turns as no target does ({', '.join(sorted(targets))})"
    found, unfit = [], {}
    for f, layer in _layers(features, rows, what):
        for kind in dict.fromkeys(str(ir) for _, ir in f[layer].irreps):
            if kind in targets if f.parity else Irrep(kind).l in degrees:
                block, _ = components(f[layer], kind)
                x = np.asarray(block, np.float64)
                present = (x != 0).any((0, 2))
                kept = x[:, present]
                found.append(Channel(f.model, layer, kind, kept, x.shape[1], f.parity, f.pool))
            else:
                unfit[f.model, layer, kind] = reason
    if not found:
        raise InputError(
            f"no layer has channels of {' or '.join(sorted(targets))}, and no others turn as the "
            "targets do: name models that have tensors, and layers that keep their irreps"
        )
    wanted = _chosen(found, irreps)
    probed = {(c.model, c.layer) for c in wanted}
    note("channels", {" / ".join(k): why for k, why in unfit.items() if k[:2] in probed})
    _say_without(features, wanted, reason if irreps is None else f"has no {' or '.join(irreps)}")
    return wanted


def _layers(features: Sequence[Features], rows: int, what: str) -> Iterator[tuple[Features, str]]:
    """Check every layer of every feature set, and return them one by one."""
    names = [f.model for f in features]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two feature sets are called {name!r}: rename a file, or name them by a mapping"
            )
    for f in features:
        for layer, array in f.items():
            if array.shape[0] != rows:
                raise InputError(
                    f"features {f.model!r}, layer {layer!r}, have {array.shape[0]} {what} but "
                    f"the targets have {rows}: they must be row by row (without --targets or "
                    "--dataset, targets are those of QM9)"
                )
            check_finite(f"features {f.model!r}, layer {layer!r},", array.array)
            yield f, layer


def _chosen(
    found: list[Channel], irreps: Sequence[str] | None, alone: Collection[Channel] = ()
) -> list[Channel]:
    """Return the channels of the irreps; "all" stands for those that are `alone` as well."""
    if irreps is None:
        return found
    known = {c.irrep for c in found} | ({ALL} if alone else set())
    for irrep in irreps:
        if irrep not in known:
            raise UnknownNameError("irrep", irrep, known)
    return [c for c in found if c.irrep in irreps or (ALL in irreps and c in alone)]


def _say_without(features: Sequence[Features], wanted: Sequence[Channel], reason: str) -> None:
    """Say which models have no channel that is probed, and note which of their layers have none."""
    models, layers = {c.model for c in wanted}, {(c.model, c.layer) for c in wanted}
    without = {f.model: reason for f in features if f.model not in models}
    say_left_out("models", "features", without, stacklevel=4)
    kept = [(f.model, layer) for f in features if f.model in models for layer in f]
    note("layers", {" / ".join(place): reason for place in kept if place not in layers})
