"""ANI: a network for each element on the atomic environment vector, an ensemble of them.

Sources: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017); ANI-1x: Smith et al., J. Chem. Phys.
148, 241733 (2018); ANI-2x: Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020). Reference:
torchani 2.2.4, whose wheel carries the eight networks of ANI-1x.

Layers, all scalars: `embedding` (the environment vector, 384 for ANI-1x, 1,008 for ANI-2x),
`interaction_i` (hidden layers of the networks, after their activation), `readout` (the last hidden
layer). Elements have
networks of different widths: hidden layers are as wide as the widest and narrower ones end in
zeros. The ensemble's members stand one after another along the channels, each padded (ANI-1x:
8 × 160, 8 × 128, 8 × 96); `member_of` takes one of them. The output is each atom's energy in
Hartree, the mean over the members, with the element's self energy, as torchani gives it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.errors import FileError, InputError
from cpdjax.hashing import hash_arrays
from cpdjax.models.blocks.convolution import ElementGroups
from cpdjax.models.descriptors.aev import (
    FAR,
    Angular,
    Radial,
    angular_memory,
    environment,
    lookup,
    same_grids,
)
from cpdjax.models.encoder import Encoder
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Depth
from cpdjax.models.interface import Card, Layers
from cpdjax.models.weights import neurochem, saved_models
from cpdjax.models.weights.translate import Source, State, only, require, translate
from cpdjax.models.weights.wheels import INSTALL, packaged

_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "S": 16, "Cl": 17}


class ANI(nn.Module):
    """Compute energies by networks on environment vectors; by default of ANI-1x's shape."""

    elements: tuple[int, ...] = (1, 6, 7, 8)
    """Atomic numbers in the order of the networks."""
    hidden: tuple[tuple[int, ...], ...] = (
        (160, 128, 96),
        (144, 112, 96),
        (128, 112, 96),
        (128, 112, 96),
    )
    """Widths of each element's hidden layers; every element has as many layers."""
    members: Depth = 8
    """Number of networks of each element, whose energies are averaged."""
    radial: Radial = Radial(start=0.9, cutoff=5.2, eta=16.0, shifts=16)
    angular: Angular = Angular(start=0.9, cutoff=3.5, eta=8.0, zeta=32.0, shifts=4, sections=8)

    @property
    def cutoff(self) -> float:
        """Return the cutoff of the neighbour list (Å)."""
        return self.radial.cutoff

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
        *interactions, readout = (Irreps(f"{self.members * w}x0e") for w in self._widest)
        return {
            "embedding": Irreps(f"{self._length}x0e"),
            **{f"interaction_{i}": irreps for i, irreps in enumerate(interactions)},
            "readout": readout,
        }

    @property
    def _widest(self) -> list[int]:
        return [max(widths) for widths in zip(*self.hidden, strict=True)]

    @property
    def _length(self) -> int:
        """Return the length of the environment vector."""
        count = len(self.elements)
        angular = self.angular.shifts * self.angular.sections
        return count * self.radial.shifts + count * (count + 1) // 2 * angular

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the angular terms of every pair of neighbours, and the networks' layers."""
        terms = angular_memory(self.angular, len(self.elements), neighbours)
        return atoms * (terms + self._length + self.members * sum(self._widest))

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Layers, Float[Array, " atom"]]:
        """Return the layers, and every atom's energy in Hartree."""
        species = jnp.asarray(lookup(self.elements))[graph.numbers]
        distances = jnp.where(graph.edge_mask, graph.distances, FAR)
        rows = graph.vectors, distances, species[graph.neighbours]
        vectors = jnp.hstack(environment(self.radial, self.angular, len(self.elements), *rows))
        weights = [
            Networks((self._length, *widths, 1), self.members, name=f"element_{number}")(
                graph.dtype
            )
            for number, widths in zip(self.elements, self.hidden, strict=True)
        ]
        *hidden, energies = jax.lax.platform_dependent(
            vectors, species, cpu=partial(_blockwise, weights), default=partial(_dense, weights)
        )
        shape = (len(self.elements),)
        own = self.variable("constants", "self_energies", jnp.zeros, shape, graph.dtype).value
        layers = {
            name: IrrepsArray(irreps, x.reshape(len(x), -1))
            for (name, irreps), x in zip(self.irreps.items(), (vectors, *hidden), strict=True)
        }
        return layers, energies.mean((1, 2)) + own[species]


class Networks(nn.Module):
    """Hold the weights of one element's networks, all members at once, for `_apply`."""

    widths: tuple[int, ...]
    members: int

    @nn.compact
    def __call__(self, dtype: jnp.dtype) -> Weights:
        weights = []
        for i, (fan_in, width) in enumerate(pairwise(self.widths)):
            init = nn.initializers.lecun_normal(batch_axis=0)
            kernel = self.param(f"kernel{i}", init, (self.members, fan_in, width), dtype)
            bias = self.param(f"bias{i}", nn.initializers.zeros, (self.members, width), dtype)
            weights.append((kernel, bias))
        return weights


Weights = list[tuple[Float[Array, "member in out"], Float[Array, "member out"]]]
States = list[Float[Array, "atom member channel"]]


def _apply(weights: Weights, x: Float[Array, "atom channel"]) -> States:
    """Return the states of the hidden layers, and the energy as the last of them."""
    states: States = []
    spec = "ai,mio->mao"
    for kernel, bias in weights:
        x = jnp.einsum(spec, x, kernel) + bias[:, None, :]
        if len(states) < len(weights) - 1:
            x = jax.nn.celu(x, 0.1)
        states.append(x.swapaxes(0, 1))
        spec = "mai,mio->mao"
    return states


def _widened(states: States, widest: Sequence[int]) -> States:
    """Return the states of narrower networks with zeros after their channels."""
    room = [(0, wide - x.shape[-1]) for x, wide in zip(states, widest, strict=True)]
    return [jnp.pad(x, ((0, 0), (0, 0), more)) for x, more in zip(states, room, strict=True)]


def _widest(weights: Sequence[Weights]) -> list[int]:
    return [max(bias.shape[1] for _, bias in layer) for layer in zip(*weights, strict=True)]


def _dense(
    weights: Sequence[Weights], x: Float[Array, "atom channel"], species: Int[Array, " atom"]
) -> States:
    """Apply every element's networks to every atom and pick each atom's own, without branches."""
    found = [_widened(_apply(of, x), _widest(weights)) for of in weights]
    total = [jnp.zeros_like(state) for state in found[0]]
    for k, states in enumerate(found):
        mine = (species == k)[:, None, None]
        total = [jnp.where(mine, new, old) for new, old in zip(states, total, strict=True)]
    return total


_BLOCK = 32  # So many atoms of one element go through its networks together.


def _blockwise(
    weights: Sequence[Weights], x: Float[Array, "atom channel"], species: Int[Array, " atom"]
) -> States:
    """Send blocks of atoms of one element through their own networks, in a loop of branches.

    Padding is an element of its own, whose branch gives zeros.
    """
    kinds = len(weights) + 1
    groups = ElementGroups.of(jnp.where(species < 0, kinds - 1, species), kinds, _BLOCK)
    widest, members = _widest(weights), len(weights[0][0][1])

    def run(of: Weights, y: Array) -> States:
        return _widened(_apply(of, y), widest)

    def padding(y: Array) -> States:
        return [jnp.zeros((len(y), members, w), y.dtype) for w in widest]

    branches: list[Callable[[Array], States]] = [*(partial(run, of) for of in weights), padding]
    states = jax.lax.map(
        lambda block: jax.lax.switch(block[0], branches, x[block[1]]),
        (groups.elements, groups.rows),
    )
    return [state.reshape(-1, *state.shape[2:])[groups.places] for state in states]


def from_state_dict(config: Mapping[str, Any], state: State) -> tuple[ANI, dict[str, Any]]:
    """Return module and variables from torchani's constants and the state dict of a model.

    Args:
        config: the symbols in the order of the networks (`species`) and the cutoffs in Å (`Rcr`,
            `Rca`); other constants are in the state dict.
        state: the state dict of one network for each element, or of an ensemble of them.

    Raises:
        InputError: the state dict is of another architecture or has uneven shifts, or an option is
            unknown.
    """
    require(config, "species", "Rcr", "Rca")
    only("ANI", config, ("species", "Rcr", "Rca"))
    symbols = tuple(config["species"])
    stacked = _stacked(state)
    counts = {len(a) for name, a in stacked.items() if name.startswith("networks.")}
    if len(counts) != 1 or not symbols or not set(symbols) <= set(_NUMBERS):
        raise InputError("the state dict and `species` are not those of one of torchani's models")
    radial, angular = _constants(config, state)
    depth = sum(name.startswith(f"networks.{symbols[0]}.") for name in stacked) // 2
    hidden = tuple(_widths(stacked, symbol, depth) for symbol in symbols)
    numbers = tuple(_NUMBERS[s] for s in symbols)
    module = ANI(numbers, hidden, counts.pop(), radial, angular)
    table: dict[str, Source] = {"constants/self_energies": "energy_shifter.self_energies"}
    for symbol, number in zip(symbols, numbers, strict=True):
        for i in range(depth):
            ours, theirs = f"params/element_{number}", f"networks.{symbol}.{2 * i}"
            table[f"{ours}/kernel{i}"] = (f"{theirs}.weight", lambda w: w.swapaxes(1, 2))
            table[f"{ours}/bias{i}"] = f"{theirs}.bias"
    return module, translate(module, stacked, table, ("aev_computer.*", "species_converter.*"))


def _stacked(state: State) -> dict[str, np.ndarray]:
    """Stack the members' arrays as "networks.H.0.weight", and keep all others as they are."""
    groups: dict[str, list[np.ndarray]] = {}
    rest = {}
    for name, array in state.items():
        match = re.fullmatch(r"neural_networks\.(?:\d+\.)?([A-Z][a-z]?\.\d+\.\w+)", name)
        if match:
            groups.setdefault(f"networks.{match[1]}", []).append(array)
        else:
            rest[name] = array
    try:
        return rest | {name: np.stack(arrays) for name, arrays in groups.items()}
    except ValueError:
        raise InputError("the networks of the ensemble differ in shape") from None


def _widths(stacked: State, symbol: str, depth: int) -> tuple[int, ...]:
    """Return the widths of the hidden layers of an element's networks."""
    names = [f"networks.{symbol}.{2 * i}.bias" for i in range(depth - 1)]
    for name in names:
        bias = stacked.get(name)
        if bias is None or bias.ndim != 2:
            raise InputError(f"the state dict has no {name!r} with a vector for each network")
    return tuple(stacked[name].shape[1] for name in names)


def _constants(config: Mapping[str, Any], state: State) -> tuple[Radial, Angular]:
    try:
        eta_r, shf_r, eta_a, zeta, shf_a, shf_z = (
            np.asarray(state[f"aev_computer.{name}"]).ravel()
            for name in ("EtaR", "ShfR", "EtaA", "Zeta", "ShfA", "ShfZ")
        )
    except KeyError as missing:
        raise InputError(
            f"the state dict lacks {missing.args[0]!r}: it is not that of an ANI"
        ) from None
    if {len(eta_r), len(eta_a), len(zeta)} != {1} or 0 in {len(shf_r), len(shf_a), len(shf_z)}:
        raise InputError("the state dict has several of EtaR, EtaA or Zeta, or no shifts")
    start_r, start_a = (float(f"{shifts[0]:.6g}") for shifts in (shf_r, shf_a))
    radial = Radial(start_r, float(config["Rcr"]), eta_r.item(), len(shf_r))
    cutoff = float(config["Rca"])
    angular = Angular(start_a, cutoff, eta_a.item(), zeta.item(), len(shf_a), len(shf_z))
    if not same_grids(radial, angular, shf_r, shf_a, shf_z):
        raise InputError("the shifts in the state dict are not spaced evenly up to the cutoffs")
    return radial, angular


_FOLDER = "torchani/resources/ani-1x_8x"
_CONSTANTS = (
    f"{_FOLDER}/rHCNO-5.2R_16-3.5A_a4-8.params",
    "abdbdfb572c23aecc6ad00a1b050a2c81cd8ac4685c05c6a1dbae094a0463257",
)
_SELF_ENERGIES = (
    f"{_FOLDER}/sae_linfit.dat",
    "b85c09d30c98c5583377ef73bdd83fd5d06b758215698183183ddab9c8341af9",
)
# The SHA-256 of all networks' files, one after another as `_check_networks` reads them.
_NETWORKS = "add8d0e467ee7c9ff6d481da93cd67428c495bde49a1a980e92e6bb45a87f7fb"
_MEMBERS, _DEPTH = 8, 4


_ANI_1X = Card("ANI", "MIT", "ANI-1x: organic molecules off equilibrium, ωB97X/6-31G*", "torchani")
CARDS = {"ani-1x": _ANI_1X, **{f"ani-1x-member{k}": _ANI_1X for k in range(_MEMBERS)}}


def load(name: str, member: int | None = None) -> Encoder:
    """Return ANI-1x, trained on the ANI-1x data set, from the wheel of torchani 2.2.4.

    Args:
        member: the number of one of its eight networks, from 0, to have this one alone; the name
            "ani-1x-member3" says it as well. They are eight trainings on parts of the same data.

    Raises:
        FileError: the wheel is not installed, or its files are not the published ones.
        InputError: there is no such member, or the name has another.
    """
    whole, _, named = name.partition("-member")
    if named:
        if member not in (None, int(named)):
            raise InputError(f"{name} is member {named} of {whole}, got member={member!r}")
        member = int(named)
    folder = packaged("torchani", *_CONSTANTS).parent
    packaged("torchani", *_SELF_ENERGIES)
    _check_networks(folder, ["H", "C", "N", "O"])
    encoder = of_neurochem(folder, whole)
    return encoder if member is None else member_of(encoder, member)


def of_neurochem(path: Path, name: str) -> Encoder:
    """Return the potential in a folder or an archive of NeuroChem's files, such as ANI-2x.

    Raises:
        FileError: the files are damaged, or those of something else.
        InputError: elements, shifts or networks are none that torchani knows.
    """
    encoder = Encoder(name, *from_state_dict(*neurochem.read(path)))
    return replace(encoder, target="energy", unit="hartree")


_NETWORKS_OF = "neural_networks."
_ANI_2X = "ANI-2x: organic molecules off equilibrium, H C N O F S Cl, ωB97X/6-31G*"
# Hashes of the eight networks, as `_hashes` makes them (github isayev/ASE_ANI 129f8ac, MIT).
_OF_ANI_2X = (
    "9b8f96bcc716635b5e55ba91f85f4085a306e15e7873c7564f4dc53022e35002",
    "55c15546b954cde636ed7f1823d157e265c82804dbc9ead25a48c2995b742c4c",
    "f57ad58835849fe93e716960d08562eeabfb812f61695fc62d4cbae8170250f4",
    "8eb295db443c7cc7bda6578e49ce42fca0ef0721dd1a8d4d522d388d38e8d374",
    "d1806b41e253e51a43780e6181c1f8e9c06b3d28e7d4e14e203f1b69934778ea",
    "b9278e069e4b5b35b42a4580db12a27f121b82e70859e45bbc5263de1828dee4",
    "2785bef1801ab1941bf8618391ba16b2231b047068783a34fc0a6837788a37c3",
    "f67894f5eabc578570a78680e553f2cf995605d1dee4568def4fad827a79ee8b",
)


def convert(path: Path, out: Path) -> list[Encoder]:
    """Save the potential in a folder or an archive of NeuroChem's files, and return it.

    What it was trained on is known of the published networks of ANI-2x, by their hashes.

    Raises:
        FileError, InputError: as `of_neurochem`.
    """
    config, state = neurochem.read(path)
    made = from_state_dict(config, state)
    origin = {"file": path.name, "members": made[0].members, "family": "ANI"}
    if set(_hashes(state)) <= set(_OF_ANI_2X):
        origin |= {"licence": "MIT", "data": _ANI_2X}
    return [saved_models.written(out, made, origin, target="energy", unit="hartree")]


def _hashes(state: State) -> list[str]:
    """Return the hash of every network, each with the constants and the energies of atoms."""
    shared = [(name, array) for name, array in state.items() if not name.startswith(_NETWORKS_OF)]
    members: dict[str, list[tuple[str, Any]]] = {}
    for name in sorted(set(state) - {name for name, _ in shared}):
        member, _, own = name.removeprefix(_NETWORKS_OF).partition(".")
        members.setdefault(member, []).append((own, state[name]))
    return [hash_arrays([*shared, *own]) for own in members.values()]


def member_of(encoder: Encoder, member: int) -> Encoder:
    """Return one network of an ensemble, under the ensemble's name and the member's number.

    Raises:
        InputError: the model is no ensemble of ANI, or has no such member.
    """
    module = encoder.architecture
    if not isinstance(module, ANI):
        raise InputError(f"{encoder.name} is no ensemble of ANI, so it has no members to choose")
    if not isinstance(member, int) or not 0 <= member < module.members:
        raise InputError(
            f"{encoder.name} has members 0 to {module.members - 1}, got member={member!r}"
        )
    params = jax.tree.map(lambda leaf: leaf[member : member + 1], encoder.variables["params"])
    return replace(
        encoder,
        name=f"{encoder.name}-member{member}",
        architecture=replace(module, members=1),
        variables={**encoder.variables, "params": params},
    )


def _check_networks(folder: Path, symbols: list[str]) -> None:
    """Refuse networks that are not the published ones of ANI-1x."""
    stems = [
        f"train{member}/networks/ANN-{symbol}.nnf-l{layer + 1}"
        for member in range(_MEMBERS)
        for symbol in symbols
        for layer in range(_DEPTH)
    ]
    kinds = ("bparam", "wparam")
    contents = [_content(folder / f"{stem}.{kind}") for stem in stems for kind in kinds]
    found = hashlib.sha256(b"".join(contents)).hexdigest()
    if found != _NETWORKS:
        raise FileError(
            f"the networks in {folder} are not those these weights were published in "
            f"(SHA-256 {found[:12]}…, expected {_NETWORKS[:12]}…): {INSTALL}"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise FileError(f"the weights {path} come with the wheel of torchani: {INSTALL}") from None
