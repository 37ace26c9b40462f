"""The matrix as a figure: frames where a model was trained, grey where composition explains."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from cpdjax.reports.objective_figures import plot_objectives
from cpdjax.reports.style import SHADE

MODELS = {"net-gap": ("net", "gap"), "net-u0": ("net", "u0_atom"), "other-mu": ("other", "mu")}
COMPOSITION = {"gap": 0.4, "mu": 0.1, "u0": 0.999}


def cells():
    rows = [
        {
            "family": family, "model": model, "target": target, "r2_comp": COMPOSITION[target],
            "r2_geom": 0.1 * (i + 1) if target != "u0" else 0.001,
            "aligned": objective.removesuffix("_atom") == target,
        }
        for i, (model, (family, objective)) in enumerate(MODELS.items())
        for target in COMPOSITION
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def panel():
    figure = plot_objectives(cells())
    FigureCanvasAgg(figure).draw()
    return figure.axes[0]


def rectangles(panel, filled):
    return [p for p in panel.patches if isinstance(p, Rectangle) and p.get_fill() is filled]


def centre(patch):
    return (
        round(patch.get_x() + patch.get_width() / 2),
        round(patch.get_y() + patch.get_height() / 2),
    )


def test_a_frame_stands_where_a_model_was_trained_on_the_target(panel):
    assert {centre(p) for p in rectangles(panel, False)} == {(0, 0), (2, 1), (1, 2)}


def test_columns_that_composition_explains_are_grey_and_others_are_not(panel):
    grey = {centre(p) for p in rectangles(panel, True) if to_hex(p.get_facecolor()) == _hex(SHADE)}
    assert grey == {(2, 0), (2, 1), (2, 2)}


def _hex(colour):
    return to_hex(to_rgb(colour))


def test_every_cell_says_its_number_and_axes_their_names(panel):
    assert len(panel.texts) == 9
    assert {t.get_text() for t in panel.texts} == {"0.10", "0.20", "0.30", "0.00"}
    assert [t.get_text() for t in panel.get_yticklabels()] == list(MODELS)
    assert [t.get_text() for t in panel.get_xticklabels()] == ["gap", "μ", "U₀"]


def test_darker_is_more(panel):
    hue = {centre(p): sum(p.get_facecolor()[:3]) for p in rectangles(panel, True)}
    assert hue[0, 0] > hue[0, 1] > hue[0, 2]


def test_a_line_parts_the_families(panel):
    assert [line.get_ydata()[0] for line in panel.lines] == [1.5]


def test_no_text_is_cut():
    figure = plot_objectives(cells())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    for axes in figure.axes:
        for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()):
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height
