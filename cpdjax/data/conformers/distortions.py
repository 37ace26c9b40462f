"""Distort a molecule: thermal displacements along its normal modes, and turns about its bonds.

Displacements are those of classical harmonic oscillators at a temperature T: along a mode of
angular frequency ω, the mass-weighted coordinate is normal with variance kT/ω². Modes are those of
the geometry as it is given. It need be no minimum of the method that the Hessian is from: a mode's
frequency is the root of its curvature's size, and at least `SOFTEST`, for a straight displacement
along a soft mode, such as the turn of a methyl group, stretches bonds (both our choice).
"""

from __future__ import annotations

import numpy as np
from ase import units
from ase.data import atomic_masses, covalent_radii
from jaxtyping import Bool, Float, Int
from scipy.linalg import null_space
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from cpdjax.data.texts import rdkit
from cpdjax.errors import InputError

SOFTEST = 300.0
"""Limit the frequencies of modes (cm⁻¹) from below (our choice)."""
BONDED, BROKEN, COLLAPSED = 1.3, 1.5, 1.1
"""Hold distances in sums of covalent radii (our choice): atoms closer than the first in the
molecule are bonded; a distorted bond longer than the second is broken, and other atoms closer than
the third have collapsed."""
# RDKit's rotatable bonds: no ring, no end of a chain, nothing beside a triple bond.
_ROTATABLE = "[!$(*#*)&!D1]-&!@[!$(*#*)&!D1]"
#: √(eV/Å²/u) as a wave number, in cm⁻¹.
_WAVE_NUMBER = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm


def thermal_root(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    hessian: Float[np.ndarray, "coordinate coordinate"],
) -> Float[np.ndarray, "coordinate coordinate"]:
    """Return L (Å/√K), so that √T·L·z is a thermal displacement for normal random numbers z.

    The molecule as a whole neither moves nor turns. In mass-weighted coordinates L is symmetric: so
    it does not depend on the signs of modes, nor on which modes of one frequency are taken.
    """
    root = np.repeat(np.sqrt(atomic_masses[numbers]), 3)
    basis = null_space(_rigid(numbers, positions).T)
    curvature, modes = np.linalg.eigh(basis.T @ (hessian / np.outer(root, root)) @ basis)
    least = (SOFTEST / _WAVE_NUMBER) ** 2
    spread = np.sqrt(units.kB / np.maximum(np.abs(curvature), least))
    modes = basis @ modes
    return (modes * spread) @ modes.T / root[:, None]


def _rigid(
    numbers: Int[np.ndarray, " atom"], positions: Float[np.ndarray, "atom 3"]
) -> Float[np.ndarray, "coordinate motion"]:
    """Return orthonormal mass-weighted translations and rotations; a rod has five of them."""
    masses = atomic_masses[numbers]
    about = positions - masses @ positions / masses.sum()
    moved = [np.tile(axis, (len(about), 1)) for axis in np.eye(3)]
    turned = [np.cross(axis, about) for axis in np.eye(3)]
    motions = np.array([(m * np.sqrt(masses)[:, None]).ravel() for m in (*moved, *turned)])
    _, size, rows = np.linalg.svd(motions, full_matrices=False)
    return rows[size > 1e-6 * size[0]].T


def rotatable(
    smiles: str, numbers: Int[np.ndarray, " atom"], positions: Float[np.ndarray, "atom 3"]
) -> list[tuple[int, int, Bool[np.ndarray, " atom"]]]:
    """Return the rotatable bonds: their two atoms, and which atoms turn, the smaller part.

    There are none where the heavy atoms of the SMILES are not those of the geometry, in its order
    and with its bonds.
    """
    Chem, _ = rdkit()
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"the SMILES {smiles!r} cannot be read, whose bonds are to be turned")
    heavy = np.flatnonzero(np.asarray(numbers) > 1)
    bonded = bonds(numbers, positions)
    drawn = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]
    if [a.GetAtomicNum() for a in molecule.GetAtoms()] != numbers[heavy].tolist():
        return []
    if not all(bonded[heavy[i], heavy[j]] for i, j in drawn):
        return []
    found = []
    for i, j in molecule.GetSubstructMatches(Chem.MolFromSmarts(_ROTATABLE)):
        part = _behind(bonded, heavy[i], heavy[j])
        if not part[heavy[i]]:
            small = part if part.sum() <= len(part) / 2 else ~part
            found.append((int(heavy[i]), int(heavy[j]), small))
    return found


def bonds(
    numbers: Int[np.ndarray, " atom"], positions: Float[np.ndarray, "atom 3"]
) -> Bool[np.ndarray, "atom atom"]:
    """Return which atoms are bonded: closer than `BONDED` times the sum of covalent radii."""
    return (_relative(numbers, positions) < BONDED) & ~np.eye(len(numbers), dtype=bool)


def _behind(bonded: Bool[np.ndarray, "atom atom"], i: int, j: int) -> Bool[np.ndarray, " atom"]:
    """Return the atoms that are reached from j other than by the bond to i."""
    cut = bonded.copy()
    cut[i, j] = cut[j, i] = False
    reached = np.arange(len(cut)) == j
    for _ in range(len(cut)):
        reached = reached | cut[reached].any(0)
    return reached


def turned(
    positions: Float[np.ndarray, "atom 3"],
    about: list[tuple[int, int, Bool[np.ndarray, " atom"]]],
    angles: Float[np.ndarray, " bond"],
) -> Float[np.ndarray, "atom 3"]:
    """Return a geometry with a part of it turned about each of its rotatable bonds (radians)."""
    positions = positions.copy()
    for (i, j, part), angle in zip(about, angles, strict=True):
        axis = positions[j] - positions[i]
        turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
        positions[part] = positions[i] + turn.apply(positions[part] - positions[i])
    return positions


def aligned(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    reference: Float[np.ndarray, "atom 3"],
) -> Float[np.ndarray, "atom 3"]:
    """Return a geometry in the frame of a reference: best superposed, atoms weighted by mass."""
    masses = atomic_masses[numbers]
    centre, goal = (masses @ p / masses.sum() for p in (positions, reference))
    u, _, vt = np.linalg.svd(((positions - centre) * masses[:, None]).T @ (reference - goal))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))  # a rotation, no mirror image
    return (positions - centre) @ (u @ vt) + goal


def intact(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    reference: Float[np.ndarray, "atom 3"],
) -> bool:
    """Return whether a geometry has the bonds of the reference, none broken and none new."""
    before, after = _relative(numbers, reference), _relative(numbers, positions)
    pairs = ~np.eye(len(numbers), dtype=bool)
    bonded = (before < BONDED) & pairs
    return bool((after[bonded] < BROKEN).all() and (after[pairs & ~bonded] > COLLAPSED).all())


def _relative(
    numbers: Int[np.ndarray, " atom"], positions: Float[np.ndarray, "atom 3"]
) -> Float[np.ndarray, "atom atom"]:
    """Return distances in sums of covalent radii."""
    radii = covalent_radii[numbers]
    distances: np.ndarray = cdist(positions, positions) / np.add.outer(radii, radii)
    return distances
