"""A page of sections, as Markdown and as one HTML file that holds its figures."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cpdjax.files import atomic
from cpdjax.reports.pages.imprint import Imprint
from cpdjax.reports.text import VERDICTS, for_html, for_markdown

_NUMBER = re.compile(r"[+\-−]?(\d[\d,]*)?\.?\d+(e[+-]?\d+)?(?![\w.])")
_NO_NUMBER = ("", "–", "undefined")
_SCALE = 128 / 150  # pixels of a page in one of a figure's file, so that small print can be read


class Section(NamedTuple):
    """Hold a heading, a paragraph, and a table or a figure or both; all of them plain text."""

    title: str
    text: str
    head: Sequence[str] = ()
    """The headings of the table's columns; without them there is no table."""
    rows: Sequence[Sequence[str]] = ()
    figure: str = ""
    """The file name of the figure."""
    alt: str = ""
    """What the figure shows, for those who cannot see it; by default the title."""
    points: Sequence[str] = ()
    """The items of a list below the paragraph."""


def save(
    sections: Sequence[Section], figures: Sequence[Path], folder: Path, name: str, imprint: Imprint
) -> list[Path]:
    """Write a page as `<name>.md` and `<name>.html`, and return the paths.

    Args:
        sections: the sections; one whose figure was not made does without.
        figures: the figures that lie in the folder.
        folder: the folder.
        name: the name of the files.
        imprint: where the page comes from.
    """
    made = {path.name for path in figures}
    sections = [s if s.figure in made else s._replace(figure="") for s in sections]
    texts = {".md": to_markdown(sections), ".html": to_html(sections, imprint, folder)}
    return [write(folder / f"{name}{suffix}", text) for suffix, text in texts.items()]


def write(path: Path, text: str) -> Path:
    """Write a page, whole or not at all, and return its path."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


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
        parts.append(f"{'##' if i else '#'} {title}")
        if section.text:
            parts.append(for_markdown(section.text))
        if section.points:
            parts.append("\n".join(f"- {for_markdown(point)}" for point in section.points))
        if section.head:
            head, *rows = map(_markdown_row, (section.head, *section.rows))
            parts.append("\n".join([head, "| --- " * len(section.head) + "|", *rows]))
        if section.figure:
            alt = for_markdown(section.alt or section.title)
            parts.append(f"![{alt}]({section.figure})")
    return "\n\n".join(parts) + "\n"


def to_html(
    sections: Sequence[Section], imprint: Imprint | None = None, folder: Path = Path()
) -> str:
    """Return the page as HTML that needs no other file; the first section has the page's title.

    Args:
        sections: the sections.
        imprint: where the page comes from.
        folder: the folder of the figures, which the page holds as images.
    """
    shown = [
        {
            **section._asdict(),
            "figure": _embedded(folder / section.figure) if section.figure else None,
            "columns": [
                {"name": name, "is_number": _is_number([row[i] for row in section.rows])}
                for i, name in enumerate(section.head)
            ],
        }
        for section in sections
    ]
    title, text = sections[0].title, sections[0].text
    return render(
        "report.html", title=title, text=text, sections=shown, imprint=imprint, verdicts=VERDICTS
    )


def render(template: str, **values: Any) -> str:
    """Return a page made from a template, in which every text is shown and none is obeyed."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    def shown(value: Any) -> Any:
        return value if isinstance(value, Markup) else Markup(for_html(value))

    return Environment(
        loader=PackageLoader("cpdjax.reports.pages"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _embedded(figure: Path) -> dict[str, str | int]:
    """Return a PNG as a data URI, and its size on the page."""
    content = figure.read_bytes()
    width, height = (round(n * _SCALE) for n in struct.unpack(">II", content[16:24]))
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return {"source": source, "width": width, "height": height}


def _is_number(cells: Sequence[str]) -> bool:
    """Return whether all cells of a column begin with a number, as far as they hold anything.

    >>> _is_number(["0.5 (0.4, 0.6)", "-1e+02", ""]), _is_number(["0e", "1o"])
    (True, False)
    """
    told = [cell for cell in cells if cell not in _NO_NUMBER]
    return bool(told) and all(map(_NUMBER.match, told))


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(for_markdown, cells)) + " |"
