"""Make the conformers of molecules, one molecule after the other, each kept as soon as it is made.

A molecule's conformers depend on itself, the settings and the random seed, and on no other
molecule. Its file is named after all of these, so that a run which was killed goes on where it
stopped, and a larger set begins with what a smaller one has made.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from cpdjax import checksums
from cpdjax.data.conformers import xtb
from cpdjax.data.conformers.distortions import aligned, intact, rotatable, thermal_root, turned
from cpdjax.data.qm9 import DEBYE_PER_E_ANGSTROM
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.files import atomic
from cpdjax.hashing import hash_arrays
from cpdjax.omissions import say_left_out
from cpdjax.progress import stage

_FORMAT = 1  # of a molecule's file: raise it whenever its arrays, or how they come about, change
_LABELS = xtb.Label._fields
_REJECTED = (
    "a bond broke or atoms collapsed",
    "the SCF did not converge",
    "the SCF did not converge in the molecule's Hessian",
)
UNITS = {
    "gap": "eV",
    "energy": "eV",
    "mu": "debye",
    "dipole": "e·Å",
    "charges": "e",
    "forces": "eV/Å",
}
"""Hold the units of the targets of conformers, of molecules and of their atoms."""


@dataclass(frozen=True)
class Recipe:
    """Say how conformers are made."""

    per: int
    """The number of geometries drawn for each molecule."""
    temperatures: tuple[float, ...]
    """The temperatures (K), which take turns."""
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.per, bool) or not isinstance(self.per, int) or self.per < 2:
            raise InputError(f"per must be a whole number from 2 on, got {self.per!r}")
        if not self.temperatures or not all(0 < t < np.inf for t in self.temperatures):
            raise InputError(f"temperatures (K) must be positive, got {list(self.temperatures)}")

    @property
    def hash(self) -> str:
        """Return a hash of all that decides a molecule's conformers, but for the molecule."""
        facts = (_FORMAT, xtb.METHOD, xtb.version(), self.per, self.temperatures, self.seed)
        return hash_arrays([], facts=repr(facts))[:16]


def make(molecules: Structures, recipe: Recipe, folder: Path) -> Structures:
    """Return the conformers of all molecules, those of one molecule side by side.

    Warns:
        LeftOutWarning: geometries were rejected.

    Raises:
        InputError: a molecule is charged, open-shell or periodic; tblite or RDKit is not installed.
    """
    _check(molecules)
    place = folder / f"conformers-{_FORMAT}" / recipe.hash
    parts = []
    with stage("making conformers", len(molecules), compiled=False) as progress:
        for i in range(len(molecules)):
            parts.append(_kept(molecules.select([i]), recipe, place))
            progress.advance()
    _say_rejected(molecules, parts, recipe.per)
    return _together(molecules, parts)


def _check(molecules: Structures) -> None:
    """Refuse what GFN2-xTB is not asked for here."""
    for name in ("charge", "unpaired", "pbc"):
        values = getattr(molecules, name)
        if values is not None and values.any():
            row = int(values.reshape(len(molecules), -1).any(1).argmax())
            raise InputError(
                "conformers are made of neutral, closed-shell molecules without a cell: "
                f"{molecules.ids[row]!r} is none; leave it out"
            )


def _kept(molecule: Structures, recipe: Recipe, place: Path) -> dict[str, Any]:
    """Return a molecule's conformers from their file, or make them and write it."""
    smiles = "" if molecule.smiles is None else str(molecule.smiles[0])
    own = hash_arrays([("z", molecule.numbers), ("x", molecule.positions)], facts=smiles)
    path = place / f"{own[:32]}.npz"
    try:
        if not checksums.damaged(path):
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except Exception:  # missing, or damaged in any of many ways: then it is made anew
        pass
    rng = np.random.default_rng((recipe.seed, int(own[:16], 16)))
    method = xtb.Molecule(molecule.numbers)
    # Molecules are too small for threads: with two, tblite takes ten times as long as with one.
    with threadpool_limits(1):
        made = _made(method, molecule.positions, smiles, recipe, rng)
    try:
        with atomic(path) as temporary:
            np.savez(temporary, allow_pickle=False, **made)
            checksums.seal(temporary)
    except OSError as error:
        warnings.warn(
            f"conformers are made anew each time, because {path} cannot be written ({error}); set "
            "CPDJAX_CACHE to another folder",
            stacklevel=4,
        )
    return made


def _made(
    method: xtb.Molecule,
    reference: Float[np.ndarray, "atom 3"],
    smiles: str,
    recipe: Recipe,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the arrays of one molecule's conformers, and how many were rejected, and why."""
    numbers, hessian = method.numbers, method.hessian(reference)
    rejected = np.zeros(len(_REJECTED), int)
    found: list[tuple[Any, ...]] = []
    if hessian is None:
        rejected[2] = recipe.per
    else:
        root = thermal_root(numbers, reference, hessian)
        about = rotatable(smiles, numbers, reference) if smiles else []
        for k in range(recipe.per):
            temperature = recipe.temperatures[k % len(recipe.temperatures)]
            turns = bool(about) and k // len(recipe.temperatures) % 2 == 1
            # All random numbers are drawn, whatever becomes of them.
            normal, angles = rng.normal(size=reference.size), rng.uniform(-np.pi, np.pi, len(about))
            geometry = reference + np.sqrt(temperature) * (root @ normal).reshape(-1, 3)
            geometry = turned(geometry, about, angles) if turns else geometry
            geometry = aligned(numbers, geometry, reference)
            fits = intact(numbers, geometry, reference)
            label = method.label(geometry) if fits else None
            if label is None:
                rejected[int(fits)] += 1
            else:
                found.append((k, temperature, turns, geometry, *label))
    names = ("number", "temperature", "turned", "positions", *_LABELS)
    columns = zip(*found, strict=True) if found else ([] for _ in names)
    return {name: np.array(c) for name, c in zip(names, columns, strict=True)} | {
        "rejected": rejected
    }


def _say_rejected(molecules: Structures, parts: Sequence[dict[str, Any]], per: int) -> None:
    """Say how many geometries were rejected, by the reason, and which molecules have too few."""
    counts = np.sum([part["rejected"] for part in parts], axis=0)
    drawn = f"of {per * len(parts):,} geometries"
    left_out = {f"{n:,} {drawn}": why for n, why in zip(counts, _REJECTED, strict=True) if n}
    few = [str(molecules.ids[i]) for i, part in enumerate(parts) if len(part["number"]) < 2]
    left_out |= dict.fromkeys(few, "fewer than two of its geometries are left")
    say_left_out("rows", f"conformers of {molecules.name!r}", left_out, stacklevel=5)


def _together(molecules: Structures, parts: Sequence[dict[str, Any]]) -> Structures:
    """Return the conformers of all molecules of which at least two are left."""
    kept = [i for i, part in enumerate(parts) if len(part["number"]) > 1]
    if not kept:
        raise InputError(f"no conformers are left of {molecules.name!r}: name other molecules")
    counts = [len(parts[i]["number"]) for i in kept]
    rows = np.repeat(kept, counts)

    def all_of(name: str) -> np.ndarray:
        arrays = [parts[i][name] for i in kept]
        of_atoms = name in ("positions", "charges", "forces")
        flat = [a.reshape(-1, *a.shape[2:]) for a in arrays] if of_atoms else arrays
        return np.concatenate(flat)

    each = zip(rows, all_of("number"), all_of("temperature"), all_of("turned"), strict=True)
    ids = [
        f"{molecules.ids[i]}_{k}_{t:g}K" + ("_turned" if turned else "") for i, k, t, turned in each
    ]
    sizes, dipole = molecules.sizes[rows], all_of("dipole")
    numbers = [molecules.numbers[molecules.offsets[i] : molecules.offsets[i + 1]] for i in rows]
    return Structures(
        f"{molecules.name}-conformers",
        np.concatenate(numbers),
        all_of("positions"),
        np.concatenate([[0], np.cumsum(sizes)]),
        targets={
            "gap": all_of("gap"),
            "energy": all_of("energy"),
            "mu": np.linalg.norm(dipole, axis=1) * DEBYE_PER_E_ANGSTROM,
            "dipole": dipole,
        },
        atom_targets={"charges": all_of("charges"), "forces": all_of("forces")},
        units=UNITS,
        ids=np.array(ids),
        smiles=None if molecules.smiles is None else molecules.smiles[rows],
        group=molecules.ids[rows],
    )
