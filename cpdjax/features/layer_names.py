"""Choose layers by name, or the last interaction layer of each model, whatever it is called."""

from __future__ import annotations

from collections.abc import Sequence

LAST = "last"
"""Stands for the last interaction layer of each model, or its last layer where it has none."""


def last_interaction(layers: Sequence[str]) -> str:
    """Return the last interaction layer of the layers on a model's path, or the last of all.

    >>> last_interaction(["embedding", "interaction_0", "interaction_1", "readout"])
    'interaction_1'
    >>> last_interaction(["radial", "angular", "aev"])
    'aev'
    """
    return ([layer for layer in layers if layer.startswith("interaction")] or layers)[-1]


def called(name: str, layers: Sequence[str]) -> str:
    """Return the layer of a model that a name means: its own, or by `LAST` what that stands for.

    >>> called("last", ["interaction_0", "readout"]), called("last", ["first", "last"])
    ('interaction_0', 'last')
    """
    return last_interaction(layers) if name == LAST and LAST not in layers else name


def chosen(layers: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return those of a model's layers that are wanted, on its path; by default all.

    >>> chosen(["embedding", "interaction_0", "readout"], ["last", "embedding"])
    ['embedding', 'interaction_0']
    """
    names = layers if wanted is None else {called(name, layers) for name in wanted}
    return [layer for layer in layers if layer in names]
