"""What a model was trained on, and the hue that shows it."""

from __future__ import annotations

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
    "unknown": ("your features", INK),
}
_OF_TARGETS = {"gap": "gap", "u0_atom": "energy"}


@cache
def objective_of(model: str) -> str:
    """Return the key in `OBJECTIVES` of what a model was trained on, by its name.

    Features from files, and models that do not come with cpdjax, are "unknown".

    >>> [objective_of(m) for m in ("painn-qm9-gap", "so3lr", "coulomb-spectrum", "mine")]
    ['gap', 'pretrained', 'descriptor', 'unknown']
    """
    if model in naming.trained(runs=True):
        target = target_of(model)
        return _OF_TARGETS.get(target, "target")
    if model in registry.pretrained():
        kind = registry.ENTRIES[registry.pretrained()[model]].kind
        return "descriptor" if kind == "descriptor" else "pretrained"
    return "unknown"


def target_of(model: str) -> str:
    """Return the target that a model of the zoo was trained on; empty for every other model.

    >>> target_of("mace-qm9-energy"), target_of("so3lr")
    ('u0_atom', '')
    """
    if model not in naming.trained(runs=True):
        return ""
    # Whatever lies in the folder where this runs, the model of cpdjax is meant.
    return str(zoo.card(f"{naming.SHIPPED}{model}")["target"])


def training_of(model: str) -> str:
    """Return what a model was trained on, in words.

    >>> training_of("painn-qm9-gap"), training_of("so3lr")
    ('QM9, gap', 'not on QM9')
    """
    return OBJECTIVES[objective_of(model)][0]


def hue_of(model: str) -> str:
    """Return the colour of a model's objective."""
    return OBJECTIVES[objective_of(model)][1]
