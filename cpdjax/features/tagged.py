"""Make layers of arrays that others computed, with the irreps that their columns belong to.

Irreps stand in the name of an array behind a bar, as in "last|8x0e+4x1o"; in the attribute `irreps`
of an array that has attributes; or beside the arrays, in an argument.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from e3nn_jax import Irrep, Irreps, IrrepsArray
from jaxtyping import Float, Int

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.irreps import POOLS, invariants, read_irreps
from cpdjax.real_arrays import real_array

BAR = "|"
#: Digits, x, a degree and a parity: what irreps are written with, right or wrong.
_LIKE_IRREPS = re.compile(r"[\s\d+]*\d[\s\dxeo+]*")
MATRIX = "features"
"""The name of the only layer of a source that names none."""
#: Widths of columns that are more likely a vector or a Cartesian tensor than so many scalars.
_LIKE_TENSORS = {3: "1x1o", 9: "1x0e+1x1e+1x2e"}


def untagged(name: str) -> tuple[str, Irreps | None]:
    """Return the name of a layer without its tag, and the irreps in the tag.

    Names may hold a bar: what is behind it is a tag only if it looks like irreps.

    Raises:
        InputError: if what looks like irreps is none.

    >>> untagged("last|8x0e+4x1o"), untagged("last"), untagged("train|test")
    (('last', 8x0e+4x1o), ('last', None), ('train|test', None))
    """
    plain, _, tag = str(name).rpartition(BAR)
    if not plain or not _LIKE_IRREPS.fullmatch(tag):
        return str(name), None
    return plain, read_irreps(f"the name {name!r}", tag)


def layers_of(where: str, arrays: Any, irreps: Any = None) -> dict[str, IrrepsArray]:
    """Return arrays as layers, each with its irreps.

    Args:
        where: what errors call the arrays.
        arrays: one array, or a mapping of layer to array, or to a mapping of irrep to array.
        irreps: those of every layer, or a mapping of layer to irreps.

    Raises:
        InputError: if a layer has no irreps, or others than its columns.
    """
    by_layer = arrays if isinstance(arrays, Mapping) else {MATRIX: arrays}
    made = {}
    for key, values in by_layer.items():
        name, tag = untagged(key)
        given = irreps.get(name) if isinstance(irreps, Mapping) else irreps
        if tag is not None and given is not None and read_irreps(where, given) != tag:
            raise InputError(f"{where}: {key!r} is tagged {tag}, but given as {given}")
        known = tag if given is None else given
        if known is None and not isinstance(values, IrrepsArray | Mapping):
            raise InputError(
                f"{where}: layer {name!r} has no irreps: give irreps={{{name!r}: '8x0e+4x1o'}}, "
                "with the irreps of its columns"
            )
        made[name] = layer(f"{where}, layer {name!r}", values, known)
    return made


def layer(where: str, values: Any, irreps: Any = None) -> IrrepsArray:
    """Return an array in float64 with its irreps; without any, it is all 0e.

    Args:
        where: what errors call the array.
        values: (row, irreps.dim); or (row, channel, 2l+1) of one irrep, where all components of
            the first channel become the first columns; or a mapping of irrep to such arrays.
        irreps: the irreps of the columns; by default those of the array itself.

    Raises:
        InputError: if the numbers are no real numbers in these axes, or the irreps are of another
            number of columns.
    """
    if isinstance(values, Mapping):
        return _joined(where, values)
    own = values.irreps if isinstance(values, IrrepsArray) else _attribute(values)
    known = None if irreps is None and own is None else read_irreps(where, own or irreps)
    if irreps is not None and own is not None and read_irreps(where, irreps) != known:
        raise InputError(
            f"{where} is tagged {known}, and {irreps} is said of it: keep the true one"
        )
    array = _real(where, values)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim == 3 and known is not None and array.size:
        return _block(where, array, known)
    if array.ndim != 2 or not array.size:
        raise InputError(
            f"{where} must be real numbers with axes (molecule, feature), "
            f"got shape {array.shape} and dtype {array.dtype}"
        )
    if known is not None and known.dim != array.shape[1]:
        raise InputError(f"{where} has {array.shape[1]} columns, but {known} is {known.dim}")
    return IrrepsArray(known or f"{array.shape[1]}x0e", array)


def of_atoms(
    where: str,
    atoms: IrrepsArray,
    offsets: Int[np.ndarray, " offset"],
    pooling: str,
    how: str | None = None,
) -> IrrepsArray:
    """Return a layer of atoms pooled over molecules, and made into scalars if `how` says how.

    Raises:
        InputError: if offsets do not divide the rows into molecules of one atom or more;
            UnknownNameError: another pooling or way of making scalars.
    """
    if pooling not in POOLS:
        raise UnknownNameError("pooling", pooling, POOLS)
    rows, whole = len(atoms.array), offsets.ndim == 1 and offsets.dtype.kind in "iu"
    whole = whole and len(offsets) > 1 and bool((np.diff(offsets) > 0).all())
    if not whole or offsets[0] != 0 or offsets[-1] != rows:
        raise InputError(
            f"{where} has {rows} rows, which the offsets must divide into molecules: expected "
            f"whole numbers that increase from 0 to {rows}, such as Structures.offsets"
        )
    if how == "norm-then-pool":
        atoms = _scalars(atoms, how)
    x = atoms.array
    if pooling != "atom":
        x = np.add.reduceat(x, offsets[:-1], axis=0)
    if pooling == "mean":
        x = x / np.diff(offsets)[:, None]
    pooled = IrrepsArray(atoms.irreps, x)
    return pooled if how in (None, "norm-then-pool") else _scalars(pooled, how)


def _scalars(features: IrrepsArray, how: str) -> IrrepsArray:
    made = invariants(features, how=how)
    return IrrepsArray(f"{made.shape[1]}x0e", made)


def warn_of_vectors(where: str, layers: Mapping[str, IrrepsArray], tagged: Iterable[str]) -> None:
    """Warn of layers as wide as a vector or a tensor that are taken as scalars.

    A matrix without a name of its own, or called so, is one of features.

    Args:
        tagged: the layers whose irreps are known.

    Warns:
        UserWarning: once for all of them, with how to tag the first.
    """
    known = {MATRIX, *tagged}
    doubtful = [k for k, x in layers.items() if x.shape[1] in _LIKE_TENSORS and k not in known]
    if doubtful:
        first, columns = doubtful[0], layers[doubtful[0]].shape[1]
        warnings.warn(
            f"features {where!r} take {', '.join(map(repr, doubtful))} as scalars, for want of "
            "irreps: scores of vectors would depend on how molecules happen to lie; write "
            f"'{first}{BAR}{_LIKE_TENSORS[columns]}', or '{first}{BAR}{columns}x0e' for scalars",
            stacklevel=4,
        )


def _attribute(values: Any) -> Any:
    """Return the irreps in the attributes of an object of xarray, or None."""
    attributes = getattr(values, "attrs", None)
    return attributes.get("irreps") if isinstance(attributes, Mapping) else None


def _real(where: str, values: Any) -> Float[np.ndarray, "row ..."]:
    """Return real numbers in float64."""
    plain = values.array if isinstance(values, IrrepsArray) else values
    return np.asarray(real_array(where, plain)).astype(np.float64, copy=False)


def _joined(where: str, parts: Mapping[Any, Any]) -> IrrepsArray:
    """Return the arrays of several irreps side by side, in the order of e3nn."""
    if not parts:
        raise InputError(f"{where} is empty: expected arrays by irrep, such as '0e' and '1o'")
    blocks = []
    for kind, values in parts.items():
        try:
            ir = Irrep(str(kind))
        except (ValueError, TypeError, AssertionError):
            raise InputError(f"{where}: expected an irrep such as 0e or 1o, got {kind!r}") from None
        array = _real(f"{where}, {ir}", values)
        channels = array.shape[1] if array.ndim == 3 else array[0].size // ir.dim
        blocks.append((ir, layer(f"{where}, {ir}", array, f"{channels}x{ir}")))
    blocks.sort(key=lambda block: block[0])
    rows = {str(ir): len(x.array) for ir, x in blocks}
    if len(set(rows.values())) > 1:
        raise InputError(f"{where}: irreps disagree in their rows: {rows}")
    irreps = Irreps([pair for _, x in blocks for pair in x.irreps])
    return IrrepsArray(irreps, np.concatenate([x.array for _, x in blocks], axis=1))


def _block(where: str, array: Float[np.ndarray, "row channel m"], irreps: Irreps) -> IrrepsArray:
    """Return an array (row, channel, 2l+1) with its components flattened, channel by channel."""
    kinds = {ir for _, ir in irreps}
    axes = [(irreps.num_irreps, ir.dim) for ir in kinds]
    if axes != [array.shape[1:]]:
        turned = axes == [array.shape[:0:-1]]
        cure = "exchange the last two axes: swapaxes(-1, -2)" if turned else "see its shape"
        raise InputError(
            f"{where}: expected the axes (row, channel, 2l+1) of {irreps}, got shape "
            f"{array.shape}: {cure}"
        )
    return IrrepsArray(irreps, array.reshape(len(array), -1))
