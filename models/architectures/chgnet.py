"""CHGNet: atoms, bonds and angles that update each other.

Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Reference: chgnet 0.4.2, whose wheel carries
the checkpoints that `load` reads.

Bonds and angles have states of their own; layers are the node-level outputs of this edge-state
model, all scalars: `embedding` (of the element), `interaction_i` (atoms after each atom
convolution), `readout` (the last hidden layer of the readout network). The output is each atom's
energy in eV with the element's reference energy: their sum is the reference's `e` (eV per atom)
times the number of atoms. The head for magnetic moments is left out.

Every bond has one state, whichever end looks at it. In rows of neighbours it stands twice, and what
the angles at both ends say is added by finding each slot's reverse in the neighbour's row.

Where the output maps have biases (0.2.0), the reference adds these to bonds only if some structure
in the same batch has an angle; here they are always added.

There is room for 1600 angles per atom, averaged over a batch: 40 bonds within 3 Å for each atom,
twice the angles of diamond. Where there are more, results are NaN, which `cpdjax.extract` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.blocks.basics import ACTIVATIONS, LayerNorm, polynomial_cutoff
from cpdjax.models.encoder import Encoder
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Depth, Length, Power, Width, make
from cpdjax.models.interface import MPTRAJ, Card, Layers
from cpdjax.models.weights import torch_files
from cpdjax.models.weights.translate import Source, State, dense, only, rows, stated, translate
from cpdjax.models.weights.wheels import packaged

_ANGLES = (80, 320, 1600)
"""Numbers of angles per atom that are compiled; the smallest sufficient one is run."""


class CHGNet(nn.Module):
    """Compute energies by convolutions over bonds and angles; by default as version 0.3.0."""

    atom_channels: Width = 64
    bond_channels: Width = 64
    angle_channels: Width = 64
    num_radial: Width = 31
    num_angular: Width = 31
    """An odd number: one constant, and as many sines as cosines."""
    interactions: Depth = 4
    atom_hidden: int = 64
    """Width of the hidden layer of the atom convolutions; 0: none, as in the next two."""
    bond_hidden: int = 64
    angle_hidden: int = 0
    readout_hidden: tuple[int, ...] = (64, 64, 64)
    activation: str = "silu"
    cutoff: Length = 6.0
    """Cutoff of the messages between atoms (Å)."""
    bond_cutoff: Length = 3.0
    """Largest length of bonds that form angles (Å)."""
    envelope_power: Power = 8
    gate_norm: bool = True
    """Whether gated networks normalise their outputs."""
    readout_norm: bool = True
    out_bias: bool = False
    """Whether the maps of summed messages have biases."""
    max_element: int = 94

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the elements for which the embedding has a row."""
        return tuple(range(1, self.max_element + 1))

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
        names = ("embedding", *(f"interaction_{i}" for i in range(self.interactions)))
        layers = dict.fromkeys(names, Irreps(f"{self.atom_channels}x0e"))
        return {**layers, "readout": Irreps(f"{self.readout_hidden[-1]}x0e")}

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the messages of every pair, and the most angles: XLA always keeps room for them."""
        angles = min(neighbours**2, _ANGLES[-1])
        bond = 4 * self.atom_hidden + 3 * self.bond_channels + 2 * self.atom_channels
        angle = 4 * self.bond_hidden + 2 * self.angle_channels
        return atoms * (neighbours * bond + angles * angle)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and every atom's energy in eV."""
        element = jnp.maximum(graph.numbers - 1, 0)  # padding reads hydrogen's row
        atoms = nn.Embed(self.max_element, self.atom_channels, name="embedding")(element)
        states = self._interact(atoms.astype(graph.dtype), graph)
        x = LayerNorm(name="readout_norm")(states[-1]) if self.readout_norm else states[-1]
        for i, width in enumerate(self.readout_hidden):
            x = ACTIVATIONS[self.activation](nn.Dense(width, name=f"readout{i}")(x))
        shape = (self.max_element,)
        own = self.variable("constants", "reference_energies", jnp.zeros, shape, graph.dtype).value
        energy = nn.Dense(1, name="energy")(x)[:, 0] + own[element]
        layers = {
            name: IrrepsArray(irreps, array)
            for (name, irreps), array in zip(self.irreps.items(), (*states, x), strict=True)
        }
        return layers, energy

    def _interact(self, atoms: Float[Array, "atom channel"], graph: Graph) -> list[Array]:
        """Return the atoms before and after every interaction."""
        short = graph.edge_mask & (graph.distances < self.bond_cutoff)
        slots = short.shape[1]
        if self.is_initializing():  # weights do not depend on which branch runs
            return _interactions(self, atoms, graph, short, per_atom=slots**2)
        # How many angles there are is only known when the numbers are: one branch for each of a few
        # sizes. What angles need for gradients is computed anew, because a branch would otherwise
        # hand out room for those of all branches.
        most = min(slots**2, _ANGLES[-1])
        sizes = [*(n for n in _ANGLES if n < 0.8 * most), most]
        count = short.sum(1, dtype=np.int32)
        total = (count * (count - 1)).sum(dtype=np.int32)
        room = np.array(sizes, np.int32) * len(short)
        place = (total > room[:-1]).sum(dtype=np.int32)
        branches = [nn.remat(partial(_interactions, per_atom=n)) for n in sizes]
        states = nn.switch(place, branches, self, atoms, graph, short)
        if most < slots**2:
            states = [jnp.where(total > room[-1], jnp.nan, state) for state in states]
        return states


class Angles(NamedTuple):
    """Hold all ordered pairs of different bonds of an atom, in one axis with room at its end.

    Bonds are counted along atoms and slots.
    """

    first: Int[Array, " angle"]
    second: Int[Array, " angle"]
    centre: Int[Array, " angle"]
    mask: Bool[Array, " angle"]

    @classmethod
    def of(cls, short: Bool[Array, "atom neighbour"], room: int) -> Angles:
        """Make the angles between the bonds where `short` is True."""
        slots = short.shape[1]
        pairs = short[:, :, None] & short[:, None] & ~np.eye(slots, dtype=bool)[None]
        (flat,) = jnp.nonzero(pairs.reshape(-1), size=room, fill_value=0)
        flat = flat.astype(np.int32)
        first = flat // slots
        centre = first // slots
        mask = jnp.arange(room, dtype=np.int32) < pairs.sum(dtype=np.int32)
        return cls(first, centre * slots + flat % slots, centre, mask)


def _interactions(
    model: CHGNet,
    atoms: Float[Array, "atom channel"],
    graph: Graph,
    short: Bool[Array, "atom neighbour"],
    per_atom: int,
) -> list[Float[Array, "atom channel"]]:
    """Return the atoms before and after every interaction, with room for `per_atom` angles each."""
    dense = partial(nn.Dense, use_bias=False)
    basis = partial(Bessel, model.num_radial, power=model.envelope_power)
    waves = basis(cutoff=model.cutoff, name="atom_basis")(graph.distances)
    waves = jnp.where(graph.edge_mask[:, :, None], waves, 0)
    near = basis(cutoff=model.bond_cutoff, name="bond_basis")(graph.distances)
    near = jnp.where(short[:, :, None], near, 0)

    x = dense(model.bond_channels, name="bond_embedding")(waves)
    weights = dense(model.atom_channels, name="atom_weights")(waves)
    pair_weights = dense(model.bond_channels, name="bond_weights")(near)
    triples = Angles.of(short, per_atom * len(short))
    harmonics = Fourier(model.num_angular // 2, name="angle_basis")(_angles(graph, triples))
    angles = dense(model.angle_channels, name="angle_embedding")(harmonics)

    gated = partial(GatedMLP, activation=model.activation, norm=model.gate_norm)
    states = [atoms]
    for i in range(model.interactions):
        network = gated(model.atom_hidden, model.atom_channels, name=f"atom_gate_{i}")
        messages = network((atoms, lambda y: y[:, None]), (x, lambda y: y), (atoms, graph.gather))
        summed = (messages * weights).sum(1)
        out = nn.Dense(model.atom_channels, model.out_bias, name=f"atom_out_{i}")
        atoms = atoms + out(summed)
        states.append(atoms)
        if i == model.interactions - 1:
            break
        network = gated(model.bond_hidden, model.bond_channels, name=f"bond_gate_{i}")
        messages = network(*_parts(x, angles, atoms, triples))
        out = nn.Dense(model.bond_channels, model.out_bias, name=f"bond_out_{i}")
        x = x + out(_over_both_ends(messages, pair_weights, triples, graph))
        if i < model.interactions - 2:  # nothing reads the last angles
            network = gated(model.angle_hidden, model.angle_channels, name=f"angle_gate_{i}")
            angles = angles + network(*_parts(x, angles, atoms, triples))
    return states


def _over_both_ends(
    messages: Float[Array, "angle channel"],
    weights: Float[Array, "atom neighbour channel"],
    triples: Angles,
    graph: Graph,
) -> Float[Array, "atom neighbour channel"]:
    """Return, for every bond, the sum over the angles at both its ends."""
    flat = weights.reshape(-1, weights.shape[-1])
    messages = jnp.where(triples.mask[:, None], messages * flat[triples.second], 0)
    here = jax.ops.segment_sum(messages, triples.first, len(flat)) * flat
    here = here.reshape(weights.shape)
    return here + graph.reversed(here)


Part = tuple[Array, Callable[[Array], Array]]
"""Features, and how their linear maps are spread to where all parts are summed."""


def _parts(
    bonds: Float[Array, "atom neighbour channel"],
    angles: Float[Array, "angle channel"],
    atoms: Float[Array, "atom channel"],
    triples: Angles,
) -> Sequence[Part]:
    """Return what every angle is computed from: its two bonds, the angle itself, its centre."""
    flat = bonds.reshape(-1, bonds.shape[-1])
    return (
        (flat, lambda y: y[triples.first]),
        (flat, lambda y: y[triples.second]),
        (angles, lambda y: y),
        (atoms, lambda y: y[triples.centre]),
    )


def _angles(graph: Graph, triples: Angles) -> Float[Array, " angle"]:
    """Return the angles between bonds, from cosines times 1 − 10⁻⁶ as in the reference.

    Not by an arccosine, which loses half of the digits of straight angles.
    """
    units = (graph.vectors / graph.distances[:, :, None]).reshape(-1, 3)
    first, second = units[triples.first], units[triples.second]
    shrink = 1 - 1e-6
    normal = jnp.cross(first, second)
    sin = jnp.sqrt((normal * normal).sum(-1) * shrink**2 + (1 - shrink**2))
    return jnp.arctan2(sin, (first * second).sum(-1) * shrink)


class Bessel(nn.Module):
    """Expand distances: √(2/rc) sin(f r/rc)/r times an envelope, with learned frequencies f."""

    count: int
    cutoff: float
    power: int

    @nn.compact
    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n radial"]:
        first = np.arange(1, self.count + 1) * np.pi
        frequencies = self.param("frequencies", lambda _: jnp.asarray(first, r.dtype))
        frequencies = jnp.broadcast_to(frequencies, (*r.shape, self.count))
        waves = jnp.sin((r / self.cutoff)[..., None] * frequencies)
        envelope = polynomial_cutoff(r, self.cutoff, self.power)
        return waves * ((2 / self.cutoff) ** 0.5 * envelope / r)[..., None]


class Fourier(nn.Module):
    """Expand angles: 1/√2, sines and cosines of learned multiples of the angle, over √π."""

    order: int

    @nn.compact
    def __call__(self, angle: Float[Array, "*n"]) -> Float[Array, "*n angular"]:
        first = np.arange(1, self.order + 1)
        multiples = self.param("frequencies", lambda _: jnp.asarray(first, angle.dtype))
        phase = angle[..., None] * jnp.broadcast_to(multiples, (*angle.shape, self.order))
        constant = jnp.full((*angle.shape, 1), 0.5**0.5, angle.dtype)
        return jnp.concatenate([constant, jnp.sin(phase), jnp.cos(phase)], axis=-1) / np.pi**0.5


class GatedMLP(nn.Module):
    """Apply a network times the sigmoid of another to features side by side.

    The first linear map is applied to each part where it stands, before it is spread: there are
    far fewer atoms than angles.
    """

    hidden: int
    channels: int
    activation: str
    norm: bool

    @nn.compact
    def __call__(self, *parts: Part) -> Float[Array, "*n channel"]:
        act = ACTIVATIONS[self.activation]
        dtype = parts[0][0].dtype
        width, fan_in = self.hidden or self.channels, sum(x.shape[-1] for x, _ in parts)
        init, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
        sides = ("core", "gate")
        kernels = [self.param(f"{s}0_kernel", init, (fan_in, width), dtype) for s in sides]
        biases = [self.param(f"{s}0_bias", zeros, (width,), dtype) for s in sides]
        ends = np.cumsum([x.shape[-1] for x, _ in parts])[:-1]
        blocks = jnp.split(jnp.concatenate(kernels, axis=1), ends, axis=0)
        spread = [place(x @ k) for (x, place), k in zip(parts, blocks, strict=True)]
        shape = jnp.broadcast_shapes(*(y.shape for y in spread))
        both = jnp.broadcast_to(jnp.concatenate(biases), shape)
        for y in spread:
            both = both + y
        if self.hidden:
            both = act(both)
        out = []
        for side, x in zip(sides, jnp.split(both, 2, axis=-1), strict=True):
            if self.hidden:
                kernel = self.param(f"{side}1_kernel", init, (width, self.channels), dtype)
                bias = self.param(f"{side}1_bias", zeros, (self.channels,), dtype)
                x = x @ kernel
                x = x + jnp.broadcast_to(bias, x.shape)
            out.append(LayerNorm(name=f"{side}_norm")(x) if self.norm else x)
        return act(out[0]) * jax.nn.sigmoid(out[1])


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[CHGNet, dict[str, Any]]:
    """Return module and variables from the arguments of `chgnet.model.CHGNet` and its state dict.

    Raises:
        InputError: options that are not ported, or missing though no array tells them (cutoffs,
            their exponent, the activation), or the state dict of another architecture.
        UnknownNameError: an activation that is not ported, or an unknown option.
    """
    only("CHGNet", config, (*_FIELDS, *_FIXED, "mlp_hidden_dims", *_NORMS), _UNREAD)
    for key, value in _FIXED.items():
        if config.get(key, value) != value:
            raise InputError(f"CHGNet with {key}={config[key]!r} is not ported, only {value!r}")
    for key in ("atom_conv_hidden_dim", "bond_conv_hidden_dim", "angle_layer_hidden_dim"):
        if not isinstance(config.get(key, 0), int):
            raise InputError(
                f"CHGNet with {key}={config[key]!r} is not ported, only a single width is"
            )
    norms = {"layer": True, None: False}
    for key in _NORMS:
        if config.get(key, "layer") not in norms:
            raise InputError(f"CHGNet with {key}={config[key]!r} is not ported, only 'layer'")
    fields = {ours: config[theirs] for theirs, ours in _FIELDS.items() if theirs in config}
    widths = config.get("mlp_hidden_dims", (64, 64, 64))
    module = make(
        CHGNet,
        **fields,
        readout_hidden=(widths,) if isinstance(widths, int) else tuple(widths),
        gate_norm=norms[config.get("gMLP_norm", "layer")],
        readout_norm=norms[config.get("readout_norm", "layer")],
        out_bias="atom_conv_layers.0.mlp_out.layers.1.bias" in state,
        max_element=rows(state, "atom_embedding.embedding.weight", "CHGNet"),
    )
    if module.activation not in ACTIVATIONS:
        raise UnknownNameError("activation", module.activation, ACTIVATIONS)
    # Nothing reads the angles after their last update, in the reference as here.
    unread = ("site_wise.*", f"angle_layers.{module.interactions - 2}.*")
    variables = translate(module, state, _table(module), unread)
    stated(config, "atom_graph_cutoff", "bond_graph_cutoff", "cutoff_coeff", "non_linearity")
    return module, variables


_FIXED = {"update_bond": True, "update_angle": True, "mlp_first": True, "conv_norm": None}
_NORMS = ("gMLP_norm", "readout_norm")
# These options change neither features nor output: they stand in the state dict too, act in
# training alone, or say how graphs are made. Version 0.2.0 also holds `read_out`, which acts only
# where `mlp_first` is False, and `is_intensive`, which says by what energies are divided.
_UNREAD = (
    "composition_model", "learnable_rbf", "mlp_out_bias", "conv_dropout", "mlp_dropout",
    "graph_converter_algorithm", "converter_verbose", "version", "read_out", "is_intensive",
    "skip_connection", "cutofff_coeff",
)  # fmt: skip
_FIELDS = {
    "atom_fea_dim": "atom_channels",
    "bond_fea_dim": "bond_channels",
    "angle_fea_dim": "angle_channels",
    "num_radial": "num_radial",
    "num_angular": "num_angular",
    "n_conv": "interactions",
    "atom_conv_hidden_dim": "atom_hidden",
    "bond_conv_hidden_dim": "bond_hidden",
    "angle_layer_hidden_dim": "angle_hidden",
    "non_linearity": "activation",
    "atom_graph_cutoff": "cutoff",
    "bond_graph_cutoff": "bond_cutoff",
    "cutoff_coeff": "envelope_power",
}


def _table(module: CHGNet) -> dict[str, Source]:
    """Return the checkpoint's name of each of our arrays."""
    table: dict[str, Source] = {
        "params/embedding/embedding": "atom_embedding.embedding.weight",
        "constants/reference_energies": ("composition_model.fc.weight", np.ravel),
    }
    for ours, theirs in (
        ("atom_basis", "bond_basis_expansion.rbf_expansion_ag"),
        ("bond_basis", "bond_basis_expansion.rbf_expansion_bg"),
        ("angle_basis", "angle_basis_expansion.fourier_expansion"),
    ):
        table[f"params/{ours}/frequencies"] = f"{theirs}.frequencies"
    for ours, theirs in (
        ("bond_embedding", "bond_embedding"),
        ("atom_weights", "bond_weights_ag"),
        ("bond_weights", "bond_weights_bg"),
        ("angle_embedding", "angle_embedding"),
    ):
        table |= dense(ours, theirs, bias=False)
    for i in range(module.interactions):
        kinds = [("atom", f"atom_conv_layers.{i}", "twoBody_atom", module.atom_hidden)]
        if i < module.interactions - 1:
            kinds.append(("bond", f"bond_conv_layers.{i}", "twoBody_bond", module.bond_hidden))
        for kind, theirs, gate, hidden in kinds:
            table |= _gate_table(module, f"{kind}_gate_{i}", f"{theirs}.{gate}", hidden)
            out = f"{theirs}.mlp_out.layers.1"
            table |= dense(f"{kind}_out_{i}", out, module.out_bias)
        if i < module.interactions - 2:
            theirs = f"angle_layers.{i}.twoBody_bond"
            table |= _gate_table(module, f"angle_gate_{i}", theirs, module.angle_hidden)
    if module.readout_norm:
        table |= _norm_table("readout_norm", "readout_norm")
    for i in range(len(module.readout_hidden)):
        table |= dense(f"readout{i}", f"mlp.layers.{2 * i}")
    last = 2 * len(module.readout_hidden) + 1  # after the last activation comes a dropout
    return table | dense("energy", f"mlp.layers.{last}")


def _gate_table(module: CHGNet, ours: str, theirs: str, hidden: int) -> dict[str, Source]:
    places = (0, 3) if hidden else (1,)  # around an activation and a dropout, or after a dropout
    table: dict[str, Source] = {}
    for side, norm in (("core", "bn1"), ("gate", "bn2")):
        for i, place in enumerate(places):
            name = f"{theirs}.mlp_{side}.layers.{place}"
            table |= dense(f"{ours}/{side}{i}", name, separator="_")
        if module.gate_norm:
            table |= _norm_table(f"{ours}/{side}_norm", f"{theirs}.{norm}")
    return table


def _norm_table(ours: str, theirs: str) -> dict[str, Source]:
    return {f"params/{ours}/scale": f"{theirs}.weight", f"params/{ours}/bias": f"{theirs}.bias"}


_PRETRAINED = {
    "chgnet-0.3.0": (
        "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
        "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
    ),
    "chgnet-0.2.0": (
        "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
        "ef624f78b6db9d315b4ef256f1bb3207449924191b91720dc17d3f60c5df980e",
    ),
    "chgnet-r2scan": (
        "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
        "8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
    ),
}


CARDS = {
    "chgnet-0.3.0": Card("CHGNet", "BSD-3-Clause", MPTRAJ, "chgnet"),
    "chgnet-0.2.0": Card("CHGNet", "BSD-3-Clause", MPTRAJ, "chgnet"),
    "chgnet-r2scan": Card("CHGNet", "BSD-3-Clause", f"{MPTRAJ}; then r²SCAN", "chgnet"),
}


def load(name: str) -> Encoder:
    """Return a CHGNet trained on the Materials Project, from the wheel of chgnet 0.4.2.

    Raises:
        FileError: the wheel is not installed, or its file is not the published one.
    """
    file, sha256 = _PRETRAINED[name]
    model = torch_files.read(packaged("chgnet", f"chgnet/pretrained/{file}", sha256))["model"]
    made = Encoder(name, *from_state_dict(model["model_args"], model["state_dict"]))
    return replace(made, target="energy", unit="eV/atom")
