"""The symmetric contraction of MACE: equivariant polynomials of an atom's own features.

Sources: Batatia et al., NeurIPS 2022 (MACE), eqs. 10 and 11; Drautz, Phys. Rev. B 99,
014104 (2019).
Reference: `mace.modules.symmetric_contraction` of mace-torch. There a polynomial is a sum over
coupling paths, the columns of tensors U, of which only the part that is symmetric under exchange of
the factors acts; many columns share it. Here the basis is of those symmetric parts, each once, on
monomials: `from_coupling` takes the reference's weights over with the columns of its own U.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.models.blocks.convolution import Blocks, wigner_3j


class SymmetricContraction(nn.Module):
    """Sum polynomials of each channel, with weights for each element and channel.

    Written out term by term: of a hundred products of three components about one has a non-zero
    coefficient, and XLA fuses what remains into one loop that stores nothing in between.
    """

    lmax: int
    """Largest degree of the features, which are 0e, 1o, …"""
    degrees_out: tuple[int, ...]
    correlation: int
    """Largest degree of the polynomials."""
    elements: int

    @nn.compact
    def __call__(self, x: Blocks, species: Int[Array, " atom"]) -> Blocks:
        """Return a block (atom, 2l + 1, channel) for each of `degrees_out`."""
        components = [block[:, m] for block in x for m in range(block.shape[1])]
        monomials = Monomials({(k,): component for k, component in enumerate(components)})
        out = []
        for l_out in self.degrees_out:
            sums = [jnp.zeros_like(components[0])] * (2 * l_out + 1)
            for degree in range(1, self.correlation + 1):
                found = polynomials(self.lmax, degree, l_out)
                if not found:
                    continue
                name, shape = weight_name(l_out, degree), (self.elements, len(found), x[0].shape[2])
                start = nn.initializers.normal(1 / len(found))
                weights = self.param(name, start, shape, x[0].dtype)[species]
                for q, polynomial in enumerate(found):
                    for m, terms in enumerate(polynomial):
                        sums[m] = sums[m] + weights[:, q] * monomials.sum(terms)
            out.append(jnp.stack(sums, axis=1))
        return out


def weight_name(l_out: int, degree: int) -> str:
    """Return the name of the parameter with the weights of one degree's polynomials."""
    return f"l{l_out}_degree{degree}"


class Monomials(dict[tuple[int, ...], Array]):
    """Hold products of components, each computed once."""

    def __missing__(self, key: tuple[int, ...]) -> Array:
        self[key] = product = self[key[:-1]] * self[key[-1:]]
        return product

    def sum(self, terms: Terms) -> Array:
        """Return Σ coefficient × monomial."""
        (first, key), *others = terms
        total = first * self[key]
        for coefficient, key in others:
            total = total + coefficient * self[key]
        return total


Terms = list[tuple[float, tuple[int, ...]]]


@cache
def polynomials(lmax: int, degree: int, l_out: int) -> list[list[Terms]]:
    """Return the non-zero terms of every polynomial of `groups`, for each component m."""
    return [
        [
            [
                (float(group.coefficients[n, q, m]), tuple(group.monomials[n].tolist()))
                for n in np.flatnonzero(np.abs(group.coefficients[:, q, m]) > 1e-10)
            ]
            for m in range(2 * l_out + 1)
        ]
        for group in groups(lmax, degree, l_out)
        for q in range(group.coefficients.shape[1])
    ]


@dataclass(frozen=True, eq=False)
class Group:
    """Hold polynomials homogeneous in the same degrees l₁ ≤ l₂ ≤ …, such as A₁A₂A₂."""

    monomials: Int[np.ndarray, "monomial factor"]
    """Components l² + l + m of the features, ascending along each row."""
    coefficients: Float[np.ndarray, "monomial polynomial m"]
    """Orthonormal over monomials and m together, times √(2l + 1)."""


@cache
def groups(lmax: int, degree: int, l_out: int) -> tuple[Group, ...]:
    """Return the equivariant polynomials of one degree from irreps 0e, 1o, … `lmax` to `l_out`."""
    found = []
    for degrees in combinations_with_replacement(range(lmax + 1), degree):
        if (sum(degrees) + l_out) % 2:  # parity
            continue
        tensors = np.array(list(_couplings(degrees, l_out)))
        if len(tensors):
            monomials, rows = collect(_components(degrees), tensors)
            found.append(Group(monomials, _orthonormal(rows) * np.sqrt(2 * l_out + 1)))
    return tuple(found)


def _couplings(degrees: tuple[int, ...], l_out: int) -> Iterator[Float[np.ndarray, "m *factor"]]:
    """Yield tensors from l₁ ⊗ l₂ ⊗ … to l_out, one for each chain of intermediate degrees."""
    *before, last = degrees
    if not before:
        if last == l_out:
            yield np.eye(2 * last + 1)
        return
    for l_middle in range(abs(l_out - last), l_out + last + 1):
        symbol = wigner_3j(l_middle, last, l_out)
        for left in _couplings(tuple(before), l_middle):
            yield np.einsum("a...,abm->m...b", left, symbol)


def _components(degrees: tuple[int, ...]) -> Int[np.ndarray, "entry factor"]:
    """Return the components that each entry of a tensor on l₁ ⊗ l₂ ⊗ … multiplies, in C order."""
    ranges = [np.arange(degree**2, (degree + 1) ** 2) for degree in degrees]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(degrees))


def collect(
    components: Int[np.ndarray, "entry factor"], tensors: Float[np.ndarray, "tensor m *factor"]
) -> tuple[Int[np.ndarray, "monomial factor"], Float[np.ndarray, "monomial tensor m"]]:
    """Return monomials and their coefficients in the polynomials that tensors stand for."""
    monomials, where = np.unique(np.sort(components, axis=1), axis=0, return_inverse=True)
    entries = tensors.reshape(*tensors.shape[:2], -1)
    rows = np.zeros((len(monomials), *entries.shape[:2]))
    np.add.at(rows, where.reshape(-1), np.moveaxis(entries, -1, 0))
    return monomials, rows


def _orthonormal(rows: Float[np.ndarray, "monomial tensor m"]) -> Float[np.ndarray, "monomial q m"]:
    """Return an orthonormal basis of the polynomials, by Gram-Schmidt."""
    kept: list[np.ndarray] = []
    for tensor in np.moveaxis(rows, 1, 0):
        size = np.linalg.norm(tensor)
        for _ in range(2):  # twice, for orthogonality to rounding
            for other in kept:
                tensor = tensor - np.vdot(other, tensor) * other
        if size > 1e-9 and np.linalg.norm(tensor) > 1e-6 * size:
            kept.append(tensor / np.linalg.norm(tensor))
    return np.stack(kept, axis=1) if kept else np.zeros((len(rows), 0, rows.shape[2]))


def from_coupling(
    coupling: Float[np.ndarray, "... path"],
    weights: Float[np.ndarray, "element path channel"],
    lmax: int,
    degree: int,
    l_out: int,
) -> Float[np.ndarray, "element polynomial channel"]:
    """Return weights of `groups` from the reference's weights of one degree and its tensor U.

    The signs and the order of the reference's paths differ between versions of e3nn; they are
    read from U.

    Raises:
        InputError: the tensor has another shape, or its polynomials are not equivariant.
    """
    width, paths = (lmax + 1) ** 2, weights.shape[1]
    if coupling.size != (2 * l_out + 1) * width**degree * paths:
        raise InputError(
            f"U_matrix_{degree} has shape {coupling.shape}, which is not that of max_ell {lmax} "
            f"and an output of degree {l_out}"
        )
    tensors = coupling.reshape(2 * l_out + 1, -1, paths).astype(np.float64)
    components = np.indices((width,) * degree).reshape(degree, -1).T
    monomials, rows = collect(components, np.moveaxis(tensors, 2, 0))
    code = width ** np.arange(degree)
    where = {int(k): n for n, k in enumerate(monomials @ code)}
    norm, maps = np.abs(rows).max(), []
    for group in groups(lmax, degree, l_out):
        taken = [where[int(k)] for k in group.monomials @ code]
        found = np.einsum("nqm,npm->qp", group.coefficients, rows[taken]) / (2 * l_out + 1)
        rows[taken] -= np.einsum("nqm,qp->npm", group.coefficients, found)
        maps.append(found)
    if not np.abs(rows).max() <= 1e-5 * norm:
        raise InputError(
            f"U_matrix_{degree} is no tensor of equivariant polynomials in e3nn's basis"
        )
    return np.einsum("qp,epc->eqc", np.concatenate(maps), weights).astype(weights.dtype)
