"""What a model was trained on, and the hue that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from cpdjax.models import naming, registry, zoo
from cpdjax.reports.style import GREY, INK, PALETTE
from cpdjax.studies.quantities import same_quantity, same_target

#: The objectives, in the order of legends, with their words and hues.
OBJECTIVES = {
    "gap": ("QM9, gap", PALETTE[1]),
    "energy": ("QM9, energy", PALETTE[0]),
    "target": ("QM9, other target", PALETTE[3]),
    "pretrained": ("not on QM9", PALETTE[2]),
    "descriptor": ("descriptor", GREY),
    "control": ("no coordinate", PALETTE[7]),
    "untrained": ("random weights", PALETTE[4]),
    "own gap": ("your model, gap", PALETTE[1]),
    "own energy": ("your model, energy", PALETTE[0]),
    "own target": ("your model, other target", PALETTE[3]),
    "unknown": ("your features", INK),
}
CONTROLS = {"control": "no coordinate", "untrained": "random weights"}
"""Say of the keys in `OBJECTIVES` that are controls what these lack."""


@cache
def objective_of(model: str, trained_on: str = "") -> str:
    """Return the key in `OBJECTIVES` of what a model was trained on, by its name.

    Args:
        trained_on: the target that it was trained on, as `sweeps.table.trained_on` has it. It
            decides where the model does not come with cpdjax; on which data, it does not say.
            Features from files, and models that say nothing, are "unknown".

    >>> [objective_of(m) for m in ("painn-qm9-gap", "so3lr", "coulomb-spectrum", "mine")]
    ['gap', 'pretrained', 'descriptor', 'unknown']
    >>> [objective_of(m) for m in ("bond-graph", "painn-untrained-run2")]
    ['control', 'untrained']
    >>> objective_of("megnet-qm9-gap", "gap"), objective_of("megnet-qm9-u0", "u0_atom")
    ('own gap', 'own energy')
    """
    if naming.untrained(model):
        return "untrained"
    if model in naming.CONTROLS:
        return "control"
    if model in naming.trained(runs=True):
        return _kind(zoo.target_of(model))
    if model in registry.pretrained():
        kind = registry.ENTRIES[registry.pretrained()[model]].kind
        return "descriptor" if kind == "descriptor" else "pretrained"
    return f"own {_kind(trained_on)}" if trained_on else "unknown"


def _kind(target: str) -> str:
    """Return which kind of target this is: the gap, an energy, or another."""
    if same_target(target, "gap"):
        return "gap"
    return "energy" if target == "energy" or same_quantity(target, "u0") else "target"


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


def training_of(model: str, trained_on: str = "") -> str:
    """Return what a model was trained on, in words; see `objective_of`.

    >>> training_of("painn-qm9-gap"), training_of("so3lr")
    ('QM9, gap', 'not on QM9')
    """
    return OBJECTIVES[objective_of(model, trained_on)][0]


def hue_of(model: str, trained_on: str = "") -> str:
    """Return the colour of a model's objective; see `objective_of`."""
    return OBJECTIVES[objective_of(model, trained_on)][1]
