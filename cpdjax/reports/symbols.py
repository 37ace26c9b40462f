"""The symbols that physics has for targets and units."""

from __future__ import annotations

_UNITS = {"debye": "D", "bohr^3": "bohr³", "bohr^2": "bohr²"}
_ENERGIES = ("eV", "meV", "Ha", "hartree", "Hartree", "kcal/mol", "kJ/mol")
_VOLUMES, _AREAS = ("bohr³", "a0³", "a₀³", "Å³"), ("bohr²", "a0²", "a₀²", "Å²")
_DIPOLES, _CAPACITIES = ("D", "Debye", "e·Å", "a.u."), ("cal/(mol K)", "J/(mol K)", "cal/mol K")

#: The symbol of a quantity by the name that data sets have for it, and its possible units.
_SYMBOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "homo": ("ε_HOMO", _ENERGIES),
    "lumo": ("ε_LUMO", _ENERGIES),
    "mu": ("μ", _DIPOLES),
    "mu_point": ("μ_point", _DIPOLES),
    "alpha": ("α", _VOLUMES),
    "alpha_mean": ("α_mean", _VOLUMES),
    "alpha_anisotropy": ("Δα", _VOLUMES),
    "r2": ("⟨R²⟩", _AREAS),
    "zpve": ("ZPVE", _ENERGIES),
    "cv": ("C_v", _CAPACITIES),
    **{
        f"{name}{kind}": (f"{symbol}{kind}", _ENERGIES)
        for name, symbol in {"u0": "U₀", "u298": "U₂₉₈", "h298": "H₂₉₈", "g298": "G₂₉₈"}.items()
        for kind in ("", "_atom")
    },
}


def unit_text(unit: str) -> str:
    """Return a unit with raised exponents.

    >>> unit_text("bohr^3"), unit_text("debye"), unit_text("eV")
    ('bohr³', 'D', 'eV')
    """
    return _UNITS.get(unit, unit)


def target_text(name: str, unit: str = "") -> str:
    """Return a target's symbol and its unit in brackets; other names are returned unchanged.

    The unit decides whether a name is meant: `mu` in debye is the dipole moment, and `mu` in eV or
    in no unit may be anything.

    >>> target_text("mu", "debye"), target_text("r2", "bohr²"), target_text("homo", "eV")
    ('μ (D)', '⟨R²⟩ (bohr²)', 'ε_HOMO (eV)')
    >>> target_text("mu", "eV"), target_text("mu"), target_text("gap", "eV")
    ('mu (eV)', 'mu', 'gap (eV)')
    """
    unit = unit_text(unit)
    symbol, units = _SYMBOLS.get(name, (name, ()))
    shown = symbol if unit in units else name
    return f"{shown} ({unit})" if unit else shown


def symbol_text(name: str, unit: str = "") -> str:
    """Return a target's symbol without its unit, which decides whether the symbol is meant.

    >>> symbol_text("mu", "debye"), symbol_text("mu", "eV"), symbol_text("gap", "eV")
    ('μ', 'mu', 'gap')
    """
    return target_text(name, unit).removesuffix(f" ({unit_text(unit)})")
