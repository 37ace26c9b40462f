"""List the targets of QM9 with their units, and the energies of free atoms they are based on.

The data are from Ramakrishnan, Dral, Rupp and von Lilienfeld, Sci. Data 1, 140022 (2014), computed
with B3LYP/6-31G(2df,p). The `qm9pack` wheel ships 130,831 molecules; the 3,054 that failed the
consistency check are already left out.
"""

from __future__ import annotations

from typing import NamedTuple

MOLECULES = 130_831
HELD_OUT = 10_000
"""Number of molecules, drawn with seed 0, that no model of the zoo has seen."""

HARTREE = 27.211386245988
"""Hold one hartree in eV (CODATA 2018)."""
DEBYE_PER_E_ANGSTROM = 4.803204712570263
"""Hold one e·Å in debye: e / (1e-21 / c) · 1e-10 with the exact SI values of e and c."""

ATOM_ENERGIES = {
    "U0": {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730},
    "U": {"H": -0.498857, "C": -37.845355, "N": -54.582445, "O": -75.063163, "F": -99.717314},
    "H": {"H": -0.497912, "C": -37.844411, "N": -54.581501, "O": -75.062219, "F": -99.716370},
    "G": {"H": -0.510927, "C": -37.861317, "N": -54.598897, "O": -75.079532, "F": -99.733544},
}
"""Hold the energies of free atoms (hartree) at QM9's level, from the paper's `atomref.txt`."""


class Target(NamedTuple):
    """Describe one target of QM9."""

    name: str
    unit: str
    column: str
    """Name the CSV column that holds it; "" where the parse computes it from others."""
    factor: float
    """Convert the column's values to `unit` by multiplication."""
    extensive: bool
    """Say whether it grows with the number of atoms (by definition, not by fit)."""
    description: str
    atoms: str = ""
    """Name the energies of free atoms that are subtracted first: a key of ATOM_ENERGIES, or ""."""


_U0, _U, _H, _G = (
    "InternalEnergy_0K_au",
    "InternalEnergy_298K_au",
    "Enthalphy_298K_au",  # the file's own spelling
    "GibbsFreeEnergy_298K_au",
)
_BOUND = "molecule minus its free atoms; negative means bound"

TARGETS = (
    Target("gap", "eV", "HOMO_LUMO_gap_au", HARTREE, False, "HOMO-LUMO gap"),
    Target("homo", "eV", "HOMO_au", HARTREE, False, "highest occupied orbital energy"),
    Target("lumo", "eV", "LUMO_au", HARTREE, False, "lowest unoccupied orbital energy"),
    Target("mu", "debye", "Dipole_debye", 1.0, False, "norm of the dipole moment"),
    Target("alpha", "bohr^3", "Polarizability_bohr3", 1.0, True, "isotropic polarizability"),
    Target("r2", "bohr^2", "R2_bohr2", 1.0, True, "electronic spatial extent <R²>"),
    Target("zpve", "eV", "ZPVE_au", HARTREE, True, "harmonic zero-point energy"),
    Target("u0", "eV", _U0, HARTREE, True, "internal energy at 0 K"),
    Target("u298", "eV", _U, HARTREE, True, "internal energy at 298.15 K"),
    Target("h298", "eV", _H, HARTREE, True, "enthalpy at 298.15 K"),
    Target("g298", "eV", _G, HARTREE, True, "Gibbs free energy at 298.15 K"),
    Target("cv", "cal/(mol K)", "Heatcapacity_Cv_cal_mol_K", 1.0, True, "C_V at 298.15 K"),
    Target("u0_atom", "eV", _U0, HARTREE, True, f"atomization U0: {_BOUND}", "U0"),
    Target("u298_atom", "eV", _U, HARTREE, True, f"atomization U298: {_BOUND}", "U"),
    Target("h298_atom", "eV", _H, HARTREE, True, f"atomization H298: {_BOUND}", "H"),
    Target("g298_atom", "eV", _G, HARTREE, True, f"atomization G298: {_BOUND}", "G"),
    Target("alpha_mean", "bohr^3", "", 1.0, True, "a third of the polarizability tensor's trace"),
    Target("alpha_anisotropy", "bohr^3", "", 1.0, True, "anisotropy of the polarizability tensor"),
    Target("mu_point", "debye", "", DEBYE_PER_E_ANGSTROM, False, "norm of dipole_point"),
    Target("dipole_point", "e·Å", "", 1.0, False, "dipole vector of the Mulliken point charges"),
)
"""List every target of `datasets.qm9`: (molecule,), and (molecule, 3) for `dipole_point`."""

SCALAR_TARGETS = tuple(
    # alpha_mean equals alpha to the rounding of the file (0.0053 bohr^3 at most), so a second probe
    # would tell nothing.
    t.name
    for t in TARGETS
    if t.name not in ("alpha_mean", "dipole_point")
)
"""Name the targets of a default sweep."""
