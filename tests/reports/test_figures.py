"""Figures show what the table says, say what leaves their axes, and cut no text."""

import json
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from helpers import results_table
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy import stats

import cpdjax
from cpdjax.checks.suite import Checks
from cpdjax.models.training.loss_figure import plot as plot_loss
from cpdjax.reports import check_figures
from cpdjax.reports.findings import figures as finding_figures
from cpdjax.reports.score_figures import plot_curves, plot_headline, plot_targets, save_figures
from cpdjax.reports.significance import runs_table
from cpdjax.reports.significance_figures import plot_differences, plot_null
from cpdjax.reports.style import FLOOR, PALETTE, colours
from cpdjax.reports.text import score_text
from cpdjax.studies.measured import Measured

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


def measured(table):
    """What a study would have measured whose settings all gave one table."""
    return Measured({"main": table, "draw 1": table, "curve": table})


def figures_of(table):
    """All figures of a sweep and of the findings, by name."""
    differences = cpdjax.differences(table, reference=str(table.model[0].item()))
    return {
        "headline": plot_headline(table),
        "layers": plot_targets(table),
        "curves": plot_curves(table),
        "null": plot_null(table),
        "differences": plot_differences(differences, table),
        **finding_figures.plot_all(measured(table)),
    }


def numbers_at_borders(axes):
    return [note.get_text() for note in axes.texts if (note.get_gid() or "").startswith("leaves")]


def arrows(axes, shape):
    return [line for line in axes.lines if line.get_marker() == shape]


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


# The headline


RUNS = {
    "so3lr": (0.1, 0.3, 0.4, 0.35),
    **{f"painn-qm9-gap{run}": (0.1, 0.3, score) for run, score in (("", 0.5), ("-run1", 0.6))},
    "painn-qm9-gap-run2": (0.1, 0.3, 0.55),
}


def test_training_runs_are_one_row_with_a_dot_each():
    panel = plot_headline(table_of(RUNS)).axes[0]
    assert labels(panel) == ["painn-qm9-gap", "so3lr"]
    dots = [line.get_xdata() for line in panel.lines if line.get_marker() == "."]
    np.testing.assert_allclose(np.sort(dots[0]), [0.5, 0.55, 0.6], atol=0.01)
    assert len(dots) == 1


def test_the_table_of_runs_has_both_intervals():
    table = table_of(RUNS)
    sheet = runs_table(table)
    row = sheet.as_json()["rows"][0]
    assert (row["model"], len(row["runs"]), row["target"]) == ("painn-qm9-gap", 3, "gap")
    assert (row["r2_geom"], row["sd_of_runs"]) == pytest.approx((0.55, 0.05), abs=0.01)
    assert row["low"] < row["low_without_runs"] < row["high_without_runs"] < row["high"]
    assert runs_table(table_of()) is None
    alone = table_of({"painn-qm9-gap-run2": (0.1, 0.3, 0.5), "so3lr": (0.1, 0.3, 0.4)})
    assert labels(plot_headline(alone).axes[0]) == ["painn-qm9-gap-run2", "so3lr"]


@pytest.mark.parametrize("plot", [plot_headline, plot_targets])
def test_the_grey_is_what_the_projection_takes_from_the_features(plot):
    table = table_of(targets=("gap",)).assign_attrs(settings='{"projection": "bonds"}')
    table["r2_concepts"] = table.r2_comp + 0.25
    figure = plot(table)
    assert figure.axes[0].patches[0].get_extents().x0 == pytest.approx(
        figure.axes[0].transData.transform((0.35, 0))[0]
    )
    assert figure.axes[0].get_title(loc="right") == "R²_concepts 0.65"
    text = " ".join(note.get_text().replace("\n", " ") for note in figure.texts)
    assert "grey: what composition, bonds and rings explain" in text


def test_legends_lie_on_no_score_and_on_no_text():
    for models in (GAPS, {model: GAPS[model] for model in ("painn-qm9-gap", "so3lr")}):
        table = table_of(models, targets=("gap",))
        for figure in (plot_headline(table), plot_curves(table)):
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            for legend in figure.legends:
                box = legend.get_window_extent(canvas.get_renderer())
                others = [*figure.texts, *figure.axes]
                assert not any(box.overlaps(other.get_window_extent()) for other in others)
    test_set = table_of({"so3lr": (0.4,), "painn-qm9-gap": (0.5,)}, targets=("gap",))
    test_set = test_set.assign_attrs(settings='{"test": 100}', molecules=2100)
    alone = plot_headline(test_set.isel(fold=[0]))  # where N = M there is no interval
    assert alone.legends
    assert alone.axes[0].get_legend() is None


def test_captions_say_what_else_was_chosen():
    chosen = {"components": 24, "test": 100, "projection": "groups"}
    table = table_of().assign_attrs(settings=json.dumps(chosen), molecules=4000)
    figure = plot_headline(table)
    title, text = (" ".join(note.get_text().split()) for note in figure.texts)
    assert title == "Geometry beyond the graph"
    assert "24 components" in text
    assert "for the same test molecules" in text


def test_the_headline_has_a_row_for_each_model_with_its_interval():
    table = table_of()
    panels = plot_headline(table).axes
    best_first = ["painn-qm9-gap", "so3lr", "painn-qm9-energy"]
    assert labels(panels[0]) == best_first
    for axes, target in zip(panels, ("gap", "mu"), strict=True):
        dots = {y: x for line in arrows(axes, "o") for x, y in line.get_xydata()}
        ends = {s[0, 1]: s[:, 0] for s in axes.collections[0].get_segments()}
        for row, model in enumerate(best_first):
            own = table.sel(model=model, layer="interaction_1", target=target, size=2000)
            scores = own.r2_geom.to_numpy().ravel()
            error = scores.std(ddof=1) * np.sqrt(1 / 15 + 1 / 4)  # 3 repeats of 5 folds
            expected = stats.t.interval(0.95, 14, scores.mean(), error)
            assert dots[row] == pytest.approx(scores.mean(), abs=1e-12)
            np.testing.assert_allclose(ends[row], expected, atol=1e-12)


def test_the_headline_tells_what_models_were_trained_on_and_marks_composition():
    gap, mu = plot_headline(table_of()).axes
    hues = {label.get_text(): label.get_color() for label in gap.get_yticklabels()}
    assert len(set(hues.values())) == 3
    legend = gap.get_legend() or mu.get_legend()
    said = dict(zip([t.get_text() for t in legend.texts], legend.legend_handles, strict=True))
    assert said["QM9, gap"].get_color() == hues["painn-qm9-gap"]
    assert said["QM9, energy"].get_color() == hues["painn-qm9-energy"]
    assert said["not on QM9"].get_color() == hues["so3lr"]
    own = table_of().assign_attrs(trained_on='{"so3lr": "mu", "mine": "gap"}')
    own = own.assign_coords(model=["mine" if m == "painn-qm9-gap" else m for m in own.model.values])
    gap_of_own, mu_of_own = plot_headline(own).axes
    legend = gap_of_own.get_legend() or mu_of_own.get_legend()
    words = {text.get_text() for text in legend.texts}
    assert words >= {"your model, gap", "not on QM9"}
    assert not words & {"your features", "QM9, gap"}
    for axes, share in ((gap, 0.4), (mu, 0.2)):
        assert axes.get_title(loc="right") == f"R²_comp {share:.2f}"
        [shade] = axes.patches
        assert shade.get_x() == pytest.approx(1 - share)
        assert shade.get_x() + shade.get_width() == pytest.approx(1)


def test_targets_that_composition_explains_give_way():
    many = ["u0_atom", *"bcdefg", "gap"]
    titles = [axes.get_title() for axes in plot_headline(table_of(targets=many)).axes]
    assert titles == [*"bcdefg"]
    alone = plot_headline(table_of(targets=["u0_atom", "gap"]))
    assert [axes.get_title() for axes in alone.axes] == ["gap", "u0_atom"]
    with_units = table_of().assign_coords(unit=("target", ["eV", "debye"]))
    assert [axes.get_title() for axes in plot_headline(with_units).axes] == ["gap", "μ"]


def test_an_undefined_score_is_the_last_row():
    table = table_of()
    table.r2_geom.loc[{"model": "painn-qm9-gap", "target": "gap"}] = np.nan
    assert labels(plot_headline(table).axes[0])[-1] == "painn-qm9-gap"


# What leaves the axes


@pytest.mark.parametrize("value", [-30.0, -1e49])
def test_a_failed_probe_has_an_arrow_and_its_number(value):
    table = failing(value=value)
    number = score_text(value)
    made = figures_of(table)
    counts = {"headline": 1, "layers": 4, "differences": 1, "gradient.png": 1}
    for name, count in counts.items():
        axes = made[name].axes[0]
        assert numbers_at_borders(axes) == [number] * count, name
        assert len(arrows(axes, "<")) == count, name
        assert {line.get_xdata()[0] for line in arrows(axes, "<")} == {min(axes.get_xlim())}
    curves = {"curves": 3, "efficiency.png": 3, "depth.png": 4}
    for name, count in curves.items():
        axes = next(panel for panel in made[name].axes if arrows(panel, "v"))
        assert numbers_at_borders(axes) == [number] * count, name
        assert {line.get_ydata()[0] for line in arrows(axes, "v")} >= {FLOOR}, name


def test_a_whisker_that_leaves_is_marked_and_what_stays_is_not():
    table = table_of()
    assert not [n for f in figures_of(permuted(table)).values() for a in f.axes
                for n in numbers_at_borders(a)]  # fmt: skip
    table.r2_geom.loc[{"model": "so3lr", "layer": "interaction_1", "fold": slice(0, 2)}] = -5.0
    axes = plot_targets(table).axes[0]
    assert numbers_at_borders(axes) == ["-5.00"]


def test_bars_of_checks_that_leave_are_marked():
    scores = np.full((2, 3, 2), 0.1)
    scores[0, :, 1] = -0.7
    channel = SimpleNamespace(
        compositional=SimpleNamespace(
            targets=("heavy atoms", "mixing entropy"), r2_geom=scores, r2_full=scores + 0.5
        )
    )
    checks = Checks("qm9", 60, None, {"mine / last": channel}, {})
    [axes] = check_figures.plot_compositional(checks).axes
    assert numbers_at_borders(axes) == ["-0.70"]
    assert [line.get_xdata()[0] for line in arrows(axes, "<")] == [FLOOR]


def test_a_long_tail_of_chance_is_cut_and_marked():
    table = permuted(table_of())
    table.null_r2_geom[0, 3, 0, 0] = -1e6
    axes = [axes for axes in plot_null(table).axes if numbers_at_borders(axes)]
    assert [numbers_at_borders(a) for a in axes] == [["-1e+06"]] * 2  # gap and mu
    assert sum(patch.get_height() for patch in axes[0].patches) == PERMUTATIONS


# Uncertainty


def test_the_figure_of_chance_has_the_best_channels_first_and_adjusted_p():
    table = permuted(table_of())
    figure = plot_null(table)
    rows = [axes.get_ylabel().split("\n") for axes in figure.axes[::2]]
    assert rows[:2] == [["painn-qm9-gap", "readout, 0e"], ["painn-qm9-gap", "interaction_1, 0e"]]
    assert all(axes.get_title().endswith("adjusted p 0.1") for axes in figure.axes)
    caption = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "19 permutations, adjusted by max-T for 24 scores, 0.05 the smallest possible" in caption
    holm = plot_null(table.assign_attrs(settings=json.dumps({"adjust": "holm"})))
    assert "1 the smallest possible" in " ".join(text.get_text() for text in holm.texts)


def test_differences_name_the_layers_that_are_compared():
    table = table_of()
    one = plot_differences(cpdjax.differences(table, reference="so3lr"), table)
    assert labels(one.axes[0]) == [f"{m}, interaction_1" for m in GAPS if m != "so3lr"]
    assert any("minus so3lr, interaction_1" in text.get_text() for text in one.texts)
    pairs = plot_differences(cpdjax.differences(table, "gap"))
    first, second, _ = (f"{model}, interaction_1" for model in GAPS)
    assert labels(pairs.axes[0])[:2] == [f"{first} −", second]
    assert len(labels(pairs.axes[0])) == 5  # three pairs below two headings


# Layers, sizes, single points


def test_layers_are_rows_below_their_model_in_its_hue():
    table = table_of()
    axes = plot_targets(table).axes[0]
    assert labels(axes) == [name for model in GAPS for name in (model, *LAYERS)]
    hues = colours(list(GAPS))
    for i, (model, hue) in enumerate(hues.items()):
        own = axes.get_yticklabels()[5 * i : 5 * i + 5]
        assert {label.get_color() for label in own} == {hue}
        [line] = [line for line in axes.lines if line.get_color() == hue]
        medians = table.r2_geom.sel(model=model, size=2000, target="gap").median(("repeat", "fold"))
        np.testing.assert_array_equal(line.get_ydata(), 5 * i + 1 + np.arange(4))
        np.testing.assert_allclose(line.get_xdata(), medians.to_numpy().ravel())
    curves = plot_curves(table).axes[0]
    assert {line.get_label(): line.get_color() for line in curves.lines[1:]} == hues


def test_ticks_are_the_sizes_and_layers_have_their_names():
    table = table_of()
    for axes in (
        *plot_curves(table).axes,
        *finding_figures.plot_efficiency(measured(table), "curve").axes,
    ):
        assert axes.get_xticks().tolist() == list(SIZES)
        assert [t.get_text() for t in axes.get_xticklabels()] == ["100", "250", "2,000"]
        assert not axes.get_xticks(minor=True).size
    for axes in finding_figures.plot_depth(measured(table)).axes[3:]:
        assert [t.get_text() for t in axes.get_xticklabels()] == list(LAYERS)


def test_no_figure_is_of_a_single_point(tmp_path):
    one_size = table_of(sizes=(2000,))
    names = [path.name for path in save_figures(one_size, tmp_path)]
    assert names == ["headline.png", "r2_geom.png"]
    single = table_of({"mine": (0.4,)}, targets=("gap",), sizes=(2000,))
    assert save_figures(single, tmp_path) == []
    two_targets = table_of({"mine": (0.4,)}, sizes=(2000,))
    assert [path.name for path in save_figures(two_targets, tmp_path)] == ["r2_geom.png"]
    [axes] = plot_targets(two_targets).axes  # and no panel, either
    assert labels(axes) == ["gap", "mu"]
    last = one_size.sel(layer=["interaction_1"])
    assert list(finding_figures.plot_all(measured(last))) == ["gradient.png"]
    assert list(finding_figures.plot_all(measured(table_of()))) == [
        "gradient.png", "efficiency.png", "depth.png",
    ]  # fmt: skip


# Style


def test_settings_of_matplotlib_stay_as_they_were(tmp_path):
    before = dict(matplotlib.rcParams)
    figures_of(permuted(table_of()))
    rows = [{"molecules": n, "train_loss": 1 / n, "validation_mae": 2 / n} for n in (1, 2, 900)]
    plot_loss(rows, "eV", tmp_path / "loss.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("case", ["failing", "long names"])
def test_no_text_is_cut(case):
    long = {"painn-qm9-gap": "my_model-" * 12, "so3lr": "y" * 80}
    table = failing() if case == "failing" else permuted(table_of())
    if case == "long names":
        table = permuted(table_of(targets=("gap", "t" * 100), **long))
    for name, figure in figures_of(table).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = figure.bbox.size
        ticks = [t for a in figure.axes for t in (*a.get_xticklabels(), *a.get_yticklabels())]
        for text in set(figure.findobj(Text)) - set(ticks):
            if text.get_visible() and text.get_text():
                box = text.get_window_extent()
                beyond = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
                assert beyond <= 1, (name, text.get_text())
        pixels = np.asarray(canvas.buffer_rgba())
        edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
        assert (np.concatenate(edges) == 255).all(), name  # and no label of a tick


def test_hues_are_told_apart_with_red_green_blindness():
    # G. M. Machado et al., IEEE Trans. Vis. Comput. Graph. 15, 1291 (2009), severity 1.
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]  # fmt: skip
    srgb = np.array([to_rgb(hue) for hue in PALETTE])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    for sight in (np.eye(3), protan, deutan):
        lab = _lab(np.clip(linear @ np.transpose(sight), 0, 1))
        apart = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(len(lab), 1)]
        assert apart.min() > 10


def _lab(linear):
    """CIELAB of linear sRGB, D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
