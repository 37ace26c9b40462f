"""The figure of objectives against targets: a matrix of R²_geom with its diagonal marked."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cpdjax.reports.figures import label_width, panels
from cpdjax.reports.style import GREY, INK, LABEL, PALETTE, SHADE, TINY, styled
from cpdjax.reports.symbols import symbol_text
from cpdjax.reports.text import for_figure, score_text
from cpdjax.sweeps.targets import EXPLAINED

_ROW, _COLUMN = 0.22, 0.42  # inches
_BLUES = LinearSegmentedColormap.from_list("objectives", ["#FFFFFF", PALETTE[0]])
_UNITS = {"mu": "debye", "alpha": "bohr^3", "r2": "bohr^2", "cv": "cal/(mol K)"}  # QM9's
_DARK = 0.55  # from this share of the darkest hue on, numbers are white


@styled
def plot_objectives(matrix: pd.DataFrame) -> Figure:
    """Plot what `studies.objectives.matrix` returned: a row for each model, hue by R²_geom.

    Cells of models trained on the target itself have a frame. Columns are grey where composition
    explains the target to `EXPLAINED` or more, since nothing is left there that tells models apart.
    """
    models = list(dict.fromkeys(matrix.model))
    targets = list(dict.fromkeys(matrix.target))
    width, height = _COLUMN * len(targets), _ROW * len(models)
    text = (
        "R²_geom, mean over repeats and folds. Frame: trained on this target. Grey: composition "
        f"explains the target (R²_comp of {EXPLAINED} or more)."
    )
    figure, (panel,) = panels(
        1, size=(width, height), margin=(label_width(models) + 0.2, 0.75),
        title="Trained on (rows), asked for (columns)", text=text,
    )  # fmt: skip
    most = float(matrix[matrix.r2_comp < EXPLAINED].r2_geom.max())
    for cell in matrix.itertuples():
        _draw(panel, cell, targets.index(cell.target), models.index(cell.model), most)
    panel.set_xlim(-0.5, len(targets) - 0.5)
    panel.set_ylim(len(models) - 0.5, -0.5)
    symbols = [for_figure(symbol_text(t, _UNITS.get(t, "eV"))) for t in targets]
    panel.set_xticks(range(len(targets)), symbols, rotation=45)
    panel.set_yticks(range(len(models)), [for_figure(model, LABEL) for model in models])
    panel.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    panel.spines[:].set_visible(False)
    _separate(panel, matrix)
    return figure


def _draw(panel: Axes, cell: object, x: int, y: int, most: float) -> None:
    """Draw a cell: its hue, its number, and its frame where the model was trained on the target."""
    value, explained = float(cell.r2_geom), cell.r2_comp >= EXPLAINED  # type: ignore[attr-defined]
    share = min(max(value / most, 0.0), 1.0) if most > 0 else 0.0
    colour = to_rgb(SHADE) if explained else _BLUES(share)[:3]
    ink = GREY if explained else "white" if share > _DARK else INK
    panel.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white"))
    panel.text(x, y, score_text(value), ha="center", va="center", fontsize=TINY, color=ink)
    if cell.aligned:  # type: ignore[attr-defined]
        frame = Rectangle(
            (x - 0.46, y - 0.44), 0.92, 0.88, fill=False, edgecolor=INK, linewidth=1.4
        )
        panel.add_patch(frame)


def _separate(panel: Axes, matrix: pd.DataFrame) -> None:
    """Draw a line between the families of models."""
    families = matrix.drop_duplicates("model").family.tolist()
    for row in range(1, len(families)):
        if families[row] != families[row - 1]:
            panel.axhline(row - 0.5, color=INK, linewidth=0.8)
