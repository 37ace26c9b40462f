"""Count what formulas and SMILES say, reading each distinct text once.

A formula may have a charge, which is no part of the composition. Written without a mark it can mean
two things: Ca2+ is calcium, but NH4+ has four hydrogens. Where chemistry does not settle which, the
formula is refused with both meanings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ase.formula import Formula

from cpdjax.errors import InputError

LONGEST = 10_000
"""Limit the characters of a formula or SMILES; longer texts are refused unread (our choice)."""
DEEPEST = 50
"""Limit the brackets within brackets of a formula or SMILES (our choice)."""
_MOST = 10**9
"""Limit the atoms of a formula (our choice)."""

_RAISED = "[⁰¹²³⁴⁵⁶⁷⁸⁹]"
_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁺⁻−–•∙⋅*", "0123456789+---····")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ROUND = str.maketrans("[]{}", "()()")
_MARKED = (  # charges that cannot be taken for counts: Ca^2+, Ca^{2+}, Ca[2+], Ca 2+
    re.compile(r"\^[({]?([0-9]*(\++|-+)|[+-][0-9]+)[)}]?$"),
    re.compile(r"[\[({]([0-9]*[+-]|[+-][0-9]+)[\])}]$"),
    re.compile(r"\s+([0-9]*(\++|-+)|[+-][0-9]+)$"),
    re.compile(r"([+-][0-9]+|\+{2,}|-{2,}|(?<![0-9])[+-])$"),  # Fe+3, Ca++, Na+
)
_SET_APART = re.compile(  # Ca²⁺, Ca₂+
    rf"({_RAISED}+[⁺⁻]|[⁺⁻]{_RAISED}+|(?<![0-9])[⁺⁻]+|(?<=[₀-₉])([0-9]*[+-]|[+-][0-9]+))$"
)
_LATEX = re.compile(r"_\{([0-9]+)\}|_([0-9])(?![0-9]+[+-])")
_COUNTED = re.compile(r"(?P<count>[0-9]*?)(?P<digit>[0-9])(?P<sign>[+-])$")  # Ca2+, NH4+, SO42-
_OXIDATION = re.compile(r"[\[({](I{1,3}|IV|VI{0,3})[\])}]")
_NONMETALS = {
    *("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sb", "Te", "I"),
    *("At", "He", "Ne", "Ar", "Kr", "Xe", "Rn"),
}
_ALKALI = {"Li", "Na", "K", "Rb", "Cs", "Fr"}


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
        raise InputError(f"expected a list of {kind} strings, got the one string {_short(texts)}")
    rows: list[Counter[str]] = []
    known: dict[str, Counter[str]] = {}
    for text in map(str, texts):
        if text not in known:
            try:
                _check_size(text)
                known[text] = count(text)
            except InputError as error:
                raise InputError(f"row {len(rows)}: {kind} {_short(text)} {error}") from error
            except (ValueError, ArithmeticError, LookupError) as error:
                raise InputError(
                    f"row {len(rows)}: cannot read {_short(text)} as {kind}"
                ) from error
        rows.append(known[text])
    return rows


def count_formula(text: str) -> Counter[str]:
    """Return how many atoms of each element a formula has; D and T count as hydrogen.

    Raises:
        InputError: with the end of the sentence "the formula …", if a number or numeral in it can
            mean two things.
        ValueError: if it cannot be read.

    >>> count_formula("Ca2+"), count_formula("SO42-")
    (Counter({'Ca': 1}), Counter({'O': 4, 'S': 1}))
    """
    # LaTeX writes H_{2}O; isotopes such as ¹³C are atoms of the same element.
    plain = text.strip().strip("$")
    plain = _LATEX.sub(lambda found: (found[1] or found[2]).translate(_LOWERED), plain)
    plain = re.sub(rf"{_RAISED}+(?=[A-Z])", "", plain)
    parts = [_without_charge(part.strip()) for part in re.split("[·•∙⋅*]", plain)]
    if not all(parts):
        raise ValueError("an empty part")
    if len(parts) == 1 and parts[0][:1].isdigit():
        raise InputError("begins with a number: write ¹³C or C for an isotope, C13 for 13 atoms")
    found: Counter[str] = Counter()
    for part in parts:
        found.update(Formula(part.translate(_ROUND)).count())
    found["H"] += found.pop("D", 0) + found.pop("T", 0)
    if sum(found.values()) > _MOST:
        raise ValueError("more atoms than any formula has")
    return +found


def _without_charge(part: str) -> str:
    """Return one part of a formula without its charge, or refuse what can mean two things."""
    part, found = _SET_APART.subn("", part)
    part = part.translate(_PLAIN) if found else _strip_charge(part.translate(_PLAIN))
    if re.search("[+-]", part):
        raise InputError("has + or - inside: write · between parts, and a charge as in Ca^2+")
    if re.search(r"[\[({][0-9]", part):
        raise InputError("has a number after a bracket: write an isotope as ¹³C or as C")
    if numeral := _OXIDATION.search(part):
        raise InputError(f"has {numeral[0]}, an oxidation state or an element: leave it out")
    return part


def _strip_charge(part: str) -> str:
    """Return one part of a formula without its charge, or refuse a charge that can be a count."""
    for pattern in _MARKED:
        part, found = pattern.subn("", part)
        if found:
            return part
    written = _COUNTED.search(part)
    if written is None:
        return part
    count, digit, sign = written["count"], written["digit"], written["sign"]
    one = part[: written.start()] + count
    charged = _is_charge(part[: written.start()], count, int(digit), sign)
    if charged is None:
        raise InputError(
            f"is {one} of charge {digit}{sign} or {one}{digit} of charge 1{sign}: write "
            f"{one}^{digit}{sign} or {one}{digit}^{sign}"
        )
    return one if charged else one + digit


def _is_charge(body: str, count: str, digit: int, sign: str) -> bool | None:
    """Return whether the digit before a sign is a charge and no count; None where it may be either.

    `count` are the digits before it. The rules are our choice and follow usage: a metal's cation
    is Ca2+, an ion of several nonmetals NH4+ or SO42-, a complex has its charge after its bracket.
    """
    symbols = re.findall("[A-Z][a-z]?", body)
    metal = not _NONMETALS.issuperset(symbols)
    if digit == 0:  # C60-
        return False
    if body.endswith("]") or (digit == 1 and not count):  # [Fe(CN)6]4-, Na1+
        return True
    if len(symbols) == 1:
        cation = metal and symbols[0] not in _ALKALI and sign == "+"
        return True if cation and not count and digit <= 4 else None
    if not count:  # FeCl2+ is FeCl²⁺ or FeCl₂⁺; MnO4- holds no MnO⁴⁻
        return None if metal and (digit < 4 or (digit == 4 and sign == "+")) else False
    # C10H22+ and C6F12-: so many hydrogens or halogens are as likely as a charge.
    crowded = symbols[-1] == "H" or ("C" in symbols and symbols[-1] in ("F", "Cl", "Br", "I"))
    clear = metal if body.endswith(")") else not crowded
    return True if clear and count != "1" else None


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


def _check_size(text: str) -> None:
    """Refuse a text that is too long or too deep to be a molecule's.

    Raises:
        InputError: with the end of the sentence "the text …".
    """
    if len(text) > LONGEST:
        raise InputError(f"has {len(text):,} characters; expected at most {LONGEST:,}")
    level = deepest = 0
    for character in text:
        level += (character in "([{") - (character in ")]}")
        deepest = max(deepest, level)
    if deepest > DEEPEST:
        raise InputError(f"has {deepest:,} brackets inside each other; expected at most {DEEPEST}")


def _short(text: str) -> str:
    """Return a text in quotes, and only its start where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
