"""Compute dipoles, quadrupoles and anisotropies from point charges and tensors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from cpdjax.data.neighbours import pairs
from cpdjax.data.structures import Structures

NEIGHBOUR_CUTOFF = 3.0
"""Limit (Å) the neighbours of an atom to those bonded to it and those bonded to these."""


def point_dipole(
    charges: Float[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    offsets: Int[np.ndarray, " offset"],
) -> Float[np.ndarray, "molecule 3"]:
    """Return the dipole of atomic point charges about the centroid, Σ q_i (r_i − r̄).

    The centroid r̄ is the plain mean of the atoms' positions, so the sum also equals
    Σ (q_i − q̄) r_i: taking the centroid as origin and spreading a rounding error of the total
    charge over the atoms are the same convention. The dipole turns with the molecule and does not
    change when the molecule moves. Its unit is charge times length.

    >>> point_dipole(np.array([1.0, -1.0]), np.array([[0, 0, 5.0], [0, 0, 4.0]]), np.array([0, 2]))
    array([[0., 0., 1.]])
    """
    return np.add.reduceat(charges[:, None] * _arms(positions, offsets), offsets[:-1])


def point_quadrupole(
    charges: Float[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    offsets: Int[np.ndarray, " offset"],
) -> Float[np.ndarray, "molecule 5"]:
    """Return the traceless quadrupole of atomic point charges about the centroid, as the irrep 2e.

    This is Σ q_i h(r_i − r̄), where h is `degree_two` and r̄ is the plain mean of the atoms'
    positions, as in `point_dipole`. The origin is our choice: the quadrupole of a molecule with a
    dipole depends on it, and the centroid needs no masses. The unit is charge times length².

    >>> two = np.array([[0, 0, 2.0], [0, 0, 0], [0, 0, -2.0]])
    >>> point_quadrupole(np.array([1.0, -2.0, 1.0]), two, np.array([0, 3]))
    array([[ 0.       ,  0.       , -4.       ,  0.       ,  6.9282032]])
    """
    arms = _arms(positions, offsets)
    return np.add.reduceat(charges[:, None] * degree_two(arms), offsets[:-1])


def degree_two(arms: Float[np.ndarray, "*row 3"]) -> Float[np.ndarray, "*row 5"]:
    """Return the solid harmonics of degree 2, with the norm |r|²: a unit charge's quadrupole.

    The components are √3 xz, √3 xy, y² − (x² + z²)/2, √3 yz, (√3/2)(z² − x²), in the order of e3nn
    and with its normalisation "norm". In terms of the Cartesian Θ_ab = (3 r_a r_b − r² δ_ab)/2
    (Buckingham, Q. Rev. Chem. Soc. 13, 183 (1959)) they are 2Θ_xz/√3, 2Θ_xy/√3, Θ_yy, 2Θ_yz/√3,
    (Θ_zz − Θ_xx)/√3.
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
    """Return dipole and quadrupole about each atom of the charges within `cutoff` (Å) of it.

    They are Σ_j q_j r_ij and Σ_j q_j h(r_ij) over the neighbours j, where r_ij = r_j − r_i and h is
    `degree_two`. Periodic images are neighbours too. The cutoff is sharp, unlike that of any model.

    >>> from ase.build import molecule
    >>> co = Structures.from_atoms([molecule("CO")])
    >>> dipole, _ = neighbour_moments(co, np.array([-1.0, 1.0]))
    >>> (dipole / (co.positions[1] - co.positions[0])[2])[:, 2]
    array([1., 1.])
    """
    dipole, quadrupole = np.zeros((len(charges), 3)), np.zeros((len(charges), 5))
    for molecule, start in enumerate(structures.offsets[:-1]):
        i, j, image = pairs(structures, molecule, cutoff)
        # The indices of vesin are unsigned, and would make floats of the sum.
        i, j = start + i.astype(np.int64), start + j.astype(np.int64)
        arms = structures.positions[j] - structures.positions[i]
        if structures.cells is not None:
            arms = arms + image @ structures.cells[molecule]
        q = charges[j, None]
        np.add.at(dipole, i, q * arms)
        np.add.at(quadrupole, i, q * degree_two(arms))
    return dipole, quadrupole


def anisotropy(tensor: Float[np.ndarray, "molecule 3 3"]) -> Float[np.ndarray, " molecule"]:
    """Return the anisotropy √(3/2 · tr(T²)) of symmetric tensors with traceless part T.

    For an axially symmetric molecule it is |α∥ − α⊥|. Its unit is that of the tensor.

    >>> anisotropy(np.diag([2.0, 2.0, 5.0])[None])
    array([3.])
    """
    mean = np.trace(tensor, axis1=1, axis2=2) / 3
    traceless = tensor - mean[:, None, None] * np.eye(3)
    return np.sqrt(1.5 * np.einsum("mij,mij->m", traceless, traceless))


def _arms(
    positions: Float[np.ndarray, "atom 3"], offsets: Int[np.ndarray, " offset"]
) -> Float[np.ndarray, "atom 3"]:
    """Return the positions of the atoms relative to the centroid of their molecule."""
    sizes = np.diff(offsets)
    centroid = np.add.reduceat(positions, offsets[:-1]) / sizes[:, None]
    return positions - np.repeat(centroid, sizes, axis=0)
