"""Dipoles, quadrupoles and anisotropies: vectors and tensors that turn with the molecule."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from cpdjax.data.neighbours import pairs
from cpdjax.data.structures import Structures

NEIGHBOUR_CUTOFF = 3.0
"""Å; an atom's neighbours by default: bonded to it, and those bonded to these."""


def point_dipole(charges: np.ndarray, positions: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Dipole of atomic point charges about the centroid, Σ q_i (r_i − r̄), Float "molecule 3".

    The centroid r̄ is the plain mean of the atoms' positions, so the sum also equals
    Σ (q_i − q̄) r_i: taking the centroid as origin and spreading a rounding error of the total
    charge over the atoms are the same convention. It turns with the molecule and does not move
    with it. Unit: that of charge times position.

    >>> import numpy as np
    >>> point_dipole(np.array([1.0, -1.0]), np.array([[0, 0, 5.0], [0, 0, 4.0]]), np.array([0, 2]))
    array([[0., 0., 1.]])
    """
    sizes = np.diff(offsets)
    centroid = np.add.reduceat(positions, offsets[:-1]) / sizes[:, None]
    arms = positions - np.repeat(centroid, sizes, axis=0)
    return np.add.reduceat(charges[:, None] * arms, offsets[:-1])


def anisotropy(tensor: np.ndarray) -> np.ndarray:
    """Anisotropy of symmetric tensors, Float "molecule 3 3" to "molecule", in their unit.

    √(3/2 · tr(T²)), T the traceless part: |α∥ − α⊥| for an axially symmetric molecule.

    >>> import numpy as np
    >>> anisotropy(np.diag([2.0, 2.0, 5.0])[None])
    array([3.])
    """
    mean = np.trace(tensor, axis1=1, axis2=2) / 3
    traceless = tensor - mean[:, None, None] * np.eye(3)
    return np.sqrt(1.5 * np.einsum("mij,mij->m", traceless, traceless))


def point_quadrupole(
    charges: Float[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    offsets: Int[np.ndarray, " offset"],
) -> Float[np.ndarray, "molecule 5"]:
    """Traceless quadrupole of atomic point charges about the centroid, as the irrep 2e.

    Σ q_i h(r_i − r̄), with h of `degree_two` and r̄ the plain mean of the atoms' positions, the
    origin of `qm9.point_dipole`. Our choice: the quadrupole of a molecule with a dipole depends on
    its origin, and the centroid is the one that needs no masses. Unit: charge times length².

    >>> two = np.array([[0, 0, 2.0], [0, 0, 0], [0, 0, -2.0]])
    >>> point_quadrupole(np.array([1.0, -2.0, 1.0]), two, np.array([0, 3]))
    array([[ 0.       ,  0.       , -4.       ,  0.       ,  6.9282032]])
    """
    sizes = np.diff(offsets)
    centroid = np.add.reduceat(positions, offsets[:-1]) / sizes[:, None]
    arms = positions - np.repeat(centroid, sizes, axis=0)
    return np.add.reduceat(charges[:, None] * degree_two(arms), offsets[:-1])


def degree_two(arms: Float[np.ndarray, "*row 3"]) -> Float[np.ndarray, "*row 5"]:
    """The solid harmonics of degree 2, with the norm |r|²: what a charge adds to a quadrupole.

    √3 xz, √3 xy, y² − (x² + z²)/2, √3 yz, (√3/2)(z² − x²): e3nn's order, its normalisation "norm".
    In terms of the Cartesian Θ_ab = (3 r_a r_b − r² δ_ab)/2 (Buckingham, Q. Rev. Chem. Soc. 13, 183
    (1959)): 2Θ_xz/√3, 2Θ_xy/√3, Θ_yy, 2Θ_yz/√3, (Θ_zz − Θ_xx)/√3.
    """
    x, y, z = np.moveaxis(arms, -1, 0)
    root = np.sqrt(3)
    return np.stack(
        [
            root * x * z,
            root * x * y,
            y * y - (x * x + z * z) / 2,
            root * y * z,
            root / 2 * (z * z - x * x),
        ],
        axis=-1,
    )


def neighbour_moments(
    structures: Structures,
    charges: Float[np.ndarray, " atom"],
    cutoff: float = NEIGHBOUR_CUTOFF,
) -> tuple[Float[np.ndarray, "atom 3"], Float[np.ndarray, "atom 5"]]:
    """Dipole and quadrupole of the charges within `cutoff` (Å) of each atom, about that atom.

    Σ_j q_j r_ij and Σ_j q_j h(r_ij) over its neighbours, r_ij = r_j − r_i, h of `degree_two`;
    periodic images are neighbours too. The cutoff is sharp, as no model's is.

    >>> from ase.build import molecule
    >>> co = Structures.from_atoms([molecule("CO")])
    >>> dipole, _ = neighbour_moments(co, np.array([-1.0, 1.0]))
    >>> (dipole / (co.positions[1] - co.positions[0])[2])[:, 2]
    array([1., 1.])
    """
    dipole, quadrupole = np.zeros((len(charges), 3)), np.zeros((len(charges), 5))
    for molecule, start in enumerate(structures.offsets[:-1]):
        i, j, image = pairs(structures, molecule, cutoff)
        i, j = start + i.astype(np.int64), start + j.astype(np.int64)  # vesin counts unsigned
        arms = structures.positions[j] - structures.positions[i]
        if structures.cells is not None:
            arms = arms + image @ structures.cells[molecule]
        q = charges[j, None]
        np.add.at(dipole, i, q * arms)
        np.add.at(quadrupole, i, q * degree_two(arms))
    return dipole, quadrupole
