"""Compute a geometry's energy, gap, dipole, charges and forces by GFN2-xTB, through tblite.

GFN2-xTB is from Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019). tblite is
LGPL-3.0, and so an optional extra: nothing of it is part of this package.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any, NamedTuple

import numpy as np
from ase.units import Bohr, Hartree
from jaxtyping import Float, Int

from cpdjax.errors import InputError

METHOD = "GFN2-xTB"
PINNED = "0.8.0"
"""Hold the version of tblite that the extra `xtb` installs."""
STEP = 0.005
"""Displace atoms by so much (Å) in the differences behind a Hessian (our choice)."""


class Label(NamedTuple):
    """Hold what GFN2-xTB says of one geometry."""

    energy: float
    """The total energy (eV)."""
    gap: float
    """The lowest unoccupied less the highest occupied orbital energy (eV)."""
    dipole: Float[np.ndarray, "3"]
    """The dipole moment (e·Å), in the frame of the positions."""
    charges: Float[np.ndarray, " atom"]
    """The partial charges of atoms (e)."""
    forces: Float[np.ndarray, "atom 3"]
    """The forces on atoms (eV/Å)."""


def version() -> str:
    """Return the version of tblite that is installed; the pinned one where none is."""
    try:
        return importlib.metadata.version("tblite")
    except importlib.metadata.PackageNotFoundError:
        return PINNED


class Molecule:
    """Compute geometries of one neutral, closed-shell molecule.

    Raises:
        InputError: tblite is not installed.
    """

    def __init__(self, numbers: Int[np.ndarray, " atom"]):
        self.numbers = np.asarray(numbers)
        self._calculator = _calculator()

    def label(self, positions: Float[np.ndarray, "atom 3"]) -> Label | None:
        """Return the label of a geometry, or None where the SCF does not converge.

        Every call starts from the method's own guess, so that a label depends on nothing but the
        geometry.
        """
        found = self._run(positions)
        if found is None:
            return None
        levels, occupied = found["orbital-energies"], found["orbital-occupations"]
        first_empty = round(occupied.sum() / 2)
        return Label(
            energy=float(found["energy"]) * Hartree,
            gap=float(levels[first_empty] - levels[first_empty - 1]) * Hartree,
            dipole=np.array(found["dipole"]) * Bohr,
            charges=np.array(found["charges"]),
            forces=-np.array(found["gradient"]) * (Hartree / Bohr),
        )

    def hessian(
        self, positions: Float[np.ndarray, "atom 3"]
    ) -> Float[np.ndarray, "coordinate coordinate"] | None:
        """Return second derivatives of the energy (eV/Å²), or None where an SCF does not converge.

        They are central differences of forces.
        """
        flat = positions.ravel()
        rows = []
        for i in range(len(flat)):
            ends = [self.label((flat + sign * STEP * _unit(i, len(flat))).reshape(-1, 3))
                    for sign in (1, -1)]  # fmt: skip
            if ends[0] is None or ends[1] is None:
                return None
            rows.append((ends[1].forces - ends[0].forces).ravel() / (2 * STEP))
        return (np.array(rows) + np.array(rows).T) / 2

    def _run(self, positions: Float[np.ndarray, "atom 3"]) -> Any:
        calculator = self._calculator(METHOD, self.numbers, positions / Bohr)
        calculator.set("verbosity", 0)
        try:
            return calculator.singlepoint()
        except RuntimeError:
            return None


def _unit(i: int, n: int) -> np.ndarray:
    return np.arange(n) == i


def _calculator() -> Any:
    """Return tblite's calculator, which is imported only when something is computed."""
    try:
        from tblite.interface import Calculator
    except ImportError as error:
        raise InputError(
            "conformers are labelled by tblite (LGPL-3.0), which is not installed: pip install "
            f'"cpdjax[xtb]", or set CPDJAX_CACHE to a folder that holds them already; {error}'
        ) from None
    return Calculator
