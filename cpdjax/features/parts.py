"""The results of an extraction are computed and written part by part, each to files of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cpdjax.features.extraction import Extraction


@dataclass(frozen=True, eq=False)
class Parts:
    """Divide the rows of a run, molecules or atoms, into parts of whole chunks.

    No two parts write to one file, so that several processes can write parts.
    """

    run: Extraction
    most: int
    """The molecules of a part, about as many where rows are atoms; and the rows of a chunk."""

    def __len__(self) -> int:
        """Return the number of parts."""
        return -(-self.total // self._size)

    @property
    def total(self) -> int:
        """Return how many rows there are."""
        structures = self.run.structures
        return len(structures.numbers) if self.run.per_atom else len(structures)

    @property
    def chunk(self) -> int:
        """Return how many rows a chunk has."""
        return min(self.most, self.total)

    @property
    def _size(self) -> int:
        chunks = -(-self.total // self.chunk)
        return self.chunk * -(-chunks // -(-len(self.run.structures) // self.most))

    def rows(self, part: int) -> slice:
        """Return the rows of a part."""
        return slice(part * self._size, min((part + 1) * self._size, self.total))

    def molecules(self, part: int) -> Int[np.ndarray, " molecule"]:
        """Return the molecules with a row in a part; those with several may be in two parts."""
        rows = self.rows(part)
        if not self.run.per_atom:
            return np.arange(rows.start, rows.stop)
        ends = [rows.start, rows.stop - 1]
        first, last = np.searchsorted(self.run.structures.offsets, ends, "right") - 1
        return np.arange(first, last + 1)

    def own(self, part: int) -> slice:
        """Return where the rows of a part are among those of its molecules."""
        rows, start = self.rows(part), int(self.molecules(part)[0])
        if self.run.per_atom:
            start = int(self.run.structures.offsets[start])
        return slice(rows.start - start, rows.stop - start)

    def chunks(self, path: Path, part: int) -> list[Path]:
        """Return the files of a part in the store at `path`."""
        rows, size = self.rows(part), self.chunk
        return [
            path.joinpath(layer, kind, "c", str(chunk), *["0"] * len(shape))
            for layer in self.run.layers
            for kind, shape in shapes(self.run, layer).items()
            for chunk in range(rows.start // size, -(-rows.stop // size))
        ]


def shapes(run: Extraction, layer: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of one row's features, by irrep."""
    if run.how is not None:
        return {kind: (columns,) for kind, columns in run.origins[layer]}
    counts: dict[str, tuple[int, ...]] = {}
    for mul, ir in run.model.irreps[layer]:
        before = counts.get(str(ir), (0,))[0]
        counts[str(ir)] = (before + mul, ir.dim)
    return counts
