"""Functions of two atoms' elements and their distance, as mace-torch has them.

Sources: Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids (1985); Witt et
al., J. Chem. Phys. 159, 164101 (2023) (the Agnesi transform). Reference: `mace.modules.radial`.
"""

from __future__ import annotations

import ase.data
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from cpdjax.models.blocks.basics import polynomial_cutoff
from cpdjax.models.graph import Graph

AGNESI = {"q": 0.9183, "p": 4.5791, "a": 1.0805}
ZBL = {"c": (0.1818, 0.5099, 0.2802, 0.02817), "a_exp": 0.3, "a_prefactor": 0.4543}
_DECAYS = (3.2, 0.9423, 0.4028, 0.2016)
_COULOMB = 14.3996  # e²/(4πε₀), eV Å
_BOHR = 0.529  # Å


class AgnesiTransform(nn.Module):
    """Map distances to (0, 1), on the scale of the mean of two atoms' covalent radii."""

    @nn.compact
    def __call__(
        self, graph: Graph, numbers: Int[Array, " atom"]
    ) -> Float[Array, "atom neighbour"]:
        q, p, a = (_constant(self, name, value, graph) for name, value in AGNESI.items())
        radii = covalent_radii(self, graph)[numbers]
        x = graph.distances / (0.5 * (radii[:, None] + radii[graph.neighbours]))
        return 1 / (1 + a * x**q / (1 + x ** (q - p)))


class Repulsion(nn.Module):
    """Compute the screened repulsion of nuclei, which ends at the sum of covalent radii."""

    power: int
    """Power of the envelope."""

    @nn.compact
    def __call__(self, graph: Graph, numbers: Int[Array, " atom"]) -> Float[Array, " atom"]:
        """Return half of every pair's energy in eV at each of its atoms."""
        c, exponent, factor = (_constant(self, name, value, graph) for name, value in ZBL.items())
        radii = covalent_radii(self, graph)[numbers]
        z = numbers.astype(graph.dtype)
        r, far = graph.distances, graph.neighbours
        screened = z**exponent
        scaled = r * (screened[:, None] + screened[far]) / (factor * _BOHR)
        screening = sum(c[k] * jnp.exp(-decay * scaled) for k, decay in enumerate(_DECAYS))
        energy = _COULOMB * z[:, None] * z[far] / r * screening
        energy = energy * polynomial_cutoff(r, radii[:, None] + radii[far], self.power)
        return 0.5 * jnp.where(graph.edge_mask, energy, 0).sum(1)


def covalent_radii(module: nn.Module, graph: Graph) -> Float[Array, " number"]:
    """Return the covalent radii (Å) by atomic number, a constant of the module."""
    return _constant(module, "covalent_radii", ase.data.covalent_radii, graph)


def _constant(module: nn.Module, name: str, value: object, graph: Graph) -> Array:
    start = np.asarray(value)
    return module.variable("constants", name, lambda: jnp.asarray(start, graph.dtype)).value
