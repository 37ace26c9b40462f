"""Count how many atoms of each element molecules have, and write their formulas.

A composition matrix is a plain array of float64, (molecule, element), with its columns sorted by
atomic number. It is the argument `C` of `cpdjax.cpd`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float

from cpdjax.data.structures import Structures
from cpdjax.data.tables.table import Table
from cpdjax.data.texts import count_formula, count_smiles, count_texts
from cpdjax.errors import InputError, UnknownNameError

_SYMBOLS = np.array(chemical_symbols)
_ELEMENTS = frozenset(chemical_symbols[1:])  # the first symbol, X, is no element


def composition(
    source: Structures | Iterable[str],
    *,
    elements: Sequence[str] | None = None,
    fractions: bool = False,
) -> Float[np.ndarray, "molecule element"]:
    """Return the number of atoms of each element in each molecule.

    Args:
        source: structures, or formulas such as "C2H6O".
        elements: the symbols of the columns; by default `elements(source)`, which are the elements
            present, sorted by atomic number.
        fractions: whether each row is divided by its sum.

    Raises:
        InputError: if an atom's element is not among `elements`, or a formula cannot be read.
        UnknownNameError: if one of `elements` is no element.

    >>> composition(["CH4", "C2H6O"])
    array([[4., 1., 0.],
           [6., 2., 1.]])
    """
    counts, present = _counts(source)
    if elements is not None:
        counts = _arrange(counts, present, tuple(elements))
    return counts / counts.sum(axis=1, keepdims=True) if fractions else counts


def elements(source: Structures | Iterable[str]) -> tuple[str, ...]:
    """Return the elements present, sorted by atomic number: the columns of `composition`.

    >>> elements(["CH4", "C2H6O"])
    ('H', 'C', 'O')
    """
    return _counts(source)[1]


def formulas(source: Structures | Iterable[str]) -> np.ndarray:
    """Return Hill formulas, (molecule,) of str, which are equal where compositions are equal.

    >>> formulas(["CH3CH2OH", "(CH3)2O", "H2O"])
    array(['C2H6O', 'C2H6O', 'H2O'], dtype='<U5')
    """
    return hill(*_counts(source))


def hill(counts: Float[np.ndarray, "molecule element"], elements: Sequence[str]) -> np.ndarray:
    """Return the Hill formulas of rows of counts.

    Carbon comes first, then hydrogen, then the other elements by symbol. Without carbon all
    elements are sorted by symbol.

    Raises:
        InputError: if a count is not a whole number, as fractions have no formula.

    >>> hill(np.array([[4, 1], [2, 0]]), ("H", "C"))
    array(['CH4', 'H2'], dtype='<U3')
    """
    if (counts != np.rint(counts)).any():
        raise InputError("formulas need whole counts of atoms, got fractions")
    rows, which = np.unique(counts, axis=0, return_inverse=True)
    names = [_hill(dict(zip(elements, row, strict=True))) for row in rows.astype(int).tolist()]
    return np.array(names)[which.ravel()]


def from_formulas(
    formulas: Iterable[str],
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]]:
    """Return counts and elements of formulas, such as "(CH3)2CO", "CuSO4·5H2O" and "Ca2+".

    A charge is no part of the composition; write it as in "Ca^2+" or "Ca²⁺" where its digit could
    be a count. Isotopes, D and T among them, are atoms of their element.

    Raises:
        InputError: if a formula cannot be read or can be read in two ways; the error gives its row
            (from 0).

    >>> from_formulas(["H2O", "CuSO4·5H2O"])
    (array([[ 2.,  1.,  0.,  0.],
           [10.,  9.,  1.,  1.]]), ('H', 'O', 'S', 'Cu'))
    """
    return _matrix(count_texts("formula", formulas, _count_formula))


def from_smiles(
    smiles: Iterable[str],
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]]:
    """Return counts (implicit hydrogens included) and elements of SMILES, which RDKit reads.

    Raises:
        InputError: if RDKit is not installed, or a SMILES cannot be read; the error gives its row
            (from 0).
    """
    return _matrix(count_smiles(smiles, _count_molecule))


def composition_of(
    table: Table,
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]] | None:
    """Return counts and elements from a table's formulas, else from its SMILES, else None.

    Raises:
        InputError: if a formula or SMILES cannot be read.
    """
    if "formula" in table.texts:
        return from_formulas(table.texts["formula"])
    return from_smiles(table.texts["smiles"]) if "smiles" in table.texts else None


def _counts(source: Structures | Iterable[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the counts of all elements present, and these elements."""
    if not isinstance(source, Structures):
        return from_formulas(source)
    numbers, column = np.unique(source.numbers, return_inverse=True)
    row = np.repeat(np.arange(len(source)), source.sizes)
    shape = (len(source), len(numbers))
    counts = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float64), tuple(_SYMBOLS[numbers].tolist())


def _arrange(counts: np.ndarray, present: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Return the columns of the elements `wanted`, with zeros for elements that are not present."""
    for symbol in wanted:
        if symbol not in _ELEMENTS:
            raise UnknownNameError("element", symbol, chemical_symbols[1:])
    for symbol, column in zip(present, counts.T, strict=True):
        if symbol not in wanted:
            raise InputError(
                f"molecule {np.argmax(column > 0)} holds {symbol}, which is not among "
                f"elements={wanted}"
            )
    arranged = np.zeros((len(counts), len(wanted)))
    arranged[:, [wanted.index(symbol) for symbol in present]] = counts
    return arranged


def _matrix(
    rows: list[Counter[str]],
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]]:
    """Return counts of elements as a matrix, and the elements that its columns stand for."""
    present = sorted({symbol for row in rows for symbol in row}, key=atomic_numbers.__getitem__)
    counts = np.array([[row[symbol] for symbol in present] for row in rows], np.float64)
    return counts.reshape(len(rows), len(present)), tuple(present)


def _count_formula(text: str) -> Counter[str]:
    """Return how many atoms of each element a formula has."""
    return _of_elements(count_formula(text))


def _count_molecule(molecule: Any) -> Counter[str]:
    """Return how many atoms of each element an RDKit molecule has, with implicit hydrogens."""
    found: Counter[str] = Counter()
    for atom in molecule.GetAtoms():
        found[atom.GetSymbol()] += 1
        found["H"] += atom.GetTotalNumHs()
    return _of_elements(found)


def _of_elements(counts: Mapping[str, int]) -> Counter[str]:
    """Return the counts that are not zero, of which there must be one, and each of an element."""
    found = +Counter(counts)
    if not found or not found.keys() <= _ELEMENTS:
        raise InputError("holds something that is no element")
    return found


def _hill(counts: dict[str, int]) -> str:
    """Return the Hill formula of one molecule."""
    order = sorted(counts)
    if counts.get("C"):
        order = ["C", "H", *(symbol for symbol in order if symbol not in ("C", "H"))]
    parts = [(symbol, counts.get(symbol, 0)) for symbol in order]
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in parts if n)
