"""SchNet: continuous-filter convolutions of scalars.

Source: Schütt et al., J. Chem. Phys. 148, 241722 (2018). Reference: torch_geometric 2.x,
`torch_geometric.nn.models.SchNet`.

Layers, all scalars: `embedding` (of the element), `interaction_i` (after each block's residual
step), `readout` (the hidden layer of the output network, after its activation). The filters are
cut off smoothly; a neighbour list that ends later than the cutoff is not masked, as in the
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.errors import InputError
from cpdjax.models.blocks.basics import shifted_softplus
from cpdjax.models.graph import Graph, Pairs
from cpdjax.models.hyperparameters import Depth, Length, Width, make
from cpdjax.models.interface import Layers, Training
from cpdjax.models.weights.translate import (
    Source,
    State,
    agree,
    dense,
    last_of,
    options,
    stated,
    translate,
)


class SchNet(nn.Module):
    """Compute atoms' parts of a scalar from pairwise distances alone."""

    hidden_channels: Width = 128
    num_filters: Width = 128
    num_interactions: Depth = 6
    num_gaussians: Width = 50
    cutoff: Length = 10.0
    """Cutoff of the neighbour list (Å)."""
    atomref: bool = False
    """Whether a value for each element is added to every atom's part."""
    mean: float | None = None
    std: float | None = None
    """Scale of every atom's part, with `mean` as its shift."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Return 1 to 99, the elements for which the embedding has a row."""
        return tuple(range(1, _ELEMENTS))

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return True: functions of distances are even."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        blocks = [f"interaction_{i}" for i in range(self.num_interactions)]
        scalars = Irreps(f"{self.hidden_channels}x0e")
        readout = Irreps(f"{self.hidden_channels // 2}x0e")
        return dict.fromkeys(("embedding", *blocks), scalars) | {"readout": readout}

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the filters of every pair, their hidden layer, the messages, and a few states."""
        return atoms * (neighbours + 4) * (4 * self.num_filters + self.num_gaussians)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        h = nn.Embed(_ELEMENTS, self.hidden_channels, name="embedding")(graph.numbers)
        states = {"embedding": h}
        pairs = graph.pairs()
        basis = Gaussians(self.num_gaussians, self.cutoff, name="gaussians")(pairs.distances)
        envelope = 0.5 * (jnp.cos(graph.distances * (np.pi / self.cutoff)) + 1)
        envelope = jnp.where(graph.edge_mask, envelope, 0)
        for i in range(self.num_interactions):
            block = Interaction(self.hidden_channels, self.num_filters, name=f"interaction_{i}")
            h = h + block(h, basis, pairs, envelope, graph)
            states[f"interaction_{i}"] = h
        h = shifted_softplus(nn.Dense(self.hidden_channels // 2, name="lin1")(h))
        states["readout"] = h
        output = nn.Dense(1, name="lin2")(h)[:, 0]
        if self.mean is not None and self.std is not None:
            output = output * self.std + self.mean
        if self.atomref:
            output = output + nn.Embed(_ELEMENTS, 1, name="atomref")(graph.numbers)[:, 0]
        layers = {name: IrrepsArray(self.irreps[name], x) for name, x in states.items()}
        return layers, output


_ELEMENTS = 100


class Interaction(nn.Module):
    """Sum the neighbours' states times filters of the distance; then apply two dense layers."""

    channels: int
    filters: int

    @nn.compact
    def __call__(
        self,
        h: Float[Array, "atom channel"],
        basis: Float[Array, "pair gaussian"],
        pairs: Pairs,
        envelope: Float[Array, "atom neighbour"],
        graph: Graph,
    ) -> Float[Array, "atom channel"]:
        w = shifted_softplus(nn.Dense(self.filters, name="filter1")(basis))
        w = pairs.spread(nn.Dense(self.filters, name="filter2")(w))
        x = nn.Dense(self.filters, use_bias=False, name="lin1")(h)
        x = jnp.einsum("ak,akf,akf->af", envelope, w, graph.gather(x))
        x = shifted_softplus(nn.Dense(self.channels, name="lin2")(x))
        return nn.Dense(self.channels, name="lin")(x)


class Gaussians(nn.Module):
    """Expand distances: exp(−½ ((r − μ)/Δ)²), centres μ of the checkpoint Δ apart, from 0 on."""

    count: int
    cutoff: float

    @nn.compact
    def __call__(self, r: Float[Array, " pair"]) -> Float[Array, "pair gauss"]:
        grid = np.linspace(0, self.cutoff, self.count)
        centres = self.variable("constants", "centres", lambda: jnp.asarray(grid, r.dtype)).value
        scaled = (r[:, None] - centres[None]) / (centres[1] - centres[0])
        return jnp.exp(-0.5 * scaled * scaled)


def from_state_dict(
    config: Mapping[str, Any], state: State
) -> tuple[SchNet, dict[str, Any], Literal["sum", "mean"]]:
    """Return module and variables from torch_geometric's arguments and state dict of a SchNet.

    Of `config`, `interaction_graph`, `max_num_neighbors` and `atomref` (it is in the state dict)
    change nothing. `readout`, `mean` and `std` are required, because no array tells them; the
    cutoff is that of the centres of the Gaussians.

    Raises:
        InputError: a readout of a dipole, or of anything but a sum or a mean, which is not ported;
            an option that is unknown, missing, or contradicted by the state dict; another
            architecture's state dict.
    """
    if config.get("dipole"):
        raise InputError("SchNet with dipole=True is not ported; expected dipole=False")
    readout = config.get("readout", "add")
    if readout not in _AGGREGATES:
        raise InputError(
            f"SchNet with readout={readout!r} is not ported; "
            f"expected {' or '.join(map(repr, _AGGREGATES))}"
        )
    fields = options(SchNet, config, _ALSO, own=["atomref"])
    end = last_of(state, "distance_expansion.offset")
    if end is not None:
        agree(config, "cutoff", end)
        fields = {"cutoff": end, **fields}
    fields["atomref"] = not {"atomref.weight", "initial_atomref"}.isdisjoint(state)
    module = make(SchNet, **fields)
    table: dict[str, Source] = {
        "params/embedding/embedding": "embedding.weight",
        "constants/gaussians/centres": "distance_expansion.offset",
    }
    maps = {"lin1": "lin1", "lin2": "lin2"}
    for i in range(module.num_interactions):
        ours, theirs = f"interaction_{i}", f"interactions.{i}"
        maps |= {
            f"{ours}/filter1": f"{theirs}.mlp.0",
            f"{ours}/filter2": f"{theirs}.mlp.2",
            f"{ours}/lin2": f"{theirs}.conv.lin2",
            f"{ours}/lin": f"{theirs}.lin",
        }
        table |= dense(f"{ours}/lin1", f"{theirs}.conv.lin1", bias=False)
    for ours, theirs in maps.items():
        table |= dense(ours, theirs)
    if module.atomref:
        table["params/atomref/embedding"] = "atomref.weight"
    # The filter network stands there under a second name too; `atomref` begins training with the
    # values of `initial_atomref`.
    ignore = ("interactions.*.conv.nn.*", "initial_atomref")
    variables = translate(module, state, table, ignore)
    stated(config, "readout", "mean", "std")
    return module, variables, _AGGREGATES[readout]


_AGGREGATES: dict[str, Literal["sum", "mean"]] = {"add": "sum", "sum": "sum", "mean": "mean"}
_ALSO = ("interaction_graph", "max_num_neighbors", "readout", "dipole", "atomref")

# Sizes of our choice, which train on a core of a laptop in minutes.
TRAINING = Training(
    {
        "hidden_channels": 96,
        "num_filters": 96,
        "num_interactions": 4,
        "num_gaussians": 32,
        "cutoff": 5.0,
    },
    learning_rate=2e-3,
)
