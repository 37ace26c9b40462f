"""Count the bonds, rings and functional groups of molecules from their SMILES.

RDKit perceives them without any geometry. They are the middle rungs of `cpdjax.ladder`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Float

from cpdjax.data.structures import Structures
from cpdjax.data.texts import count_smiles, rdkit
from cpdjax.errors import InputError

GROUPS = {
    "alcohol": "[CX4][OX2H]",
    "phenol or enol": "[c,$([CX3]=[C])][OX2H]",
    "ether": "[OX2;!$(O-C=[O,N,S])]([#6])[#6]",
    "aldehyde": "[CX3H1,CX3H2]=[OX1]",
    "ketone": "[#6][CX3](=[OX1])[#6]",
    "carboxylic acid": "[CX3](=[OX1])[OX2H]",
    "ester": "[CX3](=[OX1])[OX2][#6]",
    "amide": "[CX3](=[OX1])[NX3]",
    "primary amine": "[NX3;H2;!$(N-C=[O,N,S])][#6]",
    "secondary amine": "[NX3;H1;!$(N-C=[O,N,S])]([#6])[#6]",
    "tertiary amine": "[NX3;H0;!$(N-C=[O,N,S])]([#6])([#6])[#6]",
    "ammonium": "[NX4+]",
    "carboxylate": "[CX3](=[OX1])[OX1-]",
    "imine": "[CX3]=[NX2]",
    "nitrile": "[CX2]#[NX1]",
    "nitro": "[NX3+](=[OX1])[OX1-]",
    "oxime or hydroxylamine": "[#7][OX2H]",
    "hydrazine or hydrazone": "[NX3][#7]",
    "alkene": "[CX3]=[CX3]",
    "alkyne": "[CX2]#[CX2]",
    "epoxide": "[CX4]1[OX2][CX4]1",
    "aziridine": "[CX4]1[NX3][CX4]1",
    "fluoride": "[#6][F]",
    "trifluoromethyl": "[CX4](F)(F)F",
    "aromatic nitrogen": "[n]",
    "aromatic oxygen": "[o]",
    "methyl": "[CX4H3]",
    "quaternary carbon": "[CX4]([#6])([#6])([#6])[#6]",
}
"""Hold the SMARTS of the functional groups that are counted. Which groups, and that an atom may
belong to several, is our choice."""

_ORDERS = {"SINGLE": "-", "DOUBLE": "=", "TRIPLE": "#", "AROMATIC": ":"}


def bond_counts(
    source: Structures | Iterable[str],
) -> tuple[Float[np.ndarray, "molecule bond"], tuple[str, ...]]:
    """Return the numbers of bonds of each kind and of rings of each size, and the columns' names.

    Each column is a kind of bond that some molecule has, such as "C-H", "C=O", "C#N" or "C:C"
    (aromatic), or a size of ring, such as "ring 5". A bond names its elements in the order of
    atomic number, but hydrogen last. Rings are RDKit's symmetrised smallest set of smallest rings,
    in which all equal rings of a bicycle count.

    Args:
        source: SMILES, or structures with SMILES.

    Raises:
        InputError: if RDKit is not installed, the structures have no SMILES, or a SMILES cannot be
            read.

    >>> bond_counts(["CO", "C1CC1", "C#N"])
    (array([[3., 0., 0., 1., 1., 0.],
           [6., 3., 0., 0., 0., 1.],
           [1., 0., 1., 0., 0., 0.]]), ('C-H', 'C-C', 'C#N', 'C-O', 'O-H', 'ring 3'))
    """
    rows = count_smiles(smiles_of(source), bonds_and_rings)
    names = sorted({name for row in rows for name in row}, key=_place)
    return _matrix(rows, names), tuple(names)


def group_counts(
    source: Structures | Iterable[str],
) -> tuple[Float[np.ndarray, "molecule group"], tuple[str, ...]]:
    """Return the numbers of functional groups, and the names of the groups.

    The columns are those of `GROUPS` that some molecule has, in that order.

    Args:
        source: SMILES, or structures with SMILES.

    Raises:
        InputError: if RDKit is not installed, the structures have no SMILES, or a SMILES cannot be
            read.

    >>> group_counts(["CO", "CC(=O)OC"])
    (array([[1., 0., 1.],
           [0., 1., 2.]]), ('alcohol', 'ester', 'methyl'))
    """
    rows = count_smiles(smiles_of(source), group_counter())
    names = [name for name in GROUPS if any(row[name] for row in rows)]
    return _matrix(rows, names), tuple(names)


def group_counter() -> Callable[[Any], Counter[str]]:
    """Return a function that counts the functional groups of an RDKit molecule by name.

    Raises:
        InputError: if RDKit is not installed.
    """
    Chem, _ = rdkit()
    patterns = {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}

    def count(molecule: Any) -> Counter[str]:
        return Counter({k: len(molecule.GetSubstructMatches(p)) for k, p in patterns.items()})

    return count


def bonds_and_rings(molecule: Any) -> Counter[str]:
    """Return the bonds and rings of an RDKit molecule by name, with implicit hydrogens."""
    found: Counter[str] = Counter()
    for bond in molecule.GetBonds():
        ends = (bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol())
        found[_bond_name(ends, _ORDERS.get(str(bond.GetBondType()), "~"))] += 1
    for atom in molecule.GetAtoms():
        hydrogens = atom.GetTotalNumHs()
        if hydrogens:
            found[_bond_name((atom.GetSymbol(), "H"), "-")] += hydrogens
    found.update(f"ring {len(ring)}" for ring in molecule.GetRingInfo().AtomRings())
    return found


def _bond_name(ends: tuple[str, str], order: str) -> str:
    """Return the name of a bond: its elements by atomic number, but hydrogen last."""
    first, second = sorted(ends, key=lambda s: (s == "H", atomic_numbers.get(s, 0)))
    return f"{first}{order}{second}"


def _place(name: str) -> tuple[Any, ...]:
    """Return the key that sorts bonds by elements and order, and then rings by size."""
    if name.startswith("ring "):
        return True, int(name.removeprefix("ring ")), 0, 0
    [order] = (c for c in name if c in "-=#:~")
    first, second = name.split(order)
    return False, atomic_numbers.get(first, 0), atomic_numbers.get(second, 0), "-=#:~".index(order)


def smiles_of(source: Structures | Iterable[str]) -> Iterable[str]:
    """Return the SMILES of the structures, or the SMILES that the source is.

    Raises:
        InputError: if the structures have no SMILES.
    """
    if not isinstance(source, Structures):
        return source
    if source.smiles is None:
        raise InputError(
            f"{source.name!r} knows no SMILES, from which bonds are read: add an entry 'smiles' to "
            "every structure's info"
        )
    return source.smiles


def _matrix(rows: list[Counter[str]], names: list[str]) -> np.ndarray:
    """Return the counts of `names` in float64, (molecule, name)."""
    counts = [[row[name] for name in names] for row in rows]
    return np.array(counts, np.float64).reshape(len(rows), len(names))
