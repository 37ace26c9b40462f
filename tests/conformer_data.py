"""Small sets of geometries of few molecules, without any label of a real method."""

from types import SimpleNamespace

import numpy as np
from ase.build import molecule

from cpdjax import Structures

NAMES = ("H2O", "CH4", "NH3", "C2H6", "CH3OH", "HCN", "H2CO", "C2H4")
SMILES = ("O", "C", "N", "CC", "CO", "C#N", "C=O", "C=C")


def references():
    """One geometry of each molecule."""
    frames = [molecule(name) for name in NAMES]
    for frame, name, smiles in zip(frames, NAMES, SMILES, strict=True):
        frame.info = {"id": name, "smiles": smiles}
    return Structures.from_atoms(frames, "small")


def geometries(per=6, seed=0, noise=0.05):
    """Shaken geometries, in no order, whose targets are geometry and a large part beside it."""
    rng = np.random.default_rng(seed)
    frames = []
    for i, name in enumerate(NAMES):
        for k in range(per):
            frame = molecule(name)
            frame.positions += noise * rng.normal(size=frame.positions.shape)
            dipole = (frame.numbers - frame.numbers.mean()) @ frame.positions
            size = np.linalg.norm(frame.positions - frame.positions.mean(0), axis=1)
            frame.info = {
                "id": f"{name}-{k}",
                "group": name,
                "smiles": SMILES[i],
                "spread": size.mean() + 10 * i,
                "dipole": dipole,
            }
            frame.set_array("reach", size + frame.numbers)
            frames.append(frame)
    return Structures.from_atoms([frames[i] for i in rng.permutation(len(frames))], "shaken")


class Springs:
    """Stand in for tblite's calculator: springs between all atoms, in atomic units."""

    LENGTH, CONSTANT = 3.0, 0.1
    calls = 0
    fails = staticmethod(lambda calls: False)

    def __init__(self, method, numbers, positions):
        self.numbers, self.positions = np.asarray(numbers, float), positions

    def set(self, name, value):
        pass

    def singlepoint(self):
        type(self).calls += 1
        if self.fails(self.calls):
            raise RuntimeError("SCF not converged")
        apart = self.positions[:, None] - self.positions[None]
        distance = np.linalg.norm(apart, axis=-1) + np.eye(len(apart))
        stretch = (distance - self.LENGTH) * (1 - np.eye(len(apart)))
        gradient = (self.CONSTANT * stretch / distance)[..., None] * apart
        energy = self.CONSTANT * (stretch**2).sum() / 4
        charges = self.numbers - self.numbers.mean()
        return {
            "energy": energy,
            "gradient": gradient.sum(1),
            "dipole": charges @ self.positions,
            "charges": charges,
            "orbital-energies": np.array([-0.5, -0.5, energy]),
            "orbital-occupations": np.array([2.0, 2.0, 0.0]),
        }


def use_springs(patch, **changes):
    """Let conformers be labelled by springs, in place of a method that is not installed."""
    from cpdjax.data.conformers import xtb

    kind = type("Springs", (Springs,), {"calls": 0, **changes})
    patch.setattr(xtb, "_calculator", lambda: kind)
    return SimpleNamespace(calls=lambda: kind.calls, kind=kind)
