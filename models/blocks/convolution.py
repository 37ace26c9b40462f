"""Equivariant convolution and gate over dense rows of neighbours, channels last.

Conventions of e3nn (torch, 0.6): the "uvu" tensor product, its order of weights, its gate. Features
are held as blocks: one array (..., 2l + 1, channel) per entry of an `Irreps`, so that channels lie
next to each other in memory and linear maps are plain matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import e3nn_jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irrep, Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.models.graph import Graph

Blocks = list[Array]


class Path(NamedTuple):
    """Describe the product of an entry of the features and one of the harmonics."""

    feature: int
    harmonic: int
    ir: Irrep


def read_irreps(text: str) -> Irreps:
    """Read irreps as a configuration writes them.

    Raises:
        InputError: the text is none.
    """
    try:
        return Irreps(text)
    except ValueError:
        raise InputError(f"{text!r} are no irreps; expected such as '8x0e + 8x1o'") from None


def harmonic_irreps(lmax: int, odd: bool = True) -> Irreps:
    """Return 0e, 1o, 2e, …; all even unless `odd`."""
    return Irreps([(1, (degree, (-1) ** (degree * odd))) for degree in range(lmax + 1)])


def torch_order(ir: Irrep) -> tuple[int, int]:
    """Return the key by which e3nn (torch) sorts irreps: 0o, 0e, 1o, 1e, 2o, 2e."""
    return ir.l, ir.p


def product_paths(irreps: Irreps, harmonics: Irreps, kept: Irreps) -> list[Path]:
    """Return all paths to an irrep in `kept`, sorted by feature, then harmonic, then degree."""
    wanted = {ir for _, ir in kept}
    return [
        Path(i, j, ir)
        for i, (_, first) in enumerate(irreps)
        for j, (_, second) in enumerate(harmonics)
        for ir in first * second
        if ir in wanted
    ]


def sorted_order(paths: Sequence[Path]) -> list[int]:
    """Return the order of the paths' weights and outputs: by irrep, otherwise as made."""
    return sorted(range(len(paths)), key=lambda p: torch_order(paths[p].ir))


def product_irreps(irreps: Irreps, paths: Sequence[Path]) -> Irreps:
    """Return the irreps that the paths give together, every irrep once, in torch's order."""
    counts: dict[Irrep, int] = {}
    for path in (paths[p] for p in sorted_order(paths)):
        counts[path.ir] = counts.get(path.ir, 0) + irreps[path.feature].mul
    return Irreps([(mul, ir) for ir, mul in counts.items()])


def product_memory(irreps: Irreps, paths: Sequence[Path], neighbours: int) -> int:
    """Count the numbers that an atom's convolution keeps: those of its edges, and its sums."""
    entries = [irreps[path.feature] for path in paths]
    weights = sum(entry.mul for entry in entries)
    products = sum(entry.mul * entry.ir.dim for entry in entries)
    edge = irreps.dim + 2 * weights + products
    return neighbours * edge + 3 * product_irreps(irreps, paths).dim


class Convolution(nn.Module):
    """Sum the messages of all neighbours: features times harmonics times weights of the edge.

    For each path, m₃ and channel u, Σ_slot w(slot, u) Σ_m₁m₂ C(m₁, m₂, m₃) x(m₁, u) Y(m₂), with C
    the Wigner 3j symbol times √(2l₃ + 1).
    """

    irreps: Irreps
    harmonics: Irreps
    kept: Irreps

    @nn.compact
    def __call__(
        self,
        x: Blocks,
        y: Sequence[Float[Array, "atom neighbour m2"]],
        weights: Float[Array, "atom neighbour weight"],
        graph: Graph,
    ) -> Blocks:
        """Return blocks of `product_irreps`, before any normalisation.

        Args:
            x: blocks of `irreps`, (atom, m1, channel).
            y: per entry of `harmonics`; zero where there is no neighbour.
            weights: the paths' channels side by side, in `sorted_order`.
        """
        paths = product_paths(self.irreps, self.harmonics, self.kept)
        paths = [paths[p] for p in sorted_order(paths)]
        ends = np.cumsum([self.irreps[path.feature].mul for path in paths])[:-1]
        gathered = [graph.gather(block) for block in x]
        sums: dict[Irrep, list[Array]] = {}
        for path, weight in zip(paths, jnp.split(weights, ends, axis=-1), strict=True):
            product = gathered[path.feature] * weight[:, :, None, :]
            message = self._message(path, product, y[path.harmonic])
            sums.setdefault(path.ir, []).append(message)
        return [jnp.concatenate(parts, axis=-1) for parts in sums.values()]

    def _message(
        self,
        path: Path,
        product: Float[Array, "atom neighbour m1 channel"],
        y: Float[Array, "atom neighbour m2"],
    ) -> Float[Array, "atom m3 channel"]:
        l1, l2, l3 = self.irreps[path.feature].ir.l, self.harmonics[path.harmonic].ir.l, path.ir.l
        if l2 == 0:  # the symbol is the identity over √(2l₃ + 1), here and in the next two
            return jnp.einsum("as,asiu->aiu", y[:, :, 0], product)
        if l1 == 0:
            return jnp.einsum("ask,asu->aku", y, product[:, :, 0])
        if l3 == 0:
            coupled = (y / np.sqrt(2 * l1 + 1).item())[..., None]
        else:
            symbol = wigner_3j(l1, l2, l3) * np.sqrt(2 * l3 + 1)
            coupled = jnp.einsum("asj,ijk->asik", y, symbol.astype(y.dtype))
        return jnp.einsum("asik,asiu->aku", coupled, product)


def wigner_3j(l1: int, l2: int, l3: int) -> Float[np.ndarray, "m1 m2 m3"]:
    """Return real Wigner 3j symbols in e3nn's basis, signs as in e3nn ≥ 0.6, of norm 1."""
    symbol = np.asarray(e3nn_jax.clebsch_gordan(l1, l2, l3))
    return symbol / np.linalg.norm(symbol)


class BlockLinear(nn.Module):
    """Apply the linear map of `e3nn.o3.Linear`, with its flat weight and its normalisation.

    `weight` holds, for every input irrep and every equal output irrep, in that order of loops, a
    matrix (channels in, channels out), divided by the root of all channels that reach the output.
    Output irreps that no input reaches are zero. Biases belong to scalars.
    """

    irreps: Irreps
    irreps_out: Irreps
    biases: bool = False

    @nn.compact
    def __call__(self, x: Blocks) -> Blocks:
        paths = linear_paths(self.irreps, self.irreps_out)
        sizes = [self.irreps[i].mul * self.irreps_out[o].mul for i, o in paths]
        weight = self.param("weight", nn.initializers.normal(1.0), (sum(sizes),), x[0].dtype)
        shape = x[0].shape[:-2]
        out = [jnp.zeros((*shape, ir.dim, mul), x[0].dtype) for mul, ir in self.irreps_out]
        reached: set[int] = set()
        for (i, o), flat in zip(paths, jnp.split(weight, np.cumsum(sizes)[:-1]), strict=True):
            fan_in = sum(self.irreps[k].mul for k, to in paths if to == o)
            matrix = flat.reshape(self.irreps[i].mul, self.irreps_out[o].mul)
            term = x[i] @ (matrix / np.sqrt(fan_in).item())
            out[o] = out[o] + term if o in reached else term
            reached.add(o)
        if self.biases:
            (o,) = (o for o, (_, ir) in enumerate(self.irreps_out) if ir == "0e")
            bias = self.param("bias", nn.initializers.zeros, (self.irreps_out[o].mul,), x[0].dtype)
            out[o] = out[o] + jnp.broadcast_to(bias, out[o].shape)
        return out


def linear_paths(irreps: Irreps, irreps_out: Irreps) -> list[tuple[int, int]]:
    """Return pairs of equal irreps in the order of an equivariant linear map's weights."""
    return [
        (i, o)
        for i, (_, first) in enumerate(irreps)
        for o, (_, second) in enumerate(irreps_out)
        if first == second
    ]


class Embedding(nn.Module):
    """Map the one-hot element linearly, over the root of the number of elements."""

    elements: int
    channels: int
    biases: bool

    @nn.compact
    def __call__(self, species: Int[Array, " atom"], dtype: jnp.dtype) -> Blocks:
        size = self.elements * self.channels
        weight = self.param("weight", nn.initializers.normal(1.0), (size,), dtype)
        table = weight.reshape(self.elements, self.channels) / np.sqrt(self.elements).item()
        if self.biases:
            bias = self.param("bias", nn.initializers.zeros, (self.channels,), dtype)
            table = table + bias[None, :]
        return [table[species][:, None, :]]


class ElementLinear(nn.Module):
    """Apply each element's own linear map: e3nn's tensor product with the one-hot element."""

    irreps: Irreps
    irreps_out: Irreps
    elements: int

    @nn.compact
    def __call__(self, x: Blocks, species: Int[Array, " atom"]) -> Blocks:
        paths = linear_paths(self.irreps, self.irreps_out)
        shapes = [(self.irreps[i].mul, self.elements, self.irreps_out[o].mul) for i, o in paths]
        sizes = [math.prod(shape) for shape in shapes]
        weight = self.param("weight", nn.initializers.normal(1.0), (sum(sizes),), x[0].dtype)
        parts = jnp.split(weight, np.cumsum(sizes)[:-1])
        atoms, dtype = len(species), x[0].dtype
        out = [jnp.zeros((atoms, ir.dim, mul), dtype) for mul, ir in self.irreps_out]
        groups = ElementGroups.of(species, self.elements)
        for (i, o), shape, part in zip(paths, shapes, parts, strict=True):
            fan_in = sum(self.irreps[k].mul for k, to in paths if to == o) * self.elements
            matrices = part.reshape(shape).swapaxes(0, 1) / np.sqrt(fan_in).item()
            out[o] = out[o] + groups.multiply(x[i], matrices)
        return out


class ElementGroups(NamedTuple):
    """Hold atoms in groups of one size and one element each, so that a group shares a matrix.

    A matrix gathered for every atom would be read from memory once for every atom.
    """

    rows: Int[Array, "group member"]
    """Atom at each place; any atom where the place is empty."""
    elements: Int[Array, " group"]
    places: Int[Array, " atom"]
    """Place of each atom, counted through all groups."""

    @classmethod
    def of(cls, species: Int[Array, " atom"], elements: int, size: int = 16) -> ElementGroups:
        """Sort atoms by element, and begin a new group with every element and every `size`."""
        atoms = len(species)
        if atoms < size:  # too few to share: a group for each
            each = jnp.arange(atoms, dtype=jnp.int32)
            return cls(each[:, None], species, each)
        order = jnp.argsort(species)
        counts = jnp.bincount(species, length=elements).astype(jnp.int32)
        needed = (counts + (size - 1)) // size
        first = (jnp.cumsum(needed) - needed) * size - (jnp.cumsum(counts) - counts)
        places = first[species[order]] + jnp.arange(atoms, dtype=jnp.int32)
        groups = atoms // size + elements
        rows = jnp.zeros(groups * size, jnp.int32).at[places].set(order.astype(jnp.int32))
        held = jnp.searchsorted(jnp.cumsum(needed), jnp.arange(groups, dtype=jnp.int32), "right")
        back = jnp.zeros(atoms, jnp.int32).at[order].set(places)
        return cls(rows.reshape(groups, size), jnp.minimum(held, elements - 1), back)

    def multiply(
        self, x: Float[Array, "atom m in"], matrices: Float[Array, "element in out"]
    ) -> Float[Array, "atom m out"]:
        """Multiply every atom's features by its element's matrix."""
        groups, size = self.rows.shape
        stacked = x[self.rows].reshape(groups, size * x.shape[1], x.shape[2])
        out = stacked @ matrices[self.elements]
        return out.reshape(groups * size, x.shape[1], -1)[self.places]


def gate_irreps(irreps: Irreps) -> Irreps:
    """Return the irreps that `gate` needs: a further scalar 0e for every channel of l > 0."""
    counts = {Irrep("0e"): sum(mul for mul, ir in irreps if ir.l > 0)}
    for mul, ir in irreps:
        counts[ir] = counts.get(ir, 0) + mul
    return Irreps([(counts[ir], ir) for ir in sorted(counts, key=torch_order) if counts[ir]])


def gate(
    irreps: Irreps,
    x: Blocks,
    even: Callable[[Array], Array],
    odd: Callable[[Array], Array],
    gates: Callable[[Array], Array],
) -> Blocks:
    """Activate scalars and gate all else: blocks of `gate_irreps(irreps)` become those of `irreps`.

    The gates are the last scalars 0e, in the order of the blocks that they multiply. Every irrep
    may stand only once in `irreps`.
    """
    blocks = {ir: block for (_, ir), block in zip(gate_irreps(irreps), x, strict=True)}
    start = sum(mul for mul, ir in irreps if ir == "0e")
    out = []
    for mul, ir in irreps:
        if ir.l > 0:
            factors = gates(blocks[Irrep("0e")][..., start : start + mul])
            out.append(blocks[ir] * factors)
            start += mul
        elif ir.p == 1:
            out.append(even(blocks[ir][..., :mul]))
        else:
            out.append(odd(blocks[ir]))
    return out


def spherical_harmonics(graph: Graph, lmax: int, unit_vectors: bool) -> list[Array]:
    """Return component-normalised harmonics (atom, neighbour, m) by degree, zero at padding."""
    harmonics = e3nn_jax.sh(list(range(lmax + 1)), graph.vectors, unit_vectors, "component")
    harmonics = jnp.where(graph.edge_mask[:, :, None], harmonics, 0)
    return [harmonics[:, :, degree**2 : (degree + 1) ** 2] for degree in range(lmax + 1)]


def to_irreps_array(irreps: Irreps, blocks: Blocks) -> IrrepsArray:
    """Return features as others see them: sorted as e3nn-jax sorts, channels before m."""
    order = sorted(range(len(irreps)), key=lambda i: irreps[i].ir)
    flat = [jnp.swapaxes(blocks[i], -1, -2).reshape(*blocks[i].shape[:-2], -1) for i in order]
    return IrrepsArray(visible_irreps(irreps), jnp.concatenate(flat, axis=-1))


def visible_irreps(irreps: Irreps) -> Irreps:
    """Return the irreps of `to_irreps_array`."""
    return Irreps(sorted(irreps, key=lambda entry: entry.ir))
