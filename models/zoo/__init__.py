"""Models that `cpdjax train` made: those of the zoo, which come with the package, and anyone's own.

A run's folder holds `config.json`, `log.csv`, `loss.png`, `card.json`, `split.npz` and `model/`.
The zoo's entries share one split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cpdjax.data.datasets import qm9
from cpdjax.data.splits import Split
from cpdjax.data.structures import Structures

ZOO = Path(__file__).parent
CARD, SPLIT, MODEL = "card.json", "split.npz", "model"
HELD_OUT = 10_000
"""Number of held-out molecules of QM9, the same for every model of the zoo."""


def names() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{CARD}")))


def folder(name: str | Path) -> Path | None:
    """Return the folder of a trained model, by its name in the zoo or its path, or None."""
    for place in (ZOO / name, Path(name)):
        if (place / CARD).is_file():
            return place
    return None


def card(name: str | Path) -> dict[str, Any]:
    """Return what a run noted of its model: data, budget, errors; empty without such a model."""
    place = folder(name)
    return json.loads((place / CARD).read_text(encoding="utf-8")) if place else {}


def split(name: str | Path) -> Split | None:
    """Return which molecules a trained model has seen; None where it is no trained model.

    Raises:
        FileError: the record is missing or damaged.
    """
    place = folder(name)
    if place is None:
        return None
    own = place / SPLIT
    return Split.load(own if own.exists() else ZOO / SPLIT)


def qm9_probe(n: int | None = None, seed: int = 0) -> Structures:
    """Draw `n` of the held-out molecules of QM9, which no model of the zoo has seen.

    Args:
        n: number of molecules; by default all, in the order of the split.
        seed: random seed of the draw.

    Raises:
        FileError: as `datasets.qm9`.
    """
    structures = Split.load(ZOO / SPLIT).of(qm9())
    if n is None:
        return structures
    return structures.select(np.random.default_rng(seed).permutation(len(structures))[:n])
