"""The molecules of the study: disjoint draws of the probe set, and the first ones of QM9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpdjax.data.datasets import qm9
from cpdjax.data.qm9 import HELD_OUT
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.sweeps import inputs

FEWEST = 10
"""The least number of molecules in a draw."""


def bounds_of(n: int, draws: int, available: int = HELD_OUT) -> tuple[int, ...]:
    """Return where each of several disjoint draws begins, and where the last one ends.

    The first draw has `n` molecules; the others share the rest, at most `n` each.

    Raises:
        InputError: there are fewer than two draws; or fewer molecules than ten for each draw, or
            than `n` beside the `n` of a test set.

    >>> bounds_of(2000, 5), bounds_of(4000, 3)
    ((0, 2000, 4000, 6000, 8000, 10000), (0, 4000, 7000, 10000))
    """
    if draws < 2:
        raise InputError(f"draws must be at least 2: layers are chosen on the second, got {draws}")
    other = min(n, (available - n) // (draws - 1))
    most = min(available // 2, available - FEWEST * (draws - 1))
    if not FEWEST <= n <= most:
        raise InputError(
            f"n must be from {FEWEST} to {most:,}: {draws} draws share {available:,} molecules of "
            f"QM9's probe set, {FEWEST} each at least, and a test set needs n beside n to train "
            f"on; got {n:,}"
        )
    return (0, *(n + other * k for k in range(draws)))


@dataclass(frozen=True)
class Molecules:
    """Hold the molecules of a study, in a random order of which each draw takes its share."""

    pool: Structures
    """All molecules that are probed: the draws one after another."""
    bounds: tuple[int, ...]
    """Where each draw begins in the pool, and where the last one ends."""

    @classmethod
    def drawn(
        cls, n: int, draws: int, seed: int, known: Mapping[str, Sequence[int] | None]
    ) -> Molecules:
        """Draw molecules of QM9's probe set whose elements all models know.

        Raises:
            InputError: as `bounds_of`.
        """
        available = inputs.molecules("qm9-probe", min(n * draws, HELD_OUT), seed, known=known)
        bounds = bounds_of(n, draws, len(available))
        return cls(available.select(np.arange(bounds[-1])), bounds)

    @property
    def n(self) -> int:
        """Return the number of molecules in the first draw, on which findings are judged."""
        return self.bounds[1]

    def rows(self, draw: int) -> slice:
        """Return the rows of the pool that are in a draw."""
        return slice(self.bounds[draw], self.bounds[draw + 1])


def first_of_qm9(n: int, known: Mapping[str, Sequence[int] | None]) -> Structures:
    """Return the first molecules of QM9 in its own order, as the author's library takes them."""
    structures = qm9()
    for elements in known.values():
        if elements is not None:
            structures = structures.of_elements(sorted(elements))
    return structures.select(np.arange(min(n, len(structures))))
