"""The report of a comparison of spaces as one HTML file: figures, every pair, every channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.reports.objectives import controls_note
from cpdjax.reports.pages import imprint, page
from cpdjax.reports.pages.page import Section
from cpdjax.reports.spaces import values
from cpdjax.reports.spaces.figures import depths_of, leading
from cpdjax.reports.spaces.pairs import last_pairs
from cpdjax.reports.spaces.tables import Table, comparable_pairs, of_chance, of_channels, of_pairs
from cpdjax.reports.text import left_out_text, score_text

#: What the table of a page holds; the results hold every pair.
MOST_ROWS = 1000

_ALIKE = (
    "Two spaces are alike where they tell the same molecules apart in the same way. A channel is "
    "one irrep of one layer of one model, or all of a layer's scalars together."
)
_BEYOND = (
    " Raw spaces are alike already if both know which elements a molecule is made of. So what {0} "
    "can tell of both, fitted on the training rows of each fold, was subtracted from the rows that "
    "the fold holds out; with {0} removed, what is alike is more than that."
)
_CITE = (
    "Please cite the sources of the measures above, the paper whose projection is used here, J. "
    "Steier, Information Routing in Atomistic Foundation Models: How Task Alignment and "
    "Equivariance Shape Linear Disentanglement, arXiv 2603.03155 (2026), and cpdjax with the "
    "version above."
)

#: Title, text and alternative text of every figure, by its file's name, in the page's order.
_FIGURES = {
    "pairs.png": ("", "", "Likeness of the last layers of pairs of models."),
    "matrix.png": (
        "All channels",
        "Dark blocks are families. The order is that of the tree below, {}.",
        "Matrix of likeness of all channels, in the order of their families.",
    ),
    "r2.png": (
        "What one channel tells of another",
        "R² of Ridge from the rows to the columns, held out. A channel whose row is darker than "
        "its column tells more of the others than they tell of it.",
        "Matrices of R² from rows to columns.",
    ),
    "dendrogram.png": (
        "Families", "What joins near zero is alike.",
        "Trees of all channels.",
    ),
    "map.png": (
        "Map", "Points are near where channels are alike, as far as a plane can show it.",
        "Channels as points of a plane, with lines through the layers of each model.",
    ),
}  # fmt: skip


def save(table: xr.Dataset, figures: Sequence[Path], folder: Path, command: str = "") -> Path:
    """Write `report.html` into a folder, with the figures that `save_figures` wrote there."""
    origin = imprint.of_table(table, command)
    text = page.to_html(sections(table, [path.name for path in figures]), origin, folder)
    return page.write(folder / "report.html", text)


def sections(table: xr.Dataset, figures: Sequence[str]) -> list[Section]:
    """Return the sections of the page.

    Args:
        table: what `cpdjax.spaces` returns.
        figures: the file names of the figures that there are; the first one stands on top.
    """
    measure = leading(table)
    pairs = comparable_pairs(values.checked(table, measure), measure)
    known = [name for name in _FIGURES if name in figures]
    known += [name for name in figures if name not in _FIGURES]
    depths = _depths(table, measure)
    made = [depths.get(name, _figure(table, name)) for name in known]
    top, *others = made or [Section("", "")]
    return [
        top._replace(title=_title(table), text=_lead(table, measure)),
        Section("How to read the numbers", _read(table), points=_measures(table)),
        *others,
        _pairs(table, pairs),
        _channels(table),
        *_chance(table, pairs),
        Section("How to cite", _CITE),
    ]


def _title(table: xr.Dataset) -> str:
    models = values.models(table)
    what = f"{len(models)} models" if len(models) > 1 else f"the layers of {models[0]}"
    beyond = _removed(table).removesuffix(" removed")
    return f"How alike {what} are" + ("" if beyond == "raw" else f" beyond {beyond}")


def _lead(table: xr.Dataset, measure: str) -> str:
    """Say what was compared, and how much likeness composition is at last layers."""
    said = f"{table.sizes['channel']} channels of {values.molecules_text(table) or 'molecules'}."
    pairs = [list(pair) for pair in last_pairs(table, measure)]
    sides = values.sides(table)
    if not pairs:
        return said
    a, b = np.transpose(pairs)
    found = {words: values.matrix(table, measure, side)[a, b] for side, words in sides.items()}
    middle = [
        f"{score_text(float(np.nanmedian(own)))} {words}"
        for words, own in found.items()
        if np.isfinite(own).any()
    ]
    label = OF_PAIRS[measure].label
    return f"{said} Median {label} of last layers of two models: {', '.join(middle)}."


def _read(table: xr.Dataset) -> str:
    """Say what likeness is, and what is removed where something is."""
    words = _removed(table)
    return _ALIKE + ("" if words == "raw" else _BEYOND.format(words.removesuffix(" removed")))


def _removed(table: xr.Dataset) -> str:
    """Return in words what is removed on the side where most is; raw where nothing is."""
    return values.sides(table)[values.removed(table)]


def _figure(table: xr.Dataset, name: str) -> Section:
    title, text, alt = _FIGURES.get(name, (Path(name).stem.replace("_", " "), "", ""))
    return Section(title, text.format(_removed(table)), figure=name, alt=alt)


def _depths(table: xr.Dataset, measure: str) -> dict[str, Section]:
    """Return the sections of figures of depth against depth, by the name of their file."""
    text = "Rows and columns go from first layers to last."
    return {
        name: Section(f"Depth of {a} and {b}", text, figure=name, alt=f"Layers of {a} and {b}.")
        for name, (a, b) in depths_of(table, measure).items()
    }


def _measures(table: xr.Dataset) -> list[str]:
    """Return what every measure of the results says."""
    held = {name: known for name, known in {**OF_PAIRS, **OF_CHANNELS}.items() if name in table}
    return [f"{known.label}: {known.description}." for known in held.values()]


def _pairs(table: xr.Dataset, pairs: Sequence[tuple[int, int]]) -> Section:
    made = of_pairs(table, pairs[:MOST_ROWS])
    intervals = any(name.endswith("_low") for name in map(str, table))
    text = "Those that stay most alike come first. A heading sorts its column." + (
        " In brackets 95 % intervals of the bootstrap over molecules." if intervals else ""
    )
    note = "".join(f" {line}" for line in controls_note(values.models(table)))
    return Section("All pairs", f"{text}{_further(made, len(pairs))}{note}", made.heads, made.rows)


def _further(made: Table, count: int) -> str:
    """Return a note about pairs that a table does not show."""
    more = left_out_text(pairs=count - len(made.rows))
    return f" {more}." if more else ""


def _channels(table: xr.Dataset) -> Section:
    text = "How many columns a channel has, and how many directions its rows spread over."
    made = of_channels(table)
    return Section("Each channel by itself", text, made.heads, made.rows)


def _chance(table: xr.Dataset, pairs: Sequence[tuple[int, int]]) -> list[Section]:
    """Return the table of p-values, where there are some."""
    made = of_chance(table, pairs[:MOST_ROWS])
    if made is None:
        return []
    text = (
        f"p-values of permutations, in which {values.moved_text(table)}, adjusted for all pairs by "
        f"max-T: how often chance makes any pair as alike.{_further(made, len(pairs))}"
    )
    few = values.too_few(table)
    text += f" But {few}." if few else ""
    return [Section("Against chance", text, made.heads, made.rows)]
