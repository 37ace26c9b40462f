"""Read and write elements: symbols, atomic numbers, and short lists of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from cpdjax.errors import UnknownNameError

_KNOWN = chemical_symbols[1:]  # the first symbol, X, is no element


def number_of(element: SupportsIndex | str) -> int:
    """Return the atomic number of an element, given by its symbol or its number.

    Raises:
        UnknownNameError: there is no such element.

    >>> number_of("Cl"), number_of(17), number_of("17")
    (17, 17, 17)
    """
    text = str(element).strip()
    number = int(text) if text.isdecimal() else atomic_numbers.get(text, 0)
    if not 1 <= number <= len(_KNOWN):
        raise UnknownNameError("element", text, _KNOWN)
    return number


def symbols_of(numbers: Iterable[int]) -> str:
    """Return symbols by atomic number; a dash stands for those between.

    >>> symbols_of([1, 6, 7, 8, 9, 16])
    'H, C–F, S'
    """
    found = np.unique(list(numbers))
    rows = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    names = [[chemical_symbols[n] for n in row] for row in rows]
    return ", ".join(f"{n[0]}–{n[-1]}" if len(n) > 2 else ", ".join(n) for n in names)
