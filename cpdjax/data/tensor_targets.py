"""Collect the vectors and tensors that a probe can predict.

These are the structures' own targets, and dipoles and quadrupoles of atomic point charges: of all
charges of a molecule about its centroid, or of the charges around an atom about that atom. They
turn with the molecule: a dipole as the irrep 1o, a traceless quadrupole as 2e, with components in
the order of e3nn. QM9's polarizability tensor is not among them, because the data give it in
another frame than the positions.
"""

from __future__ import annotations

import numpy as np

from cpdjax.data.multipoles import neighbour_moments, point_dipole, point_quadrupole
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError

CHARGES = ("mulliken_charge", "charges")
"""Hold the names of atom targets that are charges (e); the first that exists is used."""
IRREPS = {3: "1o", 5: "2e"}
"""Hold the irrep of a target by its number of components: a Cartesian vector (x, y, z), or a
traceless symmetric tensor in the order of `degree_two`."""


def molecule_tensors(structures: Structures) -> dict[str, tuple[np.ndarray, str]]:
    """Return the tensor targets of molecules and their units, by name.

    The structures' own targets of 3 components are taken as polar vectors (1o), and those of 5
    components as 2e. Where the atoms have charges, `dipole_point` (e·Å) and `quadrupole_point`
    (e·Å²) are computed from them.

    Raises:
        InputError: if periodic structures have charges, since their moments depend on which cell
            is chosen.
    """
    found = _own(structures.targets, structures.units)
    charges = _charges(structures)
    if charges is None:
        return found
    if structures.pbc is not None and structures.pbc.any():
        raise InputError(
            f"{structures.name!r} is periodic, so its dipole depends on the choice of the cell; "
            "name another target, or probe atoms with probe='atom-equivariant'"
        )
    where = (charges, structures.positions, structures.offsets)
    return found | {
        "dipole_point": (point_dipole(*where), "e·Å"),
        "quadrupole_point": (point_quadrupole(*where), "e·Å²"),
    }


def atom_tensors(structures: Structures) -> dict[str, tuple[np.ndarray, str]]:
    """Return the tensor targets of atoms and their units, by name.

    These are the structures' own, such as forces. Where the atoms have charges, they are joined by
    `dipole_neighbours` (e·Å) and `quadrupole_neighbours` (e·Å²), computed from the charges within
    `NEIGHBOUR_CUTOFF` of each atom.
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
    """Return the targets that are vectors or tensors, with their units."""
    tensors = {k: v for k, v in targets.items() if v.ndim == 2 and v.shape[1] in IRREPS}
    return {name: (values, units.get(name, "")) for name, values in tensors.items()}


def _charges(structures: Structures) -> np.ndarray | None:
    """Return the atoms' charges (e), or None where there are none."""
    columns = (structures.atom_targets.get(name) for name in CHARGES)
    return next((c for c in columns if c is not None and c.ndim == 1), None)
