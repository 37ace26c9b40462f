"""DimeNet++: messages along bonds, changed by the angles between them.

Sources: Gasteiger et al., ICLR 2020 (DimeNet, arXiv:2003.03123) and "Fast and uncertainty-aware
directional message passing" (DimeNet++, arXiv:2011.14115). Reference: torch_geometric 2.8,
`torch_geometric.nn.models.DimeNetPlusPlus`.

States belong to directed edges; every block has an output network that sums them over the edges
that end at an atom. Layers are what these networks hold per atom before their last linear map, all
scalars: `embedding` of the embedding block, `interaction_i` of the i-th interaction block. The
output is the sum of all the last maps, so there is no common hidden layer and no `readout`.

The angle of two messages k→j→i is the one between the vectors j→i and k→j: the supplement of the
bond angle at j. Only Legendre polynomials of its cosine are needed, so it is never computed.

The reference knows no cells. Here images are neighbours like any others, and the triplets k→j→i
that are left out, those where k is i, are left out image by image, as in the Open Catalyst
Project's DimeNet++. The reference keeps at most `max_num_neighbors` of an atom's neighbours; here
all within the cutoff count. Its zeros and norms of spherical Bessel functions are rounded to
float32, ours are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.blocks.basics import ACTIVATIONS, polynomial_cutoff
from cpdjax.models.blocks.bessel import spherical_basis
from cpdjax.models.graph import Graph, Pairs
from cpdjax.models.hyperparameters import Depth, Length, Orders, Power, Width, make
from cpdjax.models.interface import Layers, Training
from cpdjax.models.weights.translate import (
    Source,
    State,
    dense,
    options,
    stated,
    translate,
    transpose,
)


class DimeNetPlusPlus(nn.Module):
    """Compute atoms' parts of a scalar from distances and angles; by default of published sizes."""

    hidden_channels: Width = 128
    num_blocks: Depth = 4
    int_emb_size: Width = 64
    """Channels of the messages between edges."""
    basis_emb_size: Width = 8
    """Rank of the linear maps from the basis functions to channels."""
    out_emb_channels: Width = 256
    num_spherical: Orders = 7
    num_radial: Orders = 6
    cutoff: Length = 5.0
    """Cutoff of the neighbour list (Å)."""
    envelope_exponent: Power = 5
    num_before_skip: Depth = 1
    num_after_skip: Depth = 2
    num_output_layers: Depth = 3
    act: str = "swish"

    @property
    def elements(self) -> tuple[int, ...]:
        """Return 1 to 94, the elements for which the embedding has a row."""
        return tuple(range(1, _ELEMENTS))

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return True: distances and angles are the same in a mirror image."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        blocks = [f"interaction_{i}" for i in range(self.num_blocks)]
        return dict.fromkeys(("embedding", *blocks), Irreps(f"{self.out_emb_channels}x0e"))

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the states of every edge, its messages by order, and the angles."""
        edge = 6 * self.hidden_channels + self.num_spherical * (self.int_emb_size + neighbours)
        return atoms * neighbours * edge

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        pairs = graph.pairs()
        basis = RadialBasis(self.num_radial, self.cutoff, self._power, name="radial_basis")
        radial = pairs.spread(basis(pairs.distances))
        triplets = self._triplets(graph, pairs)
        x = Embedding(self.hidden_channels, self.act, name="embedding")(radial, graph)
        layers, output = {}, jnp.zeros(len(graph.numbers), graph.dtype)
        for i, layer in enumerate(self.irreps):
            if i > 0:
                x = self._interaction(layer)(x, radial, triplets)
            output_block = Output(
                self.out_emb_channels, self.num_output_layers, self.act, name=f"output_{i}"
            )
            h = output_block(x, radial)
            last = nn.Dense(1, False, kernel_init=nn.initializers.zeros, name=f"last_{i}")
            output = output + last(h)[:, 0]
            layers[layer] = IrrepsArray(self.irreps[layer], h)
        return layers, output

    @property
    def _power(self) -> int:
        return self.envelope_exponent + 1

    def _interaction(self, name: str) -> Interaction:
        depths = self.num_before_skip, self.num_after_skip
        return Interaction(self.int_emb_size, self.basis_emb_size, *depths, self.act, name=name)

    def _triplets(self, graph: Graph, pairs: Pairs) -> Triplets:
        waves = spherical_basis(
            pairs.distances, self.num_spherical, self.num_radial, self.cutoff, self._power
        )
        waves = pairs.spread(jnp.swapaxes(waves, 0, 1).reshape(waves.shape[1], -1))
        waves = waves.reshape(*waves.shape[:2], self.num_spherical, self.num_radial)
        waves = jnp.swapaxes(waves, 1, 2)
        units = graph.vectors / graph.distances[:, :, None]
        cos = -jnp.einsum("asx,atx->ast", units, units, precision="highest")
        angular = legendre(self.num_spherical, cos)
        itself = np.eye(cos.shape[1], dtype=bool)[None, :, None, :]
        return Triplets(waves, jnp.where(itself, 0, angular), graph)


_ELEMENTS = 95


class Triplets(NamedTuple):
    """Hold pairs of slots of one row: a message t→centre that feeds the message centre→s.

    Row and slot give the edge from the neighbour to the centre; the edge centre→s stands in the row
    of the neighbour s.
    """

    waves: Float[Array, "atom order t radial"]
    angular: Float[Array, "atom s order t"]
    """Spherical harmonics of the angle; zero where s is t."""
    graph: Graph


def legendre(orders: int, cos: Float[Array, "*n t"]) -> Float[Array, "*n order t"]:
    """Return the spherical harmonics of m = 0, √((2l+1)/4π) P_l, for l below `orders`."""
    polynomials = [jnp.ones_like(cos), cos]
    for k in range(1, orders - 1):
        following = ((2 * k + 1) * cos * polynomials[k] - k * polynomials[k - 1]) / (k + 1)
        polynomials.append(following)
    norms = [((2 * k + 1) / (4 * np.pi)) ** 0.5 for k in range(orders)]
    return jnp.stack([n * p for n, p in zip(norms, polynomials, strict=False)], axis=-2)


class RadialBasis(nn.Module):
    """Expand distances: sin(f x) u(x) / x, x = r / cutoff, frequencies f learned, u an envelope."""

    count: int
    cutoff: float
    power: int

    @nn.compact
    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n radial"]:
        first = np.arange(1, self.count + 1) * np.pi
        frequencies = self.param("frequencies", lambda _: jnp.asarray(first, r.dtype))
        x = r / self.cutoff
        envelope = polynomial_cutoff(r, self.cutoff, self.power) / x
        frequencies = jnp.broadcast_to(frequencies, (*r.shape, self.count))
        return jnp.sin(x[..., None] * frequencies) * envelope[..., None]


class Embedding(nn.Module):
    """Make the first states of edges from both elements and the distance."""

    channels: int
    act: str

    @nn.compact
    def __call__(
        self, radial: Float[Array, "atom neighbour radial"], graph: Graph
    ) -> Float[Array, "atom neighbour channel"]:
        act, channels = ACTIVATIONS[self.act], self.channels
        init = nn.initializers.normal(1.0)
        h = nn.Embed(_ELEMENTS, channels, embedding_init=init, name="element")(graph.numbers)
        h = h.astype(radial.dtype)
        wave = act(nn.Dense(channels, name="lin_rbf")(radial))
        # One map of [centre, neighbour, distance], applied to each where it stands.
        init, shape = nn.initializers.lecun_normal(), (3 * channels, channels)
        kernel = self.param("kernel", init, shape, radial.dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), radial.dtype)
        centre, neighbour, distance = jnp.split(kernel, 3)
        of_centre = h @ centre
        of_centre = of_centre + jnp.broadcast_to(bias, of_centre.shape)
        pair = of_centre[:, None] + graph.gather(h @ neighbour)
        return act(pair + wave @ distance)


class Interaction(nn.Module):
    """Update every edge by the edges that end where it starts, by distance and angle."""

    messages: int
    rank: int
    num_before_skip: int
    num_after_skip: int
    act: str

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atom neighbour channel"],
        radial: Float[Array, "atom neighbour radial"],
        triplets: Triplets,
    ) -> Float[Array, "atom neighbour channel"]:
        act, channels = ACTIVATIONS[self.act], x.shape[-1]
        own = act(nn.Dense(channels, name="lin_ji")(x))
        sent = act(nn.Dense(channels, name="lin_kj")(x))
        sent = sent * (radial @ self._pair("rbf", radial.shape[-1], channels, x.dtype))
        sent = act(nn.Dense(self.messages, False, name="lin_down")(sent))
        heard = self._exchange(sent, triplets)
        h = own + act(nn.Dense(channels, False, name="lin_up")(heard))
        for i in range(self.num_before_skip):
            h = Residual(channels, self.act, name=f"before_skip_{i}")(h)
        h = act(nn.Dense(channels, name="lin")(h)) + x
        for i in range(self.num_after_skip):
            h = Residual(channels, self.act, name=f"after_skip_{i}")(h)
        return h

    def _exchange(
        self, sent: Float[Array, "atom neighbour message"], triplets: Triplets
    ) -> Float[Array, "atom neighbour message"]:
        """Return Σ_k Σ_l Y_l(angle) (Σ_n W_ln j_ln(distance of k)) sent(k) for every edge.

        The basis of distance and angle is a product for each order l. Contracted in this order, its
        map to channels costs as much as an edge's, not a triplet's, and the sum over k is one
        matrix product for each atom in the middle.
        """
        _, orders, _, count = triplets.waves.shape
        kernel = self._pair("sbf", orders * count, sent.shape[-1], sent.dtype)
        kernel = kernel.reshape(1, orders, 1, count, sent.shape[-1])
        # Few terms, which XLA fuses; as thin matrix products they take longer.
        factor = sum(triplets.waves[..., n, None] * kernel[..., n, :] for n in range(count))
        weighted = factor * sent[:, None]
        heard = jnp.einsum("aslt,altc->asc", triplets.angular, weighted)
        graph = triplets.graph
        return graph.reversed(jnp.where(graph.edge_mask[..., None], heard, 0))

    def _pair(
        self, name: str, inputs: int, outputs: int, dtype: jnp.dtype
    ) -> Float[Array, "inputs outputs"]:
        """Return the product of two linear maps with few channels between them."""
        init = nn.initializers.lecun_normal()
        first = self.param(f"lin_{name}1", init, (inputs, self.rank), dtype)
        return first @ self.param(f"lin_{name}2", init, (self.rank, outputs), dtype)


class Residual(nn.Module):
    """Add two dense layers to the identity."""

    channels: int
    act: str

    @nn.compact
    def __call__(self, x: Float[Array, "*n channel"]) -> Float[Array, "*n channel"]:
        act = ACTIVATIONS[self.act]
        h = act(nn.Dense(self.channels, name="lin1")(x))
        return x + act(nn.Dense(self.channels, name="lin2")(h))


class Output(nn.Module):
    """Sum edges, weighted by distance, where they end; apply all dense layers but the last."""

    channels: int
    depth: int
    act: str

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "atom neighbour channel"],
        radial: Float[Array, "atom neighbour radial"],
    ) -> Float[Array, "atom out"]:
        weights = nn.Dense(x.shape[-1], False, name="lin_rbf")(radial)
        h = (weights * x).sum(1)
        h = nn.Dense(self.channels, False, name="lin_up")(h)
        for i in range(self.depth):
            h = ACTIVATIONS[self.act](nn.Dense(self.channels, name=f"lins_{i}")(h))
        return h


def from_state_dict(
    config: Mapping[str, Any], state: State
) -> tuple[DimeNetPlusPlus, dict[str, Any]]:
    """Return module and variables from the arguments and the state dict of the reference.

    The options `max_num_neighbors` and `output_initializer` change nothing.

    Raises:
        InputError: the model has several outputs, the state dict is of another architecture, or
            the cutoff, the exponent or the activation, which it does not tell, is missing.
        UnknownNameError: an activation is not ported, or an option is unknown.
    """
    if config.get("out_channels", 1) != 1:
        raise InputError(
            f"DimeNet++ with out_channels={config['out_channels']} is not ported, only 1"
        )
    also = ("out_channels", "max_num_neighbors", "output_initializer")
    module = make(DimeNetPlusPlus, **options(DimeNetPlusPlus, config, also))
    if module.act not in ACTIVATIONS:
        raise UnknownNameError("activation", module.act, ACTIVATIONS)
    variables = translate(module, state, _table(module))
    stated(config, "cutoff", "envelope_exponent", "act")
    return module, variables


def _table(module: DimeNetPlusPlus) -> dict[str, Source]:
    """Return the reference's name of each of our arrays."""
    table: dict[str, Source] = {
        "params/radial_basis/frequencies": "rbf.freq",
        "params/embedding/element/embedding": "emb.emb.weight",
        "params/embedding/kernel": ("emb.lin.weight", transpose),
        "params/embedding/bias": "emb.lin.bias",
    }
    table |= dense("embedding/lin_rbf", "emb.lin_rbf")
    for i in range(module.num_blocks + 1):
        ours, theirs = f"output_{i}", f"output_blocks.{i}"
        table |= dense(f"last_{i}", f"{theirs}.lin", bias=False)
        for name in ("lin_rbf", "lin_up"):
            table |= dense(f"{ours}/{name}", f"{theirs}.{name}", bias=False)
        for k in range(module.num_output_layers):
            table |= dense(f"{ours}/lins_{k}", f"{theirs}.lins.{k}")
    for i in range(module.num_blocks):
        ours, theirs = f"interaction_{i}", f"interaction_blocks.{i}"
        for name in ("lin_rbf1", "lin_rbf2", "lin_sbf1", "lin_sbf2"):
            table[f"params/{ours}/{name}"] = (f"{theirs}.{name}.weight", transpose)
        for name, bias in _DENSE.items():
            table |= dense(f"{ours}/{name}", f"{theirs}.{name}", bias)
        for side, count in (
            ("before_skip", module.num_before_skip),
            ("after_skip", module.num_after_skip),
        ):
            for k in range(count):
                for name in ("lin1", "lin2"):
                    layer = f"{theirs}.layers_{side}.{k}.{name}"
                    table |= dense(f"{ours}/{side}_{k}/{name}", layer)
    return table


#: Linear maps of an interaction block, and whether they have biases.
_DENSE = {"lin_kj": True, "lin_ji": True, "lin": True, "lin_down": False, "lin_up": False}

# Sizes of our choice, which train on a core of a laptop in minutes.
TRAINING = Training(
    {
        "hidden_channels": 48,
        "num_blocks": 2,
        "int_emb_size": 24,
        "out_emb_channels": 64,
        "num_spherical": 4,
        "num_output_layers": 1,
        "cutoff": 4.5,
    },
    learning_rate=2e-3,
)
