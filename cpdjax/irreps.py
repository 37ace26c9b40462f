"""Pool arrays tagged with irreps over atoms, split them by irrep, and make scalars of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3nn_jax import Irrep, Irreps, IrrepsArray
from jaxtyping import Array, Bool, Float

from cpdjax.errors import InputError, UnknownNameError

POOLS = ("mean", "sum", "atom")
"""Hold the names of the ways of pooling: mean or sum over atoms; "atom" keeps a row per atom."""

INVARIANTS = ("pool-then-norm", "norm-then-pool", "power-spectrum")
"""Hold the names of the ways of making scalars from irreps, which `invariants` explains."""

Blocks = tuple[tuple[str, int], ...]
"""Hold each irrep and its number of columns, in order, as `blocks` returns them."""


def read_irreps(where: str, text: Any) -> Irreps:
    """Return irreps that somebody wrote.

    Args:
        where: what the error calls the place where they stand.

    Raises:
        InputError: if they are none.

    >>> read_irreps("the name 'last|8x0e'", "8x0e")
    8x0e
    """
    try:
        irreps = Irreps(text)
    except (ValueError, TypeError, AssertionError):
        irreps = Irreps("")
    if not irreps.dim:
        raise InputError(f"{where}: expected irreps such as 8x0e+4x1o, got {text!r}")
    return irreps


def pool(
    features: IrrepsArray, mask: Bool[Array | np.ndarray, "molecule atom"], how: str = "mean"
) -> IrrepsArray:
    """Return the mean or sum over atoms: (molecule, atom, irreps.dim) → (molecule, irreps.dim).

    Mean and sum are linear, so the irreps stay the same. Rows of padding, where `mask` is False,
    may hold any value, even NaN. With `how="atom"` the features are returned as they are.

    Raises:
        UnknownNameError: if `how` is none of `POOLS`.

    >>> atoms = IrrepsArray("1x0e", np.array([[[1.0], [3.0], [9.0]]]))
    >>> pool(atoms, np.array([[True, True, False]])).array
    array([[2.]])
    """
    if how not in POOLS:
        raise UnknownNameError("pooling", how, POOLS)
    if how == "atom":
        return features
    x = features.array
    xp = _namespace(x)
    total = xp.where(mask[:, :, None], x, 0).sum(1)
    if how == "mean":
        total = total / mask.sum(1, dtype=x.dtype)[:, None]
    return IrrepsArray(features.irreps, total)


def invariants(
    features: IrrepsArray, irrep: str | None = None, how: str = "pool-then-norm"
) -> Float[Array, "*row feature"]:
    """Return scalars that rotations and inversion do not change, in the order of the irreps.

    NumPy arrays give NumPy arrays, and JAX arrays give JAX arrays. The derivative of a norm at zero
    is set to zero.

    Args:
        features: pooled features for "pool-then-norm"; features of atoms for "norm-then-pool",
            where the caller pools the result. Both use the same arithmetic.
        irrep: the irrep whose channels are used, such as "1o"; all irreps by default.
        how: one of `INVARIANTS`. "pool-then-norm" and "norm-then-pool" keep 0e as it is, take the
            absolute value of 0o, and for l > 0 the norm over the channel's 2l+1 components.
            "power-spectrum" keeps 0e as it is, and takes the inner products of all pairs of
            channels c ≤ c' of any other irrep.

    Raises:
        UnknownNameError: if `features` does not have the irrep, or if `how` does not exist.

    >>> array = IrrepsArray("1x0e + 1x0o + 1x1o", np.array([[-1.0, -2.0, 0.0, 3.0, -4.0]]))
    >>> invariants(array)
    array([[-1.,  2.,  5.]])
    >>> invariants(array, "1o")
    array([[5.]])
    >>> invariants(array, "1o", "power-spectrum")
    array([[25.]])
    """
    if how not in INVARIANTS:
        raise UnknownNameError("way of making scalars", how, INVARIANTS)
    kinds = tuple(dict.fromkeys(str(ir) for _, ir in features.irreps))
    if irrep is not None and irrep not in kinds:
        raise UnknownNameError("irrep", irrep, kinds)
    xp = _namespace(features.array)
    make = _pair_scalars if how == "power-spectrum" else _channel_scalars
    scalars = [make(xp, *components(features, kind)) for kind in kinds if irrep in (None, kind)]
    return xp.concatenate(scalars, axis=-1)


def blocks(irreps: Irreps, how: str) -> Blocks:
    """Return each irrep and the number of columns of `invariants` made from it, in order.

    >>> blocks(Irreps("2x0e + 3x1o"), "power-spectrum")
    (('0e', 2), ('1o', 6))
    """
    counts: dict[str, int] = {}
    for mul, ir in irreps:
        counts[str(ir)] = counts.get(str(ir), 0) + mul
    pairs = how == "power-spectrum"
    return tuple((k, n * (n + 1) // 2 if pairs and k != "0e" else n) for k, n in counts.items())


def components(features: IrrepsArray, kind: str) -> tuple[Any, Irrep]:
    """Return all channels of one irrep, (..., channel, 2l+1), and the irrep itself."""
    x = features.array
    parts = [
        x[..., columns].reshape(*x.shape[:-1], mul, ir.dim)
        for (mul, ir), columns in zip(features.irreps, features.irreps.slices(), strict=True)
        if str(ir) == kind
    ]
    return _namespace(x).concatenate(parts, axis=-2), Irrep(kind)


def _channel_scalars(xp: Any, block: Any, ir: Irrep) -> Any:
    """Return one scalar for each channel: (..., channel, 2l+1) → (..., channel)."""
    if ir.l == 0:
        return block[..., 0] if ir.p == 1 else abs(block[..., 0])
    # A power of two keeps the squares of very large or very small numbers in range, exactly.
    unit = np.frexp(np.abs(block).max(initial=0))[1] if xp is np else 0
    if abs(unit) > np.finfo(block.dtype).maxexp // 4:
        return np.ldexp(_channel_scalars(xp, np.ldexp(block, -unit), ir), unit)
    squares = (block**2).sum(-1)
    positive = squares > 0
    # The root is taken of positive numbers only, because its derivative at zero would be NaN.
    return xp.where(positive, xp.sqrt(xp.where(positive, squares, 1)), 0)


def _pair_scalars(xp: Any, block: Any, ir: Irrep) -> Any:
    """Return one scalar for each pair of channels: (..., channel, 2l+1) → (..., pair)."""
    if ir.l == 0 and ir.p == 1:
        return block[..., 0]
    first, second = np.triu_indices(block.shape[-2])
    return xp.einsum("...cm,...dm->...cd", block, block)[..., first, second]


def _namespace(x: Any) -> Any:
    """Return the module that computes with `x`: numpy for NumPy arrays, else jax.numpy.

    By default jax.numpy would round NumPy's float64 to float32.
    """
    return x.__array_namespace__()
