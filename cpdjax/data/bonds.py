"""What molecules are made of beyond atoms: bonds, rings and functional groups, from SMILES.

Counts without any geometry, as RDKit perceives them: the middle rungs of `cpdjax.ladder`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from jaxtyping import Float

from cpdjax.data.composition import rdkit
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError

#: SMARTS of the functional groups that are counted; an atom may belong to several (our choice).
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

_ORDERS = {"SINGLE": "-", "DOUBLE": "=", "TRIPLE": "#", "AROMATIC": ":"}


def bond_counts(
    source: Structures | Iterable[str],
) -> tuple[Float[np.ndarray, "molecule bond"], tuple[str, ...]]:
    """Bonds of every pair of elements and order, and rings of every size.

    A column is a kind of bond that some molecule has, "C-H", "C=O", "C#N" or "C:C" (aromatic),
    elements in order of atomic number but hydrogen last, or a size of ring, "ring 5". Rings are
    RDKit's symmetrised smallest set of smallest rings: of a bicycle's equal rings, all count.

    Args:
        source: SMILES, or structures that know theirs.

    Raises:
        InputError: RDKit is not installed, the structures know no SMILES, or one cannot be read.

    >>> bond_counts(["CO", "C1CC1", "C#N"])
    (array([[3., 0., 0., 1., 1., 0.],
           [6., 3., 0., 0., 0., 1.],
           [1., 0., 1., 0., 0., 0.]]), ('C-H', 'C-C', 'C#N', 'C-O', 'O-H', 'ring 3'))
    """
    rows = _read(source, _bonds)
    names = sorted({name for row in rows for name in row}, key=_order)
    return _table(rows, names), tuple(names)


def group_counts(
    source: Structures | Iterable[str],
) -> tuple[Float[np.ndarray, "molecule group"], tuple[str, ...]]:
    """Functional groups of `GROUPS` that some molecule has, in that order.

    Args:
        source: SMILES, or structures that know theirs.

    Raises:
        InputError: RDKit is not installed, the structures know no SMILES, or one cannot be read.

    >>> group_counts(["CO", "CC(=O)OC"])
    (array([[1., 0., 1.],
           [0., 1., 2.]]), ('alcohol', 'ester', 'methyl'))
    """
    Chem, _ = rdkit()
    patterns = {name: Chem.MolFromSmarts(smarts) for name, smarts in GROUPS.items()}

    def count(molecule: Any) -> Counter[str]:
        return Counter({k: len(molecule.GetSubstructMatches(p)) for k, p in patterns.items()})

    rows = _read(source, count)
    names = [name for name in GROUPS if any(row[name] for row in rows)]
    return _table(rows, names), tuple(names)


def _bonds(molecule: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for bond in molecule.GetBonds():
        ends = (bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol())
        found[_name(ends, _ORDERS.get(str(bond.GetBondType()), "~"))] += 1
    for atom in molecule.GetAtoms():
        hydrogens = atom.GetTotalNumHs()
        if hydrogens:
            found[_name((atom.GetSymbol(), "H"), "-")] += hydrogens
    found.update(f"ring {len(ring)}" for ring in molecule.GetRingInfo().AtomRings())
    return found


def _name(ends: tuple[str, str], order: str) -> str:
    first, second = sorted(ends, key=lambda s: (s == "H", atomic_numbers.get(s, 0)))
    return f"{first}{order}{second}"


def _order(name: str) -> tuple[Any, ...]:
    """Bonds by their elements, then by order; rings after them, by size."""
    if name.startswith("ring "):
        return True, int(name.removeprefix("ring ")), 0, 0
    [order] = (c for c in name if c in "-=#:~")
    first, second = name.split(order)
    return False, atomic_numbers.get(first, 0), atomic_numbers.get(second, 0), "-=#:~".index(order)


def _read(
    source: Structures | Iterable[str], count: Callable[[Any], Counter[str]]
) -> list[Counter[str]]:
    """Counts of every molecule, hydrogens implicit; each distinct SMILES is read once."""
    Chem, rdBase = rdkit()
    rows: list[Counter[str]] = []
    known: dict[str, Counter[str]] = {}
    with rdBase.BlockLogs():  # our one line, not RDKit's log as well
        for text in _smiles(source):
            if text not in known:
                molecule = Chem.MolFromSmiles(text)
                if molecule is None or not molecule.GetNumAtoms():
                    raise InputError(f"row {len(rows)}: cannot read {text!r} as SMILES")
                known[text] = count(molecule)
            rows.append(known[text])
    return rows


def _smiles(source: Structures | Iterable[str]) -> list[str]:
    if isinstance(source, str):
        raise InputError(f"expected a list of SMILES strings, got the one string {source!r}")
    if not isinstance(source, Structures):
        return [str(text) for text in source]
    if source.smiles is None:
        raise InputError(
            f"{source.name!r} knows no SMILES, which bonds are read from: give it some (an entry "
            "'smiles' in every structure's info)"
        )
    return [str(text) for text in source.smiles]


def _table(rows: list[Counter[str]], names: list[str]) -> np.ndarray:
    counts = [[row[name] for name in names] for row in rows]
    return np.array(counts, np.float64).reshape(len(rows), len(names))
