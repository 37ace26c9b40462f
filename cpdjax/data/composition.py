"""What molecules are made of: how many atoms of each element, and formulas that name it.

A composition matrix is plain float64, (molecule, element), its columns sorted by atomic number:
the `C` of `cpdjax.cpd`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from jaxtyping import Float

from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError

_SYMBOLS = np.array(chemical_symbols)


def composition(
    source: Structures | Iterable[str],
    *,
    elements: Sequence[str] | None = None,
    fractions: bool = False,
) -> Float[np.ndarray, "molecule element"]:
    """Atoms of each element in each molecule.

    Args:
        source: structures, or formulas such as "C2H6O".
        elements: the columns, as symbols; by default those present, sorted by atomic number
            (`elements(source)`).
        fractions: divide each row by its sum.

    Raises:
        InputError: an atom's element is not among `elements`, or a formula cannot be read.

    >>> composition(["CH4", "C2H6O"])
    array([[4., 1., 0.],
           [6., 2., 1.]])
    """
    counts, present = _counts(source)
    if elements is not None:
        counts = _arrange(counts, present, tuple(elements))
    return counts / counts.sum(axis=1, keepdims=True) if fractions else counts


def elements(source: Structures | Iterable[str]) -> tuple[str, ...]:
    """The elements present, sorted by atomic number: the columns of `composition`.

    >>> elements(["CH4", "C2H6O"])
    ('H', 'C', 'O')
    """
    return _counts(source)[1]


def formulas(source: Structures | Iterable[str]) -> np.ndarray:
    """Hill formulas, (molecule,) of str; two are equal exactly where the compositions are.

    >>> formulas(["CH3CH2OH", "(CH3)2O", "H2O"])
    array(['C2H6O', 'C2H6O', 'H2O'], dtype='<U5')
    """
    return hill(*_counts(source))


def hill(counts: Float[np.ndarray, "molecule element"], elements: Sequence[str]) -> np.ndarray:
    """Hill formulas of rows of whole counts: C, H, then by symbol; without C all by symbol.

    Raises:
        InputError: a count that is not a whole number (fractions have no formula).

    >>> hill(np.array([[4, 1], [2, 0]]), ("H", "C"))
    array(['CH4', 'H2'], dtype='<U3')
    """
    if (counts != np.rint(counts)).any():
        raise InputError("formulas need whole counts; got fractions of atoms")
    rows, which = np.unique(counts, axis=0, return_inverse=True)
    names = [_hill(dict(zip(elements, row, strict=True))) for row in rows.astype(int).tolist()]
    return np.array(names)[which.ravel()]


def from_formulas(
    formulas: Iterable[str],
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]]:
    """Counts and elements of formulas, with groups and hydrates: "(CH3)2CO", "CuSO4·5H2O".

    Raises:
        InputError: a formula that cannot be read, with its row (from 0).

    >>> from_formulas(["H2O", "CuSO4·5H2O"])
    (array([[ 2.,  1.,  0.,  0.],
           [10.,  9.,  1.,  1.]]), ('H', 'O', 'S', 'Cu'))
    """
    return _from_text("formula", formulas, _count_formula)


def from_smiles(
    smiles: Iterable[str],
) -> tuple[Float[np.ndarray, "molecule element"], tuple[str, ...]]:
    """Counts (implicit hydrogens included) and elements of SMILES, read by RDKit.

    Raises:
        InputError: RDKit is not installed, or a SMILES that cannot be read, with its row (from 0).
    """
    Chem, rdBase = rdkit()

    def count(text: str) -> dict[str, int]:
        molecule = Chem.MolFromSmiles(text)
        if molecule is None or not molecule.GetNumAtoms():
            raise ValueError
        found: dict[str, int] = {}
        for atom in molecule.GetAtoms():
            found[atom.GetSymbol()] = found.get(atom.GetSymbol(), 0) + 1
            found["H"] = found.get("H", 0) + atom.GetTotalNumHs()
        return found

    with rdBase.BlockLogs():  # our one line, not RDKit's log as well
        return _from_text("SMILES", smiles, count)


def rdkit() -> tuple[Any, Any]:
    """RDKit's modules `Chem` and `rdBase`, imported when SMILES must be read.

    Raises:
        InputError: RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise InputError('reading SMILES needs RDKit: pip install "cpdjax[smiles]"') from error
    return Chem, rdBase


def _counts(source: Structures | Iterable[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    if not isinstance(source, Structures):
        return from_formulas(source)
    numbers, column = np.unique(source.numbers, return_inverse=True)
    row = np.repeat(np.arange(len(source)), source.sizes)
    shape = (len(source), len(numbers))
    counts = np.bincount(row * shape[1] + column, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float64), tuple(_SYMBOLS[numbers].tolist())


def _arrange(counts: np.ndarray, present: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """The columns `wanted`, zero where the molecules have none."""
    for symbol in wanted:
        if not atomic_numbers.get(symbol):
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


def _from_text(
    kind: str, texts: Iterable[str], count: Callable[[str], dict[str, int]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Counts and elements of texts that `count` reads one by one, each distinct one once."""
    if isinstance(texts, str):
        raise InputError(f"expected a list of {kind} strings, got the one string {texts!r}")
    rows: list[dict[str, int]] = []
    known: dict[str, dict[str, int]] = {}
    for text in map(str, texts):
        if text not in known:
            try:
                known[text] = {symbol: n for symbol, n in count(text).items() if n}
            except (ValueError, ArithmeticError, LookupError) as error:
                raise InputError(f"row {len(rows)}: cannot read {text!r} as {kind}") from error
            if not known[text] or not all(atomic_numbers.get(symbol) for symbol in known[text]):
                raise InputError(
                    f"row {len(rows)}: {kind} {text!r} holds something that is no element"
                )
        rows.append(known[text])
    present = sorted(
        {symbol for row in known.values() for symbol in row}, key=atomic_numbers.__getitem__
    )
    counts = np.array([[row.get(symbol, 0) for symbol in present] for row in rows], np.float64)
    return counts.reshape(len(rows), len(present)), tuple(present)


def _count_formula(text: str) -> dict[str, int]:
    # ASE joins the parts of an adduct with "+"; chemists write a dot.
    return Formula(re.sub("[·*]", "+", text.strip())).count()


def _hill(counts: dict[str, int]) -> str:
    order = sorted(counts)
    if counts.get("C"):
        order = ["C", "H", *(symbol for symbol in order if symbol not in ("C", "H"))]
    parts = [(symbol, counts.get(symbol, 0)) for symbol in order]
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in parts if n)
