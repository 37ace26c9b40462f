"""Arrays tagged with irreps: pooled over atoms, split by irrep, made into scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
from e3nn_jax import Irrep, Irreps, IrrepsArray
from jaxtyping import Array, Bool, Float

from cpdjax.errors import UnknownNameError

POOLS = ("mean", "sum", "atom")
"""Mean or sum over atoms; "atom" keeps a row per atom."""


INVARIANTS = ("pool-then-norm", "norm-then-pool", "power-spectrum")
"""Ways of making scalars from irreps; see `invariants` and `norms`."""


Blocks = tuple[tuple[str, int], ...]


def pool(
    features: IrrepsArray, mask: Bool[Array | np.ndarray, "molecule atom"], how: str = "mean"
) -> IrrepsArray:
    """Mean or sum over atoms: (molecule, atom, irreps.dim) → (molecule, irreps.dim).

    Both are linear, so the irreps stay. Rows of padding may hold anything. "atom" pools nothing.

    Raises:
        UnknownNameError: `how` is none of `POOLS`.

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
    """Scalars that rotations and inversion leave alone, in the irreps' order.

    NumPy in, NumPy out; JAX in, JAX out, with zero for the derivative of a norm at zero.

    Args:
        features: pooled, for the default "pool, then norm"; per atom, and the result is pooled
            afterwards, for "norm-then-pool". The arithmetic is the same.
        irrep: only channels of this irrep, such as "1o".
        how: "pool-then-norm" and "norm-then-pool": 0e as it is, 0o as its absolute value, l > 0 as
            the norm over the channel's 2l+1 components. "power-spectrum": 0e as it is, of any
            other irrep the inner products of all its pairs of channels, c ≤ c'.

    Raises:
        UnknownNameError: `features` has no such irrep, or no such way.

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
    make = _products if how == "power-spectrum" else _scalar
    scalars = [make(xp, *components(features, kind)) for kind in kinds if irrep in (None, kind)]
    return xp.concatenate(scalars, axis=-1)


def blocks(irreps: Irreps, how: str) -> Blocks:
    """From which irrep come how many columns of `invariants`, in order.

    >>> blocks(Irreps("2x0e + 3x1o"), "power-spectrum")
    (('0e', 2), ('1o', 6))
    """
    counts: dict[str, int] = {}
    for mul, ir in irreps:
        counts[str(ir)] = counts.get(str(ir), 0) + mul
    pairs = how == "power-spectrum"
    return tuple((k, n * (n + 1) // 2 if pairs and k != "0e" else n) for k, n in counts.items())


def components(features: IrrepsArray, kind: str) -> tuple[Any, Irrep]:
    """(..., channel, 2l+1) of one irrep, from all its blocks; and that irrep."""
    x = features.array
    parts = [
        x[..., columns].reshape(*x.shape[:-1], mul, ir.dim)
        for (mul, ir), columns in zip(features.irreps, features.irreps.slices(), strict=True)
        if str(ir) == kind
    ]
    return _namespace(x).concatenate(parts, axis=-2), Irrep(kind)


def _scalar(xp: Any, block: Any, ir: Irrep) -> Any:
    """(..., channel, 2l+1) → (..., channel)."""
    if ir.l == 0:
        return block[..., 0] if ir.p == 1 else abs(block[..., 0])
    squares = (block**2).sum(-1)
    positive = squares > 0
    # The root sees only positive numbers, or its derivative at zero would be NaN.
    return xp.where(positive, xp.sqrt(xp.where(positive, squares, 1)), 0)


def _products(xp: Any, block: Any, ir: Irrep) -> Any:
    """(..., channel, 2l+1) → (..., pair of channels)."""
    if ir.l == 0 and ir.p == 1:
        return block[..., 0]
    first, second = np.triu_indices(block.shape[-2])
    return xp.einsum("...cm,...dm->...cd", block, block)[..., first, second]


def _namespace(x: Any) -> Any:
    """NumPy for NumPy arrays (which JAX would round to float32 by default), else jax.numpy."""
    return x.__array_namespace__()
