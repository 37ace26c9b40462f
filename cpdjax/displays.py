"""Show an object as one small table: plain HTML in a notebook, lines in a terminal."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from cpdjax.characters import printable

#: The rows that are shown; how many more there are is said.
MOST = 20


@dataclass(frozen=True)
class Shown:
    """Hold what is shown of an object: a title, and a table of texts.

    >>> print(Shown("Two targets", ("target", "unit"), [("gap", "eV"), ("mu", "D")]).text)
    Two targets
    target  unit
    gap     eV
    mu      D
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def html(self) -> str:
        """Return the table as HTML, in which every text is text."""
        head = "".join(f"<th>{_escaped(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows[:MOST]
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        more = f"<div>{self._more}</div>" if self._more else ""
        return f"<div>{_escaped(self.title)}</div>{table if self.rows else ''}{more}"

    @property
    def text(self) -> str:
        """Return the table as lines, its columns side by side."""
        cells = [[printable(c) for c in row] for row in (self.columns, *self.rows[:MOST])]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        return "\n".join([printable(self.title), *lines, *([self._more] if self._more else [])])

    @property
    def _more(self) -> str:
        left = len(self.rows) - MOST
        return f"… and {left:,} more" if left > 0 else ""


def _escaped(text: object) -> str:
    return html.escape(printable(text))
