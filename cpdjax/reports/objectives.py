"""What a model was trained on, and the hue that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from cpdjax.models import naming, registry, zoo
from cpdjax.reports.style import GREY, INK, PALETTE

#: The objectives, in the order of legends, with their words and hues.
OBJECTIVES = {
    "gap": ("QM9, gap", PALETTE[1]),
    "energy": ("QM9, energy", PALETTE[0]),
    "target": ("QM9, other target", PALETTE[3]),
    "pretrained": ("not on QM9", PALETTE[2]),
    "descriptor": ("descriptor", GREY),
    "control": ("no coordinate", PALETTE[7]),
    "untrained": ("random weights", PALETTE[4]),
    "unknown": ("your features", INK),
}
CONTROLS = {"control": "no coordinate", "untrained": "random weights"}
"""Say of the keys in `OBJECTIVES` that are controls what these lack."""
_OF_TARGETS = {"gap": "gap", "u0_atom": "energy"}


@cache
def objective_of(model: str) -> str:
    """Return the key in `OBJECTIVES` of what a model was trained on, by its name.

    Features from files, and models that do not come with cpdjax, are "unknown".

    >>> [objective_of(m) for m in ("painn-qm9-gap", "so3lr", "coulomb-spectrum", "mine")]
    ['gap', 'pretrained', 'descriptor', 'unknown']
    >>> [objective_of(m) for m in ("bond-graph", "painn-untrained-run2")]
    ['control', 'untrained']
    """
    if naming.untrained(model):
        return "untrained"
    if model in naming.CONTROLS:
        return "control"
    if model in naming.trained(runs=True):
        return _OF_TARGETS.get(zoo.target_of(model), "target")
    if model in registry.pretrained():
        kind = registry.ENTRIES[registry.pretrained()[model]].kind
        return "descriptor" if kind == "descriptor" else "pretrained"
    return "unknown"


def controls_note(models: Iterable[str]) -> list[str]:
    """Return a line that names the controls among models; none where there is none.

    >>> controls_note(["so3lr", "bond-graph", "painn-untrained"])
    ['Controls: bond-graph (no coordinate); painn-untrained (random weights).']
    """
    found: dict[str, list[str]] = {}
    for model in dict.fromkeys(models):
        if objective_of(model) in CONTROLS:
            found.setdefault(CONTROLS[objective_of(model)], []).append(model)
    parts = [f"{', '.join(own)} ({words})" for words, own in found.items()]
    return [f"Controls: {'; '.join(parts)}."] if parts else []


def training_of(model: str) -> str:
    """Return what a model was trained on, in words.

    >>> training_of("painn-qm9-gap"), training_of("so3lr")
    ('QM9, gap', 'not on QM9')
    """
    return OBJECTIVES[objective_of(model)][0]


def hue_of(model: str) -> str:
    """Return the colour of a model's objective."""
    return OBJECTIVES[objective_of(model)][1]
