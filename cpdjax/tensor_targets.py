"""Vectors and tensors to predict: dipoles and quadrupoles of atomic point charges.

About the middle of a molecule, or about an atom, of the charges around it. They turn with the
molecule: a dipole as the irrep 1o, a traceless quadrupole as 2e, components in the order of e3nn.
QM9's polarizability tensor is not among them: it is given in another frame than the positions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from cpdjax.errors import InputError
from cpdjax.neighbours import pairs
from cpdjax.qm9 import point_dipole
from cpdjax.structures import Structures

CHARGES = ("mulliken_charge", "charges")
"""Atom targets that are taken for charges (e), the first that is there."""
NEIGHBOUR_CUTOFF = 3.0
"""Å; an atom's neighbours by default: bonded to it, and those bonded to these."""
IRREPS = {3: "1o", 5: "2e"}
"""What a target of so many components is: a Cartesian vector (x, y, z), or a traceless symmetric
tensor as `degree_two` orders it."""


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


def molecule_tensors(structures: Structures) -> dict[str, tuple[np.ndarray, str]]:
    """Tensor targets of molecules and their units, by name.

    The structures' own of 3 components (taken for polar vectors, 1o) or 5 (taken for 2e), and
    of their charges `dipole_point` (e·Å) and `quadrupole_point` (e·Å²).

    Raises:
        InputError: charges of periodic structures, whose moments depend on the cell's choice.
    """
    found = _own(structures.targets, structures.units)
    charges = _charges(structures)
    if charges is None:
        return found
    if structures.pbc is not None and structures.pbc.any():
        raise InputError(
            f"{structures.name!r} is periodic: its dipole depends on the choice of the cell; "
            "name another target, or probe atoms with probe='atom-equivariant'"
        )
    where = (charges, structures.positions, structures.offsets)
    return found | {
        "dipole_point": (point_dipole(*where), "e·Å"),
        "quadrupole_point": (point_quadrupole(*where), "e·Å²"),
    }


def atom_tensors(structures: Structures) -> dict[str, tuple[np.ndarray, str]]:
    """Tensor targets of atoms and their units, by name.

    The structures' own, such as forces, and of their charges `dipole_neighbours` (e·Å) and
    `quadrupole_neighbours` (e·Å²), within `NEIGHBOUR_CUTOFF`.
    """
    found = _own(structures.atom_targets, structures.units)
    charges = _charges(structures)
    if charges is None:
        return found
    dipole, quadrupole = neighbour_moments(structures, charges)
    return found | {
        "dipole_neighbours": (dipole, "e·Å"),
        "quadrupole_neighbours": (quadrupole, "e·Å²"),
    }


def _own(
    targets: dict[str, np.ndarray], units: dict[str, str]
) -> dict[str, tuple[np.ndarray, str]]:
    tensors = {k: v for k, v in targets.items() if v.ndim == 2 and v.shape[1] in IRREPS}
    return {name: (values, units.get(name, "")) for name, values in tensors.items()}


def _charges(structures: Structures) -> np.ndarray | None:
    columns = (structures.atom_targets.get(name) for name in CHARGES)
    return next((c for c in columns if c is not None and c.ndim == 1), None)
