"""NequIP, in the form of SevenNet: equivariant convolutions with a gate.

Sources: Batzner et al., Nat. Commun. 13, 2453 (2022); Park et al., J. Chem. Theory Comput. 20, 4857
(2024). Reference: sevenn 0.13.0 (e3nn 0.6), whose checkpoints `load` reads.

Layers: `embedding` (scalars of the element), `interaction_i` (after each gate), `readout` (the last
hidden scalars before the energy). The output is each atom's energy in eV.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.blocks.basics import Perceptron, normalized, polynomial_cutoff
from cpdjax.models.blocks.convolution import (
    BlockLinear,
    Blocks,
    Convolution,
    ElementLinear,
    Embedding,
    Path,
    gate,
    gate_irreps,
    harmonic_irreps,
    product_irreps,
    product_memory,
    product_paths,
    read_irreps,
    sorted_order,
    spherical_harmonics,
    to_irreps_array,
    torch_order,
    visible_irreps,
    wigner_3j,
)
from cpdjax.models.encoder import Encoder
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import (
    Degree,
    Depth,
    IrrepsText,
    Length,
    Power,
    Width,
    make,
    within,
)
from cpdjax.models.interface import MPTRAJ, Card, Layers
from cpdjax.models.weights import torch_files
from cpdjax.models.weights.translate import Source, State, only, require, stated, translate
from cpdjax.models.weights.wheels import packaged


class NequIP(nn.Module):
    """Compute energies by convolutions over neighbours, as SevenNet's checkpoints describe them.

    Irreps are strings in the order 0o, 0e, 1o, 1e, …; without `odd`, every irrep is even and parity
    has no meaning.
    """

    elements: tuple[int, ...]
    """Atomic numbers in the order of the weights."""
    hidden: tuple[IrrepsText, ...]
    """Irreps of the embedding (scalars), then after each interaction."""
    lmax: Degree = 2
    """Largest degree of the spherical harmonics."""
    odd: bool = False
    """Whether harmonics of odd degree are odd under inversion."""
    unit_vectors: bool = True
    """Whether the harmonics are taken of the direction, not of the vector."""
    cutoff: Length = 5.0
    cutoff_start: float | None = None
    """Distance (Å) where XPLOR's envelope begins to fall; None: a polynomial envelope."""
    cutoff_power: Power = 6
    radial_functions: Width = 8
    radial_hidden: tuple[Width, ...] = (64, 64)
    radial_activation: str = "silu"
    activation: str = "silu"
    """Activation of even scalars; that of odd ones is tanh."""
    gate_activation: str = "silu"
    self_connections: tuple[str, ...] = ("linear",) * 5
    """For each interaction "linear", or "nequip" for a linear map for each element."""
    biases: bool = False
    readout_hidden: tuple[Width, ...] | None = None
    """Widths of the readout network; None: two linear maps in its place."""
    readout_activation: str = "relu"

    @property
    def periodic(self) -> bool:
        """Return True: images of atoms in other cells are neighbours like any other."""
        return True

    @property
    def parity(self) -> bool:
        """Return whether odd and even features are kept apart."""
        return self.odd

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer."""
        first, *after = (visible_irreps(Irreps(irreps)) for irreps in self.hidden)
        interactions = {f"interaction_{i}": irreps for i, irreps in enumerate(after)}
        return {"embedding": first, **interactions, "readout": self._readout_irreps}

    @property
    def _readout_irreps(self) -> Irreps:
        widths = self.readout_hidden or (Irreps(self.hidden[-1]).dim // 2,)
        return Irreps(f"{widths[-1]}x0e")

    @property
    def _harmonics(self) -> Irreps:
        return harmonic_irreps(self.lmax, self.odd)

    @property
    def _steps(self) -> list[tuple[Irreps, Irreps, Irreps]]:
        """Return the irreps before and after each interaction, and those kept of its products."""
        steps = []
        for i, (before, after) in enumerate(zip(self.hidden[:-1], self.hidden[1:], strict=True)):
            # The last interaction feeds a readout of even scalars.
            parities = (1,) if i == len(self.hidden) - 2 else (-1, 1)
            degrees = range(Irreps(after).lmax + 1)
            kept = Irreps([(1, (degree, p)) for degree in degrees for p in parities])
            steps.append((Irreps(before), Irreps(after), kept))
        return steps

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers of the largest interaction: those of edges, and the sums of atoms."""
        steps = ((b, product_paths(b, self._harmonics, kept)) for b, _, kept in self._steps)
        return atoms * max(product_memory(b, paths, neighbours) for b, paths in steps)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and every atom's energy in eV."""
        count = len(self.elements)
        species = graph.species(self.elements)
        radial = Bessel(
            self.radial_functions, self.cutoff, self.cutoff_start, self.cutoff_power, name="radial"
        )(graph.distances)
        harmonics = spherical_harmonics(graph, self.lmax, self.unit_vectors)
        first = Irreps(self.hidden[0])
        x = Embedding(count, first.dim, self.biases, name="embedding")(species, graph.dtype)
        layers = {"embedding": to_irreps_array(first, x)}
        for i, (before, after, kept) in enumerate(self._steps):
            x = Interaction(
                irreps=before,
                irreps_out=after,
                kept=kept,
                harmonics=self._harmonics,
                elements=count,
                radial_hidden=self.radial_hidden,
                radial_activation=self.radial_activation,
                activation=self.activation,
                gate_activation=self.gate_activation,
                self_connection=self.self_connections[i],
                biases=self.biases,
                name=f"interaction_{i}",
            )(graph, x, species, radial, harmonics)
            layers[f"interaction_{i}"] = to_irreps_array(after, x)
        hidden, energy = Readout(
            Irreps(self.hidden[-1]),
            self.readout_hidden,
            self.readout_activation,
            self.biases,
            name="readout",
        )(x)
        layers["readout"] = IrrepsArray(self._readout_irreps, hidden)
        return layers, Rescale(count, name="rescale")(energy, species)


class Bessel(nn.Module):
    """Expand distances: 2/rc sin(f r)/r with learned frequencies f, times an envelope."""

    count: int
    cutoff: float
    start: float | None
    power: int

    @nn.compact
    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n radial"]:
        first = np.arange(1, self.count + 1) * (np.pi / self.cutoff)
        frequencies = self.param("frequencies", lambda _: jnp.asarray(first, r.dtype))
        if self.start is None:
            envelope = polynomial_cutoff(r, self.cutoff, self.power)
        else:
            envelope = xplor_cutoff(r, self.start, self.cutoff)
        waves = jnp.sin(r[..., None] * jnp.broadcast_to(frequencies, (*r.shape, self.count)))
        return waves * (2 / self.cutoff * envelope / r)[..., None]


def xplor_cutoff(r: Float[Array, "*n"], start: float, cutoff: float) -> Float[Array, "*n"]:
    """Return 1 up to `start`, then a smooth fall to 0 at the cutoff; lengths in Å."""
    square, low, high = r * r, start**2, cutoff**2
    fall = (high - square) ** 2 * (high + 2 * square - 3 * low) / (high - low) ** 3
    return jnp.where(r < start, 1, jnp.where(r < cutoff, fall, 0))


class Interaction(nn.Module):
    """Apply a linear map, a convolution, a linear map; add a map of the atom itself; then gate."""

    irreps: Irreps
    irreps_out: Irreps
    kept: Irreps
    harmonics: Irreps
    elements: int
    radial_hidden: tuple[int, ...]
    radial_activation: str
    activation: str
    gate_activation: str
    self_connection: str
    biases: bool

    @nn.compact
    def __call__(
        self,
        graph: Graph,
        x: Blocks,
        species: Int[Array, " atom"],
        radial: Float[Array, "atom neighbour radial"],
        harmonics: list[Array],
    ) -> Blocks:
        paths = product_paths(self.irreps, self.harmonics, self.kept)
        summed, wanted = product_irreps(self.irreps, paths), gate_irreps(self.irreps_out)
        if self.self_connection == "linear":
            own = BlockLinear(self.irreps, wanted, name="self_connection")(x)
        else:
            make = ElementLinear(self.irreps, wanted, self.elements, name="self_connection")
            own = make(x, species)
        x = BlockLinear(self.irreps, self.irreps, self.biases, name="linear_in")(x)
        widths = (*self.radial_hidden, sum(self.irreps[path.feature].mul for path in paths))
        _, weights = Perceptron(widths, self.radial_activation, name="weights")(radial)
        convolution = Convolution(self.irreps, self.harmonics, self.kept, name="convolution")
        x = convolution(x, harmonics, weights, graph)
        denominator = self.variable("constants", "denominator", jnp.ones, (1,), graph.dtype).value
        x = [block / denominator[:, None, None] for block in x]
        x = BlockLinear(summed, wanted, self.biases, name="linear_out")(x)
        x = [block + more for block, more in zip(x, own, strict=True)]
        even, gates = normalized(self.activation), normalized(self.gate_activation)
        return gate(self.irreps_out, x, even, normalized("tanh"), gates)


class Readout(nn.Module):
    """Compute the hidden scalars and the unscaled energy of every atom."""

    irreps: Irreps
    hidden: tuple[int, ...] | None
    activation: str
    biases: bool

    @nn.compact
    def __call__(self, x: Blocks) -> tuple[Float[Array, "atom channel"], Float[Array, " atom"]]:
        if self.hidden is not None:
            scalars = x[0][:, 0, :]
            network = Perceptron((*self.hidden, 1), self.activation, name="network")
            hidden, energy = network(scalars)
            return hidden, energy[:, 0]
        middle = Irreps(f"{Irreps(self.irreps).dim // 2}x0e")  # Flax holds plain tuples
        (hidden,) = BlockLinear(self.irreps, middle, self.biases, name="hidden")(x)
        (energy,) = BlockLinear(middle, Irreps("1x0e"), self.biases, name="energy")([hidden])
        return hidden[:, 0, :], energy[:, 0, 0]


class Rescale(nn.Module):
    """Apply each element's scale and shift (eV), in the order of the elements."""

    elements: int

    @nn.compact
    def __call__(
        self, energy: Float[Array, " atom"], species: Int[Array, " atom"]
    ) -> Float[Array, " atom"]:
        shape = (self.elements,)
        scale = self.variable("constants", "scale", jnp.ones, shape, energy.dtype).value
        shift = self.variable("constants", "shift", jnp.zeros, shape, energy.dtype).value
        return energy * scale[species] + shift[species]


# -- SevenNet's checkpoints ----------------------------------------------------------------------


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[NequIP, dict[str, Any]]:
    """Return module and variables from a SevenNet checkpoint's "config" and "model_state_dict".

    Raises:
        InputError: an option that sevenn offers and this port does not, or that is missing though
            no array tells it, or the state dict of another architecture; UnknownNameError: an
            unknown option or activation.
    """
    module = _module(config)
    state = {_renamed(name): array for name, array in state.items()}
    state.setdefault("edge_embedding.basis_function.coeffs", _frequencies(module))
    ignore = ["*.output_mask", "*_convolution.convolution.weight", "*_equivariant_gate.gate.mul.*"]
    ignore += ["*._w3j_*"]
    ignore += ["*_self_connection_intro.linear.bias" if module.biases else "*.linear.bias"]
    variables = translate(module, state, _table(module, config, state), ignore)
    untold = ["readout_fcn_activation"] if module.readout_hidden else []
    stated(config, "cutoff_function", "act_radial", "act_scalar", "act_gate", *untold)
    return module, variables


def _module(config: Mapping[str, Any]) -> NequIP:
    """Return the module of a checkpoint's hyperparameters, with sevenn's defaults."""
    _check(config)
    types = {int(number): index for number, index in config["_type_map"].items()}
    scalar, gates = (config.get(key, _SILU) for key in ("act_scalar", "act_gate"))
    if config.get("is_parity", True) and scalar["o"] != "tanh":
        raise InputError(f"odd scalars with {scalar['o']!r} are not supported, only with 'tanh'")
    hidden = _hidden(config)
    connections = config.get("self_connection_type", "nequip")
    if isinstance(connections, str):
        connections = [connections] * (len(hidden) - 1)
    if not {"linear", "nequip"}.issuperset(connections):
        raise InputError(f"self_connection_type {connections}: known are 'linear' and 'nequip'")
    if len(connections) != len(hidden) - 1:
        raise InputError(f"self_connection_type {connections}: expected {len(hidden) - 1} of them")
    envelope = config.get("cutoff_function", {"cutoff_function_name": "poly_cut"})
    network = config.get("readout_as_fcn", False)
    module = make(
        NequIP,
        elements=tuple(sorted(types, key=lambda number: types[number])),
        hidden=tuple(str(irreps) for irreps in hidden),
        lmax=_lmax(config, "lmax_edge"),
        odd=config.get("is_parity", True),
        unit_vectors=config.get("_normalize_sph", not _older(config, 10)),
        cutoff=float(config["cutoff"]),
        cutoff_start=(
            float(envelope["cutoff_on"]) if envelope["cutoff_function_name"] == "XPLOR" else None
        ),
        cutoff_power=envelope.get("poly_cut_p_value", 6),
        radial_functions=config.get("radial_basis", {}).get("bessel_basis_num", 8),
        radial_hidden=tuple(config.get("weight_nn_hidden_neurons", (64, 64))),
        radial_activation=config.get("act_radial", "silu"),
        activation=scalar["e"],
        gate_activation=gates["e"],
        self_connections=tuple(connections),
        biases=bool(config.get("use_bias_in_linear")),
        readout_hidden=(
            tuple(config.get("readout_fcn_hidden_neurons", (30, 30))) if network else None
        ),
        readout_activation=config.get("readout_fcn_activation") or "relu",
    )
    for name in (module.activation, module.gate_activation, module.radial_activation,
                 module.readout_activation):  # fmt: skip
        normalized(name)  # refuses those that it does not know
    return module


def _check(config: Mapping[str, Any]) -> None:
    """Refuse options that are missing, unknown or not ported."""
    require(config, "_type_map", "version", "cutoff")
    if not config.get("irreps_manual"):
        require(config, "channel", "num_convolution_layer")
    only("NequIP", config, (*_OPTIONS, *_FIXED), _UNREAD)
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise InputError(f"NequIP with {name}={config[name]!r} is not ported, only {value!r}")
    for group, key, known in (
        ("radial_basis", "radial_basis_name", ("bessel",)),
        ("cutoff_function", "cutoff_function_name", ("poly_cut", "XPLOR")),
    ):
        found = config.get(group, {}).get(key, known[0])
        if found not in known:
            raise UnknownNameError(group.replace("_", " "), found, known)


_SILU = {"e": "silu", "o": "tanh"}
_OPTIONS = (
    "_type_map", "version", "cutoff", "cutoff_function", "radial_basis", "channel",
    "num_convolution_layer", "irreps_manual", "lmax", "lmax_edge", "lmax_node", "is_parity",
    "_normalize_sph", "act_radial", "act_scalar", "act_gate", "weight_nn_hidden_neurons",
    "self_connection_type", "use_bias_in_linear", "readout_as_fcn", "readout_fcn_hidden_neurons",
    "readout_fcn_activation",
)  # fmt: skip
_FIXED = {
    "_model_type": "E3_equivariant_model",
    "interaction_type": "nequip",
    "use_modality": False,
    "use_modal_node_embedding": False,
    "use_modal_self_inter_intro": False,
    "use_modal_self_inter_outro": False,
    "use_modal_output_block": False,
}
# These change neither features nor output: a checkpoint also holds how it was trained, on what
# data, and how torch computes. Shifts, scales and denominators stand in the state dict too.
_UNREAD = (
    "*_cp", "*_config", "*_loss_weight", "*_param", "*_path", "*_record", "_is_*", "_modal_map",
    "_num_workers", "_number_of_*", "avg_num_neigh", "batch_size", "best_metric",
    "*chemical_species*", "compute_statistics", "continue", "conv_denominator", "csv_log",
    "data_*", "dataset_type", "ddp_backend", "default_modal", "device", "dtype", "epoch",
    "ewc_*", "fisher_information", "format_outputs_for_ase", "is_ddp", "is_train_*", "load_*",
    "local_rank", "loss", "mem_*", "mliap_*", "modal_list", "num_workers", "opt_params",
    "optimize_by_reduce", "optimizer", "per_epoch", "preprocess_num_cores", "random_seed", "rank",
    "rehearsal", "save_*", "scale", "scheduler", "shift", "structure_list", "train_*",
    "use_flash_tp", "use_mliap", "use_modal_wise_*", "use_oeq", "use_species_wise_shift_scale",
    "use_testset", "use_weight", "world_size",
)  # fmt: skip


def _lmax(config: Mapping[str, Any], key: str) -> int:
    """Return the largest degree of this use, or else the common one."""
    own = config.get(key, -1)
    return within(Degree, key, own if own > 0 else config.get("lmax", 1))


def _older(config: Mapping[str, Any], minor: int) -> bool:
    """Return whether the checkpoint was made before sevenn 0.`minor`.0 was out."""
    version = str(config["version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    return numbers < (0, minor) or version == f"0.{minor}.0.dev0"


def _hidden(config: Mapping[str, Any]) -> list[Irreps]:
    """Return the irreps of the embedding and after each interaction, given or inferred."""
    if config.get("irreps_manual"):
        return [read_irreps(irreps) for irreps in config["irreps_manual"]]
    channels = within(Width, "channel", config["channel"])
    count = within(Depth, "num_convolution_layer", config["num_convolution_layer"])
    harmonics = harmonic_irreps(_lmax(config, "lmax_edge"), config.get("is_parity", True))
    hidden = [Irreps(f"{channels}x0e")]
    for _ in range(count - 1):
        reached = {ir for _, a in hidden[-1] for _, b in harmonics for ir in a * b}
        low = sorted((ir for ir in reached if ir.l <= _lmax(config, "lmax_node")), key=torch_order)
        hidden.append(Irreps([(channels, ir) for ir in low]))
    return [*hidden, Irreps(f"{channels}x0e")]


def _renamed(name: str) -> str:
    """Return a name of checkpoints before sevenn 0.9.1 as it is now."""
    module, dot, rest = name.partition(".")
    module = module.replace(" ", "_").replace("reducing_nn_", "reduce_")
    module = module.replace("EdgeEmbedding", "edge_embedding")
    return module + dot + rest.replace("denumerator", "denominator")


def _frequencies(module: NequIP) -> Float[np.ndarray, " radial"]:
    """Return the frequencies that sevenn leaves out where they were not learned."""
    return (np.arange(1, module.radial_functions + 1) * np.pi / module.cutoff).astype(np.float32)


def _table(module: NequIP, config: Mapping[str, Any], state: State) -> dict[str, Source]:
    """Return the checkpoint's name of each of our arrays."""
    count = len(module.elements)

    def each(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, (count,))

    table: dict[str, Source] = {
        "params/radial/frequencies": "edge_embedding.basis_function.coeffs",
        "constants/rescale/scale": ("rescale_atomic_energy.scale", each),
        "constants/rescale/shift": ("rescale_atomic_energy.shift", each),
    }
    linears = {"embedding": "onehot_to_feature_x"}
    for i, (before, _, kept) in enumerate(module._steps):
        ours = f"interaction_{i}"
        linears[f"{ours}/linear_in"] = f"{i}_self_interaction_1"
        linears[f"{ours}/linear_out"] = f"{i}_self_interaction_2"
        table |= _convolution_table(module, config, state, i, before, kept)
        kind = {"linear": "linear", "nequip": "fc_tensor_product"}[module.self_connections[i]]
        table[f"params/{ours}/self_connection/weight"] = f"{i}_self_connection_intro.{kind}.weight"
    if module.readout_hidden is None:
        linears["readout/hidden"] = "reduce_input_to_hidden"
        linears["readout/energy"] = "reduce_hidden_to_energy"
    else:
        for k in range(len(module.readout_hidden) + 1):
            table[f"params/readout/network/layer{k}"] = f"readout_FCN.fcn.layer{k}.weight"
    for ours, theirs in linears.items():
        for part in ("weight", "bias")[: 1 + module.biases]:
            table[f"params/{ours}/{part}"] = f"{theirs}.linear.{part}"
    return table


def _convolution_table(
    module: NequIP,
    config: Mapping[str, Any],
    state: State,
    i: int,
    before: Irreps,
    kept: Irreps,
) -> dict[str, Source]:
    """Return where the denominator and the radial network of a convolution come from."""
    ours, theirs = f"interaction_{i}", f"{i}_convolution"
    paths = product_paths(before, module._harmonics, kept)
    table: dict[str, Source] = {f"constants/{ours}/denominator": f"{theirs}.denominator"}
    last = len(module.radial_hidden)
    for k in range(last):
        table[f"params/{ours}/weights/layer{k}"] = f"{theirs}.weight_nn.layer{k}.weight"
    # Weights of old checkpoints stand in the order in which paths are made, not of the outputs.
    order = sorted_order(paths)
    places = {
        p: place for place, p in enumerate(range(len(paths)) if _older(config, 11) else order)
    }
    made = [paths[p] for p in sorted(places, key=lambda p: places[p])]
    ends = np.cumsum([before[path.feature].mul for path in made])[:-1]
    signs = [_sign(before[path.feature].ir.l, path, theirs, state) for path in paths]

    def change(weight: np.ndarray) -> np.ndarray:
        parts = np.split(weight, ends, axis=1)
        return np.concatenate([parts[places[p]] * signs[p] for p in order], axis=1)

    name = f"{theirs}.weight_nn.layer{last}.weight"
    return table | {f"params/{ours}/weights/layer{last}": (name, change)}


def _sign(l1: int, path: Path, convolution: str, state: State) -> int:
    """Return -1 where the checkpoint's Wigner 3j symbol is the negative of ours (e3nn < 0.6).

    The sign goes into the weights. The stored symbols are rounded to float32; ours are exact.
    """
    degrees = l1, path.harmonic, path.ir.l
    if 0 in degrees:
        return 1
    ours = wigner_3j(*degrees)
    suffix = "_w3j_{}_{}_{}".format(*degrees)
    name = f"{convolution}.convolution._compiled_main_left_right.{suffix}"
    stored = state.get(name, np.zeros(0))
    for sign in (1, -1):
        if stored.shape == ours.shape and np.allclose(sign * stored, ours, atol=1e-6):
            return sign
    raise InputError(f"{name!r} is not in the state dict, or is no Wigner 3j symbol of e3nn")


_PRETRAINED = {
    "sevennet-0": (
        "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36",
    ),
    "sevennet-0-22may2024": (
        "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
        "5d389fafd512e6ae2830d74d0b66ffc49a55d3832653ff8e7bf7f1343013c1d1",
    ),
    "sevennet-l3i5": (
        "SevenNet_l3i5/checkpoint_l3i5.pth",
        "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d",
    ),
}


CARDS = {name: Card("NequIP (SevenNet)", "MIT", MPTRAJ, "sevenn") for name in _PRETRAINED}


def load(name: str) -> Encoder:
    """Return a SevenNet trained on the Materials Project, from the wheel of sevenn 0.13.0.

    Raises:
        FileError: the wheel is not installed, or its file is not the published one.
    """
    file, sha256 = _PRETRAINED[name]
    path = packaged("sevenn", f"sevenn/pretrained_potentials/{file}", sha256)
    checkpoint = torch_files.read(path)
    module, variables = from_state_dict(checkpoint["config"], checkpoint["model_state_dict"])
    return Encoder(name, module, variables, target="energy", unit="eV")
