"""A table as data: its columns and rows, how it fits the width of a terminal, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cpdjax.reports.text import MOST_OF_A_SENTENCE, VERDICTS, for_terminal

_HUES = {"good": "green", "bad": "bold red"}
_STYLES = {word: _HUES[kind] for word, kind in VERDICTS.items()}
_STYLES |= {"reported": "dim", "damaged": _HUES["bad"]}
_NARROW = 16  # a column of words is no narrower
_INSET = 2  # of rows below the heading of their group


Kind = Literal["group", "name", "words", "number"]


class Column(NamedTuple):
    """Say what a column is called, and what becomes of it where a terminal is too narrow.

    A "group" stands above its rows. A "name" is in every part of a table that is parted, "words"
    are wrapped, and a "number" may go to the next part. None of them is ever cut.
    """

    head: str
    kind: Kind = "number"


class _Part(NamedTuple):
    """Hold the columns that stand beside each other, their widths, and the space between them."""

    places: list[int]
    widths: list[int]
    gap: int


@dataclass(frozen=True)
class Sheet:
    """Hold a table for a terminal, a pipe and a script.

    Rich prints it: as wide as its cells where nobody watches, and within the width of a terminal
    otherwise, in several parts or row by row where that is needed.
    """

    name: str
    """The key under which JSON has it."""
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    records: Sequence[Mapping[str, Any]]
    """The numbers behind the rows, for JSON."""
    notes: Sequence[str] = ()
    brief: Sheet | None = None
    """What a terminal shows in its place where this one would have to be parted."""
    heading: str = ""
    """How the cells of groups make the line above their rows; by default with commas between."""

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold of the sheet: title, notes, and the records as rows.

        >>> Sheet("x", "X", [Column("a")], [["1.0"]], [{"a": 1.0, "b": math.nan}]).as_json()
        {'title': 'X', 'notes': [], 'rows': [{'a': 1.0, 'b': None}]}
        """
        rows = [{key: _plain(value) for key, value in record.items()} for record in self.records]
        return {"title": self.title, "notes": list(self.notes), "rows": rows}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, the table or its parts, and the notes."""
        inset = _INSET if any(column.kind == "group" for column in self.columns) else 0
        parts = _fitting(self, options.max_width - inset)
        if options.is_terminal and self.brief and len(parts) != 1:
            yield self.brief
            return
        if self.title:
            yield for_terminal(self.title, "bold", MOST_OF_A_SENTENCE)
        if not options.is_terminal:
            yield self._wide()
        elif not parts:
            yield from self._stacked()
        else:
            for i, part in enumerate(parts):
                yield from [Text()] if i else []
                yield from self._table(part, inset)
        for note in self.notes:
            yield for_terminal(note, "dim", MOST_OF_A_SENTENCE)
        yield Text()

    def _wide(self) -> Table:
        """Return all columns beside each other, and every name in every row."""
        made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for column in self.columns:
            made.add_column(_cell(column, column.head), justify=_side(column), no_wrap=True)
        for row in self.rows:
            made.add_row(*map(_cell, self.columns, row))
        return made

    def _table(self, part: _Part, inset: int) -> Iterator[Padding | Text]:
        """Yield the heads of a part, then its rows, group by group."""
        yield Padding(self._rows(part, ()), (0, 0, 0, inset), expand=False)
        for heading, rows in groupby(self.rows, self._heading):
            if heading:
                yield for_terminal(heading, "italic", MOST_OF_A_SENTENCE)
            body = self._rows(part, list(rows), show_header=False)
            yield Padding(body, (0, 0, 0, inset), expand=False)

    def _rows(self, part: _Part, rows: Sequence[Sequence[str]], **options: Any) -> Table:
        made = Table(
            box=SIMPLE_HEAD, show_edge=False, padding=(0, part.gap - 1, 0, 0), pad_edge=False,
            **options,
        )  # fmt: skip
        for place, width in zip(part.places, part.widths, strict=True):
            column = self.columns[place]
            head = _cell(column, column.head)
            made.add_column(head, justify=_side(column), width=width, overflow="fold")
        for row in rows:
            made.add_row(*(_cell(self.columns[place], row[place]) for place in part.places))
        return made

    def _stacked(self) -> Iterator[Text]:
        """Yield a line for each column of each row."""
        for row in self.rows:
            for column, cell in zip(self.columns, row, strict=True):
                yield Text.assemble(_cell(column, column.head), ": ", _cell(column, cell))
            yield Text()

    def _heading(self, row: Sequence[str]) -> str:
        named = zip(self.columns, row, strict=True)
        cells = [for_terminal(cell).plain for column, cell in named if column.kind == "group"]
        return self.heading.format(*cells) if self.heading else ", ".join(filter(None, cells))


def _fitting(sheet: Sheet, width: int) -> list[_Part]:
    """Return the parts in which a table fits a width; none where no number fits beside the names.

    What is tried first is what looks best: all columns, all of them closer together, words wrapped,
    and numbers parted among as few tables as possible.
    """
    columns = sheet.columns
    shown = [i for i, column in enumerate(columns) if column.kind != "group"]
    natural = [_width(column, [row[i] for row in sheet.rows]) for i, column in enumerate(columns)]
    for gap in (2, 1):
        if sum(natural[i] + gap for i in shown) - gap <= width:
            return [_Part(shown, [natural[i] for i in shown], gap)]
    wrapped = _wrapped(sheet, shown, natural, width - 2 * (len(shown) - 1))
    if wrapped:
        return [_Part(shown, wrapped, 2)]
    ways = (_parted(columns, shown, natural, width, gap) for gap in (2, 1))
    return min(filter(None, ways), key=len, default=[])


def _wrapped(sheet: Sheet, shown: Sequence[int], natural: Sequence[int], room: int) -> list[int]:
    """Return widths at which all fit as words are wrapped; nothing where they would be narrow.

    Columns of words share what the others leave, each by how much there is to read in it.
    """
    words = sorted((i for i in shown if sheet.columns[i].kind == "words"), key=natural.__getitem__)
    amount = {i: 1 + sum(len(row[i]) for row in sheet.rows) for i in words}
    left = room - sum(natural[i] for i in shown if i not in words)
    widths = list(natural)
    for i in words:
        share = left * amount[i] // sum(amount.values())
        widths[i] = min(natural[i], max(share, _NARROW))
        left -= widths[i]
        del amount[i]
    return [widths[i] for i in shown] if words and left >= 0 else []


def _parted(
    columns: Sequence[Column], shown: Sequence[int], natural: Sequence[int], width: int, gap: int
) -> list[_Part]:
    """Return parts of names and as many numbers as fit beside them; none where not one does."""
    names = [i for i in shown if columns[i].kind != "number"]
    room = width - sum(natural[i] + gap for i in names) + gap
    parts: list[list[int]] = []
    left = 0
    for i in (i for i in shown if columns[i].kind == "number"):
        needed = natural[i] + gap
        if needed > room:
            return []
        if not parts or needed > left:
            parts.append([])
            left = room
        parts[-1].append(i)
        left -= needed
    places = [sorted([*names, *numbers]) for numbers in parts]
    return [_Part(part, [natural[i] for i in part], gap) for part in places]


def _width(column: Column, cells: Sequence[str]) -> int:
    """Return the width at which a column cuts and wraps nothing, but for the words of its head."""
    heads = column.head.split() if column.kind == "number" else [column.head]
    texts = (_cell(column, text).plain for text in (*heads, *cells))
    return max((cell_len(text) for text in texts), default=1) or 1


def _cell(column: Column, text: str) -> Text:
    most = {"most": MOST_OF_A_SENTENCE} if column.kind == "words" else {}
    return for_terminal(text, _STYLES.get(text, ""), **most)


def _side(column: Column) -> Literal["left", "right"]:
    return "right" if column.kind == "number" else "left"


def _plain(value: Any) -> Any:
    """Return a number of NumPy as Python's, and None for what JSON has no number for."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
