"""Terms that SO3LR adds to its network's energy: nuclear repulsion, point charges, dispersion.

Source: Kabylda et al., J. Am. Chem. Soc. 147, 33723 (2025). Reference: so3krates-torch 0.2.1,
`blocks/physical_potentials.py` and `blocks/output_block.py`. Every pair of a molecule counts, or
those within a long-range cutoff, to which electrostatics and dispersion are brought smoothly.
Energies in eV, lengths in Å unless said otherwise.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from cpdjax.models.blocks.basics import ACTIVATIONS
from cpdjax.models.graph import Graph
from cpdjax.models.hyperparameters import Length, Width

COULOMB = 14.399645351950548
"""Coulomb constant e² / 4πε₀ (eV Å)."""
BOHR = 0.5291772105638411
"""Bohr radius (Å)."""
HARTREE = 27.211386245988
"""Hartree energy (eV)."""
FINE_STRUCTURE = 0.0072973525693
_SHIFTED = 0.45  # of the cutoff: where the potential begins to be shifted with its force
_ROWS = 100  # The tables of elements have a row for each atomic number below this.

Pairs = Float[Array, "molecule i j"]


class LongRange(nn.Module):
    """Compute atoms' parts of the energy beyond the network's own."""

    width: Width | None
    """Width of the hidden layer of charges, twice that of volume ratios; None: no hidden layer."""
    activation: str
    zbl: bool
    electrostatic_scale: float | None
    """Distance (Å) within which charges are smeared; None: no electrostatics."""
    dispersion_scale: float | None
    """Scale of the damping radius; None: no dispersion."""
    cutoff: Length | None = None
    """Distance (Å) at which electrostatics and dispersion end; None: they do not."""
    switch_width: Length = 2.0
    """Distance (Å) before the cutoff over which dispersion is switched off."""

    @property
    def every_pair(self) -> bool:
        """Return whether a term sums over all pairs of a molecule, not only over neighbours."""
        return self.electrostatic_scale is not None or self.dispersion_scale is not None

    @nn.compact
    def __call__(
        self,
        graph: Graph,
        x: Float[Array, "atom channel"],
        envelope: Float[Array, "atom neighbour"],
    ) -> Float[Array, " atom"]:
        energy = jnp.zeros(len(x), x.dtype)
        if self.zbl:
            energy = energy + Repulsion(name="zbl")(graph, envelope)
        r, pair = pair_distances(graph)
        if self.electrostatic_scale is not None:
            charges = Charges(self.width, self.activation, name="charges")(graph, x)
            energy = energy + coulomb(charges.reshape(r.shape[:2]), r, pair,
                                      self.electrostatic_scale, self.cutoff)  # fmt: skip
        if self.dispersion_scale is not None:
            ratios = Ratios(self.width, self.activation, name="ratios")(graph, x)
            if self.cutoff is None:
                weights = pair.astype(x.dtype)
            else:
                step = _switch((r - self.cutoff + self.switch_width) / self.switch_width)
                weights = jnp.where(pair, step, 0)
            energy = energy + dispersion(graph, ratios, r, weights, self.dispersion_scale)
        return energy


def pair_distances(graph: Graph) -> tuple[Pairs, Bool[Array, "molecule i j"]]:
    """Return the distances of all pairs of a molecule, 1 where there is none, and a mask."""
    positions = graph.positions.reshape(*graph.mask.shape, 3)
    vectors = positions[:, :, None] - positions[:, None]
    pair = graph.mask[:, :, None] & graph.mask[:, None]
    pair = pair & ~np.eye(pair.shape[1], dtype=bool)[None]
    return jnp.sqrt(jnp.where(pair, (vectors * vectors).sum(-1), 1)), pair


class Charges(nn.Module):
    """Compute partial charges (e): a guess for each atom, shifted to sum to the total charge."""

    width: int | None
    activation: str

    @nn.compact
    def __call__(self, graph: Graph, x: Float[Array, "atom channel"]) -> Float[Array, " atom"]:
        own = nn.Embed(_ROWS, 1, name="elements")(graph.numbers)[:, 0]
        if self.width is not None:
            x = ACTIVATIONS[self.activation](nn.Dense(self.width, name="hidden")(x))
        guess = nn.Dense(1, name="out")(x)[:, 0] + own
        atoms = jnp.maximum(graph.mask.sum(1, dtype=guess.dtype), 1)
        return guess + graph.spread((graph.charge - graph.sum(guess)) / atoms)


class Ratios(nn.Module):
    """Compute volumes of atoms in molecules relative to free atoms (Hirshfeld)."""

    width: int | None
    activation: str

    @nn.compact
    def __call__(self, graph: Graph, x: Float[Array, "atom channel"]) -> Float[Array, " atom"]:
        channels = x.shape[-1] // 2
        shift = nn.Embed(_ROWS, 1, name="elements")(graph.numbers)[:, 0]
        query = nn.Embed(_ROWS, channels, name="query")(graph.numbers)
        if self.width is not None:
            x = ACTIVATIONS[self.activation](nn.Dense(self.width // 2, name="hidden")(x))
        key = nn.Dense(channels, name="out")(x)
        return jnp.abs(shift + (query * key).sum(-1) / np.sqrt(channels).item())


def coulomb(
    charges: Float[Array, "molecule i"],
    r: Pairs,
    pair: Bool[Array, "molecule i j"],
    scale: float,
    cutoff: float | None = None,
) -> Float[Array, " atom"]:
    """Return ½ k qᵢ qⱼ erf(r/σ)/r, summed over j.

    With a cutoff the potential is shifted to end there, from 0.45 of the cutoff on by degrees with
    its force.
    """
    potential = jax.lax.erf(r / scale) / r
    if cutoff is not None:
        x = cutoff / scale
        end = math.erf(x) / cutoff
        slope = 2 * math.exp(-x * x) / (math.sqrt(math.pi) * scale * cutoff) - end / cutoff
        near = _switch((r / cutoff - _SHIFTED) / (1 - _SHIFTED))
        potential = potential - end - (1 - near) * slope * (r - cutoff)
        potential = jnp.where(r < cutoff, potential, 0)
    potential = jnp.where(pair, potential, 0)
    return (0.5 * COULOMB * charges * jnp.einsum("mij,mj->mi", potential, charges)).reshape(-1)


def dispersion(
    graph: Graph,
    ratios: Float[Array, " atom"],
    r: Pairs,
    weights: Pairs,
    scale: float,
) -> Float[Array, " atom"]:
    """Return the dipole, quadrupole and octupole terms of quantum Drude oscillators, damped.

    Source: Khabibrakhmanov, Fedorov, Tkatchenko, J. Chem. Theory Comput. 19, 7895 (2023).
    """
    free = jnp.maximum(graph.numbers - 1, 0)
    ratios = jnp.where(graph.mask.reshape(-1), ratios, 1)
    alpha = (jnp.asarray(_POLARIZABILITIES, r.dtype)[free] * ratios).reshape(r.shape[:2])
    c6 = (jnp.asarray(_C6, r.dtype)[free] * ratios * ratios).reshape(r.shape[:2])
    ai, aj, ci, cj = alpha[:, :, None], alpha[:, None], c6[:, :, None], c6[:, None]
    mixed = (ai + aj) / 2
    c6 = 2 * ci * cj * ai * aj / (ai * ai * cj + aj * aj * ci)
    seventh = mixed ** (1 / 7)
    radius = FINE_STRUCTURE ** (-4 / 21) * seventh
    # A cubic fit of the oscillator's width to the van der Waals radius, atomic units.
    width = ((-0.00078893 * radius + 0.04125273) * radius + 0.24428889) * radius - 0.00433008
    gamma = 0.5 / (width * width)
    distance, damping = r / BOHR, scale * 2 * 2.54 * seventh
    terms = ((6, c6), (8, 5 / gamma * c6), (10, 245 / 8 / gamma**2 * c6))
    energy = sum(-c / (distance**n + damping**n) for n, c in terms)
    return (0.5 * HARTREE * weights * energy).sum(-1).reshape(-1)


class Repulsion(nn.Module):
    """Compute the Ziegler-Biersack-Littmark repulsion of nuclei, switched off at 1.5 Å."""

    @nn.compact
    def __call__(
        self, graph: Graph, envelope: Float[Array, "atom neighbour"]
    ) -> Float[Array, " atom"]:
        def positive(name: str) -> Array:
            raw = _inverse_softplus(_ZBL[name])
            return jax.nn.softplus(self.param(name, lambda _: jnp.full(1, raw, graph.dtype)))

        r = graph.distances
        z = jnp.maximum(graph.numbers, 1).astype(r.dtype)
        zi, zj = z[:, None], z[graph.neighbours]
        power, scale = positive("p")[:, None], positive("d")[:, None]
        reduced = r * (zi**power + zj**power) * scale
        a, c = ([positive(f"{letter}{k}") for k in range(1, 5)] for letter in "ac")
        total = sum(c[1:], c[0])
        screening = sum(
            (ck / total)[:, None] * jnp.exp(-ak[:, None] * reduced)
            for ak, ck in zip(a, c, strict=True)
        )
        pairs = COULOMB * envelope * zi * zj / r * screening * _switch(r / 1.5)
        return 0.5 * pairs.sum(1)


def _switch(c: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return a smooth step from 1 at 0 to 0 at 1."""

    def bump(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        inside = x > 0
        return jnp.where(inside, jnp.exp(-1 / jnp.where(inside, x, 1)), 0)

    return bump(1 - c) / (bump(1 - c) + bump(c) + 1e-12)


def _inverse_softplus(y: float) -> float:
    return float(y + np.log(-np.expm1(-y)))


# The universal screening function, where training begins.
_ZBL = {
    **{"a1": 3.2, "a2": 0.9423, "a3": 0.4028, "a4": 0.2016},
    **{"c1": 0.1818, "c2": 0.5099, "c3": 0.2802, "c4": 0.02817},
    **{"p": 0.23, "d": 1 / (0.8854 * BOHR)},
}


# Free atoms from hydrogen, atomic units: static dipole polarizabilities and C6 coefficients of
# Tkatchenko and Scheffler, Phys. Rev. Lett. 102, 073005 (2009), and Gobre (thesis, FU Berlin 2016),
# as the reference lists them, in float32 as there.
# fmt: off
_POLARIZABILITIES = np.array([
    4.5, 1.38, 164.2, 38, 21, 12, 7.4, 5.4, 3.8, 2.67, 162.7, 71, 60, 37, 25, 19.6, 15, 11.1,
    292.9, 160, 120, 98, 84, 78, 63, 56, 50, 48, 42, 40, 60, 41, 29, 25, 20, 16.8, 319.2, 199,
    126.74, 119.97, 101.6, 88.42, 80.08, 65.89, 56.1, 23.68, 50.6, 39.7, 70.22, 55.95, 43.67,
    37.65, 35, 27.3, 399.9, 275, 213.7, 204.7, 215.8, 208.4, 200.2, 192.1, 184.2, 158.3, 169.5,
    164.64, 156.3, 150.2, 144.3, 138.9, 137.2, 99.52, 82.53, 71.04, 63.04, 55.06, 42.51, 39.68,
    36.5, 33.9, 69.92, 61.8, 49.02, 45.01, 38.93, 33.54, 317.8, 246.2, 203.3, 217, 154.4, 127.8,
    150.5, 132.2, 131.2, 143.6, 125.3, 121.5, 117.5, 113.4, 109.4, 105.4,
], np.float32)
_C6 = np.array([
    6.5, 1.46, 1387, 214, 99.5, 46.6, 24.2, 15.6, 9.52, 6.38, 1556, 627, 528, 305, 185, 134, 94.6,
    64.3, 3897, 2221, 1383, 1044, 832, 602, 552, 482, 408, 373, 253, 284, 498, 354, 246, 210, 162,
    129.6, 4691, 3170, 1968.58, 1677.91, 1263.61, 1028.73, 1390.87, 609.75, 469, 157.5, 339, 452,
    707.05, 587.42, 459.32, 396, 385, 285.9, 6846, 5727, 3884.5, 3708.33, 3911.84, 3908.75,
    3847.68, 3708.69, 3511.71, 2781.53, 3124.41, 2984.29, 2839.95, 2724.12, 2576.78, 2387.53,
    2371.8, 1274.8, 1019.92, 847.93, 710.2, 596.67, 359.1, 347.1, 298, 392, 717.44, 697, 571,
    530.92, 457.53, 390.63, 4224.44, 4851.32, 3604.41, 4047.54, 2876.77, 2375.89, 3102.12,
    2820.47, 2794, 3150.95, 2756, 2702.57, 2626.59, 2548.62, 2468.69, 2386.8,
], np.float32)
# fmt: on
