"""Atomic environment vectors (AEV): the descriptor under the ANI potentials, handcrafted.

Sources: Smith, Isayev, Roitberg, Chem. Sci. 8, 3192 (2017), equations 3 and 4; constants of
ANI-2x (Devereux et al., J. Chem. Theory Comput. 16, 4192 (2020)) and the conventions as in
torchani 2.9.0: a radial factor 0.25, acos(0.95 cos θ) for the angle, a cosine cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch
from cpdjax.models.interface import Card


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
class AEV:
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

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers kept at once for one molecule: the angular terms, and the result."""
        terms = atoms * (atoms - 1) // 2 * self.angular.shifts * self.angular.sections
        terms *= atoms if atoms <= AT_ONCE else 1
        return terms + 2 * atoms * self.irreps["aev"].dim

    @jax.jit
    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return the layers of a batch, each (molecule, atom, irreps.dim); gradients are finite."""
        positions = jnp.asarray(batch.positions)
        mask = jnp.asarray(batch.mask)
        species = jnp.asarray(lookup(self.elements))[batch.numbers]

        def layers(species, positions, mask):
            vectors, distances = _pairs(positions, mask)
            radial = _radial(self.radial, species, distances, len(self.elements))
            angular = _angular(self.angular, species, vectors, distances, len(self.elements))
            return {"radial": radial, "angular": angular, "aev": jnp.hstack([radial, angular])}

        arrays = jax.vmap(layers)(species, positions, mask)
        return {layer: IrrepsArray(self.irreps[layer], arrays[layer]) for layer in arrays}


FAR = 1e3  # Å, beyond any cutoff
AT_ONCE = 64  # atoms of molecules whose centres are computed at once; in larger ones, one by one

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


def _radial(
    config: Radial,
    species: Int[Array, " atom"],
    distances: Float[Array, "atom atom"],
    elements: int,
) -> Float[Array, "atom element*shift"]:
    terms = radial_terms(config, distances)
    onehot = jax.nn.one_hot(species, elements, dtype=distances.dtype)
    sums = jnp.einsum("ijs,je->ies", terms, onehot, precision="highest")
    return sums.reshape(len(species), -1)


def radial_terms(
    config: Radial, distances: Float[Array, "atom other"]
) -> Float[Array, "atom other shift"]:
    """Return the terms of equation 3 before its sum; zero at distances beyond the cutoff."""
    shifts = _grid(config.start, config.cutoff, config.shifts)
    eta, shifts = _single(distances.dtype, config.eta, shifts)
    gauss = 0.25 * jnp.exp(-eta * (distances[:, :, None] - shifts[None, None, :]) ** 2)
    return gauss * _cutoff(distances, config.cutoff)[:, :, None]


def _angular(
    config: Angular,
    species: Int[Array, " atom"],
    vectors: Float[Array, "atom atom 3"],
    distances: Float[Array, "atom atom"],
    elements: int,
) -> Float[Array, "atom pair*shift*section"]:
    # Every pair j < k of the molecule's atoms around every centre i: a dense (atom, ..., jk)
    # array whose sum per pair of elements is one matrix product. Pairs beyond the cutoff, with
    # padding or with the centre itself have weight zero.
    atoms = len(species)
    j, k = np.triu_indices(atoms, 1)
    pairs = elements * (elements + 1) // 2
    kinds = jnp.asarray(pair_kinds(elements))[species[j], species[k]]
    onehot = jax.nn.one_hot(kinds, pairs, dtype=distances.dtype)

    def sums(vectors, distances):
        terms = angular_terms(config, vectors, distances)
        return jnp.einsum("isj,jp->ips", terms, onehot, precision="highest")

    if atoms <= AT_ONCE:
        return sums(vectors, distances).reshape(atoms, -1)
    rows = jax.lax.map(lambda row: sums(row[0][None], row[1][None]), (vectors, distances))
    return rows.reshape(atoms, -1)


def angular_terms(
    config: Angular,
    vectors: Float[Array, "atom other 3"],
    distances: Float[Array, "atom other"],
) -> Float[Array, "atom shift*section jk"]:
    """Return the terms of equation 4 before its sum, for pairs j < k as `np.triu_indices` sorts."""
    atoms, others = distances.shape
    j, k = np.triu_indices(others, 1)
    half = np.pi / config.sections / 2
    eta, zeta, shifts, sections = _single(
        distances.dtype,
        config.eta,
        config.zeta,
        _grid(config.start, config.cutoff, config.shifts)[None, :, None],
        _grid(half, np.pi + half, config.sections)[None, :, None],
    )
    power = int(config.zeta) if float(config.zeta).is_integer() else zeta  # whole: no logarithm
    units = vectors / distances[:, :, None]
    mean = (distances[:, j] + distances[:, k])[:, None, :] / 2
    gauss = jnp.exp(-eta * (mean - shifts) ** 2)

    # cos(acos(c) - section) by the addition theorem; |c| ≤ 0.95 keeps sin, and with it the base
    # of the power, away from zero.
    cos = 0.95 * (units[:, j] * units[:, k]).sum(-1)[:, None, :]
    sin = jnp.sqrt(1 - cos**2)
    bump = ((1 + cos * np.cos(sections) + sin * np.sin(sections)) / 2) ** power
    weight = _cutoff(distances, config.cutoff)
    bump = 2 * bump * (weight[:, j] * weight[:, k])[:, None, :]
    terms = gauss[:, :, None, :] * bump[:, None, :, :]
    return terms.reshape(atoms, config.shifts * config.sections, len(j))


def _pairs(
    positions: Float[Array, "atom 3"], mask: Bool[Array, " atom"]
) -> tuple[Float[Array, "atom atom 3"], Float[Array, "atom atom"]]:
    """Return vectors and distances between atoms; distance `FAR` where there is no pair."""
    real = mask[:, None] & mask[None, :] & ~np.eye(len(mask), dtype=bool)
    vectors = positions[None, :, :] - positions[:, None, :]
    squares = (vectors**2).sum(-1)
    # Set before the root, so that neither the root nor its derivative ever sees zero.
    return vectors, jnp.sqrt(jnp.where(real & (squares > 0), squares, FAR**2))


def _cutoff(distances: Float[Array, "atom atom"], cutoff: float) -> Float[Array, "atom atom"]:
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
