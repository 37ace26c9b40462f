"""Count what formulas and SMILES say, reading each distinct text once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from cpdjax.errors import InputError


def count_texts(
    kind: str, texts: Iterable[str], count: Callable[[str], Counter[str]]
) -> list[Counter[str]]:
    """Return the counts that `count` reads from each text.

    Args:
        kind: what the errors call a text.
        texts: any texts, in order.
        count: reads one text; raises InputError with the end of the sentence "the text …", or
            another error, where it cannot.

    Raises:
        InputError: if `texts` is one string and no list, or a text cannot be read; the error gives
            its row (from 0).
    """
    if isinstance(texts, str):
        raise InputError(f"expected a list of {kind} strings, got the one string {texts!r}")
    rows: list[Counter[str]] = []
    known: dict[str, Counter[str]] = {}
    for text in map(str, texts):
        if text not in known:
            try:
                known[text] = count(text)
            except InputError as error:
                raise InputError(f"row {len(rows)}: {kind} {text!r} {error}") from error
            except (ValueError, ArithmeticError, LookupError) as error:
                raise InputError(f"row {len(rows)}: cannot read {text!r} as {kind}") from error
        rows.append(known[text])
    return rows


def count_smiles(
    smiles: Iterable[str], count_molecule: Callable[[Any], Counter[str]]
) -> list[Counter[str]]:
    """Return the counts that `count_molecule` finds in each molecule that RDKit reads from SMILES.

    Raises:
        InputError: if RDKit is not installed, or a SMILES cannot be read; see `count_texts`.
    """
    Chem, rdBase = rdkit()

    def count(text: str) -> Counter[str]:
        molecule = Chem.MolFromSmiles(text)
        if molecule is None or not molecule.GetNumAtoms():
            raise ValueError
        return count_molecule(molecule)

    with rdBase.BlockLogs():  # the one line of our error says enough without RDKit's log
        return count_texts("SMILES", smiles, count)


def rdkit() -> tuple[Any, Any]:
    """Return RDKit's modules `Chem` and `rdBase`, which are imported only when SMILES are read.

    Raises:
        InputError: if RDKit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise InputError('reading SMILES needs RDKit: pip install "cpdjax[smiles]"') from error
    return Chem, rdBase
