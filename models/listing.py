"""Say what each model that comes with cpdjax is, without loading it.

`listing.json` keeps what loaded models said of themselves. Loading them all takes many seconds, and
whoever lists them needs no weights. `tests/goldens/make_listing.py` writes the file, and a test
compares it with the models. What the file does not know was registered later, and is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpdjax import checksums, models
from cpdjax.models.cards import card_of
from cpdjax.models.interface import Card
from cpdjax.models.naming import CARD, MODEL, SHIPPED, ZOO, trained
from cpdjax.models.weights.wheels import packaged

FILE = Path(__file__).parent / "listing.json"


@dataclass(frozen=True)
class Listed:
    """Hold what a list of models says of one."""

    name: str
    card: Card
    parameters: int
    layers: Mapping[str, str]
    """The irreps of every layer, in the order of the data's path."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of files in the wheel that carries the weights."""

    def check(self) -> None:
        """Refuse weights that are not the published ones; loading them checks the rest.

        Raises:
            FileError: a file is missing, damaged or changed.
        """
        for file, sha256 in self.weights.items():
            packaged(self.card.distribution or "", file, sha256)
        if self.name in trained(runs=True):
            checksums.check_files(ZOO / self.name, CARD, f"{MODEL}/{checksums.RECORD}")
            checksums.check(ZOO / self.name / MODEL)


def loaded(name: str) -> Listed:
    """Load a model that comes with cpdjax, with a wheel or by `register`, and ask it.

    Raises:
        FileError: the weights are not installed, or they are not the published ones.
    """
    shipped = f"{SHIPPED}{name}"
    model: Any = models.load(shipped)
    layers = {layer: str(irreps) for layer, irreps in model.irreps.items()}
    return Listed(name, card_of(shipped), getattr(model, "parameters", 0), layers)


def listed() -> dict[str, Listed]:
    """Return what is known of every model that comes with cpdjax or with a wheel, by name.

    >>> listed()["ani-2x-aev"].layers["aev"]
    '1008x0e'
    """
    records = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: Listed(name, Card(**record.pop("card")), **record) for name, record in records.items()
    }
