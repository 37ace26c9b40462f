"""Make aev_2x.npz: ANI-2x atomic environment vectors by torchani, in float64.

    pip install torch==2.* torchani==2.9.0 ase numpy
    python tests/goldens/make_aev_2x.py

Elements are indexed in the order of torchani's ANI-2x networks (`SYMBOLS_2X`: H C N O S F Cl).
Structures are ASE's G2 geometries and an all-trans nonane (29 atoms, the size of QM9's largest),
displaced at random by 0.05 Å so that no symmetry hides an error; a linear, a planar and a
symmetric one stay exact.
"""

from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from torchani.aev import AEVComputer
from torchani.utils import SYMBOLS_2X

EXACT = ["H", "CO2", "C2H2", "C6H6", "CH4"]
DISPLACED = ["H2O", "CO2", "CH4", "C6H6", "CH3SH", "SO2", "CH3Cl", "CCl4", "HCN", "CF4", "NF3"]
DISPLACED += ["C4H4S", "ClF3", "HOCl", "CH3CONH2", "COF2"]


def nonane() -> Atoms:
    """C9H20: a zigzag chain of carbons with tetrahedral hydrogens."""
    bond, ch, half = 1.53, 1.09, np.deg2rad(109.47) / 2
    steps = np.arange(9)
    carbons = np.stack(
        [steps * bond * np.sin(half), (steps % 2) * bond * np.cos(half), np.zeros(9)], 1
    )
    hydrogens = []
    for i, carbon in enumerate(carbons):
        side = 1 if i % 2 else -1
        hydrogens += [
            carbon + ch * np.array([0, side * np.cos(half), z * np.sin(half)]) for z in (1, -1)
        ]
    for end, sign in ((0, -1), (-1, 1)):
        direction = np.array([sign * np.sin(half), np.cos(half), 0])
        hydrogens.append(carbons[end] + ch * direction)
    return Atoms("C9H20", np.concatenate([carbons, hydrogens]))


def structures() -> list[Atoms]:
    rng = np.random.default_rng(0)
    displaced = [molecule(name) for name in DISPLACED] + [nonane()]
    for atoms in displaced:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return [Atoms("H") if name == "H" else molecule(name) for name in EXACT] + displaced


def main() -> None:
    computer = AEVComputer.like_2x().double()
    frames = structures()
    aevs = []
    for atoms in frames:
        species = torch.tensor([[SYMBOLS_2X.index(s) for s in atoms.get_chemical_symbols()]])
        aevs.append(computer(species, torch.tensor(atoms.positions[None])).numpy()[0])
    np.savez_compressed(
        Path(__file__).with_name("aev_2x.npz"),
        numbers=np.concatenate([atoms.numbers for atoms in frames]),
        positions=np.concatenate([atoms.positions for atoms in frames]),
        offsets=np.cumsum([0, *map(len, frames)]),
        aev=np.concatenate(aevs),
    )


if __name__ == "__main__":
    main()
