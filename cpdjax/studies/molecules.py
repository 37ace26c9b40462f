"""The molecules of the study: disjoint draws of the probe set, and the first ones of QM9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpdjax.data.datasets import qm9
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.sweeps import inputs


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

        The first draw has `n` molecules; the others share the rest, at most `n` each.

        Raises:
            InputError: there are fewer than `n` and ten for each further draw.
        """
        pool = inputs.molecules("qm9-probe", n * draws, seed, known=known)
        other = min(n, (len(pool) - n) // max(draws - 1, 1))
        if len(pool) < n or other < 10:
            raise InputError(
                f"n must leave ten molecules for each of {draws - 1} further draws, of "
                f"{len(pool):,} molecules of QM9's probe set whose elements all models know, got "
                f"{n}"
            )
        bounds = (0, *(n + other * k for k in range(draws)))
        return cls(pool.select(np.arange(bounds[-1])), bounds)

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
