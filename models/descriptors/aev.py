"""Atomic environment vectors (AEV): the descriptor under the ANI potentials, handcrafted.

Sources: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017), equations 3 and 4; constants of
ANI-2x (Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020)) and the conventions as in
torchani 2.9.0: a radial factor 0.25, acos(0.95 cos θ) for the angle, a cosine cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch
from cpdjax.machine.programs import compiled
from cpdjax.models.interface import Card
from cpdjax.models.prediction import PredictsNothing
from cpdjax.models.shown import shown


@dataclass(frozen=True)
class Radial:
    """Hold constants of Gaussians of the distance to a neighbour; lengths in Å, `eta` in Å⁻²."""

    start: float
    cutoff: float
    eta: float
    shifts: int


@dataclass(frozen=True)
class Angular:
    """Hold the constants of Gaussians of two neighbours' mean distance, times bumps of an angle."""

    start: float
    cutoff: float
    eta: float
    zeta: float
    shifts: int
    sections: int


@jax.tree_util.register_static
@dataclass(frozen=True)
class AEV(PredictsNothing):
    """Compute atomic environment vectors: a model without weights, of three layers of scalars:

    - `radial`: per neighbour element, then shift (7 × 16 = 112 for ANI-2x);
    - `angular`: per pair of neighbour elements, shift, section (28 × 8 × 4 = 896);
    - `aev`: both, in this order, as the potential reads them (1,008).

    Elements are in the order of `elements`; pairs in the order of an upper triangle's rows. The
    centre's own element does not enter.

    Atoms of an element not in `elements` are not seen as neighbours (`cpdjax.extract` refuses
    them). Accuracy follows the dtype of the positions.

    >>> import numpy as np
    >>> from cpdjax.data.structures import Batch
    >>> water = Batch(np.array([[8, 1, 1]]), np.array([[[0, 0, 0.119], [0, 0.763, -0.477],
    ...               [0, -0.763, -0.477]]]), np.ones((1, 3), bool))
    >>> ANI_2X.features(water)["aev"].shape
    (1, 3, 1008)
    """

    name: str
    elements: tuple[int, ...]
    radial: Radial
    angular: Angular

    level: Literal["atom"] = "atom"
    periodic: bool = False
    max_atoms: int | None = None
    parity: bool = True
    cutoff: float | None = None

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Return the irreps of the three layers."""
        elements = len(self.elements)
        radial = elements * self.radial.shifts
        angular = elements * (elements + 1) // 2 * self.angular.shifts * self.angular.sections
        dims = {"radial": radial, "angular": angular, "aev": radial + angular}
        return {layer: Irreps(f"{dim}x0e") for layer, dim in dims.items()}

    def _repr_html_(self) -> str:
        return shown(self).html

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers kept at once for one molecule: the angular terms, and the result."""
        terms = angular_memory(self.angular, len(self.elements), atoms)
        return atoms * (terms + 2 * self.irreps["aev"].dim)

    @compiled
    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return the layers of a batch, each (molecule, atom, irreps.dim); gradients are finite."""
        positions, mask = jnp.asarray(batch.positions), jnp.asarray(batch.mask)
        species = jnp.asarray(lookup(self.elements))[batch.numbers]
        seen = mask & (species >= 0)
        molecules, atoms = mask.shape
        vectors, distances = jax.vmap(_pairs)(positions, mask, seen)
        others = jnp.broadcast_to(species[:, None, :], (molecules, atoms, atoms))
        rows = (x.reshape(-1, atoms, *x.shape[3:]) for x in (vectors, distances, others))
        parts = environment(self.radial, self.angular, len(self.elements), *rows)
        arrays = dict(zip(("radial", "angular"), parts, strict=True), aev=jnp.hstack(parts))
        return {
            layer: IrrepsArray(self.irreps[layer], arrays[layer].reshape(molecules, atoms, -1))
            for layer in self.irreps
        }


FAR = 1e3
"""Distance (Å) where there is no neighbour: beyond any cutoff."""
AT_ONCE = 64  # On accelerators, centres with more slots than that are computed one by one.
_BLOCK = 2048  # On CPUs, so many pairs of close neighbours are computed at once.
_CLOSE = 60  # Pairs of neighbours of an atom of an organic molecule within 3.5 Å: about so many.

# Element order of the ANI-2x networks: H C N O S F Cl, not by atomic number.
ANI_2X = AEV(
    name="ani-2x-aev",
    elements=(1, 6, 7, 8, 16, 9, 17),
    radial=Radial(start=0.8, cutoff=5.1, eta=19.7, shifts=16),
    angular=Angular(start=0.8, cutoff=3.5, eta=12.5, zeta=14.1, shifts=8, sections=4),
)


CARDS = {"ani-2x-aev": Card("descriptor (AEV)", "Apache-2.0", "none")}


def load(name: str) -> AEV:
    """Return the one model of this file."""
    return ANI_2X


def environment(
    radial: Radial,
    angular: Angular,
    elements: int,
    vectors: Float[Array, "atom slot 3"],
    distances: Float[Array, "atom slot"],
    others: Int[Array, "atom slot"],
) -> tuple[Float[Array, "atom element*shift"], Float[Array, "atom pair*shift*section"]]:
    """Return both parts of the vectors of atoms from rows of their neighbours.

    Args:
        radial: the constants of equation 3.
        angular: the constants of equation 4.
        elements: how many elements there are.
        vectors: from the atom to the neighbour (Å).
        distances: `FAR` where there is no neighbour (Å).
        others: the neighbours' elements.
    """
    onehot = jax.nn.one_hot(others, elements, dtype=distances.dtype)
    terms = radial_terms(radial, distances)
    sums = jnp.einsum("ans,ane->aes", terms, onehot, precision="highest")
    rows = vectors / distances[:, :, None], distances, others
    # A list saves a CPU most of the terms. An accelerator would have to wait for its length.
    pairs = jax.lax.platform_dependent(
        *rows,
        cpu=partial(_sums_of_close_pairs, angular, elements),
        default=partial(_sums_of_all_pairs, angular, elements),
    )
    return sums.reshape(len(sums), -1), pairs.reshape(len(sums), -1)


def radial_terms(
    config: Radial, distances: Float[Array, "atom other"]
) -> Float[Array, "atom other shift"]:
    """Return the terms of equation 3 before its sum; zero at distances beyond the cutoff."""
    shifts = _grid(config.start, config.cutoff, config.shifts)
    eta, shifts = _single(distances.dtype, config.eta, shifts)
    gauss = 0.25 * jnp.exp(-eta * (distances[:, :, None] - shifts[None, None, :]) ** 2)
    return gauss * _cutoff(distances, config.cutoff)[:, :, None]


def angular_memory(config: Angular, elements: int, slots: int) -> int:
    """Return about how many numbers the angular terms of one atom keep in memory at once."""
    terms = config.shifts * config.sections
    if jax.default_backend() == "cpu":
        return _CLOSE * terms
    kinds = elements * (elements + 1) // 2
    return slots * (slots - 1) // 2 * (terms + kinds) // (1 if slots <= AT_ONCE else slots)


def _sums_of_close_pairs(
    config: Angular,
    elements: int,
    units: Float[Array, "atom slot 3"],
    distances: Float[Array, "atom slot"],
    others: Int[Array, "atom slot"],
) -> Float[Array, "atom pair shift*section"]:
    """Return the sums of equation 4 from one list of all pairs of neighbours within the cutoff.

    The list is as long as the numbers say. It is made and summed in blocks of one length, and those
    beyond its end are left out.
    """
    (atoms, slots), columns = distances.shape, elements * (elements + 1) // 2
    empty = jnp.zeros((atoms * columns, config.shifts * config.sections), distances.dtype)
    if slots < 2:
        return empty.reshape(atoms, columns, -1)
    near = distances < config.cutoff
    # Near neighbours first. Those of slots below n are then the first n(n − 1)/2 pairs of `second`
    # and `first`, for every n.
    order = jnp.argsort(~near, axis=1)
    second, first = (jnp.asarray(x, np.int32) for x in np.tril_indices(slots, -1))
    count = near.sum(1, dtype=np.int32)
    lengths = count * (count - 1) // 2
    ends = jnp.cumsum(lengths, dtype=np.int32)
    kinds = jnp.asarray(pair_kinds(elements), np.int32)
    flat = units.reshape(-1, 3), distances.reshape(-1), others.reshape(-1)

    def add(sums: Array, start: Array) -> Array:
        place = start + jnp.arange(_BLOCK, dtype=np.int32)
        atom = jnp.searchsorted(ends, place, side="right").astype(np.int32)
        atom = jnp.minimum(atom, atoms - 1)
        pair = jnp.minimum(place - (ends - lengths)[atom], len(first) - 1)
        (ui, ri, ei), (uj, rj, ej) = (
            [x[atom * slots + order[atom, end[pair]].astype(np.int32)] for x in flat]
            for end in (first, second)
        )
        terms = _angular_terms(config, (ui * uj).sum(-1), ri, rj)
        row = jnp.where(place < ends[-1], atom * columns + kinds[ei, ej], len(sums))
        return sums.at[row].add(terms, mode="drop")

    def step(sums: Array, start: Array) -> tuple[Array, None]:
        return jax.lax.cond(start < ends[-1], add, lambda sums, _: sums, sums, start), None

    starts = np.arange(0, atoms * len(first), _BLOCK, dtype=np.int32)
    sums, _ = jax.lax.scan(step, empty, jnp.asarray(starts))
    return sums.reshape(atoms, columns, -1)


def _sums_of_all_pairs(
    config: Angular,
    elements: int,
    units: Float[Array, "atom slot 3"],
    distances: Float[Array, "atom slot"],
    others: Int[Array, "atom slot"],
) -> Float[Array, "atom pair shift*section"]:
    """Return the sums of equation 4 over all pairs of slots; those beyond the cutoff are zero."""
    j, k = np.triu_indices(distances.shape[1], 1)

    def sums(units: Array, distances: Array, others: Array) -> Array:
        kinds = jnp.asarray(pair_kinds(elements))[others[:, j], others[:, k]]
        onehot = jax.nn.one_hot(kinds, elements * (elements + 1) // 2, dtype=distances.dtype)
        cos = (units[:, j] * units[:, k]).sum(-1)
        terms = _angular_terms(config, cos, distances[:, j], distances[:, k])
        return jnp.einsum("ijs,ijp->ips", terms, onehot, precision="highest")

    if distances.shape[1] <= AT_ONCE:
        return sums(units, distances, others)
    rows = jax.lax.map(lambda row: sums(*(x[None] for x in row)), (units, distances, others))
    return rows[:, 0]


def _angular_terms(
    config: Angular,
    cosines: Float[Array, "*pair"],
    first: Float[Array, "*pair"],
    second: Float[Array, "*pair"],
) -> Float[Array, "*pair shift*section"]:
    """Return the terms of equation 4 before its sum, from the cosine and both distances (Å)."""
    half = np.pi / config.sections / 2
    one = (1,) * cosines.ndim
    eta, zeta, shifts, sections = _single(
        cosines.dtype,
        config.eta,
        config.zeta,
        _grid(config.start, config.cutoff, config.shifts).reshape(*one, -1),
        _grid(half, np.pi + half, config.sections).reshape(*one, -1),
    )
    power = int(config.zeta) if float(config.zeta).is_integer() else zeta  # whole: no logarithm
    gauss = jnp.exp(-eta * (((first + second) / 2)[..., None] - shifts) ** 2)

    # cos(acos(c) - section) by the addition theorem; |c| ≤ 0.95 keeps sin, and with it the base
    # of the power, away from zero.
    cos = 0.95 * cosines[..., None]
    sin = jnp.sqrt(1 - cos**2)
    bump = ((1 + cos * np.cos(sections) + sin * np.sin(sections)) / 2) ** power
    weight = _cutoff(first, config.cutoff) * _cutoff(second, config.cutoff)
    terms = gauss[..., :, None] * (2 * bump * weight[..., None])[..., None, :]
    return terms.reshape(*cosines.shape, config.shifts * config.sections)


def _pairs(
    positions: Float[Array, "atom 3"], mask: Bool[Array, " atom"], seen: Bool[Array, " atom"]
) -> tuple[Float[Array, "atom atom 3"], Float[Array, "atom atom"]]:
    """Return vectors and distances to the atoms `seen`; distance `FAR` where there is no pair."""
    real = mask[:, None] & seen[None, :] & ~np.eye(len(mask), dtype=bool)
    vectors = positions[None, :, :] - positions[:, None, :]
    squares = (vectors**2).sum(-1)
    # Set before the root, so that neither the root nor its derivative ever sees zero.
    return vectors, jnp.sqrt(jnp.where(real & (squares > 0), squares, FAR**2))


def _cutoff(distances: Float[Array, "*n"], cutoff: float) -> Float[Array, "*n"]:
    wave = 0.5 * jnp.cos(distances * (np.pi / cutoff)) + 0.5
    return jnp.where(distances < cutoff, wave, 0)


def _grid(start: float, stop: float, steps: int) -> Float[np.ndarray, " step"]:
    """Return `steps` equal steps from `start`, without `stop`."""
    return start + (stop - start) / steps * np.arange(steps)


def _single(dtype, *constants):
    """Return constants in `dtype`, rounded to float32 first, as torchani always stores them."""
    return [np.asarray(np.float32(c), dtype) for c in constants]


def same_grids(
    radial: Radial,
    angular: Angular,
    radial_shifts: np.ndarray,
    angular_shifts: np.ndarray,
    sections: np.ndarray,
) -> bool:
    """Return whether these are, in float32, the shifts that the constants stand for."""
    half = np.pi / angular.sections / 2
    grids = (
        (_grid(radial.start, radial.cutoff, radial.shifts), radial_shifts),
        (_grid(angular.start, angular.cutoff, angular.shifts), angular_shifts),
        (_grid(half, np.pi + half, angular.sections), sections),
    )
    return all(np.array_equal(np.float32(ours), np.float32(theirs)) for ours, theirs in grids)


def lookup(elements: tuple[int, ...]) -> Int[np.ndarray, " number"]:
    """Return elements' indices by atomic number; -1 (no column of a one-hot) for any other."""
    found = np.full(119, -1)
    found[list(elements)] = np.arange(len(elements))
    return found


def pair_kinds(elements: int) -> Int[np.ndarray, "element element"]:
    """Return the index of every unordered pair of elements, by rows of an upper triangle."""
    first, second = np.triu_indices(elements)
    kinds = np.empty((elements, elements), int)
    kinds[first, second] = kinds[second, first] = np.arange(len(first))
    return kinds
