"""The report has NumPy's statistics, figures that are images, and no number for NaN."""

import io
import warnings

import numpy as np
import pytest
import xarray as xr
from helpers import png_size
from rich.console import Console

from cpdjax.errors import InputError
from cpdjax.reports.channel_figures import MOST_MODELS
from cpdjax.reports.score_figures import plot_curves, plot_targets, save_figures
from cpdjax.reports.scores import summary, text_table
from cpdjax.reports.text import score_text

RNG = np.random.default_rng(0)
SIZES = [30, 60]


def results(models=2, targets=("gap", "mu"), alphas=(0.1, 10.0)):
    """Make a sweep's table of random scores; the last model lacks the irrep "1o"."""
    own, curve = (models, 1, 2), (3, len(SIZES), 5, len(alphas), len(targets))
    n_features = np.ones(own, int)
    n_features[-1, 0, 1] = 0
    r2 = np.where(n_features[..., *[None] * 5] > 0, RNG.uniform(-0.5, 1, (*own, *curve)), np.nan)
    dims = ("model", "layer", "irrep", "repeat", "size", "fold", "alpha", "target")
    return xr.Dataset(
        {
            "r2_geom": (dims, r2),
            "r2_full": (dims, r2),
            "r2_comp": (
                ("repeat", "size", "fold", "target"),
                RNG.normal(size=(3, 2, 5, len(targets))),
            ),
            "n_features": (dims[:3], n_features),
        },
        {
            "model": [f"m{i}" for i in range(models)],
            "layer": ["layer[a]"],
            "irrep": ["0e", "1o"],
            "size": SIZES,
            "alpha": list(alphas),
            "target": list(targets),
            "unit": ("target", ["eV"] * len(targets)),
        },
    )


def printed(table, width=240, terminal=True):
    text = io.StringIO()
    options = {"force_terminal": terminal, "color_system": None}
    Console(width=width, file=text, **options).print(text_table(table))
    return text.getvalue()


def test_summary_is_numpys_median_and_quartiles():
    table = results()
    scores = summary(table)
    assert list(scores.channel.values) == [
        "m0 / layer[a]", "m0 / layer[a] / 1o", "m1 / layer[a]",
    ]  # fmt: skip
    r2 = table.r2_geom.to_numpy()
    for c, (model, irrep) in enumerate([(0, 0), (0, 1), (1, 0)]):
        for s, t in np.ndindex(2, 2):
            folds = np.moveaxis(r2[model, 0, irrep, :, s, :, :, t], -1, 0).reshape(2, -1)
            best = folds[np.argmax(np.median(folds, axis=1))]  # of the grid of α
            found = scores.isel(channel=c, size=s, target=t)
            lower, median, upper = np.percentile(best, [25, 50, 75])
            assert found["lower"].item() == pytest.approx(lower, abs=1e-15)
            assert found["median"].item() == pytest.approx(median, abs=1e-15)
            assert found["upper"].item() == pytest.approx(upper, abs=1e-15)
            assert found["worst"].item() == best.min()
    comp = np.median(table.r2_comp.to_numpy().transpose(1, 3, 0, 2).reshape(2, 2, -1), axis=-1)
    np.testing.assert_allclose(scores.r2_comp, comp, atol=1e-15)


def test_the_table_shows_the_largest_size():
    table = results()
    text = printed(table)
    assert "N = 60" in text
    assert "gap (eV)" in text
    assert "layer[a]" in text  # not taken for markup
    last = summary(table).isel(size=-1)
    for score in last["median"].values.ravel():
        assert f"{round(score, 2) + 0:.2f} (" in text
    assert "undefined" not in text
    assert text.count("1o") == 1
    assert "R²_comp" in text


def test_a_star_marks_a_fold_below_minus_one():
    table = results(targets=("gap",), alphas=(1.0,))
    assert "*" not in printed(table)
    table.r2_geom[0, 0, 0, 0, 1, 0] = -5e4
    table.r2_geom[0, 0, 0, 0, 1, 1] = np.nan
    [line] = (row for row in printed(table).splitlines() if row.endswith("*"))
    assert line.split()[:2] == ["layer[a]", "0e"]
    assert "* R² of a fold is below -1" in printed(table)


def test_what_lies_below_minus_one_is_said_to():
    table = results(targets=("gap",), alphas=(1.0,))
    table.r2_geom[0, 0, 0] -= 100
    table.r2_geom[0, 0, 1] = -0.001
    lines = printed(table).splitlines()
    assert any("<-1 (<-1, <-1)*" in line for line in lines)
    assert any("0.00 (0.00, 0.00)" in line for line in lines)
    assert "e+0" not in "".join(lines)


def test_the_best_model_comes_first_and_its_layers_as_the_data_pass_them():
    table = results(models=3, targets=("gap",), alphas=(1.0,)).isel(irrep=[0])
    table = table.isel(layer=[0, 0]).assign_coords(layer=["interaction_3", "readout"])
    scores = {("m0", 0): 0.2, ("m0", 1): 0.3, ("m1", 0): 0.1, ("m1", 1): 0.9, ("m2", 0): 0.5}
    table["n_features"][2, 1] = 0
    table["n_features"][2, 0] = 1
    for (model, layer), score in scores.items():
        table.r2_geom[int(model[1]), layer] = score
    assert [row[:2] for row in text_table(table).rows[1:]] == [
        ["m1", "interaction_3"], ["m1", "readout"], ["m2", "interaction_3"],
        ["m0", "interaction_3"], ["m0", "readout"],
    ]  # fmt: skip


@pytest.fixture
def undefined():
    """Make a table with one constant target, and one that is constant in some folds only."""
    table = results()
    table.r2_geom[..., 1] = np.nan
    table.r2_comp[..., 1] = np.nan
    table.r2_geom[..., 0, :, 0] = np.nan
    return table


def test_nan_is_undefined_and_quiet(undefined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = summary(undefined)
        text = printed(undefined)
    assert scores["median"].sel(target="mu").isnull().all()
    gap = undefined.r2_geom.to_numpy()[0, 0, 0, :, 1, 1:, :, 0]
    expected = max(np.median(gap[..., a]) for a in range(2))
    assert scores["median"].sel(target="gap", size=60)[0].item() == pytest.approx(expected)
    assert text.count("undefined") == 4  # of three channels, and of composition


def test_infinity_and_depths_are_shown_short():
    assert score_text(-12345.0) == "-1e+04"
    assert score_text(0.5) == "0.50"


@pytest.mark.parametrize(
    "case", ["plain", "undefined", pytest.param("large", marks=pytest.mark.slow)]
)
def test_figures_are_images(case, undefined, tmp_path):
    tables = {
        "plain": results,
        "undefined": lambda: undefined,
        "large": lambda: results(models=16, targets=[f"t{i}" for i in range(14)], alphas=(1.0,)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = save_figures(tables[case](), tmp_path)
    assert [p.name for p in paths] == ["headline.png", "r2_geom.png", "learning_curves.png"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        width, height = png_size(path)
        assert 300 < width < 2000
        assert 200 < height < 6000


def test_many_channels_have_a_row_each():
    targets = [f"t{i}" for i in range(9)]
    table = results(models=20, targets=targets, alphas=(1.0,))
    table.r2_geom[19, 0, 0, 0, 1, 0, 0, 2] = -3
    scores = summary(table).isel(size=-1)
    rows = {}
    for line in printed(table, terminal=False, width=10_000).splitlines():
        rows[tuple(line.split()[:3])] = line.split()[3:]
    assert len([row for row in rows if "layer[a]" in row]) == 39
    expected = [f"{round(x, 2) + 0:.2f}" for x in scores["median"].isel(channel=38).values]
    expected[2] += "*"
    assert rows["m19", "layer[a]", "0e"] == ["1", *expected]


def test_a_narrow_page_holds_all_targets_in_several_tables():
    names = [f"t{i}" for i in range(9)]
    table = results(models=20, targets=names, alphas=(1.0,))
    lines = printed(table, width=60).splitlines()
    assert max(map(len, lines)) <= 60
    heads = [line for line in lines if "t0" in line or "t8" in line]
    assert len(heads) == 2
    assert [word for line in lines for word in line.split() if word in names] == names
    assert sum(line.strip() == "m7" for line in lines) == 2


def test_figures_of_many_channels_show_the_best():
    table = results(models=20, alphas=(1.0,))
    table.r2_geom[:] -= 2
    table.r2_geom[[3, 17], 0, 0] += 2
    shown = [line.get_label() for line in plot_curves(table).axes[0].lines]
    assert {"m3", "m17"} <= set(shown)
    assert len([label for label in shown if label.startswith("m")]) == MOST_MODELS


def test_figures_show_the_summary():
    table = results(alphas=(1.0,))
    scores = summary(table).isel(size=-1)
    for axes, target in zip(plot_targets(table).axes, ("gap", "mu"), strict=True):
        dots = [x for line in axes.lines if line.get_marker() in "os" for x in line.get_xdata()]
        np.testing.assert_allclose(np.sort(dots), np.sort(scores["median"].sel(target=target)))
    panels = plot_curves(table).axes
    assert [p.get_title() for p in panels] == ["gap", "mu"]
    curve = summary(table)["median"].sel(target="mu").isel(channel=0)
    np.testing.assert_allclose(panels[1].lines[1].get_ydata(), curve)


def test_results_without_channels():
    table = results()
    table["n_features"] = table.n_features * 0
    with pytest.raises(InputError, match="no channel"):
        summary(table)
