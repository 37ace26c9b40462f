"""Which targets tell the same, so that a model trained on one was trained on the other.

An energy and the same energy minus its free atoms are one target, because least squares on counts
of elements takes the difference away. The internal energies, the enthalpy and the free energy of
QM9 are one quantity, whether at 0 K or at 298 K (both our choice).
"""

from __future__ import annotations

_ATOMIZED = "_atom"
_ENERGIES = ("u0", "u298", "h298", "g298")


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
