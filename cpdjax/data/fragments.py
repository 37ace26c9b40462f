"""Count the fragments of a molecule's graph, in columns that are the same for every data set.

A fragment is a bond, a ring, a functional group, or an atom with its neighbours. RDKit finds them
in a SMILES; no coordinate enters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from jaxtyping import Float

from cpdjax.data.bonds import GROUPS, bonds_and_rings, group_counter, smiles_of
from cpdjax.data.structures import Structures
from cpdjax.data.texts import count_smiles, rdkit

ENVIRONMENTS = 256
"""The columns into which atoms with their neighbours are folded (our choice): QM9 has some 1,600
kinds of them, most of them rare, of which several share a column by their hash."""
_HEAVY = ("C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
_MULTIPLE = ("C", "N", "O", "P", "S")
_OTHER_BOND, _LARGER_RING = "other bond", "larger ring"


def _columns() -> tuple[str, ...]:
    """Return the names of all columns."""
    bonds = [f"{symbol}-H" for symbol in ("H", *_HEAVY)]
    bonds += ["-".join(pair) for pair in combinations_with_replacement(_HEAVY, 2)]
    pairs = list(combinations_with_replacement(_MULTIPLE, 2))
    bonds += [order.join(pair) for order in "=#:" for pair in pairs]
    rings = [f"ring {size}" for size in range(3, 9)]
    environments = [f"environment {i}" for i in range(ENVIRONMENTS)]
    return (*bonds, _OTHER_BOND, *rings, _LARGER_RING, *GROUPS, *environments)


FRAGMENTS = _columns()
"""Name the columns of `fragment_counts`."""
_PLACES = {name: place for place, name in enumerate(FRAGMENTS)}


def fragment_counts(
    source: Structures | Iterable[str],
) -> Float[np.ndarray, "molecule fragment"]:
    """Return the numbers of fragments of every molecule, in the columns `FRAGMENTS`.

    A row depends on its molecule alone, whatever others are beside it. Bonds are named as in
    `bond_counts`; those of further elements share the column "other bond", and rings of nine atoms
    or more "larger ring". Groups are those of `GROUPS`. Atoms with their neighbours are Morgan's
    environments of radius 0 and 1 (Rogers and Hahn, J. Chem. Inf. Model. 50, 742, 2010), folded to
    `ENVIRONMENTS` columns.

    Args:
        source: SMILES, or structures with SMILES.

    Raises:
        InputError: if RDKit is not installed, the structures have no SMILES, or a SMILES cannot be
            read.

    >>> counts = fragment_counts(["CO", "C1CC1"])
    >>> [(FRAGMENTS[i], float(counts[1, i])) for i in counts[1].nonzero()[0][:3]]
    [('C-H', 6.0), ('C-C', 3.0), ('ring 3', 1.0)]
    """
    smiles = smiles_of(source)
    rdkit()  # for its complaint
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    groups = group_counter()
    morgan = GetMorganGenerator(radius=1, fpSize=ENVIRONMENTS)

    def count(molecule: Any) -> Counter[str]:
        found = bonds_and_rings(molecule)
        for name in [name for name in found if name not in _PLACES]:
            shared = _LARGER_RING if name.startswith("ring ") else _OTHER_BOND
            found[shared] += found.pop(name)
        environments = morgan.GetCountFingerprint(molecule).GetNonzeroElements()
        found.update({f"environment {i}": number for i, number in environments.items()})
        return found + groups(molecule)

    rows = count_smiles(smiles, count)
    counts = np.zeros((len(rows), len(FRAGMENTS)))
    for row, found in zip(counts, rows, strict=True):
        row[[_PLACES[name] for name in found]] = list(found.values())
    return counts
