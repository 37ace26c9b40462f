"""Which models belong together: the zoo's architectures, their two objectives, and the controls."""

from __future__ import annotations

INVARIANT = ("schnet", "dimenet++")
EQUIVARIANT = ("painn", "visnet", "mace")
ARCHITECTURES = (*INVARIANT, *EQUIVARIANT)
#: The two objectives of the zoo, as the names of its models end, and the targets they are.
OBJECTIVES = {"gap": "gap", "energy": "u0_atom"}


def named(architecture: str, objective: str) -> str:
    """Return the name of a model of the zoo.

    >>> named("painn", "gap")
    'painn-qm9-gap'
    """
    return f"{architecture}-qm9-{objective}"


def twin(architecture: str) -> str:
    """Return the name of the untrained twin of a model of the zoo."""
    return f"{architecture}-untrained"


TEN = tuple(named(a, o) for o in OBJECTIVES for a in ARCHITECTURES)
"""The ten models that stand for the paper's ten, whose names are not known here (our choice)."""
GRAPH, COMPOSITION = "bond-graph", "composition-only"
