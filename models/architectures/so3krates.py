"""SO3krates: attention over scalars and over one Euclidean variable for each degree; SO3LR.

Source: Frank et al., Nat. Commun. 15, 6539 (2024); SO3LR: Kabylda et al., J. Am. Chem. Soc. 147,
33723 (2025). Reference: so3krates-torch 0.2.1, `so3krates_torch.modules.models`.

Layers: `embedding` (element, total charge, unpaired electrons), `interaction_i` (scalars after each
transformer, then its Euclidean variables of degree l, parity (−1)^l), `readout` (the hidden layer
of the energy head, after its activation). The reference orders m by (y, z, x); here it is
(x, y, z), the order of e3nn. The output is the energy in eV, with the terms of `long_range.py`: by
default over all pairs of a molecule, as the file of SO3LR's weights says. The calculator that comes
with them ends these terms at 12 Å; see `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import e3nn_jax
import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.blocks.basics import ACTIVATIONS, LayerNorm, cosine_cutoff, polynomial_cutoff
from cpdjax.models.blocks.long_range import _ZBL, LongRange
from cpdjax.models.encoder import Encoder
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import (
    Degree,
    Depth,
    HeadCount,
    Length,
    Power,
    Width,
    make,
    within,
)
from cpdjax.models.interface import Card, Layers
from cpdjax.models.weights import torch_files
from cpdjax.models.weights.translate import (
    Source,
    State,
    agree,
    dense,
    last_of,
    options,
    require,
    stated,
    translate,
    transpose,
)
from cpdjax.models.weights.wheels import packaged

_CUTOFFS = ("phys", "polynomial", "cosine")
_BASES = ("bernstein", "gaussian")
_NORMS = ("avg_num_neighbors", "sqrt_num_features", "identity")

Scalars = Float[Array, "atom channel"]
Euclidean = Float[Array, "atom m"]
Edges = Float[Array, "atom neighbour k"]


class So3krates(nn.Module):
    """Compute atoms' parts of the energy."""

    r_max: Length = 4.5
    """Cutoff of the neighbour list (Å)."""
    num_radial_basis_fn: Width = 32
    degrees: tuple[Degree, ...] = (1, 2, 3, 4)
    num_features: Width = 128
    num_heads: HeadCount = 4
    num_layers: Depth = 3
    num_elements: Width = 118
    avg_num_neighbors: float = 1.0
    final_mlp_layers: Depth = 2
    energy_regression_dim: Width | None = None
    """Width of the readout's hidden layer; None: `num_features`."""
    message_normalization: str = "avg_num_neighbors"
    """Divisor of the attention: "avg_num_neighbors", "sqrt_num_features" or "identity" (1)."""
    initialize_ev_to_zeros: bool = True
    """Whether Euclidean variables begin as zeros, not as the sum of the neighbours' harmonics."""
    radial_basis_fn: str = "gaussian"
    """Either "bernstein" or "gaussian"."""
    layer_normalization_1: bool = False
    layer_normalization_2: bool = False
    residual_mlp_1: bool = False
    residual_mlp_2: bool = False
    use_charge_embed: bool = False
    use_spin_embed: bool = False
    interaction_bias: bool = True
    qk_non_linearity: str = "identity"
    cutoff_fn: str = "cosine"
    """One of "phys", "polynomial" and "cosine"."""
    cutoff_p: Power = 5
    activation_fn: str = "silu"
    energy_activation_fn: str = "silu"
    long_range: LongRange | None = None

    @property
    def cutoff(self) -> float:
        """Return the cutoff of the neighbour list (Å)."""
        return self.r_max

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the elements of the embedding's rows; the tables of long-range terms end at 99."""
        last = self.num_elements if self.long_range is None else min(self.num_elements, 99)
        return tuple(range(1, last + 1))

    @property
    def periodic(self) -> bool:
        """Return False if a long-range term is a sum over all pairs of a molecule."""
        return self.long_range is None or not self.long_range.every_pair

    @property
    def parity(self) -> bool:
        """Return True: Euclidean variables are sums of harmonics of directions."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        scalars = Irreps(f"{self.num_features}x0e")
        both = scalars + self._harmonics
        layers = {"embedding": scalars if self.initialize_ev_to_zeros else both}
        layers |= {f"interaction_{i}": both for i in range(self.num_layers)}
        if self.final_mlp_layers > 1:
            layers["readout"] = Irreps(f"{self._readout_width}x0e")
        return layers

    @property
    def _harmonics(self) -> Irreps:
        return Irreps([(1, (degree, (-1) ** degree)) for degree in self.degrees])

    @property
    def _readout_width(self) -> int:
        return self.energy_regression_dim or self.num_features

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the filters, keys and values of every pair."""
        return atoms * (neighbours + 4) * (6 * self.num_features + 2 * self._harmonics.dim)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        species = jnp.maximum(graph.numbers - 1, 0)
        # Directions from the neighbour to the centre, as in the reference.
        harmonics = e3nn_jax.sh(list(self.degrees), -graph.vectors, True, "integral")
        envelope = jnp.where(graph.edge_mask, self._envelope(graph.distances), 0)
        radial = RadialBasis(self.radial_basis_fn, self.num_radial_basis_fn, self.r_max,
                             name="radial_basis")(graph.distances)  # fmt: skip
        x = self._embed(graph, species)
        ev = jnp.zeros((len(x), harmonics.shape[-1]), x.dtype)
        if not self.initialize_ev_to_zeros:
            ev = jnp.einsum("as,asm->am", envelope, harmonics) / self.avg_num_neighbors
        states = {"embedding": x if self.initialize_ev_to_zeros else jnp.hstack([x, ev])}
        options = self.clone(parent=None, long_range=None)
        for i in range(self.num_layers):
            transformer = Transformer(options, name=f"interaction_{i}")
            x, ev = transformer(graph, x, ev, radial, harmonics, envelope)
            states[f"interaction_{i}"] = jnp.hstack([x, ev])
        hidden, act = x, ACTIVATIONS[self.energy_activation_fn]
        for i in range(self.final_mlp_layers - 1):
            hidden = act(nn.Dense(self._readout_width, name=f"readout_{i}")(hidden))
            states["readout"] = hidden
        energy = nn.Dense(1, name="energy")(hidden)[:, 0]
        scales = self.param("scales", nn.initializers.ones, (1, self.num_elements), graph.dtype)
        shifts = self.param("shifts", nn.initializers.zeros, (self.num_elements,), graph.dtype)
        energy = energy * scales[0, species] + shifts[species]
        if self.long_range is not None:
            energy = energy + self.long_range(graph, x, envelope)
        layers = {name: IrrepsArray(self.irreps[name], s) for name, s in states.items()}
        return layers, energy

    def _envelope(self, r: Float[Array, "atom neighbour"]) -> Float[Array, "atom neighbour"]:
        if self.cutoff_fn == "cosine":
            return cosine_cutoff(r, self.r_max)
        return polynomial_cutoff(r, self.r_max, 3 if self.cutoff_fn == "phys" else self.cutoff_p)

    def _embed(self, graph: Graph, species: Array) -> Scalars:
        parts = [nn.Embed(self.num_elements, self.num_features, name="elements")(species)]
        given = {"charge": (self.use_charge_embed, graph.charge)}
        given["spin"] = (self.use_spin_embed, graph.unpaired)
        for name, (used, psi) in given.items():
            if used:
                make = ChargeEmbedding(self.num_elements, self.num_features,
                                       self.activation_fn, name=name)  # fmt: skip
                parts.append(make(graph, species, psi))
        return sum(parts[1:], parts[0]) / np.sqrt(len(parts)).item()


class ChargeEmbedding(nn.Module):
    """Share a molecule's charge (or unpaired electrons) among its atoms by attention.

    Source: Unke et al., SpookyNet, Nat. Commun. 12, 7273 (2021).
    """

    elements: int
    channels: int
    activation: str

    @nn.compact
    def __call__(self, graph: Graph, species: Array, psi: Float[Array, " molecule"]) -> Scalars:
        shape, normal = (2, self.channels), nn.initializers.normal(1.0)
        q = nn.Embed(self.elements, self.channels, name="query")(species)
        key = self.param("key", normal, shape, graph.dtype)
        value = self.param("value", normal, shape, graph.dtype)
        of_atom = graph.spread(psi)
        sign = (of_atom < 0).astype(jnp.int32)  # a row for each sign
        y = jax.nn.softplus((q * key[sign]).sum(-1) / np.sqrt(self.channels).item())
        share = of_atom * y / graph.spread(graph.sum(y) + 1e-6)
        v = share[:, None] * value[sign]
        return v + Residual(self.channels, self.activation, False, name="mlp")(v)


class Residual(nn.Module):
    """Add two dense layers, each after an activation, to the identity."""

    channels: int
    activation: str
    biases: bool = True

    @nn.compact
    def __call__(self, x: Scalars) -> Scalars:
        act = ACTIVATIONS[self.activation]
        x = nn.Dense(self.channels, self.biases, name="dense_0")(act(x))
        return nn.Dense(self.channels, self.biases, name="dense_1")(act(x))


class RadialBasis(nn.Module):
    """Expand distances in Bernstein polynomials of exp(−γr), or in Gaussians of r."""

    kind: str
    count: int
    cutoff: float

    @nn.compact
    def __call__(self, r: Float[Array, "atom neighbour"]) -> Edges:
        def constant(name: str, values: Any) -> Array:
            return self.variable("constants", name, lambda: jnp.asarray(values, r.dtype)).value

        if self.kind == "gaussian":
            centres = np.linspace(0, self.cutoff, self.count)
            widths = constant("widths", np.full(self.count, centres[1]))
            scaled = (r[..., None] - constant("centres", centres)[None, None]) / widths[None, None]
            return jnp.exp(-0.5 * scaled * scaled)
        k = np.arange(self.count)
        logs = np.cumsum(np.log(np.maximum(self.count - k, 1) / np.maximum(k, 1)))
        binomials = constant("binomials", logs - logs[0])
        x = jnp.exp(-constant("gamma", 0.944863062918464) * r)
        x = jnp.clip(x, 1e-6, 1 - 1e-6)[..., None]
        k = k.astype(r.dtype)[None, None]
        return jnp.exp(
            binomials[None, None] + k * jnp.log(x) + (self.count - 1 - k) * jnp.log(1 - x)
        )


class Transformer(nn.Module):
    """Attend to the neighbours, then exchange between an atom's scalars and Euclidean variables."""

    of: So3krates

    @nn.compact
    def __call__(
        self,
        graph: Graph,
        x: Scalars,
        ev: Euclidean,
        radial: Edges,
        harmonics: Edges,
        envelope: Float[Array, "atom neighbour"],
    ) -> tuple[Scalars, Euclidean]:
        of, degrees = self.of, len(self.of.degrees)
        order = np.repeat(np.arange(degrees), [2 * degree + 1 for degree in of.degrees])
        norms = [1 / np.sqrt(2 * degree + 1) for degree in of.degrees]
        coupling = self.variable(
            "constants", "coupling", lambda: jnp.asarray(norms, graph.dtype)
        ).value
        # Every variable couples with itself to a scalar: its squares are summed by degree.
        contract = jnp.asarray(np.eye(degrees)[order], graph.dtype) * coupling[None]

        difference = graph.gather(ev) - ev[:, None]
        invariants = jnp.einsum("asm,asm,md->asd", difference, difference, contract)
        alpha = Attention(of, of.num_heads, name="attention")(graph, x, radial, invariants)
        value = graph.gather(Heads(of.num_heads, name="value")(x))
        message = jnp.einsum("as,ash,ashd->ahd", envelope, alpha, value)
        alpha = Attention(of, degrees, name="attention_ev")(graph, x, radial, invariants)
        moved = jnp.einsum("as,asm,asm->am", envelope, alpha[:, :, order], harmonics)
        x, ev = x + message.reshape(x.shape), ev + moved

        if of.layer_normalization_1:
            x = LayerNorm(1e-6, name="norm_1")(x)
        if of.residual_mlp_1:
            x = x + Residual(of.num_features, of.activation_fn, name="mlp_1")(x)
        width = of.num_features + degrees
        both = jnp.hstack([x, (ev * ev) @ contract])
        both = nn.Dense(width, of.interaction_bias, name="exchange")(both)
        x, ev = x + both[:, : of.num_features], ev + both[:, of.num_features :][:, order] * ev
        if of.residual_mlp_2:
            x = x + Residual(of.num_features, of.activation_fn, name="mlp_2")(x)
        if of.layer_normalization_2:
            x = LayerNorm(1e-6, name="norm_2")(x)
        return x, ev


class Attention(nn.Module):
    """Compute coefficients (atom, neighbour, head): query times key times a filter of the pair."""

    of: So3krates
    heads: int

    @nn.compact
    def __call__(self, graph: Graph, x: Scalars, radial: Edges, invariants: Edges) -> Edges:
        of, act = self.of, ACTIVATIONS[self.of.activation_fn]
        f = of.num_features
        w = nn.Dense(f, name="radial_1")(act(nn.Dense(f, name="radial_0")(radial)))
        w = w + nn.Dense(f, name="ev_1")(act(nn.Dense(f // 4, name="ev_0")(invariants)))
        non_linearity = ACTIVATIONS[of.qk_non_linearity]
        query = non_linearity(Heads(self.heads, name="query")(x))
        key = non_linearity(Heads(self.heads, name="key")(x))
        norm = {
            "avg_num_neighbors": of.avg_num_neighbors,
            "sqrt_num_features": np.sqrt(f // self.heads).item(),
            "identity": 1.0,
        }[of.message_normalization]
        product = graph.gather(key / norm) * w.reshape(*w.shape[:2], self.heads, -1)
        return jnp.einsum("ahd,ashd->ash", query, product)


class Heads(nn.Module):
    """Apply a matrix for each head to its own part of the channels."""

    heads: int

    @nn.compact
    def __call__(self, x: Scalars) -> Float[Array, "atom head d"]:
        width = x.shape[-1] // self.heads
        make = nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        matrix = self.param("matrix", make, (self.heads, width, width), x.dtype)
        return jnp.einsum("ahd,hde->ahe", x.reshape(len(x), self.heads, width), matrix)


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[So3krates, dict[str, Any]]:
    """Return module and variables from the arguments of `So3krates` or `SO3LR` and its state dict.

    Raises:
        InputError: the model has a mesh (`use_pme`), which is not ported, or the state dict is of
            another architecture, contradicts an option, or does not tell one that is missing.
        UnknownNameError: an option is not ported or not known.
    """
    require(config, "r_max", "degrees")
    fields = options(So3krates, config, (*_LONG_RANGE, *_UNREAD), own=["long_range"])
    fields["degrees"] = tuple(config["degrees"])
    fields["avg_num_neighbors"] = float(config.get("avg_num_neighbors") or 1)
    module = make(So3krates, **fields)
    for what, found, offered in (
        ("activation", module.activation_fn, ACTIVATIONS),
        ("activation", module.energy_activation_fn, ACTIVATIONS),
        ("activation", module.qk_non_linearity, ACTIVATIONS),
        ("cutoff function", module.cutoff_fn, _CUTOFFS),
        ("radial basis", module.radial_basis_fn, _BASES),
        ("message normalization", module.message_normalization, _NORMS),
    ):
        if found not in offered:
            raise UnknownNameError(what, found, offered)
    module = module.clone(long_range=_long_range(module, config, state))
    ignore = ["*.degree_repeats", "*.segment_ids", "*.segment_sum_matrix", "*_basis_fn.k*"]
    # The filters and the coupling stand there under other names too.
    ignore += ["*.euclidean_attention_block.filter_net_*", "*_attention_block.so3_conv_*"]
    if (
        module.long_range is not None
    ):  # The reference makes these heads even where it does not use them.
        ignore += ["zbl_*"] if not module.long_range.zbl else []
        ignore += ["partial_*"] if module.long_range.electrostatic_scale is None else []
        ignore += ["hirshfeld_*"] if module.long_range.dispersion_scale is None else []
    variables = translate(module, state, _table(module), ignore)
    if module.radial_basis_fn == "gaussian" and not config.get("trainable_rbf"):
        agree(config, "r_max", last_of(state, "radial_embedding.radial_basis_fn.centers"))
    stated(config, *_untold(module))
    return module, variables


def _untold(module: So3krates) -> list[str]:
    """Return the options that no array of the state dict tells."""
    names = ["message_normalization", "initialize_ev_to_zeros", "qk_non_linearity", "cutoff_fn"]
    names += ["activation_fn", "energy_activation_fn"]
    names += ["cutoff_p"] if module.cutoff_fn == "polynomial" else []
    average = module.message_normalization == "avg_num_neighbors"
    if average or not module.initialize_ev_to_zeros:
        names.append("avg_num_neighbors")
    if module.long_range is not None:
        names += ["zbl_repulsion_bool", "electrostatic_energy_bool", "dispersion_energy_bool"]
        for scale, used in (
            ("electrostatic_energy_scale", module.long_range.electrostatic_scale),
            ("dispersion_energy_scale", module.long_range.dispersion_scale),
        ):
            names += [scale] if used is not None else []
    return names


# The first are the options behind `long_range`. The others change nothing: they begin or steer
# training, stand in the state dict too, or belong to sums with a cutoff or a mesh.
_LONG_RANGE = (
    "zbl_repulsion_bool", "electrostatic_energy_bool", "electrostatic_energy_scale",
    "dispersion_energy_bool", "dispersion_energy_scale", "r_max_lr", "use_pme",
    "dispersion_energy_cutoff_lr_damping",
)  # fmt: skip
_UNREAD = (
    "trainable_rbf", "atomic_type_shifts", "energy_learn_atomic_type_shifts",
    "energy_learn_atomic_type_scales", "seed", "device", "dtype", "num_features_head",
    "layers_behave_like_identity_fn_at_init", "output_is_zero_at_init", "input_convention",
    "neighborlist_format_lr", "pme_smearing",
    "pme_mesh_spacing",
)  # fmt: skip


def _long_range(module: So3krates, config: Mapping[str, Any], state: State) -> LongRange | None:
    if "zbl_repulsion.a1_raw" not in state:
        return None
    terms = LongRange(
        width=module.energy_regression_dim,
        activation=module.energy_activation_fn,
        zbl=config.get("zbl_repulsion_bool", True),
        electrostatic_scale=(
            config.get("electrostatic_energy_scale", 4.0)
            if config.get("electrostatic_energy_bool", True)
            else None
        ),
        dispersion_scale=(
            config.get("dispersion_energy_scale", 1.2)
            if config.get("dispersion_energy_bool", True)
            else None
        ),
    )
    if not terms.every_pair:
        return terms
    stated(config, "r_max_lr")
    if config.get("use_pme"):
        raise InputError("long-range terms on a mesh are not ported: expected use_pme=False")
    return _cut(terms, config["r_max_lr"], config.get("dispersion_energy_cutoff_lr_damping"))


def _cut(terms: LongRange, cutoff: float | None, width: float | None) -> LongRange:
    """Return the terms with a long-range cutoff, before which dispersion is switched off."""
    if cutoff is None:
        return terms
    if terms.dispersion_scale is not None and width is None:
        raise InputError(
            "r_max_lr, the long-range cutoff, needs dispersion_energy_cutoff_lr_damping"
        )
    values = {"cutoff": cutoff, "switch_width": 2.0 if width is None else width}
    checked = {name: within(Length, name, value) for name, value in values.items()}
    if checked["switch_width"] >= checked["cutoff"]:
        raise InputError(
            f"the long-range cutoff must be larger than {checked['switch_width']} Å, over which "
            f"dispersion is switched off, got {checked['cutoff']}"
        )
    return terms.clone(**checked)


def _table(module: So3krates) -> dict[str, Source]:
    table: dict[str, Source] = {
        "params/elements/embedding": ("inv_feature_embedding.embedding.weight", transpose),
        "params/scales": "atomic_energy_output_block.energy_scales.weight",
        "params/shifts": "atomic_energy_output_block.energy_shifts",
    }
    maps = {"energy": "atomic_energy_output_block.final_layer"}
    for i in range(module.final_mlp_layers - 1):
        maps[f"readout_{i}"] = f"atomic_energy_output_block.layers.{i}"
    names = {"binomials": "b", "gamma": "gamma"}
    if module.radial_basis_fn == "gaussian":
        names = {"centres": "centers", "widths": "widths"}
    for ours, theirs in names.items():
        basis = "radial_embedding.radial_basis_fn"
        table[f"constants/radial_basis/{ours}"] = f"{basis}.{theirs}"
    for name, used in (("charge", module.use_charge_embed), ("spin", module.use_spin_embed)):
        if used:
            table |= {
                f"params/{name}/query/embedding": (f"{name}_embedding.Wq.weight", transpose),
                f"params/{name}/key": f"{name}_embedding.Wk",
                f"params/{name}/value": f"{name}_embedding.Wv",
            }
            for k, place in ((0, 1), (1, 3)):
                table |= dense(f"{name}/mlp/dense_{k}", f"{name}_embedding.mlp.{place}", bias=False)
    for i in range(module.num_layers):
        ours, theirs = f"interaction_{i}", f"euclidean_transformers.{i}"
        table |= _transformer_table(module, ours, theirs)
        maps |= _transformer_maps(module, ours, theirs)
    for ours, theirs in maps.items():
        bias = module.interaction_bias or not ours.endswith("exchange")
        table |= dense(ours, theirs, bias)
    if module.long_range is not None:
        table |= long_range_table(module.long_range)
    return table


def _transformer_table(module: So3krates, ours: str, theirs: str) -> dict[str, Source]:
    *first, width = np.cumsum([0] + [2 * degree + 1 for degree in module.degrees])
    table: dict[str, Source] = {
        f"constants/{ours}/coupling": (
            f"{theirs}.interaction_block.so3_conv_invariants.cg_rep",
            lambda every_m: every_m.reshape(width)[np.array(first)],
        ),
        f"params/{ours}/value/matrix": f"{theirs}.euclidean_attention_block.W_v_inv",
    }
    for attention, kind in (("attention", "inv"), ("attention_ev", "ev")):
        for name, letter in (("query", "q"), ("key", "k")):
            path = f"{theirs}.euclidean_attention_block.W_{letter}_{kind}"
            table[f"params/{ours}/{attention}/{name}/matrix"] = path
    for k, used in ((1, module.layer_normalization_1), (2, module.layer_normalization_2)):
        if used:
            table[f"params/{ours}/norm_{k}/scale"] = f"{theirs}.layer_norm_inv_{k}.weight"
            table[f"params/{ours}/norm_{k}/bias"] = f"{theirs}.layer_norm_inv_{k}.bias"
    return table


def _transformer_maps(module: So3krates, ours: str, theirs: str) -> dict[str, str]:
    maps = {f"{ours}/exchange": f"{theirs}.interaction_block.linear_layer"}
    for attention, kind in (("attention", "inv"), ("attention_ev", "ev")):
        net = f"{theirs}.filter_net_{kind}"
        maps |= {
            f"{ours}/{attention}/radial_0": f"{net}.mlp_rbf.0",
            f"{ours}/{attention}/radial_1": f"{net}.mlp_rbf.mlp_rbf_layer_1.0",
            f"{ours}/{attention}/ev_0": f"{net}.mlp_ev.0",
            f"{ours}/{attention}/ev_1": f"{net}.mlp_ev.mlp_ev_layer_1.0",
        }
    for k, used in ((1, module.residual_mlp_1), (2, module.residual_mlp_2)):
        if used:
            maps[f"{ours}/mlp_{k}/dense_0"] = f"{theirs}.mlp_{k}.1"
            maps[f"{ours}/mlp_{k}/dense_1"] = f"{theirs}.mlp_{k}.3"
    return maps


_SHA256 = "b5145564911ff983ed076ccb2bca5ce63454b74c9c8291092695463f1e6732be"


CARDS = {
    "so3lr": Card(
        "SO3krates",
        "MIT",
        "organic molecules and fragments: non-covalent interactions, PBE0+MBD",
        "so3krates-torch",
    )
}


_SWITCH_WIDTH = 2.0  # Å, as in the calculator of SO3LR


def load(name: str, long_range_cutoff: float | None = None) -> Encoder:
    """Return SO3LR, trained on organic molecules and dimers, from the wheel of so3krates-torch.

    Its features do not depend on the long-range cutoff, its output does.

    Args:
        long_range_cutoff: distance (Å) at which electrostatics and dispersion end. None, the
            default, sums over all pairs of a molecule, as the file of the weights says; 12.0 is
            what the calculator of so3krates-torch, `SO3LRCalculator`, does by default.

    Raises:
        FileError: the wheel is not installed, or its file is not the published one.
        InputError: the cutoff is no length above 2 Å.
    """
    file = "so3krates_torch/pretrained/so3lr/so3lr.model"
    path = packaged("so3krates-torch", file, _SHA256)
    record = torch_files.read(path, trusted=("so3krates_torch", "torch"))
    known = (*So3krates.__dataclass_fields__, *_LONG_RANGE)
    config = {option: value for option, value in record.attributes.items() if option in known}
    for option in ("cutoff_fn", "activation_fn", "energy_activation_fn"):
        config[option] = record.attributes[f"{option}_name"]
    module, variables = from_state_dict(config, torch_files.state_dict(record))
    if module.long_range is not None:
        terms = _cut(module.long_range, long_range_cutoff, _SWITCH_WIDTH)
        module = module.clone(long_range=terms)
    return Encoder(name, module, variables, target="energy", unit="eV")


def long_range_table(module: LongRange) -> dict[str, Source]:
    """Return the reference's name of each of our arrays of long-range terms."""
    table: dict[str, Source] = {}
    if module.zbl:
        table |= {f"params/long_range/zbl/{k}": f"zbl_repulsion.{k}_raw" for k in _ZBL}
    heads = []
    if module.electrostatic_scale is not None:
        charges = "partial_charges_output_block"
        heads.append(("charges", f"{charges}.transform_inv_features"))
        table["params/long_range/charges/elements/embedding"] = f"{charges}.atomic_embedding.weight"
    if module.dispersion_scale is not None:
        ratios, ours = "hirshfeld_output_block", "params/long_range/ratios"
        heads.append(("ratios", f"{ratios}.transform_features"))
        table[f"{ours}/elements/embedding"] = f"{ratios}.v_shift_embedding.weight"
        table[f"{ours}/query/embedding"] = f"{ratios}.q_embedding.weight"
    for head, theirs in heads:
        parts = {"out": theirs}
        if module.width is not None:
            parts = {"hidden": f"{theirs}.0", "out": f"{theirs}.2"}
        for ours, name in parts.items():
            path = f"params/long_range/{head}/{ours}"
            table |= {
                f"{path}/kernel": (f"{name}.weight", transpose),
                f"{path}/bias": f"{name}.bias",
            }
    return table
