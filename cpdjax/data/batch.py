"""Molecules padded to one number of atoms: what a model reads in one call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Edges(NamedTuple):
    """Neighbours of every atom of a `Batch`, padded to one number; see `neighbours.with_edges`."""

    neighbours: Int[np.ndarray, "molecule atom neighbour"]
    """Index of the neighbour within its molecule, int32; padding points at the atom itself."""
    offsets: Float[np.ndarray, "molecule atom neighbour 3"] | None
    """Å, displacement of the neighbour's periodic image; None where no molecule is periodic."""
    mask: Bool[np.ndarray, "molecule atom neighbour"]
    """True where there is a neighbour."""
    back: Int[np.ndarray, "molecule atom neighbour"]
    """Slot, in the neighbour's own row, of the same edge seen from there; padding its own."""


class Batch(NamedTuple):
    """Molecules padded to one number of atoms; padding has number 0 and position 0."""

    numbers: Int[np.ndarray, "molecule atom"]
    """Atomic numbers, int32."""
    positions: Float[np.ndarray, "molecule atom 3"]
    """Å, float64."""
    mask: Bool[np.ndarray, "molecule atom"]
    """True where there is an atom."""
    edges: Edges | None = None
    """Neighbours, for models that have a cutoff."""
    charge: Int[np.ndarray, " molecule"] | None = None
    """Total charge (e), for models that read it; None where all are neutral."""
    unpaired: Int[np.ndarray, " molecule"] | None = None
    """Unpaired electrons, for models that read them; None where there are none."""
