"""MACE: messages of one neighbour each, then equivariant polynomials of their sum.

Sources: Batatia et al., NeurIPS 2022 (arXiv:2206.07697); Batatia et al., J. Chem. Phys. 163, 184110
(2025) (foundation models; density normalisation). Reference: `mace.modules.MACE` and
`ScaleShiftMACE` of mace-torch 0.3.16 with e3nn 0.4.4.

Layers: `embedding` (scalars of the element), `interaction_i` (after each product of messages),
`readout` (the hidden layer of the last readout; models of one interaction have none). The output is
each atom's energy in eV.

Models of e3nn 0.4.4 and of 0.6 are read alike. The Wigner 3j symbols whose sign differs, (1, l, l)
among them, all have l₁ + l₂ + l₃ odd, which no product of irreps of parity (−1)^l has; in coupling
tensors they occur between irreps of the other parity, and these tensors are read with the weights
(`blocks/symmetric_contraction.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.models.blocks.basics import Perceptron, normalized, polynomial_cutoff
from cpdjax.models.blocks.convolution import (
    BlockLinear,
    Blocks,
    Convolution,
    ElementLinear,
    Embedding,
    harmonic_irreps,
    product_irreps,
    product_paths,
    read_irreps,
    spherical_harmonics,
    to_irreps_array,
    visible_irreps,
)
from cpdjax.models.blocks.pair_potentials import AGNESI, ZBL, AgnesiTransform, Repulsion
from cpdjax.models.blocks.symmetric_contraction import (
    SymmetricContraction,
    from_coupling,
    polynomials,
    weight_name,
)
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import (
    Degree,
    Depth,
    IrrepsText,
    Length,
    Order,
    Power,
    Width,
    make,
    within,
)
from cpdjax.models.interface import Layers, Training
from cpdjax.models.weights.translate import (
    Source,
    State,
    agree,
    changed,
    only,
    require,
    stated,
    translate,
)


class MACE(nn.Module):
    """Compute energies of atoms; irreps are strings, every irrep once, of parity (−1)^l."""

    elements: tuple[int, ...]
    """Atomic numbers in the order of the weights."""
    hidden: tuple[IrrepsText, ...]
    """Irreps after each interaction; 0e comes first."""
    interactions: tuple[str, ...]
    """Names of the reference's interaction blocks."""
    correlation: tuple[Order, ...]
    """Largest degree of each interaction's polynomials: how many messages are multiplied."""
    lmax: Degree = 3
    """Largest degree of the spherical harmonics."""
    cutoff: Length = 5.0
    cutoff_power: Power = 5
    radial_basis: str = "bessel"
    radial_functions: Width = 8
    radial_hidden: tuple[Width, ...] = (64, 64, 64)
    cutoff_after_network: bool = False
    """Whether the envelope multiplies the radial network's output instead of its input."""
    agnesi: bool = False
    """Whether distances go through the Agnesi transform."""
    repulsion: bool = False
    """Whether the ZBL energy of pairs is added."""
    average_neighbours: float = 1.0
    readout_hidden: Width = 16
    gate: str | None = "silu"
    """Activation of the last readout."""
    readouts: tuple[int, ...] = (0, 1)
    """Interactions whose features are read out."""
    agnostic_product: bool = False
    """Whether all elements share the polynomials' weights."""

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return True: odd and even features are kept apart."""
        return True

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        layers = {"embedding": self._scalars}
        for i, irreps in enumerate(self.hidden):
            layers[f"interaction_{i}"] = visible_irreps(Irreps(irreps))
        if len(self.hidden) > 1:
            layers["readout"] = Irreps(f"{self.readout_hidden}x0e")
        return layers

    @property
    def _scalars(self) -> Irreps:
        return Irreps(f"{Irreps(self.hidden[0])[0].mul}x0e")

    @property
    def _before(self) -> list[Irreps]:
        """Return the irreps before each interaction."""
        return [self._scalars, *map(Irreps, self.hidden[:-1])]

    @property
    def _messages(self) -> Irreps:
        channels = self._scalars.dim
        return Irreps([(channels, entry.ir) for entry in harmonic_irreps(self.lmax)])

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers of the largest interaction: those of edges, and the sums of atoms."""
        most, messages = 0, self._messages
        for before in self._before:
            paths = product_paths(before, harmonic_irreps(self.lmax), messages)
            entries = [before[path.feature] for path in paths]
            weights = sum(entry.mul for entry in entries)
            products = sum(entry.mul * entry.ir.dim for entry in entries)
            edge = before.dim + 2 * weights + products
            own = 3 * product_irreps(before, paths).dim + 3 * messages.dim
            most = max(most, neighbours * edge + own)
        return atoms * most

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and every atom's energy in eV."""
        species, count = graph.species(self.elements), len(self.elements)
        numbers = jnp.asarray(self.elements, jnp.int32)[species]
        envelope = polynomial_cutoff(graph.distances, self.cutoff, self.cutoff_power)
        r = AgnesiTransform(name="agnesi")(graph, numbers) if self.agnesi else graph.distances
        radial = Radial(self.radial_basis, self.radial_functions, self.cutoff, name="radial")(r)
        after_network = envelope if self.cutoff_after_network else None
        if after_network is None:
            radial = radial * envelope[:, :, None]
        # The reference's edges point from the neighbour to the centre.
        harmonics = spherical_harmonics(graph, self.lmax, unit_vectors=True)
        harmonics = [y if degree % 2 == 0 else -y for degree, y in enumerate(harmonics)]
        x = Embedding(count, self._scalars.dim, biases=False, name="embedding")(
            species, graph.dtype
        )
        layers = {"embedding": to_irreps_array(self._scalars, x)}
        energy = jnp.zeros_like(graph.positions[:, 0])
        for i, after in enumerate(map(Irreps, self.hidden)):
            interact = self._interaction(i)
            message, own = interact(graph, x, species, radial, after_network, harmonics)
            x = self._product(i)(message, own, species)
            layers[f"interaction_{i}"] = to_irreps_array(after, x)
            if i > 0 and i == len(self.hidden) - 1:
                hidden, part = Readout(after, self.readout_hidden, self.gate, name="readout")(x)
                layers["readout"] = IrrepsArray(self.irreps["readout"], hidden)
                energy = energy + part
            elif i in self.readouts:
                (part,) = BlockLinear(after, Irreps("1x0e"), name=f"readout_{i}")(x)
                energy = energy + part[:, 0, 0]
        if self.repulsion:
            energy = energy + Repulsion(self.cutoff_power, name="repulsion")(graph, numbers)
        return layers, Rescale(count, name="rescale")(energy, species)

    def _interaction(self, i: int) -> Interaction:
        return Interaction(
            irreps=self._before[i],
            irreps_out=self._messages,
            skipped=Irreps(self.hidden[i]),
            harmonics=harmonic_irreps(self.lmax),
            elements=len(self.elements),
            radial_hidden=self.radial_hidden,
            block=self.interactions[i],
            average_neighbours=self.average_neighbours,
            name=f"interaction_{i}",
        )

    def _product(self, i: int) -> Product:
        return Product(
            irreps_out=Irreps(self.hidden[i]),
            lmax=self.lmax,
            correlation=self.correlation[i],
            elements=1 if self.agnostic_product else len(self.elements),
            name=f"product_{i}",
        )


class Radial(nn.Module):
    """Expand distances (Å): √(2/rc) sin(f r)/r with frequencies f, or Gaussians."""

    basis: str
    count: int
    cutoff: float

    @nn.compact
    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n radial"]:
        name = "centres" if self.basis == "gaussian" else "frequencies"
        first = np.linspace(0, self.cutoff, self.count)
        if self.basis == "bessel":
            first = np.linspace(1, self.count, self.count) * (np.pi / self.cutoff)
        values = self.variable("constants", name, lambda: jnp.asarray(first, r.dtype)).value
        values = jnp.broadcast_to(values, (*r.shape, self.count))
        if self.basis == "gaussian":
            width = self.cutoff / (self.count - 1)
            return jnp.exp(-0.5 * ((r[..., None] - values) / width) ** 2)
        return jnp.sin(r[..., None] * values) * (np.sqrt(2 / self.cutoff).item() / r)[..., None]


class Interaction(nn.Module):
    """Apply a linear map, a convolution, a linear map; and a linear map for each element.

    The map for each element takes the message itself; in residual blocks, it takes the features of
    the atom before the interaction.
    """

    irreps: Irreps
    irreps_out: Irreps
    skipped: Irreps
    """Irreps of the residual."""
    harmonics: Irreps
    elements: int
    radial_hidden: tuple[int, ...]
    block: str
    average_neighbours: float

    @nn.compact
    def __call__(
        self,
        graph: Graph,
        x: Blocks,
        species: Int[Array, " atom"],
        radial: Float[Array, "atom neighbour radial"],
        envelope: Float[Array, "atom neighbour"] | None,
        harmonics: list[Array],
    ) -> tuple[Blocks, Blocks | None]:
        """Return the message, and the residual if there is one."""
        residual = None
        if "Residual" in self.block:
            make = ElementLinear(self.irreps, self.skipped, self.elements, name="residual")
            residual = make(x, species)
        paths = product_paths(self.irreps, self.harmonics, self.irreps_out)
        summed = product_irreps(self.irreps, paths)
        x = BlockLinear(self.irreps, self.irreps, name="linear_in")(x)
        widths = (*self.radial_hidden, sum(self.irreps[path.feature].mul for path in paths))
        _, weights = Perceptron(widths, "silu", name="weights")(radial)
        if envelope is not None:
            weights = weights * envelope[:, :, None]
        convolution = Convolution(self.irreps, self.harmonics, self.irreps_out, name="convolution")
        x = convolution(x, harmonics, weights, graph)
        x = BlockLinear(summed, self.irreps_out, name="linear_out")(x)
        if "Density" in self.block:
            _, density = Perceptron((1,), "silu", name="density")(radial)
            density = jnp.tanh(density[:, :, 0] ** 2)
            density = density if envelope is None else density * envelope
            divisor = 1 + jnp.where(graph.edge_mask, density, 0).sum(1)
            x = [block / divisor[:, None, None] for block in x]
        else:
            x = [block / self.average_neighbours for block in x]
        if residual is None:
            make = ElementLinear(self.irreps_out, self.irreps_out, self.elements, name="selector")
            x = make(x, species)
        return x, residual


class Product(nn.Module):
    """Apply polynomials to the message, then a linear map; add the residual."""

    irreps_out: Irreps
    lmax: int
    correlation: int
    elements: int

    @nn.compact
    def __call__(self, x: Blocks, residual: Blocks | None, species: Int[Array, " atom"]) -> Blocks:
        irreps = Irreps(self.irreps_out)  # Flax holds plain tuples
        contraction = SymmetricContraction(
            self.lmax,
            tuple(entry.ir.l for entry in irreps),
            self.correlation,
            self.elements,
            name="contraction",
        )
        x = contraction(x, species if self.elements > 1 else jnp.zeros_like(species))
        x = BlockLinear(irreps, irreps, name="linear")(x)
        return x if residual is None else [a + b for a, b in zip(x, residual, strict=True)]


class Readout(nn.Module):
    """Compute the hidden scalars and the unscaled energy of every atom."""

    irreps: Irreps
    hidden: int
    gate: str | None

    @nn.compact
    def __call__(self, x: Blocks) -> tuple[Float[Array, "atom channel"], Float[Array, " atom"]]:
        middle = Irreps(f"{self.hidden}x0e")
        (hidden,) = BlockLinear(self.irreps, middle, name="hidden")(x)
        if self.gate is not None:
            hidden = normalized(self.gate)(hidden)
        (energy,) = BlockLinear(middle, Irreps("1x0e"), name="energy")([hidden])
        return hidden[:, 0, :], energy[:, 0, 0]


class Rescale(nn.Module):
    """Apply one scale and shift, and add each element's energy of a lone atom (eV)."""

    elements: int

    @nn.compact
    def __call__(
        self, energy: Float[Array, " atom"], species: Int[Array, " atom"]
    ) -> Float[Array, " atom"]:
        dtype = energy.dtype
        scale = self.variable("constants", "scale", jnp.ones, (), dtype).value
        shift = self.variable("constants", "shift", jnp.zeros, (), dtype).value
        lone = self.variable("constants", "atomic_energies", jnp.zeros, self.elements, dtype).value
        return energy * scale + shift + lone[species]


# -- mace-torch's models -------------------------------------------------------------------------

_REQUIRED = (
    "r_max", "num_bessel", "num_polynomial_cutoff", "max_ell", "interaction_cls",
    "interaction_cls_first", "num_interactions", "hidden_irreps", "MLP_irreps",
    "avg_num_neighbors", "atomic_numbers", "correlation", "gate",
)  # fmt: skip
_OPTIONAL = {
    "pair_repulsion": False,
    "apply_cutoff": True,
    "use_agnostic_product": False,
    "use_last_readout_only": False,
    "keep_last_layer_irreps": False,
    "radial_MLP": None,
    "heads": None,
    "head": None,
}
# The supported values of each option; the first is the default.
_CHOICES: dict[str, tuple[Any, ...]] = {
    "radial_type": ("bessel", "gaussian"),
    "distance_transform": ("None", "Agnesi", None),
    "gate": ("silu", "tanh", "abs", "None", None),
    "readout_cls": ("NonLinearReadoutBlock",),
    "use_so3": (False,),
    "use_embedding_readout": (False,),
    "use_edge_irreps_first": (False,),
    "edge_irreps": (None,),
    "embedding_specs": (None,),
}
_BLOCKS = (
    "RealAgnosticInteractionBlock",
    "RealAgnosticResidualInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
)
# The first four stand in the state dict too; the others say how torch computes.
_UNREAD = (
    "num_elements", "atomic_energies", "atomic_inter_scale", "atomic_inter_shift",
    "use_reduced_cg", "cueq_config", "oeq_config", "lammps_mliap",
)  # fmt: skip


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[MACE, dict[str, Any]]:
    """Return module and variables from a `MACE` or `ScaleShiftMACE`.

    Args:
        config: the arguments of its constructor, classes and functions by name, irreps as strings;
            of a model with several `heads`, `head` chooses one.
        state: its state dict.

    Raises:
        InputError: an option that this port does not know, or a state dict of another model; or
            no `apply_cutoff`, which no array tells.
    """
    full = _checked(config)
    module = _module(full)
    _compare(full, state)
    state = _of_one_head(full, state if _SCALES.keys() & state.keys() else {**_SCALES, **state})
    ignore = [*_CARRY_NOTHING, *(name for name, array in state.items() if not array.size)]
    variables = translate(module, state, _table(module, state), ignore)
    stated(config, "apply_cutoff")
    return module, variables


# A `MACE` has no scale and shift; these change nothing.
_SCALES = {"scale_shift.scale": np.ones(()), "scale_shift.shift": np.zeros(())}
_CARRY_NOTHING = (
    "r_max", "atomic_numbers", "num_interactions", "radial_embedding.cutoff_fn.*",
    "radial_embedding.bessel_fn.r_max", "radial_embedding.bessel_fn.prefactor",
    "pair_repulsion_fn.p", "*.output_mask", "*._w3j_*", "*.U_matrix_*", "*_zeroed",
)  # fmt: skip


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with its defaults.

    Raises:
        InputError: an option is missing, unknown or not supported.
    """
    require(config, *_REQUIRED)
    only("MACE", config, (*_REQUIRED, *_OPTIONAL, *_CHOICES), _UNREAD)
    full = {**_OPTIONAL, **{name: choices[0] for name, choices in _CHOICES.items()}, **config}
    for name, value in full.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            known = ", ".join(map(repr, _CHOICES[name]))
            raise InputError(f"{name} = {value!r} is not supported in MACE; known: {known}")
        if name.startswith("interaction_cls") and value not in _BLOCKS:
            raise InputError(f"{name} {value!r} is not supported; known: {', '.join(_BLOCKS)}")
    if full["num_interactions"] == 1 and full["use_last_readout_only"]:
        raise InputError("a MACE of one interaction with use_last_readout_only has no readout")
    return full


def _module(config: Mapping[str, Any]) -> MACE:
    count = within(Depth, "num_interactions", config["num_interactions"])
    correlation = config["correlation"]
    hidden = _hidden(str(config["hidden_irreps"]))
    last = hidden if config["keep_last_layer_irreps"] and count > 1 else hidden[:1]
    gate = config["gate"]
    return make(
        MACE,
        elements=tuple(int(number) for number in config["atomic_numbers"]),
        hidden=(*[str(hidden)] * (count - 1), str(last)),
        interactions=(
            config["interaction_cls_first"],
            *[config["interaction_cls"]] * (count - 1),
        ),
        correlation=(correlation,) * count if isinstance(correlation, int) else tuple(correlation),
        lmax=int(config["max_ell"]),
        cutoff=float(config["r_max"]),
        cutoff_power=int(config["num_polynomial_cutoff"]),
        radial_basis=config["radial_type"],
        radial_functions=int(config["num_bessel"]),
        radial_hidden=tuple(config["radial_MLP"] or (64, 64, 64)),
        cutoff_after_network=not config["apply_cutoff"],
        agnesi=config["distance_transform"] == "Agnesi",
        repulsion=bool(config["pair_repulsion"]),
        average_neighbours=float(config["avg_num_neighbors"]),
        readout_hidden=_scalars(str(config["MLP_irreps"])),
        gate=None if gate == "None" else gate,
        readouts=tuple(range(count))[-1 if config["use_last_readout_only"] else 0 :],
        agnostic_product=bool(config["use_agnostic_product"]),
    )


def _hidden(text: str) -> Irreps:
    irreps = read_irreps(text)
    degrees = [ir.l for _, ir in irreps]
    natural = all(ir.p == (-1) ** ir.l for _, ir in irreps)
    if not natural or degrees[:1] != [0] or degrees != sorted(set(degrees)):
        raise InputError(
            f"hidden_irreps {text!r} are not supported: expected 0e first, then from 1o, 2e, 3o, … "
            "each at most once"
        )
    if len({mul for mul, _ in irreps}) > 1:
        raise InputError(f"hidden_irreps {text!r}: MACE has equally many channels of each irrep")
    return irreps


def _scalars(text: str) -> int:
    irreps = read_irreps(text)
    if len(irreps) != 1 or irreps[0].ir != "0e":
        raise InputError(f"MLP_irreps {text!r} are not supported: expected scalars, such as 16x0e")
    return irreps[0].mul


def _compare(config: Mapping[str, Any], state: State) -> None:
    """Refuse a configuration and a state dict that disagree about what both hold."""
    buffers = {
        "r_max": "r_max",
        "num_interactions": "num_interactions",
        "atomic_numbers": "atomic_numbers",
        "num_polynomial_cutoff": "radial_embedding.cutoff_fn.p",
    }
    for option, name in buffers.items():
        if name not in state:
            continue
        agree(config, option, state[name])


def _of_one_head(config: Mapping[str, Any], state: State) -> State:
    """Return the state dict as it would be with the chosen head alone.

    Raises:
        InputError: no head is chosen of several, or one that the model does not have; an array of
            the wrong shape.
    """
    heads = list(config["heads"] or ["Default"])
    if config["head"] is None and len(heads) > 1:
        raise InputError(f"this MACE has the heads {', '.join(heads)}: choose one with `head`")
    if config["head"] not in (None, *heads):
        raise InputError(f"this MACE has no head {config['head']!r}; it has {', '.join(heads)}")
    count, head = len(heads), heads.index(config["head"] or heads[0])
    hidden = _scalars(str(config["MLP_irreps"]))
    own: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "scale_shift.s*": lambda x: np.broadcast_to(np.atleast_1d(x), (count,))[head],
        "atomic_energies_fn.atomic_energies": lambda x: np.atleast_2d(x)[head],
    }
    if count > 1:
        own |= {
            "readouts.*.linear.weight": lambda w: w.reshape(-1, count)[:, head],
            "readouts.*.linear_1.weight": lambda w: w.reshape(-1, count, hidden)[:, head].ravel(),
            # The reference divides by the root of the number of all heads' channels.
            "readouts.*.linear_2.weight": lambda w: (
                w.reshape(count, hidden, count)[head, :, head] / np.sqrt(count).astype(w.dtype)
            ),
        }
    found = {name: p for name in state for p in own if fnmatchcase(name, p)}
    return {**state, **{name: changed(state, name, own[p]) for name, p in found.items()}}


def _table(module: MACE, state: State) -> dict[str, Source]:
    """Return the reference's name of each of our arrays."""
    basis = {
        "bessel": ("frequencies", "bessel_weights"),
        "gaussian": ("centres", "gaussian_weights"),
    }
    ours, theirs = basis[module.radial_basis]
    table: dict[str, Source] = {
        "params/embedding/weight": "node_embedding.linear.weight",
        f"constants/radial/{ours}": f"radial_embedding.bessel_fn.{theirs}",
        "constants/rescale/scale": "scale_shift.scale",
        "constants/rescale/shift": "scale_shift.shift",
        "constants/rescale/atomic_energies": "atomic_energies_fn.atomic_energies",
    }
    for i in range(len(module.hidden)):
        table |= _interaction_table(module, i) | _product_table(module, i, state)
    for place, i in enumerate(module.readouts):
        if i > 0 and i == len(module.hidden) - 1:
            table["params/readout/hidden/weight"] = f"readouts.{place}.linear_1.weight"
            table["params/readout/energy/weight"] = f"readouts.{place}.linear_2.weight"
        else:
            table[f"params/readout_{i}/weight"] = f"readouts.{place}.linear.weight"
    if module.agnesi:
        for name in (*AGNESI, "covalent_radii"):
            table[f"constants/agnesi/{name}"] = f"radial_embedding.distance_transform.{name}"
    if module.repulsion:
        for name in (*ZBL, "covalent_radii"):
            table[f"constants/repulsion/{name}"] = f"pair_repulsion_fn.{name}"
    return table


def _interaction_table(module: MACE, i: int) -> dict[str, Source]:
    block, ours, theirs = module.interactions[i], f"interaction_{i}", f"interactions.{i}"
    names = {
        "linear_in/weight": "linear_up.weight",
        "linear_out/weight": "linear.weight",
        "residual/weight" if "Residual" in block else "selector/weight": "skip_tp.weight",
    }
    for k in range(len(module.radial_hidden) + 1):
        names[f"weights/layer{k}"] = f"conv_tp_weights.layer{k}.weight"
    if "Density" in block:
        names["density/layer0"] = "density_fn.layer0.weight"
    return {f"params/{ours}/{name}": f"{theirs}.{other}" for name, other in names.items()}


def _product_table(module: MACE, i: int, state: State) -> dict[str, Source]:
    """Return the sources of the polynomials' weights, by the state dict's coupling tensors."""
    ours, theirs = f"product_{i}", f"products.{i}"
    table: dict[str, Source] = {f"params/{ours}/linear/weight": f"{theirs}.linear.weight"}
    most = module.correlation[i]
    for k, (_, ir) in enumerate(Irreps(module.hidden[i])):
        prefix = f"{theirs}.symmetric_contractions.contractions.{k}"
        for degree in range(1, most + 1):
            if not polynomials(module.lmax, degree, ir.l):
                continue
            name = f"{prefix}.U_matrix_{degree}"
            if name not in state:
                raise InputError(
                    f"the state dict lacks {name!r}: it is of another architecture or configuration"
                )
            change = partial(
                from_coupling, state[name], lmax=module.lmax, degree=degree, l_out=ir.l
            )
            last = "weights_max" if degree == most else f"weights.{most - degree - 1}"
            path = f"params/{ours}/contraction/{weight_name(ir.l, degree)}"
            table[path] = (f"{prefix}.{last}", change)
    return table


# Sizes of our choice, which train on a core of a laptop in minutes.
TRAINING = Training(
    {
        "hidden": ("24x0e + 24x1o + 24x2e", "24x0e"),
        "interactions": (
            "RealAgnosticInteractionBlock",
            "RealAgnosticResidualInteractionBlock",
        ),
        "correlation": (2, 2),
        "lmax": 2,
        "radial_hidden": (32, 32),
        "average_neighbours": 14.0,
        "cutoff": 5.0,
    },
    learning_rate=1e-2,
)
