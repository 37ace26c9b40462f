"""Names are data: say which of their characters can be shown, and what stands for the others."""

from __future__ import annotations

import re
import unicodedata

_LOOK_ALIKES = {
    **{"x": "×", "-": "−–—", "~": "≈", "<=": "≤", ">=": "≥", "*": "·•", "/": "⁄"},
    **{"'": "‘’", '"': "“”", "<": "⟨", ">": "⟩"},
}
#: Signs that Unicode neither decomposes into ASCII nor names as letters.
_SIGNS = {sign: plain for plain, signs in _LOOK_ALIKES.items() for sign in signs}
_LINES = {"VERTICAL": "|", "HORIZONTAL": "-", "LEFT": "-", "RIGHT": "-"}

# What a spreadsheet takes for a formula. A quote before it gets another one, so that two names do
# not become one.
_FORMULA = re.compile(r"^'*[=+\-@＝＋－＠]")


def printable(text: object) -> str:
    r"""Return a text in one line that a terminal shows and does not obey.

    Line breaks, escape sequences, NUL, marks that turn the direction of writing and whatever else
    is no visible character become their Python escapes.

    >>> print(printable("a\nb \x1b[31mred\x00"))
    a\nb \x1b[31mred\x00
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters: the middle of a longer one is left out.

    >>> shortened("interaction_0 of a model", 11)
    'inter…model'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def for_csv(value: object) -> object:
    r"""Return a cell of a CSV file: a text in one line that no spreadsheet takes for a formula.

    >>> for_csv("=1+1"), for_csv("-gap"), for_csv("gap"), for_csv(0.5)
    ("'=1+1", "'-gap", 'gap', 0.5)
    """
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if _FORMULA.match(shown) else shown


def stand_in(text: str) -> str:
    r"""Return what stands for characters that a terminal's encoding does not have.

    >>> print(stand_in("R² of α, ⟨R²⟩ × – Å ½ │ é 分"))
    R2 of alpha, <R2> x - A 1/2 | e \u5206
    """
    return "".join(map(_stand_in, text))


def _stand_in(character: str) -> str:
    name = unicodedata.name(character, "")
    if character.isascii():
        return character
    if character in _SIGNS:
        return _SIGNS[character]
    if name.startswith("BOX DRAWINGS"):
        return _LINES.get(name.split()[-1], "+")
    if name.startswith("GREEK") and " LETTER " in name:
        letter = name.partition(" LETTER ")[2].split()[0]
        return letter.capitalize() if "CAPITAL" in name else letter.lower()
    if unicodedata.combining(character):
        return ""
    parts = unicodedata.normalize("NFKD", character)
    return _escaped(character) if parts == character else stand_in(parts)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
