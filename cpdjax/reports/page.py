"""A page of sections, as Markdown and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpdjax.reports.text import for_html, for_markdown


class Section(NamedTuple):
    """Hold a heading, a paragraph, and a table or a figure or both; all of them plain text."""

    title: str
    text: str
    head: Sequence[str] = ()
    """The headings of the table's columns; without them there is no table."""
    rows: Sequence[Sequence[str]] = ()
    figure: str = ""
    """The file name of the figure."""


def to_markdown(sections: Sequence[Section]) -> str:
    """Return the page as Markdown; the first section has the page's title.

    >>> print(to_markdown([Section("Scores", "Of two models.", ("model", "R²"), [("a|b", "0.5")])]))
    # Scores
    <BLANKLINE>
    Of two models.
    <BLANKLINE>
    | model | R² |
    | --- | --- |
    | a\\|b | 0.5 |
    <BLANKLINE>
    """
    parts = []
    for i, section in enumerate(sections):
        title = for_markdown(section.title)
        parts += [f"{'##' if i else '#'} {title}", for_markdown(section.text)]
        if section.head:
            head, *rows = map(_markdown_row, (section.head, *section.rows))
            parts.append("\n".join([head, "| --- " * len(section.head) + "|", *rows]))
        if section.figure:
            parts.append(f"![{title}]({section.figure})")
    return "\n\n".join(parts) + "\n"


def to_html(sections: Sequence[Section]) -> str:
    """Return the page as HTML; the first section has the page's title."""
    parts = []
    for i, section in enumerate(sections):
        level, title = 2 if i else 1, for_html(section.title)
        parts.append(f"<h{level}>{title}</h{level}><p>{for_html(section.text)}</p>")
        if section.head:
            rows = "".join(_html_row(row, "td") for row in section.rows)
            parts.append(f"<table>{_html_row(section.head, 'th')}{rows}</table>")
        if section.figure:
            parts.append(f'<p><img src="{section.figure}" alt="{title}"></p>')
    head = f"<title>{for_html(sections[0].title)}</title><style>{_STYLE}</style>"
    return f'<!doctype html><meta charset="utf-8">{head}{"".join(parts)}\n'


_STYLE = (
    "body{font:16px/1.4 sans-serif;max-width:80em;margin:2em auto;padding:0 1em}"
    "td,th{border:1px solid #ccc;padding:.3em;text-align:left}"
    "table{border-collapse:collapse;font-size:.9em}img{max-width:100%}"
)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(for_markdown, cells)) + " |"


def _html_row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{for_html(c)}</{tag}>" for c in cells) + "</tr>"
