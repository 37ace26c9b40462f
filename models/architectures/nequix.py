"""Nequix: NequIP's convolutions, lean, with a root-mean-square norm before the gate.

Source: Koker, Kotak and Smidt, Training a foundation model for materials on a budget (2025,
arXiv:2508.16067). Reference: `nequix.model.Nequix` of nequix 0.4.5 with e3nn-jax 0.21 and
equinox 0.13, whose files, NAME.nqx, `convert` reads. The package brings no weights; the published
ones are in github.com/atomicarchitects/nequix, folder `models`.

Layers: `embedding` (what an element sends in the first convolution), `interaction_i` (after each
gate), `readout`. The readout is one linear map of the last interaction's scalars, so that this
layer is its one number: the atom's energy before scale, shift and the energy of a lone atom. The
output is each atom's energy in eV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float, Int
from pydantic import Field

from cpdjax.errors import FileError, InputError
from cpdjax.hashing import hash_file
from cpdjax.models.blocks.basics import polynomial_cutoff
from cpdjax.models.blocks.convolution import (
    BlockLinear,
    Blocks,
    Convolution,
    gate,
    gate_irreps,
    harmonic_irreps,
    linear_paths,
    product_irreps,
    product_memory,
    product_paths,
    read_irreps,
    spherical_harmonics,
    to_irreps_array,
    visible_irreps,
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
from cpdjax.models.interface import MPTRAJ, Layers
from cpdjax.models.weights import equinox_files, saved_models
from cpdjax.models.weights.translate import Source, State, only, require, translate

_MOMENT = 0.5964586854233045
"""Root of the second moment of silu(z), z normal, as e3nn-jax computes it: the root of its mean
square over 1,000,001 quantiles. The weights were trained with this number."""


class Nequix(nn.Module):
    """Compute energies by convolutions over neighbours; by default of the published sizes."""

    elements: tuple[int, ...]
    """Atomic numbers in the order of the weights, which is ascending."""
    hidden: IrrepsText = "128x0e + 64x1o + 32x2e + 32x3o"
    """Irreps after each interaction, of which the last keeps the scalars alone."""
    interactions: Annotated[int, Field(ge=1, le=20)] = 4
    lmax: Degree = 3
    """Largest degree of the spherical harmonics."""
    cutoff: Length = 6.0
    cutoff_power: Power = 6
    radial_functions: Width = 8
    radial_hidden: tuple[Width, ...] = (64, 64)
    norm: bool = True
    """Whether features are normalised before the gate."""

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
        after = [visible_irreps(after) for _, after in self._steps]
        interactions = {f"interaction_{i}": irreps for i, irreps in enumerate(after)}
        return {"embedding": self._one_hot, **interactions, "readout": Irreps("1x0e")}

    @property
    def _one_hot(self) -> Irreps:
        return Irreps(f"{len(self.elements)}x0e")

    @property
    def _steps(self) -> list[tuple[Irreps, Irreps]]:
        """Return the irreps before and after each interaction."""
        hidden = Irreps(self.hidden)
        between = [hidden] * (self.interactions - 1)
        return list(zip([self._one_hot, *between], [*between, hidden.filter("0e")], strict=True))

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers of the largest interaction: those of edges, and the sums of atoms."""
        harmonics = harmonic_irreps(self.lmax)
        steps = ((b, product_paths(b, harmonics, after)) for b, after in self._steps)
        return atoms * max(product_memory(b, paths, neighbours) for b, paths in steps)

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and every atom's energy in eV."""
        species, count = graph.species(self.elements), len(self.elements)
        radial = bessel(graph.distances, self.radial_functions, self.cutoff)
        envelope = polynomial_cutoff(graph.distances, self.cutoff, self.cutoff_power)
        radial = radial * envelope[:, :, None]
        harmonics = spherical_harmonics(graph, self.lmax, unit_vectors=True)
        x: Blocks = [jax.nn.one_hot(species, count, dtype=graph.dtype)[:, None, :]]
        layers: Layers = {}
        for i, (before, after) in enumerate(self._steps):
            sent = BlockLinear(before, before, name=f"linear_{i}")(x)
            if i == 0:
                layers["embedding"] = to_irreps_array(before, sent)
            x = Interaction(
                irreps=before,
                irreps_out=after,
                harmonics=harmonic_irreps(self.lmax),
                radial_hidden=self.radial_hidden,
                norm=self.norm,
                name=f"interaction_{i}",
            )(graph, x, sent, radial, harmonics)
            layers[f"interaction_{i}"] = to_irreps_array(after, x)
        (energy,) = BlockLinear(after, Irreps("1x0e"), name="readout")(x)
        layers["readout"] = IrrepsArray("1x0e", energy[:, 0])
        return layers, Rescale(count, name="rescale")(energy[:, 0, 0], species)


def bessel(r: Float[Array, "*n"], count: int, cutoff: float) -> Float[Array, "*n radial"]:
    """Expand distances (Å): 2/rc sin(n π r/rc)/r for n from 1 to `count`."""
    frequencies = (np.arange(1, count + 1) * (np.pi / cutoff)).astype(r.dtype)
    waves = jnp.sin(r[..., None] * jnp.broadcast_to(frequencies, (*r.shape, count)))
    return waves * (2 / cutoff / r)[..., None]


class Interaction(nn.Module):
    """Convolve what atoms send, apply a linear map, add a map of the atom itself; norm; gate."""

    irreps: Irreps
    irreps_out: Irreps
    harmonics: Irreps
    radial_hidden: tuple[int, ...]
    norm: bool

    @nn.compact
    def __call__(
        self,
        graph: Graph,
        x: Blocks,
        sent: Blocks,
        radial: Float[Array, "atom neighbour radial"],
        harmonics: list[Array],
    ) -> Blocks:
        paths = product_paths(self.irreps, self.harmonics, self.irreps_out)
        summed, wanted = product_irreps(self.irreps, paths), gate_irreps(self.irreps_out)
        weights = radial
        for k, width in enumerate(self.radial_hidden):
            weights = jax.nn.silu(nn.Dense(width, use_bias=False, name=f"radial{k}")(weights))
        count = sum(self.irreps[path.feature].mul for path in paths)
        weights = nn.Dense(count, use_bias=False, name="weights")(weights)
        convolution = Convolution(self.irreps, self.harmonics, self.irreps_out, name="convolution")
        message = convolution(sent, harmonics, weights, graph)
        mean = self.variable("constants", "average_neighbours", jnp.ones, (), graph.dtype).value
        message = [block / jnp.sqrt(mean) for block in message]
        message = BlockLinear(summed, wanted, name="linear_out")(message)
        own = BlockLinear(self.irreps, wanted, name="self_connection")(x)
        x = [block + more for block, more in zip(message, own, strict=True)]
        x = RMSNorm(name="norm")(x) if self.norm else x
        return gate(self.irreps_out, x, _silu, jnp.tanh, _silu)


def _silu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return jax.nn.silu(x) / _MOMENT


class RMSNorm(nn.Module):
    """Divide an atom's features by the root of their squares' sum, then scale each channel.

    An irrep's squares are divided by its dimension, twice, and by the number of irreps; not by the
    number of its channels, as the reference's comment has it: this is what its weights know.
    """

    @nn.compact
    def __call__(self, x: Blocks) -> Blocks:
        squares = [(block * block).sum((-2, -1)) / block.shape[-2] ** 2 for block in x]
        factor = jax.lax.rsqrt(sum(squares[1:], squares[0]) / len(x) + 1e-12)
        out = []
        for k, block in enumerate(x):
            init, channels = nn.initializers.ones, block.shape[-1:]
            scale = self.param(f"scale{k}", init, channels, block.dtype)
            out.append(block * scale[None, None, :] * factor[:, None, None])
        return out


class Rescale(nn.Module):
    """Apply one scale and shift, and add the energy of a lone atom of each element (eV)."""

    elements: int

    @nn.compact
    def __call__(
        self, energy: Float[Array, " atom"], species: Int[Array, " atom"]
    ) -> Float[Array, " atom"]:
        dtype = energy.dtype
        scale = self.variable("constants", "scale", jnp.ones, (), dtype).value
        shift = self.variable("constants", "shift", jnp.zeros, (), dtype).value
        alone = self.variable("constants", "alone", jnp.zeros, (self.elements,), dtype).value
        return energy * scale + shift + alone[species]


# -- Nequix's files ------------------------------------------------------------------------------


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[Nequix, dict[str, Any]]:
    """Return module and variables from a file's hyperparameters and named arrays.

    Args:
        state: arrays under the names of `nequix.torch_impl`, where a linear map has one flat
            weight; `state_dict` makes it of a file's arrays.

    Raises:
        InputError: an option that nequix offers and this port does not, or that is missing though
            no array tells it, or the state dict of another architecture; UnknownNameError: an
            unknown option.
    """
    module = _module(config)
    numbers = {name: np.asarray(within(float, name, config[name])) for name in _NUMBERS}
    if numbers["avg_n_neighbors"] <= 0:
        raise InputError(f"avg_n_neighbors: expected more than 0, got {config['avg_n_neighbors']}")
    variables = translate(module, {**state, **numbers}, _table(module))
    _check_energies(config, module.elements, state["atom_energies"])
    return module, variables


def _module(config: Mapping[str, Any]) -> Nequix:
    """Return the module of a file's hyperparameters."""
    require(config, *_READ)
    only("Nequix", config, (*_READ, "index_weights", "atom_energies"), _UNREAD)
    if config.get("index_weights"):
        raise InputError("Nequix with index_weights=true is not ported: no published file has it")
    lmax = within(Degree, "lmax", config["lmax"])
    hidden = read_irreps(within(IrrepsText, "hidden_irreps", config["hidden_irreps"]))
    numbers = within(tuple[int, ...], "atomic_numbers", config["atomic_numbers"])
    if list(numbers) != [n for n in range(1, 119) if n in numbers] or not numbers:
        raise InputError(f"atomic_numbers {list(numbers)}: expected 1 to 118, each once, ascending")
    _check_hidden(hidden, lmax)
    power = within(float, "radial_polynomial_p", config["radial_polynomial_p"])
    depth = within(Depth, "radial_mlp_layers", config["radial_mlp_layers"])
    return make(
        Nequix,
        elements=numbers,
        hidden=config["hidden_irreps"],
        interactions=config["n_layers"],
        lmax=lmax,
        cutoff=config["cutoff"],
        cutoff_power=int(power) if power.is_integer() else power,
        radial_functions=config["radial_basis_size"],
        radial_hidden=(config["radial_mlp_size"],) * depth,
        norm=config["layer_norm"],
    )


def _check_hidden(hidden: Irreps, lmax: int) -> None:
    """Refuse irreps that the convolutions do not reach, or in another order than the weights'."""
    degrees = [ir.l for _, ir in hidden]
    natural = all(mul > 0 and ir.p == (-1) ** ir.l for mul, ir in hidden)
    if degrees[0] or degrees != sorted(set(degrees)) or degrees[-1] > lmax or not natural:
        raise InputError(
            f"hidden_irreps {str(hidden)!r}: expected 0e first, then degrees up to lmax = {lmax}, "
            "each once, ascending, with channels and of parity (−1)^l"
        )


# These may differ between files of one architecture, which share a compiled program then.
_NUMBERS = ("avg_n_neighbors", "scale", "shift")
_READ = (
    "atomic_numbers", "hidden_irreps", "lmax", "n_layers", "cutoff", "radial_polynomial_p",
    "radial_basis_size", "radial_mlp_size", "radial_mlp_layers", "layer_norm", *_NUMBERS,
)  # fmt: skip
# How a model was trained, on what, and how its convolution is compiled.
_UNREAD = (
    "*_path", "*_dir", "*_weight", "*_epochs", "*_factor", "*_frac", "*_steps", "*_every",
    "avg_n_*", "max_n_*", "n_graph", "batch_size", "checkpoint_*", "ema_decay", "finetune_from",
    "grad_*", "kernel", "learning_rate", "loss_type", "mlp_init_scale", "optimizer",
    "readout_initialization", "resume_from", "wandb_*", "weight_decay",
)  # fmt: skip


def _table(module: Nequix) -> dict[str, Source]:
    """Return the reference's name of each of our arrays."""
    table: dict[str, Source] = {
        "constants/rescale/alone": "atom_energies",
        "constants/rescale/scale": "scale",
        "constants/rescale/shift": "shift",
        "params/readout/weight": "readout.weight",
    }
    for i, (_, after) in enumerate(module._steps):
        ours, theirs = f"params/interaction_{i}", f"layers.{i}"
        table[f"params/linear_{i}/weight"] = f"{theirs}.linear_1.weight"
        table[f"{ours}/linear_out/weight"] = f"{theirs}.linear_2.weight"
        table[f"{ours}/self_connection/weight"] = f"{theirs}.skip.weight"
        table[f"constants/interaction_{i}/average_neighbours"] = "avg_n_neighbors"
        last = len(module.radial_hidden)
        for k in range(last + 1):
            layer = "weights" if k == last else f"radial{k}"
            table[f"{ours}/{layer}/kernel"] = f"{theirs}.radial_mlp.layers.{k}.weights"
        for k in range(len(gate_irreps(after)) * module.norm):
            table[f"{ours}/norm/scale{k}"] = f"{theirs}.layer_norm.affine_weight.{k}"
    return table


def _check_energies(config: Mapping[str, Any], elements: Sequence[int], held: np.ndarray) -> None:
    """Refuse energies of lone atoms that the weights contradict; the weights' are used."""
    known = config.get("atom_energies", {})
    own = known if isinstance(known, dict) else {}
    given: list[Any] = [own.get(str(number)) for number in elements]
    if "atom_energies" in config and not (
        all(isinstance(energy, int | float) for energy in given)
        and np.allclose(np.asarray(given, float), held, rtol=1e-5, atol=0)
    ):
        raise InputError(
            "atom_energies of the configuration are not those of the arrays: the file was put "
            "together of two models"
        )


Leaf = tuple[str, tuple[int, ...]]


def _leaves(module: Nequix) -> list[Leaf]:
    """Return name and shape of every array of a file, in the order in which Equinox writes them.

    A linear map has a matrix for each irrep, all of which bear one name.
    """
    count = len(module.elements)
    leaves: list[Leaf] = [("atom_energies", (count,))]
    for i, (before, after) in enumerate(module._steps):
        paths = product_paths(before, harmonic_irreps(module.lmax), after)
        summed, wanted = product_irreps(before, paths), gate_irreps(after)
        channels = sum(before[path.feature].mul for path in paths)
        widths = (module.radial_functions, *module.radial_hidden, channels)
        name = f"layers.{i}"
        for k, shape in enumerate(pairwise(widths)):
            leaves.append((f"{name}.radial_mlp.layers.{k}.weights", shape))
        leaves += _matrices(f"{name}.linear_1.weight", before, before)
        leaves += _matrices(f"{name}.linear_2.weight", summed, wanted)
        leaves += _matrices(f"{name}.skip.weight", before, wanted)
        if module.norm:
            for k, (mul, _) in enumerate(wanted):
                leaves.append((f"{name}.layer_norm.affine_weight.{k}", (mul,)))
    return leaves + _matrices("readout.weight", after, Irreps("1x0e"))


def _matrices(name: str, irreps: Irreps, irreps_out: Irreps) -> list[Leaf]:
    """Return the matrices of a linear map."""
    paths = linear_paths(irreps, irreps_out)
    return [(name, (irreps[i].mul, irreps_out[o].mul)) for i, o in paths]


def state_dict(config: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state dict of a file's arrays, for `from_state_dict`.

    Numbers without an axis may follow: the published oam-1 also holds its hyperparameters there.

    Raises:
        InputError: there are too few arrays, too many, or one of another shape.
    """
    expected = _leaves(_module(config))
    parts: dict[str, list[np.ndarray]] = {}
    shapes = [array.shape for array in arrays]
    for k, (name, shape) in enumerate(expected):
        if k >= len(arrays):
            raise InputError(f"expected {len(expected)} arrays, got {len(arrays)}: it is cut short")
        if shapes[k] != shape:
            raise InputError(f"array {k + 1}, {name!r}: expected shape {shape}, got {shapes[k]}")
        parts.setdefault(name, []).append(arrays[k])
    more = [shape for shape in shapes[len(expected) :] if shape]
    if more:
        raise InputError(f"nothing in Nequix reads the array of shape {more[0]} at the file's end")
    return {name: _joined(name, made) for name, made in parts.items()}


def _joined(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    flat = name.endswith(".weight")
    return np.concatenate([part.ravel() for part in parts]) if flat else parts[0]


_OMAT = "OMat24: inorganic crystals, many far from equilibrium, PBE(+U)"
_DATA = {
    "nequix-mp-1": MPTRAJ,
    "nequix-mp-1-pft": f"{MPTRAJ}; then force constants (phonons, PBE), with MPTraj beside them",
    "nequix-mp-1-pft-nocotrain": f"{MPTRAJ}; then force constants (phonons, PBE) alone",
    "nequix-omat-1": _OMAT,
    "nequix-oam-1": f"{_OMAT}; then sAlex and MPTraj",
    "nequix-oam-1-pft": f"{_OMAT}; then sAlex, MPTraj; then these and force constants (phonons)",
}
_SHA256 = {
    "c191f7208e15f7caf8cc5c1202444652f301fed2f41d85f9a8080af3843ef308": "nequix-mp-1-pft-nocotrain",
    "a88aeaed71fd447572dc57af21d469207d7737b85a6dbb66f8c38156f175c5f1": "nequix-mp-1-pft",
    "1647af8e627e1afa11e2bfadeab0797326513a521afd7dd01606a96f56783eee": "nequix-mp-1",
    "4ce693d68886512aab50c84ea2400efd68163e11155f7c7babe98e695177e809": "nequix-oam-1-pft",
    "6a43475eaeb32a7a049f36c1306d78aa1e7a17e8af37aeda7901c8fec0ca845c": "nequix-oam-1",
    "2d0802ae7f5915cb488c44d25649d98404a103697e6500abb40f515e003a46a6": "nequix-omat-1",
}


def convert(path: Path, out: Path) -> list[Encoder]:
    """Save the model of a file NAME.nqx in a folder, and return it.

    What it was trained on is known of the published files, by their hashes.

    Raises:
        FileError: the file cannot be read, is damaged, or is of another model.
    """
    config, arrays = equinox_files.read(path)
    try:
        made = from_state_dict(config, state_dict(config, arrays))
    except InputError as error:
        raise FileError(f"{path} is no file of Nequix, or it is damaged: {error}") from None
    origin = {"file": path.name, "sha256": hash_file(path), "family": "Nequix"}
    name = _SHA256.get(origin["sha256"])
    if name is not None:
        origin |= {"licence": "MIT", "data": _DATA[name]}
    return [saved_models.written(out, made, origin, target="energy", unit="eV")]
