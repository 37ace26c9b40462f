"""Forty small molecules whose atoms have features and a charge: what tests of atom probes share."""

import numpy as np

from cpdjax import Structures
from cpdjax.probes.atoms import one_hot

RNG = np.random.default_rng(0)
SIZES = RNG.integers(2, 6, 40)
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])
OWNER = np.repeat(np.arange(40), SIZES)
ATOMS = len(OWNER)
NUMBERS = RNG.choice([1, 6, 8], ATOMS, p=[0.5, 0.3, 0.2])
X = RNG.normal(size=(ATOMS, 6)) + one_hot(NUMBERS) @ RNG.normal(size=(3, 6))
Y = X @ RNG.normal(size=6) + NUMBERS + 0.3 * RNG.normal(size=ATOMS)
STRUCTURES = Structures(
    "few", NUMBERS, RNG.uniform(0, 9, (ATOMS, 3)), OFFSETS,
    atom_targets={"mulliken_charge": Y}, units={"mulliken_charge": "e"},
)  # fmt: skip
SETTINGS = {"sizes": [20, 40], "repeats": 2, "folds": 3, "alphas": [0.1, 3.0], "seed": 4}
