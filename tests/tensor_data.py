"""Twenty small molecules with charges, and features that know their dipoles a little.

Tests of equivariant probes share them.
"""

import numpy as np
from e3nn_jax import IrrepsArray

from cpdjax import Structures
from cpdjax.features.features import Features
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import Settings

IRREPS = "3x0e + 4x1o + 2x1e + 4x2e"


def toy(structures, parity=True, rows=None):
    """Channels that know the targets, a little."""
    dipole, quadrupole = KINDS[rows or "equivariant"].targets(structures).by_name.values()
    rng = np.random.default_rng(2)
    n = len(dipole)
    parts = [rng.normal(size=(n, k)) for k in (3, 12, 6, 20)]
    parts[1][:, 3:6] += dipole
    parts[3][:, 5:10] += 2 * quadrupole
    layer = IrrepsArray(IRREPS, np.concatenate(parts, axis=1))
    pool = KINDS[rows or "equivariant"].rows.pool(Settings()) or "mean"
    return Features({"first": layer}, "toy", pool, structures.geometry_hash, parity=parity)


SETTINGS = {"sizes": [10, 20], "repeats": 2, "folds": 2, "alphas": [0.1, 3.0], "seed": 4}


def molecules(count=20, seed=1):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 7, count)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    charges = rng.normal(size=offsets[-1])
    charges -= np.repeat(np.add.reduceat(charges, offsets[:-1]) / sizes, sizes)
    return Structures(
        "few",
        rng.choice([1, 6, 8], offsets[-1]),
        rng.uniform(0, 4, (offsets[-1], 3)),
        offsets,
        atom_targets={"mulliken_charge": charges},
        units={"mulliken_charge": "e"},
    )


FEW = molecules()
