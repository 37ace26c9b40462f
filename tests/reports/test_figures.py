"""Figures show what the table says, say what leaves their axes, and cut no text."""

import json
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
import xarray as xr
from helpers import results_table
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy import stats

import cpdjax
from cpdjax.checks.suite import Checks
from cpdjax.models.training.loss_figure import plot as plot_loss
from cpdjax.reports import check_figures, finding_figures
from cpdjax.reports.score_figures import plot_curves, plot_headline, plot_targets, save_figures
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.reports.style import FLOOR, PALETTE, colours
from cpdjax.reports.text import score_text

SIZES = (100, 250, 2000)
LAYERS = ("embedding", "interaction_0", "interaction_1", "readout")
#: R²_geom of the gap at the layers above.
GAPS = {
    "painn-qm9-gap": (0.1, 0.3, 0.5, 0.55),
    "painn-qm9-energy": (0.1, 0.3, 0.31, 0.2),
    "so3lr": (0.1, 0.3, 0.4, 0.35),
}
COMPOSITION = {"gap": 0.4, "mu": 0.2, "u0_atom": 0.99}
PERMUTATIONS = 19


def table_of(gaps=None, targets=("gap", "mu"), sizes=SIZES, **renamed):
    """Results of several models, whose dipole moment is half as accessible as their gap."""
    scores = {
        (renamed.get(model, model), layer, "0e", target): value * (1 if target == "gap" else 0.5)
        for model, values in (gaps or GAPS).items()
        for layer, value in zip(LAYERS, values, strict=False)
        for target in targets
    }
    table = results_table(scores, sizes, targets).assign_coords(alpha=[1.0])
    shape = [table.sizes[d] for d in ("repeat", "size", "fold")]
    comp = np.stack([np.full(shape, COMPOSITION.get(t, 0.0)) for t in targets], axis=-1)
    table["r2_comp"] = (("repeat", "size", "fold", "target"), comp)
    return table


def permuted(table):
    """The same results with the scores of permuted targets."""
    rng = np.random.default_rng(0)
    dims = ("model", "layer", "irrep", "permutation", "alpha", "target")
    shape = [table.sizes.get(d, PERMUTATIONS) for d in dims]
    table["null_r2_geom"] = (dims, rng.normal(-0.02, 0.01, shape))
    p_value = np.full([*shape[:3], *shape[4:]], 0.05)
    table["p_value"] = ((*dims[:3], *dims[4:]), p_value)
    table["p_adjusted"] = 2 * table.p_value
    return table.assign_attrs(settings=json.dumps({"adjust": "max-t"}))


def failing(model="so3lr", value=-30.0):
    """Results in which one model's probe fails at every layer."""
    table = table_of()
    table.r2_geom.loc[{"model": model}] = value
    return permuted(table)


def figures_of(table):
    """All figures of a sweep and of the findings, by name."""
    differences = cpdjax.differences(table, reference=str(table.model[0].item()))
    return {
        "headline": plot_headline(table),
        "layers": plot_targets(table),
        "curves": plot_curves(table),
        "null": plot_null(table),
        "differences": plot_differences(differences, table),
        **finding_figures.plot_all(table),
    }


def numbers_at_borders(axes):
    return [note.get_text() for note in axes.texts if (note.get_gid() or "").startswith("leaves")]


def arrows(axes, shape):
    return [line for line in axes.lines if line.get_marker() == shape]


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


# The headline


def test_the_headline_has_a_row_for_each_model_with_its_interval():
    table = table_of()
    gap, mu = plot_headline(table).axes
    best_first = ["painn-qm9-gap", "so3lr", "painn-qm9-energy"]
    assert labels(gap) == best_first
    own = {"layer": "interaction_1", "irrep": "0e", "size": 2000, "alpha": 1.0}
    for axes, target in ((gap, "gap"), (mu, "mu")):
        dots = {}
        for line in axes.lines:
            if line.get_marker() == "o":
                dots |= dict(zip(line.get_ydata(), line.get_xdata(), strict=True))
        ends = {s[0, 1]: s[:, 0] for s in axes.collections[0].get_segments()}
        for row, model in enumerate(best_first):
            scores = table.r2_geom.sel(own, model=model, target=target).to_numpy() if False else (
                table.r2_geom.sel({**own, "model": model, "target": target}).to_numpy()
            )
            error = scores.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)
            expected = stats.t.interval(0.95, 14, scores.mean(), error)
            assert dots[row] == pytest.approx(scores.mean(), abs=1e-12)
            np.testing.assert_allclose(ends[row], expected, atol=1e-12)
