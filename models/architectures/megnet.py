"""MEGNet: states of atoms, bonds and the whole structure that update each other.

Source: Chen et al., Chem. Mater. 31, 3564 (2019). Reference: megnet 1.3.2, whose source
distribution holds the networks that `cpdjax models convert` reads (`weights/megnet_networks.py`).

Layers, all scalars: `embedding` (of the element), `interaction_i` (atoms after each block, its skip
connection included), `readout`, the last hidden layer of the network that reads the whole
structure. Every atom has the `readout` of its structure, so that the mean over atoms is the
structure's own; a sum over atoms is that times the number of atoms.

In networks of molecules, all atoms of a molecule are neighbours; those of crystals have a cutoff,
at which nothing goes smoothly to zero. The state of the structure begins with two zeros, as in the
reference.

Three things of the reference are easily missed, and weights were trained with them: the networks
inside a block end without an activation; the cell state of Set2Set's LSTM is zero in every pass;
and `hard_sigmoid` is that of Keras 2, min(max(x/5 + ½, 0), 1), not that of Keras 3. An atom without
neighbours, which the reference refuses, receives zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from cpdjax.errors import InputError
from cpdjax.models.blocks.basics import shifted_softplus
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Depth, Length, Width, make
from cpdjax.models.interface import Layers
from cpdjax.models.weights.translate import Source, State, agree, only, rows, stated, translate

ALL_PAIRS = 1000.0
"""A cutoff (Å) beyond every molecule."""
_STATE = 2  # numbers that the state of a structure begins with


class MEGNet(nn.Module):
    """Predict a property of a structure; by default as the published networks of QM9."""

    elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    embedding_channels: Width = 16
    hidden_channels: Width = 64
    channels: Width = 32
    readout_channels: Width = 16
    interactions: Depth = 3
    passes: Depth = 3
    """How often Set2Set looks at all atoms and bonds."""
    gaussians: Width = 20
    longest: Length = 4.0
    """Centre of the last Gaussian that distances are expanded in (Å); the first is at zero."""
    width: Length = 0.5
    """Width of the Gaussians exp(−(r − centre)²/width²) (Å)."""
    cutoff: Length = ALL_PAIRS
    periodic: bool = False
    probability: bool = False
    """Whether the output goes through a sigmoid."""
    mean: float = 0.0
    std: float = 1.0
    """What the output is multiplied by before `mean` is added."""

    @property
    def parity(self) -> bool:
        """Return True: distances are the same in a mirror image."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        blocks = [f"interaction_{i}" for i in range(self.interactions)]
        widths = {"embedding": self.embedding_channels, **dict.fromkeys(blocks, self.channels)}
        widths["readout"] = self.readout_channels
        return {name: Irreps(f"{width}x0e") for name, width in widths.items()}

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the expanded distances of every pair, its hidden layers and its state."""
        pair = self.gaussians + 4 * self.hidden_channels + 3 * self.channels
        return atoms * (neighbours + 1) * pair

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and the output of the structure, or its part per atom, at every atom."""
        embed = nn.Embed(len(self.elements), self.embedding_channels, name="embedding")
        first = embed(graph.species(self.elements)).astype(graph.dtype)
        states = {"embedding": first}
        centres = np.linspace(0, self.longest, self.gaussians, dtype=graph.dtype)[None, None]
        expanded = jnp.exp(-(((graph.distances[:, :, None] - centres) / self.width) ** 2))
        start = jnp.zeros((len(graph.mask), _STATE), graph.dtype)
        both = (self.hidden_channels, self.channels)
        x = States(
            *(
                Dense(both, name=f"start_{kind}")(inputs)
                for kind, inputs in zip(States._fields, (first, expanded, start), strict=True)
            )
        )
        for i in range(self.interactions):
            inputs = x if i == 0 else States(
                *(Dense(both, name=f"before{i}_{k}")(y) for k, y in zip(x._fields, x, strict=True))
            )  # fmt: skip
            sizes = (self.hidden_channels, self.hidden_channels, self.channels)
            change = Block(sizes, name=f"interaction_{i}")(inputs, graph)
            x = States(*(old + new for old, new in zip(x, change, strict=True)))
            states[f"interaction_{i}"] = x.atoms
        hidden, output = self._read(x, graph)
        states["readout"] = graph.spread(hidden)
        layers = {name: IrrepsArray(self.irreps[name], y) for name, y in states.items()}
        return layers, graph.spread(output)

    def _read(self, x: States, graph: Graph) -> tuple[Array, Array]:
        """Return the last hidden layer and the output of every structure."""
        structures = len(graph.mask)
        real = graph.mask.reshape(-1, 1) & graph.edge_mask
        gather = (
            Set2Set(self.readout_channels, self.passes, name=f"set2set_{kind}")(
                y.reshape(structures, -1, self.channels), mask.reshape(structures, -1)
            )
            for kind, y, mask in (("atoms", x.atoms, graph.mask), ("bonds", x.bonds, real))
        )
        whole = jnp.concatenate([*gather, x.structure], axis=-1)
        hidden = Dense((self.channels, self.readout_channels), name="readout")(whole)
        output = nn.Dense(1, name="output")(hidden)[:, 0]
        if self.probability:
            output = nn.sigmoid(output)
        return hidden, output * self.std + self.mean


class States(NamedTuple):
    """Hold the states of atoms, of bonds in rows of neighbours, and of structures."""

    atoms: Float[Array, "atom channel"]
    bonds: Float[Array, "atom neighbour channel"]
    structure: Float[Array, "molecule channel"]


class Dense(nn.Module):
    """Apply dense layers, each with its activation."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "*n in"]) -> Float[Array, "*n out"]:
        for i, width in enumerate(self.widths):
            x = shifted_softplus(nn.Dense(width, name=f"layer{i}")(x))
        return x


class Block(nn.Module):
    """Return what bonds, then atoms, then structures change by, each from what is new before it."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: States, graph: Graph) -> States:
        of_structure = graph.spread  # at every atom
        bonds = Update(self.widths, name="bonds")(
            (x.atoms, lambda y: y[:, None]),
            (x.atoms, graph.gather),
            (x.bonds, lambda y: y),
            (x.structure, lambda y: of_structure(y)[:, None]),
        )
        summed = jnp.where(graph.edge_mask[:, :, None], bonds, 0).sum(1)
        degree = graph.edge_mask.sum(1, dtype=graph.dtype)[:, None]
        atoms = Update(self.widths, name="atoms")(
            (summed / jnp.maximum(degree, 1), lambda y: y),
            (x.atoms, lambda y: y),
            (x.structure, of_structure),
        )
        count = graph.mask.sum(1, dtype=graph.dtype)[:, None]
        structure = Update(self.widths, name="structure")(
            (graph.sum(summed) / jnp.maximum(graph.sum(degree), 1), lambda y: y),
            (graph.sum(atoms) / jnp.maximum(count, 1), lambda y: y),
            (x.structure, lambda y: y),
        )
        return States(atoms, bonds, structure)


class Update(nn.Module):
    """Apply dense layers to features side by side, the last without an activation.

    The first linear map is applied to each part where it stands, before it is spread: there are far
    fewer atoms than bonds.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, *parts: tuple[Array, Callable[[Array], Array]]) -> Float[Array, "*n out"]:
        dtype, fan_in = parts[0][0].dtype, sum(x.shape[-1] for x, _ in parts)
        init, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        kernel = self.param("kernel", init, (fan_in, self.widths[0]), dtype)
        bias = self.param("bias", zeros, self.widths[:1], dtype)
        ends = np.cumsum([x.shape[-1] for x, _ in parts])[:-1]
        blocks = jnp.split(kernel, ends, axis=0)
        spread = [place(x @ k) for (x, place), k in zip(parts, blocks, strict=True)]
        x = jnp.broadcast_to(bias, jnp.broadcast_shapes(*(y.shape for y in spread)))
        for y in spread:
            x = x + y  # all have as many axes
        for i, width in enumerate(self.widths[1:], 1):
            x = nn.Dense(width, name=f"layer{i}")(shifted_softplus(x))
        return x


class Set2Set(nn.Module):
    """Sum members of a set by weights that an LSTM asks for, some passes after each other.

    Source: Vinyals et al., arXiv 1511.06391. As in the reference, the LSTM keeps no cell state, so
    that its forget gate does nothing.
    """

    channels: int
    passes: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "set member channel"], mask: Bool[Array, "set member"]
    ) -> Float[Array, "set out"]:
        members = nn.Dense(self.channels, name="members")(x)
        lstm = nn.Dense(4 * self.channels, name="lstm")
        found = jnp.zeros((len(x), 2 * self.channels), x.dtype)
        for _ in range(self.passes):
            into, _, new, out = jnp.split(lstm(found), 4, axis=-1)
            asked = hard_sigmoid(out) * jnp.tanh(hard_sigmoid(into) * jnp.tanh(new))
            fit = jnp.where(mask, (members * asked[:, None]).sum(-1), -jnp.inf)
            most = jnp.where(mask.any(1), fit.max(1), 0)[:, None]
            weights = jnp.where(mask, jnp.exp(jnp.where(mask, fit - most, 0)), 0)
            total = jnp.where(mask.any(1), weights.sum(1), 1)
            answer = (members * weights[:, :, None]).sum(1) / total[:, None]
            found = jnp.concatenate([asked, answer], axis=-1)
        return found


def hard_sigmoid(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return x/5 + ½ between 0 and 1, which Keras 2 calls by this name."""
    return jnp.clip(0.2 * x + 0.5, 0, 1)


def from_state_dict(
    config: Mapping[str, Any], state: State
) -> tuple[MEGNet, dict[str, Any], Literal["sum", "mean"]]:
    """Return module and variables from what megnet's files say, and arrays by its layers' names.

    Args:
        config: `graph_converter` ("SimpleMolGraph" or "CrystalGraph"), `cutoff` of the latter,
            `centers` and `width` of the Gaussians, `mapping` of atomic numbers to rows of the
            embedding (by default the number itself), `nblocks`, `npass`, `is_classification`, and
            `mean`, `std`, `is_intensive` of the scaler of targets.
        state: arrays such as "megnet_0/weight_e_0", after the layers of `make_megnet_model`.

    Raises:
        InputError: an option that is not ported or missing, or the arrays of another architecture.
        UnknownNameError: an unknown option.
    """
    only("MEGNet", config, _OPTIONS)
    known = rows(state, "atom_embedding/embeddings", "MEGNet")
    places = _places(config.get("mapping"), known)
    module = make(
        MEGNet,
        elements=tuple(places),
        embedding_channels=_columns(state, "atom_embedding/embeddings"),
        hidden_channels=_columns(state, "preblock_atom_0/kernel"),
        channels=_columns(state, "preblock_atom_1/kernel"),
        readout_channels=_columns(state, "set2set_atom/x_to_m_weight"),
        interactions=config.get("nblocks", 3),
        passes=config.get("npass", 3),
        probability=config.get("is_classification", False),
        **{name: config[name] for name in ("mean", "std") if name in config},
        **_geometry(config),
    )
    embedding = ("atom_embedding/embeddings", lambda table: table[list(places.values())])
    table: dict[str, Source] = {"params/embedding/embedding": embedding}
    variables = translate(module, state, table | _table(module))
    agree(config, "nfeat_edge", module.gaussians)
    stated(config, *_STATED)
    return module, variables, "mean" if config["is_intensive"] else "sum"


_STATED = ("graph_converter", "centers", "width", "npass", "is_classification", "is_intensive")
_OPTIONS = (*_STATED, "cutoff", "mapping", "nblocks", "mean", "std", "nfeat_edge")


def _columns(state: State, name: str) -> int:
    """Return the width of a matrix; 1 where there is none, which `translate` says."""
    found = np.shape(state.get(name, ()))
    return found[-1] if len(found) == 2 else 1


def _places(mapping: Mapping[str, Any] | None, known: int) -> dict[int, int]:
    """Return the row of the embedding of every element, by atomic number."""
    if mapping is None:
        return {number: number for number in range(1, min(known, 119))}
    try:
        places = dict(sorted((int(number), int(row)) for number, row in mapping.items()))
    except (AttributeError, TypeError, ValueError):
        raise InputError(
            f"mapping must name a row for each atomic number, got {mapping!r}"
        ) from None
    for number, row in places.items():
        if not (0 < number < 119 and 0 <= row < known):
            raise InputError(f"mapping {number}: {row} is no row of the {known} of the embedding")
    return places


def _geometry(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say how a structure becomes a graph."""
    fields: dict[str, Any] = {}
    if "centers" in config:
        try:
            centres = np.asarray(config["centers"], float)
        except (TypeError, ValueError):
            raise InputError("centers must be numbers, the centres of Gaussians") from None
        even = (
            np.linspace(0, centres[-1], len(centres)) if centres.ndim == 1 and len(centres) else 1
        )
        if centres.size < 2 or not np.allclose(centres, even, rtol=0, atol=1e-9):
            raise InputError("MEGNet is ported with Gaussians at equal distances from zero on only")
        fields |= {"gaussians": len(centres), "longest": float(centres[-1])}
    if "width" in config:
        fields["width"] = config["width"]
    kind = config.get("graph_converter", "SimpleMolGraph")
    if kind == "CrystalGraph":
        stated(config, "cutoff")
        return {**fields, "cutoff": config["cutoff"], "periodic": True}
    if kind != "SimpleMolGraph":
        raise InputError(
            f"MEGNet with graphs by {kind} is not ported; SimpleMolGraph and CrystalGraph are"
        )
    return fields


def _table(module: MEGNet) -> dict[str, Source]:
    """Return the reference's name of each of our arrays but the embedding."""
    maps = {"output": "readout_2"}
    kinds = {"atoms": "atom", "bonds": "bond", "structure": "state"}
    for ours, theirs in kinds.items():
        for k in range(2):
            maps[f"start_{ours}/layer{k}"] = f"preblock_{theirs}_{k}"
            for i in range(1, module.interactions):
                maps[f"before{i}_{ours}/layer{k}"] = f"block_{i}_{theirs}_ff_{k}"
    maps |= {f"readout/layer{k}": f"readout_{k}" for k in range(2)}
    table: dict[str, Source] = {}
    for ours, theirs in maps.items():
        for leaf in ("kernel", "bias"):
            table[f"params/{ours}/{leaf}"] = f"{theirs}/{leaf}"
    for i in range(module.interactions):
        for ours, letter in (("bonds", "e"), ("atoms", "v"), ("structure", "u")):
            for k in range(3):
                place = f"params/interaction_{i}/{ours}" + (f"/layer{k}" if k else "")
                for leaf, name in (("kernel", "weight"), ("bias", "bias")):
                    table[f"{place}/{leaf}"] = f"megnet_{i}/{name}_{letter}_{k}"
    for ours in ("atoms", "bonds"):
        place, theirs = f"params/set2set_{ours}", f"set2set_{kinds[ours]}"
        table[f"{place}/members/kernel"] = f"{theirs}/x_to_m_weight"
        table[f"{place}/members/bias"] = f"{theirs}/x_to_m_bias"
        table[f"{place}/lstm/kernel"] = f"{theirs}/recurrent_kernel"
        table[f"{place}/lstm/bias"] = f"{theirs}/recurrent_bias"
    return table
