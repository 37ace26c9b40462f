"""Which targets tell the same, so that a model trained on one was trained on the other.

An energy and the same energy minus its free atoms are one target, because least squares on counts
of elements takes the difference away. The internal energies, the enthalpy and the free energy of
QM9 are one quantity, whether at 0 K or at 298 K (both our choice).
"""

from __future__ import annotations

from collections.abc import Iterable

from cpdjax.data.qm9 import TARGETS

_ATOMIZED = "_atom"
TOTALS = tuple(target.name for target in TARGETS if target.column and not target.atoms)
"""Name the twelve scalars of QM9's own file, in the order of tables and figures."""
_ENERGIES = tuple(target.name.removesuffix(_ATOMIZED) for target in TARGETS if target.atoms)
ATOMIZED = tuple(f"{name}{_ATOMIZED}" if name in _ENERGIES else name for name in TOTALS)
"""Name the same twelve with energies of atomization, whose R²_geom composition does not swamp."""


def in_order(targets: Iterable[str]) -> list[str]:
    """Return targets in the order of QM9's twelve, free atoms subtracted or not; others follow.

    >>> in_order(["mine", "cv", "u0_atom", "gap"])
    ['gap', 'u0_atom', 'cv', 'mine']
    """

    def place(target: str) -> int:
        own = target.removesuffix(_ATOMIZED)
        return TOTALS.index(own) if own in TOTALS else len(TOTALS)

    return sorted(targets, key=place)


def same_target(one: str, other: str) -> bool:
    """Return whether two targets are one, free atoms subtracted or not; "" is unknown.

    >>> same_target("u0_atom", "u0"), same_target("u0_atom", "g298_atom"), same_target("", "")
    (True, False, False)
    """
    return one.removesuffix(_ATOMIZED) == other.removesuffix(_ATOMIZED) != ""


def same_quantity(one: str, other: str) -> bool:
    """Return whether two targets are one, or energies at several temperatures; "" is unknown.

    >>> same_quantity("u0_atom", "g298_atom"), same_quantity("gap", "homo"), same_quantity("", "")
    (True, False, False)
    """
    energies = {name.removesuffix(_ATOMIZED) for name in (one, other)} <= {*_ENERGIES}
    return energies or same_target(one, other)
