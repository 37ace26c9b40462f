"""Vectors and tensors to predict: dipoles and quadrupoles of atomic point charges.

About the middle of a molecule, or about an atom, of the charges around it. They turn with the
molecule: a dipole as the irrep 1o, a traceless quadrupole as 2e, components in the order of e3nn.
QM9's polarizability tensor is not among them: it is given in another frame than the positions.
"""

from __future__ import annotations

import numpy as np

from cpdjax.data.multipoles import neighbour_moments, point_dipole, point_quadrupole
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError

CHARGES = ("mulliken_charge", "charges")
"""Atom targets that are taken for charges (e), the first that is there."""
IRREPS = {3: "1o", 5: "2e"}
"""What a target of so many components is: a Cartesian vector (x, y, z), or a traceless symmetric
tensor as `degree_two` orders it."""


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
