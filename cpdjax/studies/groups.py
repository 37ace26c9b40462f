"""Which models belong together: the zoo's architectures, their two objectives, and the controls."""

from __future__ import annotations

from cpdjax.models.naming import run_of

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


def untrained(architecture: str) -> str:
    """Return the name of the untrained twin of a model of the zoo."""
    return f"{architecture}-untrained"


TEN = tuple(named(a, o) for o in OBJECTIVES for a in ARCHITECTURES)
"""The ten models that stand for the paper's ten, whose names are not known here (our choice)."""
GRAPH, COMPOSITION = "bond-graph", "composition-only"


def training_of(model: str) -> str:
    """Return in a word what trained a model, by its name.

    >>> training_of("mace-qm9-gap-run2"), training_of("painn-untrained"), training_of("so3lr")
    ('gap', 'nothing', 'other')
    """
    base = run_of(model)[0]
    if base in TEN:
        return base.rpartition("-")[2]
    if base in (GRAPH, COMPOSITION) or base in map(untrained, ARCHITECTURES):
        return "nothing"
    return "other"
