"""PaiNN: scalar and vector channels, mixed equivariantly.

Source: Schütt, Unke, Gastegger, ICML 2021 (arXiv 2102.03150). Reference: schnetpack 2.0.4,
`schnetpack.representation.PaiNN` with `schnetpack.atomistic.Atomwise` as its readout.

Layers: `embedding` (scalars of the element), `interaction_i` (scalars and vectors after each
interaction and mixing), `readout` (the hidden layer of the readout network, after its
activation; a representation alone has none).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.errors import UnknownNameError
from cpdjax.models.blocks.basics import Activation, cosine_cutoff, shifted_softplus
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Depth, Length, Width, make
from cpdjax.models.interface import Layers, Training
from cpdjax.models.weights.translate import (
    Source,
    State,
    agree,
    changed,
    dense,
    options,
    rows,
    stated,
    translate,
    transpose,
)

_ACTIVATIONS: dict[str, Activation] = {"silu": jax.nn.silu, "shifted_softplus": shifted_softplus}
_BASES = ("gaussian", "bessel")

Vectors = Float[Array, "atom 3 channel"]


class PaiNN(nn.Module):
    """Compute atoms' parts of a scalar, from scalars and vectors coupled by gates and norms."""

    n_atom_basis: Width = 128
    n_interactions: Depth = 3
    n_rbf: Width = 20
    radial_basis: str = "gaussian"
    """Either "gaussian" or "bessel"."""
    cutoff: Length = 5.0
    """Cutoff of the neighbour list (Å)."""
    activation: str = "silu"
    """Activation of the interactions, "silu" or "shifted_softplus"; that of the readout is silu."""
    shared_interactions: bool = False
    """Whether all interactions have the same weights."""
    shared_filters: bool = False
    """Whether all interactions have the same filters."""
    epsilon: float = 1e-8
    """Added under the root of the vectors' norms."""
    n_embeddings: Width = 101
    has_readout: bool = True
    """Whether there is a readout; without one the output is NaN."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the elements for which the embedding has a row."""
        return tuple(range(1, self.n_embeddings))

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return True: vectors are sums of directions, hence odd."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        f = self.n_atom_basis
        blocks = [f"interaction_{i}" for i in range(self.n_interactions)]
        return {
            "embedding": Irreps(f"{f}x0e"),
            **dict.fromkeys(blocks, Irreps(f"{f}x0e + {f}x1o")),
            **({"readout": Irreps(f"{f // 2}x0e")} if self.has_readout else {}),
        }

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the messages of every pair, and a few states."""
        return atoms * (neighbours + 8) * 6 * self.n_atom_basis

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        act = _ACTIVATIONS[self.activation]
        f, count = self.n_atom_basis, self.n_interactions
        q = nn.Embed(self.n_embeddings, f, name="embedding")(graph.numbers)
        mu = jnp.zeros((len(q), 3, f), q.dtype)
        states = {"embedding": q}
        filters = self._filters(graph)
        shared = self.shared_interactions
        for i in range(count):
            if i == 0 or not shared:
                interaction = Interaction(f, act, name=f"interaction_{i}")
                mixing = Mixing(f, act, self.epsilon, name=f"mixing_{i}")
            q, mu = interaction(q, mu, filters[0 if self.shared_filters else i], graph)
            q, mu = mixing(q, mu)
            flat = mu.swapaxes(1, 2).reshape(len(mu), -1)
            states[f"interaction_{i}"] = jnp.concatenate([q, flat], axis=1)
        output = jnp.full(len(q), jnp.nan, q.dtype)
        if self.has_readout:
            hidden = jax.nn.silu(nn.Dense(f // 2, name="readout1")(q))
            states["readout"] = hidden
            output = nn.Dense(1, name="readout2")(hidden)[:, 0]
        return {name: IrrepsArray(self.irreps[name], x) for name, x in states.items()}, output

    def _filters(self, graph: Graph) -> list[Float[Array, "atom neighbour 3*channel"]]:
        basis = RadialBasis(self.radial_basis, self.n_rbf, self.cutoff, name="radial_basis")
        envelope = cosine_cutoff(graph.distances, self.cutoff)
        envelope = jnp.where(graph.edge_mask, envelope, 0)
        count = 1 if self.shared_filters else self.n_interactions
        # Multiplying the basis and the bias by the envelope gives the same, over fewer numbers.
        radial = jnp.concatenate([basis(graph.distances), jnp.ones_like(envelope)[..., None]], -1)
        width = count * 3 * self.n_atom_basis
        make, dtype = nn.initializers.lecun_normal(), graph.dtype
        kernel = self.param("filter_kernel", make, (self.n_rbf, width), dtype)
        bias = self.param("filter_bias", nn.initializers.zeros, (width,), dtype)
        matrix = jnp.concatenate([kernel, bias[None]])
        radial = radial * envelope[..., None]
        return [jnp.einsum("akr,rf->akf", radial, m) for m in jnp.split(matrix, count, axis=1)]


class RadialBasis(nn.Module):
    """Expand distances in Gaussians or Bessel functions, with constants beside the weights."""

    kind: str
    count: int
    cutoff: float

    @nn.compact
    def __call__(self, r: Float[Array, "atom neighbour"]) -> Float[Array, "atom neighbour rbf"]:
        if self.kind == "bessel":
            grid = np.arange(1, self.count + 1, dtype=np.float64) * np.pi / self.cutoff
            freqs = self.variable("constants", "freqs", lambda: jnp.asarray(grid, r.dtype)).value
            return jnp.sin(r[..., None] * freqs[None, None]) / r[..., None]
        grid = np.linspace(0, self.cutoff, self.count)
        offsets = self.variable("constants", "offsets", lambda: jnp.asarray(grid, r.dtype)).value
        same = np.full(self.count, grid[1] - grid[0])
        widths = self.variable("constants", "widths", lambda: jnp.asarray(same, r.dtype)).value
        scaled = (r[..., None] - offsets[None, None]) / widths[None, None]
        return jnp.exp(-0.5 * scaled * scaled)


class Interaction(nn.Module):
    """Pass messages of scalars to scalars, and of scalars, directions and vectors to vectors."""

    channels: int
    activation: Activation

    @nn.compact
    def __call__(
        self,
        q: Float[Array, "atom channel"],
        mu: Vectors,
        filters: Float[Array, "atom neighbour 3*channel"],
        graph: Graph,
    ) -> tuple[Float[Array, "atom channel"], Vectors]:
        x = self.activation(nn.Dense(self.channels, name="context1")(q))
        x = nn.Dense(3 * self.channels, name="context2")(x)
        message = filters * graph.gather(x)
        scalars, along, through = jnp.split(message, 3, axis=-1)
        directions = graph.vectors / graph.distances[:, :, None]
        dmu = jnp.einsum("akf,akx->axf", along, directions)
        dmu = dmu + jnp.einsum("akf,akxf->axf", through, graph.gather(mu))
        return q + scalars.sum(1), mu + dmu


class Mixing(nn.Module):
    """Update each atom's scalars and vectors by norms and inner products of mixed vectors."""

    channels: int
    activation: Activation
    epsilon: float

    @nn.compact
    def __call__(
        self, q: Float[Array, "atom channel"], mu: Vectors
    ) -> tuple[Float[Array, "atom channel"], Vectors]:
        mixed = nn.Dense(2 * self.channels, use_bias=False, name="mix")(mu)
        v, w = jnp.split(mixed, 2, axis=-1)
        norm = jnp.sqrt((v * v).sum(1) + self.epsilon)
        x = nn.Dense(self.channels, name="context1")(jnp.concatenate([q, norm], axis=-1))
        x = nn.Dense(3 * self.channels, name="context2")(self.activation(x))
        dq, dmu, dqmu = jnp.split(x, 3, axis=-1)
        return q + dq + dqmu * (v * w).sum(1), mu + dmu[:, None] * w


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[PaiNN, dict[str, Any]]:
    """Return module and variables from the arguments of schnetpack's PaiNN and a state dict.

    The state dict has the names of a `NeuralNetworkPotential`: `representation.*` and
    `output_modules.0.outnet.*`. It may be of the representation alone, with or without the prefix
    `representation.`, and has no output then. `config` may hold n_atom_basis, n_interactions,
    n_rbf, radial_basis ("gaussian" or "bessel"), cutoff, activation, shared_interactions,
    shared_filters, epsilon, and max_z, which changes nothing.

    Raises:
        InputError: the state dict of another architecture, a cutoff that it contradicts, or no
            activation or epsilon, which it does not tell; UnknownNameError: an activation or
            radial basis that is not ported, or an unknown option.
    """
    fields = options(PaiNN, config, ["max_z"], own=["n_embeddings", "has_readout"])
    if "embedding.weight" in state:  # the state dict of the representation itself
        state = {f"representation.{name}": array for name, array in state.items()}
    fields["has_readout"] = any(not name.startswith("representation.") for name in state)
    if _CUTOFF in state:  # rounded to float32 by the reference
        fields["cutoff"] = changed(state, _CUTOFF, lambda stored: stored.reshape(())).item()
        agree(config, "cutoff", fields["cutoff"])
    fields["n_embeddings"] = rows(state, "representation.embedding.weight", "PaiNN")
    module = make(PaiNN, **fields)
    if module.activation not in _ACTIVATIONS:
        raise UnknownNameError("activation", module.activation, _ACTIVATIONS)
    if module.radial_basis not in _BASES:
        raise UnknownNameError("radial basis", module.radial_basis, _BASES)
    variables = translate(module, state, _table(module), [_CUTOFF])
    stated(config, "activation", "epsilon", *([] if _CUTOFF in state else ["cutoff"]))
    return module, variables


_CUTOFF = "representation.cutoff_fn.cutoff"


def _table(module: PaiNN) -> dict[str, Source]:
    maps = {}
    if module.has_readout:
        maps = {f"readout{i + 1}": f"output_modules.0.outnet.{i}" for i in range(2)}
    table: dict[str, Source] = {
        "params/embedding/embedding": "representation.embedding.weight",
        "params/filter_kernel": ("representation.filter_net.weight", transpose),
        "params/filter_bias": "representation.filter_net.bias",
    }
    constants = ("freqs",) if module.radial_basis == "bessel" else ("offsets", "widths")
    for name in constants:
        table[f"constants/radial_basis/{name}"] = f"representation.radial_basis.{name}"
    for i in range(1 if module.shared_interactions else module.n_interactions):
        inter, mix = f"representation.interactions.{i}", f"representation.mixing.{i}"
        table |= dense(f"mixing_{i}/mix", f"{mix}.mu_channel_mix", bias=False)
        for ours, place in (("context1", 0), ("context2", 1)):
            maps[f"interaction_{i}/{ours}"] = f"{inter}.interatomic_context_net.{place}"
            maps[f"mixing_{i}/{ours}"] = f"{mix}.intraatomic_context_net.{place}"
    for ours, theirs in maps.items():
        table |= dense(ours, theirs)
    return table


# Sizes of our choice, which train on a core of a laptop in minutes.
TRAINING = Training(
    {"n_atom_basis": 48, "n_interactions": 3, "n_embeddings": 10, "cutoff": 5.0},
    learning_rate=2e-3,
)
