"""Models that `cpdjax train` made: those of the zoo, which come with the package, and anyone's own.

A run's folder holds `config.json`, `log.csv`, `loss.png`, `card.json`, `split.npz`, `model/` and
the hashes of all of these. The zoo's entries share one split. A further training run, which differs
from the first in its random seed alone, is an entry of its own: `painn-qm9-gap-run1`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cpdjax.data.datasets import drawn, qm9
from cpdjax.data.splits import Split
from cpdjax.data.structures import Structures
from cpdjax.models import naming, runs

names = naming.trained


def folder(name: str | Path) -> Path | None:
    """Return the folder of a trained model, by its name in the zoo or its path, or None.

    Raises:
        InputError: the name is both that of a model of the zoo and that of a folder here.
    """
    found = naming.find(name)
    return found.run if found else None


def card(name: str | Path) -> dict[str, Any]:
    """Return what a run noted of its model: data, budget, errors; empty without such a model.

    Raises:
        FileError: the card is damaged or changed.
        InputError: as `folder`.
    """
    place = folder(name)
    return runs.card(place).model_dump(exclude={"format", "split"}) if place else {}


def target_of(name: str) -> str:
    """Return the target that a model of the zoo was trained on; empty for every other name.

    Whatever lies in the folder where this runs, the model of cpdjax is meant.

    >>> target_of("mace-qm9-energy"), target_of("so3lr")
    ('u0_atom', '')
    """
    if name not in naming.trained(runs=True):
        return ""
    return str(card(f"{naming.SHIPPED}{name}")["target"])


def split(name: str | Path) -> Split | None:
    """Return which molecules a trained model has seen; None where it is no trained model.

    Raises:
        FileError: the record is missing, damaged or changed.
        InputError: as `folder`.
    """
    place = folder(name)
    return runs.split(place) if place else None


def qm9_probe(n: int | None = None, seed: int = 0) -> Structures:
    """Draw `n` of the held-out molecules of QM9, which no model of the zoo has seen.

    Args:
        n: number of molecules; by default all, in the order of the split.
        seed: random seed of the draw.

    Raises:
        FileError: as `datasets.qm9`.
        InputError: `n` is not between 1 and `data.qm9.HELD_OUT`.
    """
    structures = Split.load(naming.ZOO / naming.SPLIT).of(qm9())
    return structures if n is None else structures.select(drawn(n, len(structures), seed))
