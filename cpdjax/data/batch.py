"""Define what a model reads in one call: molecules padded to one number of atoms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Edges(NamedTuple):
    """Hold the neighbours of every atom of a `Batch`, padded to one number of neighbours.

    The function `neighbours.with_edges` finds them.
    """

    neighbours: Int[np.ndarray, "molecule atom neighbour"]
    """Hold each neighbour's index within its molecule, int32; padding points at the atom itself."""
    offsets: Float[np.ndarray, "molecule atom neighbour 3"] | None
    """Hold the displacement (Å) of the neighbour's periodic image; None without periodic cells."""
    mask: Bool[np.ndarray, "molecule atom neighbour"]
    """Mark with True where there is a neighbour; padding is False."""
    back: Int[np.ndarray, "molecule atom neighbour"]
    """Hold the slot of the reverse edge in the neighbour's own row; padding holds its own slot."""


class AllPairs(NamedTuple):
    """Say that any two atoms of a molecule may be neighbours: the model finds those within reach.

    There is nothing to hold, because the pairs follow from the positions and the mask.
    """


class Batch(NamedTuple):
    """Hold molecules padded to one number of atoms; padding has number 0 and position 0."""

    numbers: Int[np.ndarray, "molecule atom"]
    """Hold the atomic numbers, int32."""
    positions: Float[np.ndarray, "molecule atom 3"]
    """Hold the positions (Å), float64."""
    mask: Bool[np.ndarray, "molecule atom"]
    """Mark with True where there is an atom; padding is False."""
    edges: Edges | AllPairs | None = None
    """Hold the neighbours, or how they are found; None for models without a cutoff."""
    charge: Int[np.ndarray, " molecule"] | None = None
    """Hold the total charge (e), for models that read it; None where all are neutral."""
    unpaired: Int[np.ndarray, " molecule"] | None = None
    """Hold the number of unpaired electrons, for models that read it; None where all have none."""
    read: Float[np.ndarray, "molecule column"] | None = None
    """Hold what a model reads of structures beside their atoms; None for models of atoms alone."""
