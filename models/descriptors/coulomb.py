"""The Coulomb matrix's eigenvalue spectrum: a deliberately weak baseline.

Source: Rupp, Tkatchenko, Müller, von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch
from cpdjax.machine.programs import compiled
from cpdjax.models.interface import Card
from cpdjax.models.prediction import PredictsNothing
from cpdjax.models.shown import shown

BOHR = 0.529177210903
"""Bohr radius (Å), CODATA 2018."""


@jax.tree_util.register_static
@dataclass(frozen=True)
class CoulombSpectrum(PredictsNothing):
    """Compute the eigenvalues of the Coulomb matrix M of a molecule.

    In hartree and bohr, M_ii = 0.5 Z_i^2.4 and M_ij = Z_i Z_j / |r_i - r_j|. The one layer,
    `spectrum`, is sorted by decreasing absolute value and followed by zeros up to `max_atoms`
    columns (29: the largest molecule of QM9). The spectrum belongs to the molecule as a whole, so
    pooling does not apply.

    >>> import numpy as np
    >>> from cpdjax.data.structures import Batch
    >>> h2 = Batch(np.array([[1, 1]]), np.array([[[0, 0, 0], [0, 0, 2 * BOHR]]]),
    ...            np.ones((1, 2), bool))
    >>> CoulombSpectrum(max_atoms=3).features(h2)["spectrum"].array.round(4).tolist()
    [[1.0, 0.0, 0.0]]
    """

    max_atoms: int = 29

    name: str = "coulomb-spectrum"
    level: Literal["molecule"] = "molecule"
    elements: tuple[int, ...] | None = None
    periodic: bool = False
    parity: bool = True
    cutoff: float | None = None

    @property
    def irreps(self) -> dict[str, Irreps]:
        """Return the irreps of the one layer."""
        return {"spectrum": Irreps(f"{self.max_atoms}x0e")}

    def _repr_html_(self) -> str:
        return shown(self).html

    def memory(self, atoms: int, neighbours: int) -> int:
        """Count the numbers kept at once for one molecule: its matrix, a few times."""
        return 8 * atoms * atoms

    @compiled
    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return the layer of a batch, (molecule, max_atoms); larger molecules lose eigenvalues."""
        positions = jnp.asarray(batch.positions) / BOHR
        values = jax.vmap(_spectrum)(batch.numbers, positions, jnp.asarray(batch.mask))
        missing = max(self.max_atoms - values.shape[1], 0)
        values = jnp.pad(values[:, : self.max_atoms], ((0, 0), (0, missing)))
        return {"spectrum": IrrepsArray(self.irreps["spectrum"], values)}


SPECTRUM = CoulombSpectrum()


CARDS = {"coulomb-spectrum": Card("descriptor (Coulomb matrix)", "Apache-2.0", "none")}


def load(name: str) -> CoulombSpectrum:
    """Return the one model of this file."""
    return SPECTRUM


def _spectrum(numbers, positions, mask):
    """Return all eigenvalues of one padded molecule; padding adds zeros, which sort last."""
    charges = numbers.astype(positions.dtype)
    itself = np.eye(len(mask), dtype=bool)
    squares = ((positions[:, None, :] - positions[None, :, :]) ** 2).sum(-1)
    pair = mask[:, None] & mask[None, :] & ~itself
    repulsion = jnp.outer(charges, charges) / jnp.sqrt(jnp.where(pair, squares, 1))
    matrix = jnp.where(itself, jnp.diag(0.5 * charges**2.4), jnp.where(pair, repulsion, 0))
    values = jnp.linalg.eigvalsh(matrix)
    return values[jnp.argsort(-jnp.abs(values))]
