"""What is known of each model beside its numbers: family, licence, training data, package."""

from __future__ import annotations

from pathlib import Path

from cpdjax.errors import UnknownNameError
from cpdjax.models import naming, registry, runs
from cpdjax.models.interface import Card


def card_of(name: str | Path) -> Card:
    """Return the card of a model of `cpdjax.models.names()`, or of a training run's folder.

    Raises:
        UnknownNameError: no model has this name.
        InputError: the name is both that of a model of cpdjax and that of a folder here.
        FileError: the card of a training run is damaged or changed.

    >>> card_of("ani-2x-aev").installed
    True
    """
    found = naming.find(name)
    random = naming.untrained(found.name) if found and found.folder is None else None
    if random:
        return Card(random[0], "Apache-2.0", f"none: random weights, seed {random[1]}")
    if found and found.folder is None:
        file = registry.file_of(registry.pretrained()[found.name])
        facts: dict[str, Card] = file.CARDS
        return facts[found.name]
    if not found or not found.run:
        raise UnknownNameError("model", str(name), naming.shipped(runs=True))
    run = runs.card(found.run)
    data = f"{run.molecules:,} molecules of {run.dataset}, {run.target}"
    return Card(run.architecture, "Apache-2.0", data)
