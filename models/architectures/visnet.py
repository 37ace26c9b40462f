"""ViSNet: scalars of atoms and pairs, and harmonics, that exchange by attention and rejections.

Source: Wang et al., Nat. Commun. 15, 313 (2024), arXiv 2210.16518. Reference: torch_geometric 2.x,
`torch_geometric.nn.models.ViSNet`.

Layers: `embedding` (scalars of the element and of its neighbours), `interaction_i` (scalars, then
1o, and 2e for lmax = 2, after each block's residual step), `readout` (scalars, 1o and 2e after the
first gated block of the output network, the scalars after their activation). The reference keeps
harmonics as (m, channel) in e3nn's order of m.

Every atom is a neighbour of itself too, with a direction of zero. The messages to harmonics do
not vanish at the cutoff. All neighbours within it count: the reference's `max_num_neighbors`,
which drops some beyond a number, is not applied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import add, mul
from typing import Any, Literal, NamedTuple

import e3nn_jax
import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from cpdjax.errors import InputError
from cpdjax.models.blocks.basics import LayerNorm, cosine_cutoff
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Depth, HeadCount, Length, Width, make
from cpdjax.models.interface import Layers, Training
from cpdjax.models.weights.translate import (
    Source,
    State,
    agree,
    dense,
    options,
    stated,
    translate,
)

Scalars = Float[Array, "atom channel"]
Vectors = Float[Array, "atom m channel"]
"""Spherical harmonics of degree 1 and up, with all m side by side."""
Pairs = Float[Array, "atom neighbour channel"]

_Dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform())
_Linear = partial(_Dense, use_bias=False)


class Edges(NamedTuple):
    """Hold the neighbours of every atom, with the atom itself in front."""

    distances: Float[Array, "atom neighbour"]
    """Distances (Å); zero to the atom itself."""
    directions: Float[Array, "atom neighbour m"]
    """Harmonics of directions, of norm 1 for each degree; zero for the atom itself and padding."""
    envelope: Float[Array, "atom neighbour"]
    """The cutoff function, zero where there is no neighbour."""
    mask: Bool[Array, "atom neighbour"]
    graph: Graph

    def gather(
        self, atoms: Float[Array, "atom *channel"]
    ) -> Float[Array, "atom neighbour *channel"]:
        """Return the values of the atom itself and of its neighbours."""
        return jnp.concatenate([atoms[:, None], self.graph.gather(atoms)], axis=1)


class ViSNet(nn.Module):
    """Compute atoms' parts of a scalar."""

    lmax: Literal[1, 2] = 1
    """Largest degree of the harmonics, 1 or 2."""
    vecnorm_type: str | None = None
    """With "max_min", the norms of an atom's vectors are scaled to [0, 1] before each block."""
    trainable_vecnorm: bool = False
    num_heads: HeadCount = 8
    num_layers: Depth = 6
    hidden_channels: Width = 128
    num_rbf: Width = 32
    trainable_rbf: bool = False
    max_z: Width = 100
    cutoff: Length = 5.0
    """Cutoff of the neighbour list (Å)."""
    vertex: bool = False
    """Whether pairs also see two rejections of one atom's vectors (the reference's choice)."""
    reduce_op: Literal["sum", "mean"] = "sum"
    mean: float = 0.0
    """Value added to a molecule's output."""
    std: float = 1.0
    """Factor of the atoms' parts, before their element's value is added."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the elements for which the embedding has a row."""
        return tuple(range(1, self.max_z))

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return True: vectors are sums of harmonics of directions."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        f = self.hidden_channels
        blocks = [f"interaction_{i}" for i in range(self.num_layers)]
        return {
            "embedding": Irreps(f"{f}x0e"),
            **dict.fromkeys(blocks, self._all(f)),
            "readout": self._all(f // 2),
        }

    def _all(self, channels: int) -> Irreps:
        return Irreps([(channels, (degree, (-1) ** degree)) for degree in range(self.lmax + 1)])

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the scalars of every pair, the filters, and the neighbours' vectors."""
        width = (self.lmax + 1) ** 2
        return atoms * (neighbours + 4) * (8 + 2 * width) * self.hidden_channels

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        f = self.hidden_channels
        edges = self._edges(graph)
        basis = RadialBasis(self.num_rbf, self.cutoff, self.trainable_rbf, name="radial_basis")
        radial = basis(edges.distances)
        x = Embedding(self.max_z, f, name="embedding")(graph.numbers, radial, edges)
        states = {"embedding": x}
        pairs = _Dense(f, name="pairs")(radial) * (x[:, None] + edges.gather(x))
        vec = jnp.zeros((len(x), edges.directions.shape[-1], f), x.dtype)
        for i in range(self.num_layers):
            block = Interaction(self.clone(parent=None), i, name=f"interaction_{i}")
            x, vec, pairs = block(x, vec, pairs, edges)
            states[f"interaction_{i}"] = _flat(x, vec)
        x = LayerNorm(name="norm")(x)
        vec = VectorNorm(self.vecnorm_type, self.trainable_vecnorm, name="vector_norm")(vec)
        x, vec = GatedBlock(f // 2, True, name="readout_0")(x, vec)
        states["readout"] = _flat(x, vec)
        x, _ = GatedBlock(1, False, name="readout_1")(x, vec)
        layers = {name: IrrepsArray(self.irreps[name], s) for name, s in states.items()}
        return layers, self._output(x[:, 0], graph)

    def _edges(self, graph: Graph) -> Edges:
        """Return the atom itself and the graph's neighbours behind it."""
        harmonics = e3nn_jax.sh(list(range(1, self.lmax + 1)), graph.vectors, True, "norm")
        harmonics = jnp.where(graph.edge_mask[..., None], harmonics, 0)
        r = jnp.pad(graph.distances, ((0, 0), (1, 0)))
        mask = jnp.pad(graph.edge_mask, ((0, 0), (1, 0)), constant_values=True)
        return Edges(
            distances=r,
            directions=jnp.pad(harmonics, ((0, 0), (1, 0), (0, 0))),
            envelope=jnp.where(mask, cosine_cutoff(r, self.cutoff), 0),
            mask=mask,
            graph=graph,
        )

    def _output(self, parts: Float[Array, " atom"], graph: Graph) -> Float[Array, " atom"]:
        def constant(name: str, value: float) -> Array:
            return self.variable(
                "constants", name, lambda: jnp.asarray(value, graph.dtype)
            ).value.reshape(1)

        values = nn.Embed(self.max_z, 1, name="atomref", embedding_init=nn.initializers.zeros)
        parts = parts * constant("std", self.std) + values(graph.numbers)[:, 0]
        mean = constant("mean", self.mean)
        if self.reduce_op == "sum":  # the atoms' shares of what is added to the sum
            atoms = graph.mask.sum(1, dtype=graph.dtype)
            mean = mean / graph.spread(jnp.maximum(atoms, 1))
        return parts + mean


def _flat(x: Scalars, vec: Vectors) -> Float[Array, "atom irreps"]:
    """Return scalars and harmonics in one axis, in e3nn-jax's order."""
    degrees = [vec[:, start:stop] for start, stop in ((0, 3), (3, 8)) if start < vec.shape[1]]
    return jnp.hstack([x, *(part.swapaxes(1, 2).reshape(len(x), -1) for part in degrees)])


class RadialBasis(nn.Module):
    """Expand distances in Gaussians of exp(−5r / cutoff), times the cutoff function."""

    count: int
    cutoff: float
    trainable: bool

    @nn.compact
    def __call__(self, r: Float[Array, "atom neighbour"]) -> Pairs:
        start = np.exp(-self.cutoff).item()
        grid = np.linspace(start, 1, self.count, dtype=r.dtype)
        same = np.full(self.count, (2 / self.count * (1 - start)) ** -2, r.dtype)
        means = _weight(self, "means", self.trainable, grid)[None, None]
        betas = _weight(self, "betas", self.trainable, same)[None, None]
        scaled = jnp.exp(r * (-5.0 / self.cutoff))[..., None] - means
        return cosine_cutoff(r, self.cutoff)[..., None] * jnp.exp(-betas * scaled * scaled)


def _weight(module: nn.Module, name: str, trainable: bool, first: np.ndarray) -> Array:
    if trainable:
        return module.param(name, lambda _: jnp.asarray(first))
    return module.variable("constants", name, lambda: jnp.asarray(first)).value


class Embedding(nn.Module):
    """Combine the element and a sum of the neighbours' elements with filters of the distance."""

    elements: int
    channels: int

    @nn.compact
    def __call__(self, numbers: Int[Array, " atom"], radial: Pairs, edges: Edges) -> Scalars:
        x = nn.Embed(self.elements, self.channels, name="element")(numbers)
        y = nn.Embed(self.elements, self.channels, name="neighbour")(numbers)
        filters = _Dense(self.channels, name="filter")(radial)[:, 1:]  # not of the atom itself
        around = jnp.einsum("akf,akf,ak->af", filters, edges.graph.gather(y),
                            edges.envelope[:, 1:])  # fmt: skip
        return _Dense(self.channels, name="combine")(jnp.hstack([x, around]))


class VectorNorm(nn.Module):
    """Multiply each channel by a weight, for "max_min" after scaling each degree's norms to [0, 1].

    Where symmetry makes vectors vanish, as at the carbon of CH4, float32 leaves rounding
    errors above the least norm, which "max_min" scales to 1, in the reference as here: such atoms
    need float64.
    """

    kind: str | None
    trainable: bool

    @nn.compact
    def __call__(self, vec: Vectors) -> Vectors:
        weight = _weight(self, "weight", self.trainable, np.ones(vec.shape[-1], vec.dtype))
        if self.kind == "max_min":
            vec = jnp.concatenate([_max_min(vec[:, :3]), _max_min(vec[:, 3:])], axis=1)
        return vec * weight[None, None]


def _max_min(vec: Vectors) -> Vectors:
    # The least norm as in the reference: atoms that have no vectors keep none.
    norm = jnp.sqrt(jnp.maximum((vec * vec).sum(1, keepdims=True), 1e-24))
    least = norm.min(-1, keepdims=True)
    spread = norm.max(-1, keepdims=True) - least
    return vec * ((norm - least) / norm / jnp.where(spread == 0, 1, spread))


class Interaction(nn.Module):
    """Attend between scalars, send messages to vectors, let vectors act on scalars and pairs.

    Before the first block all vectors are zero, and after the last nothing reads the pairs: what
    only these would need is not there.
    """

    of: ViSNet
    index: int

    @nn.compact
    def __call__(
        self, x: Scalars, vec: Vectors, pairs: Pairs, edges: Edges
    ) -> tuple[Scalars, Vectors, Pairs]:
        of, f = self.of, x.shape[-1]
        first, last = self.index == 0, self.index == of.num_layers - 1
        message = self._attend(LayerNorm(name="norm")(x), pairs, edges)
        gates = jax.nn.silu(_Dense(2 * f, name="s")(message))
        o1, o2, o3 = jnp.split(_Dense(3 * f, name="o")(message.sum(1)), 3, axis=-1)
        if first:
            change = jnp.einsum("akf,akm->amf", gates[..., f:], edges.directions)
            return x + o3, change, pairs
        normed = VectorNorm(of.vecnorm_type, of.trainable_vecnorm, name="vector_norm")(vec)
        v1, v2, v3 = jnp.split(_Linear(3 * f, name="vectors")(normed), 3, axis=-1)
        real = edges.mask[..., None].astype(x.dtype)
        # One m at a time: XLA makes loops of each, but writes down a product with an axis for m.
        moved = [
            (real * gates[..., :f] * edges.gather(normed[:, m]) + along * gates[..., f:]).sum(1)
            for m, along in enumerate(jnp.split(edges.directions, vec.shape[1], axis=-1))
        ]
        if not last:
            pairs = pairs + self._update(normed, pairs, edges)
        change = jnp.stack(moved, axis=1) + v3 * o1[:, None]
        return x + (v1 * v2).sum(1) * o2 + o3, vec + change, pairs

    def _attend(self, x: Scalars, pairs: Pairs, edges: Edges) -> Pairs:
        """Return the neighbours' values, weighed by the attention of each head."""
        f, heads = x.shape[-1], self.of.num_heads
        q, k, v = (_Dense(f, name=name)(x) for name in ("q", "k", "v"))
        dk, dv = (jax.nn.silu(_Dense(f, name=name)(pairs)) for name in ("dk", "dv"))
        # Sums over a head's channels as a product with ones: XLA on CPUs is slow at short sums.
        of_head = jnp.asarray(np.repeat(np.eye(heads), f // heads, axis=0), x.dtype)
        product = q[:, None] * edges.gather(k) * dk
        alpha = jax.nn.silu(jnp.matmul(product, of_head, precision="highest"))
        alpha = alpha * edges.envelope[..., None]
        return edges.gather(v) * dv * jnp.repeat(alpha, f // heads, axis=-1)

    def _update(self, vec: Vectors, pairs: Pairs, edges: Edges) -> Pairs:
        """Return inner products of the parts of two atoms' vectors normal to their direction."""
        f = vec.shape[-1]
        gates = jax.nn.silu(_Dense(2 * f if self.of.vertex else f, name="f")(pairs))
        target, source = (_Linear(f, name=name)(vec) for name in ("w_target", "w_source"))
        change = gates[..., :f] * _rejected(target, source, _here, edges.gather, edges.directions)
        if not self.of.vertex:
            return change
        target, source = (_Linear(f, name=name)(vec) for name in ("t_target", "t_source"))
        return change + gates[..., f:] * _rejected(target, source, _here, _here, edges.directions)


def _here(atoms: Scalars) -> Float[Array, "atom 1 channel"]:
    return atoms[:, None]


def _rejected(
    a: Vectors,
    b: Vectors,
    i: Callable[[Scalars], Pairs],
    j: Callable[[Scalars], Pairs],
    d: Float[Array, "atom neighbour m"],
) -> Pairs:
    """Return (aᵢ − (aᵢ·d)d)·(bⱼ − (bⱼ·d)d) = aᵢ·bⱼ − (2 − d·d)(aᵢ·d)(bⱼ·d).

    Here d·d is lmax, unless d is zero.
    """
    m = range(d.shape[-1])
    of_a, of_b, of_d = (
        [i(a[:, k]) for k in m],
        [j(b[:, k]) for k in m],
        [d[..., k, None] for k in m],
    )
    if len(m) == 8:
        return _inner(of_a, of_b)
    return _inner(of_a, of_b) - _inner(of_a, of_d) * _inner(of_b, of_d)


def _inner(a: list[Array], b: list[Array]) -> Array:
    return reduce(add, map(mul, a, b))


class GatedBlock(nn.Module):
    """Make scalars from scalars and norms of mixed vectors; gate the vectors by these scalars."""

    channels: int
    activated: bool
    """Whether scalars pass an activation and vectors are made; False in the last block."""

    @nn.compact
    def __call__(self, x: Scalars, vec: Vectors) -> tuple[Scalars, Vectors]:
        width = x.shape[-1]
        mixed = _Linear(width, name="norms")(vec)
        squares = (mixed * mixed).sum(1)
        some = squares > 0  # the root has no derivative at zero, where a lone atom is
        norms = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)
        hidden = jax.nn.silu(_Dense(width, name="hidden")(jnp.hstack([x, norms])))
        x, gates = jnp.split(_Dense(2 * self.channels, name="gates")(hidden), 2, axis=-1)
        if not self.activated:
            return x, vec
        return jax.nn.silu(x), gates[:, None] * _Linear(self.channels, name="vectors")(vec)


def from_state_dict(
    config: Mapping[str, Any], state: State
) -> tuple[ViSNet, dict[str, Any], Literal["sum", "mean"]]:
    """Return module and variables from torch_geometric's arguments and state dict of a ViSNet.

    Of `config`, `max_num_neighbors`, `derivative` (use `jax.grad`) and `atomref` (it is in the
    state dict) change nothing.

    Raises:
        InputError: an option that is not ported, missing (`lmax`, `num_heads`, `vecnorm_type` and
            `reduce_op`, which no array tells) or contradicted by the state dict, or another
            architecture's state dict.
    """
    fields = options(ViSNet, config, ("max_num_neighbors", "derivative", "atomref"))
    for key, ported in (
        ("lmax", (1, 2)),
        ("vecnorm_type", (None, "max_min")),
        ("reduce_op", ("sum", "mean")),
    ):
        if key in config and config[key] not in ported:
            raise InputError(
                f"ViSNet with {key}={config[key]!r} is not ported; "
                f"expected {' or '.join(map(repr, ported))}"
            )
    told = _cutoff(config, state)
    module = make(ViSNet, **{**told, **fields})
    if module.num_layers < 1:
        raise InputError(f"expected num_layers of at least 1, got {module.num_layers}")
    if module.hidden_channels % module.num_heads:
        raise InputError(
            f"expected hidden_channels that num_heads divides, got {module.hidden_channels} and "
            f"{module.num_heads}"
        )
    variables = translate(module, state, _table(module), _UNREAD)
    for name in ("mean", "std"):
        agree(config, name, np.asarray(state[name]).reshape(()))
    stated(config, "lmax", "num_heads", "vecnorm_type", "reduce_op", *([] if told else ["cutoff"]))
    return module, variables, module.reduce_op


def _cutoff(config: Mapping[str, Any], state: State) -> dict[str, float]:
    """Return the cutoff that the radial basis tells: its means go from exp(−cutoff) to 1 evenly.

    Means that training has moved tell nothing.
    """
    means = np.asarray(state.get("representation_model.distance_expansion.means", ()), float)
    even = means.ndim == 1 and len(means) > 1 and 0 < means[0] < 1
    if not even or not np.allclose(means, np.linspace(means[0], 1, len(means)), rtol=1e-5, atol=0):
        return {}
    cutoff = round(-math.log(means[0]), 5)
    agree(config, "cutoff", cutoff)
    return {"cutoff": cutoff}


# These weights change nothing: atomref begins training with the first, the second make vectors that
# nothing reads, and the others act on the first block's vectors, which are zero.
_UNREAD = (
    "prior_model.initial_atomref",
    "output_model.output_network.1.vec2_proj.weight",
    "representation_model.vis_mp_layers.0.vec_*",
    "representation_model.vis_mp_layers.0.[fwt]_*",
)


def _table(module: ViSNet) -> dict[str, Source]:
    """Return the checkpoint's name of each of our arrays."""
    body, out = "representation_model", "output_model.output_network"
    table: dict[str, Source] = {
        "params/embedding/element/embedding": f"{body}.embedding.weight",
        "params/embedding/neighbour/embedding": f"{body}.neighbor_embedding.embedding.weight",
        "params/atomref/embedding": "prior_model.atomref.weight",
        "constants/mean": "mean",
        "constants/std": "std",
    }
    trained = "params" if module.trainable_rbf else "constants"
    for name in ("means", "betas"):
        table[f"{trained}/radial_basis/{name}"] = f"{body}.distance_expansion.{name}"
    norms = {"norm": f"{body}.out_norm"}
    vector_norms = {"vector_norm": f"{body}.vec_out_norm"}
    maps = {
        "embedding/filter": f"{body}.neighbor_embedding.distance_proj",
        "embedding/combine": f"{body}.neighbor_embedding.combine",
        "pairs": f"{body}.edge_embedding.edge_proj",
    }
    linear = {"readout_0/vectors": f"{out}.0.vec2_proj"}
    for i in range(2):
        linear[f"readout_{i}/norms"] = f"{out}.{i}.vec1_proj"
        maps[f"readout_{i}/hidden"] = f"{out}.{i}.update_net.0"
        maps[f"readout_{i}/gates"] = f"{out}.{i}.update_net.2"
    for i in range(module.num_layers):
        ours, theirs = f"interaction_{i}", f"{body}.vis_mp_layers.{i}"
        norms[f"{ours}/norm"] = f"{theirs}.layernorm"
        maps |= {f"{ours}/{name}": f"{theirs}.{name}_proj" for name in _DENSE}
        if i > 0:
            vector_norms[f"{ours}/vector_norm"] = f"{theirs}.vec_layernorm"
            linear[f"{ours}/vectors"] = f"{theirs}.vec_proj"
        if 0 < i < module.num_layers - 1:
            maps[f"{ours}/f"] = f"{theirs}.f_proj"
            for letter in "wt" if module.vertex else "w":
                linear[f"{ours}/{letter}_target"] = f"{theirs}.{letter}_trg_proj"
                linear[f"{ours}/{letter}_source"] = f"{theirs}.{letter}_src_proj"
    trained = "params" if module.trainable_vecnorm else "constants"
    for ours, theirs in vector_norms.items():
        table[f"{trained}/{ours}/weight"] = f"{theirs}.weight"
    for ours, theirs in norms.items():
        table[f"params/{ours}/scale"] = f"{theirs}.weight"
        table[f"params/{ours}/bias"] = f"{theirs}.bias"
    for ours, theirs in (maps | linear).items():
        table |= dense(ours, theirs, bias=ours in maps)
    return table


_DENSE = ("q", "k", "v", "dk", "dv", "s", "o")

# Sizes of our choice, which train on a core of a laptop in minutes.
TRAINING = Training(
    {
        "hidden_channels": 40,
        "num_heads": 4,
        "num_layers": 3,
        "num_rbf": 20,
        "max_z": 10,
        "cutoff": 5.0,
    },
    learning_rate=1e-3,
)
