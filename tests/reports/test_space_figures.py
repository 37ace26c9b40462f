"""Figures and pages of compared spaces show what the results hold, and cut no text."""

import json
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from helpers import one_line
from matplotlib.colors import to_hex
from matplotlib.text import Text
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import pdist, squareform
from test_pages import check_page

import cpdjax.accessor  # noqa: F401, which registers `.cpd`
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.reports.spaces import figures, page, tables, values
from cpdjax.reports.spaces.dendrogram import plot_dendrogram
from cpdjax.reports.spaces.depths import pairs, plot_depths
from cpdjax.reports.spaces.distances import clustered, comparable, distances
from cpdjax.reports.spaces.map import classical_scaling, plot_map
from cpdjax.reports.spaces.matrix import plot_matrix
from cpdjax.reports.spaces.pairs import last_pairs, plot_pairs
from cpdjax.reports.spaces.sheets import sheets
from cpdjax.reports.style import colours

LAYERS = ("embedding", "interaction_0", "interaction_1", "readout")
MODELS = {
    "painn-qm9-gap": LAYERS,
    "so3lr": LAYERS,
    "bond-graph": ("graph",),
    "mace-qm9-energy": LAYERS[1:3],
}
DIMS = ("projection", "channel_a", "channel_b")
PARTS = ("model", "layer", "irrep")


def comparison(models=None, irreps=("all",), projections=("ols", "none"), seed=0):
    """Results whose likenesses are squared cosines of vectors known here, by projection."""
    rng = np.random.default_rng(seed)
    channels = [(m, la, ir) for m, own in (models or MODELS).items() for la in own for ir in irreps]
    n, names = len(channels), [" / ".join(channel) for channel in channels]
    data = {}
    vectors = rng.normal(size=(len(projections), n, 4)) + 0.7
    vectors[[p == "none" for p in projections]] += 1
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    alike = (unit @ unit.swapaxes(1, 2)) ** 2
    if len(irreps) > 1:
        kinds = np.array([irrep for *_, irrep in channels])
        alike[:, kinds[:, None] != kinds] = np.nan
    for name in ("cka", "cka_debiased", "cca", "shared_neighbours"):
        data[name] = (DIMS, alike)
    data["procrustes"] = (DIMS, np.sqrt(2 - 2 * np.sqrt(np.minimum(alike, 1))))
    tilted = alike * np.linspace(0.5, 1, n)[:, None]
    data["imbalance"] = (DIMS, 1 - tilted)
    data["r2"] = ((*DIMS, "fold"), np.stack([tilted - 0.3, tilted - 0.1], -1))
    for name in OF_CHANNELS:
        data[name] = (("projection", "channel"), rng.uniform(1, 30, (len(projections), n)))
    data["n_features"] = ("channel", np.arange(n) + 16)
    coordinates = {"projection": list(projections), "fold": [0, 1]}
    for side in ("", "_a", "_b"):
        own = zip(PARTS, zip(*channels, strict=True), strict=True)
        coordinates |= {"channel" + side: names}
        coordinates |= {part + side: ("channel" + side, list(words)) for part, words in own}
    settings = {"probe": "molecule", "projection": projections[0]}
    attributes = {"molecules": 2000, "dataset": "qm9-probe", "settings": json.dumps(settings)}
    return xr.Dataset(data, coordinates, attributes)


def with_chance(table):
    """The same results with intervals, means of permuted molecules and p-values of one measure."""
    alike = table.cka_debiased
    more = {
        "low": alike - 0.05,
        "high": alike + 0.05,
        "null": 0 * alike + 0.02,
        "p_adjusted": xr.where(alike > 0.5, 0.01, 0.4),
    }
    return table.assign({f"cka_debiased_{name}": own for name, own in more.items()})


def lost(table, *layers):
    """The same results after nothing is left of some layers once composition is removed."""
    table = table.copy(deep=True)
    names = [str(c) for c in table.channel.values if c.split(" / ")[1] in layers]
    for name in (*OF_PAIRS, *OF_CHANNELS):
        for dim in {"channel", "channel_a", "channel_b"} & set(table[name].dims):
            table[name].loc[{dim: names, "projection": "ols"}] = np.nan
    return table


def order_of(figure):
    """The numbers of channels in the order of a matrix, by the labels of its rows."""
    labels = [label.get_text().split("   ") for label in figure.axes[0].get_yticklabels()]
    found, model = [], ""
    for *name, layer in labels:
        model = name[0].removeprefix("◇ ") if name else model
        found.append(f"{model} / {layer} / all")
    return found


def cells(panel):
    return np.ma.filled(panel.images[0].get_array(), np.nan)


# What is read


def test_distances_are_one_less_likeness_and_means_of_both_directions():
    table = comparison()
    alike = table.cka.sel(projection="ols").to_numpy()
    far = distances(table, "cka", "ols")
    np.testing.assert_allclose(far, 1 - alike, atol=1e-12)
    both = distances(table, "r2", "none")
    r2 = table.r2.sel(projection="none").mean("fold").to_numpy().clip(0)
    a, b = 2, 7
    assert both[a, b] == both[b, a] == pytest.approx(1 - (r2[a, b] + r2[b, a]) / 2)
    given = table.procrustes.sel(projection="ols").to_numpy()
    off = ~np.eye(len(given), dtype=bool)
    np.testing.assert_allclose(distances(table, "procrustes", "ols")[off], given[off])


def test_paths_take_all_scalars_and_layers_of_one_irrep():
    models = {"a": ("x", "y", "z")}
    table = comparison(models, irreps=("0e", "1o", "all"))
    only = [i for i, c in enumerate(values.channels(table)) if c[1] != "x" or c[2] == "0e"]
    table = table.isel(channel=only, channel_a=only, channel_b=only)
    found = {
        key: [values.channels(table)[i][1:] for i in p] for key, p in values.paths(table).items()
    }
    assert found["a", "all"] == [("x", "0e"), ("y", "all"), ("z", "all")]
    assert found["a", "1o"] == [("y", "1o"), ("z", "1o")]
    assert list(values.main_paths(table)) == [("a", "all")]
    assert [values.channels(table)[i] for i in values.last_channels(table)] == [("a", "z", "all")]
    assert values.layer_names(table) == ["x", "y 0e", "y 1o", "y all", "z 0e", "z 1o", "z all"]


def test_groups_are_irreps_and_what_nothing_is_left_of_is_alone():
    table = comparison(irreps=("1o", "2e"))
    groups = comparable(distances(table, "cka", "none"))
    own = values.channels(table)
    assert [{own[i][2] for i in group} for group in groups] == [{"1o"}, {"2e"}]
    far = distances(lost(comparison(), "embedding"), "cka", "ols")
    assert [len(group) for group in comparable(far)] == [9, 1, 1]


# The matrix


def test_the_matrix_is_raw_above_and_without_composition_below_its_diagonal():
    table = comparison()
    figure = plot_matrix(table)
    [panel, _] = figure.axes  # and the scale
    order, shown = order_of(figure), cells(panel)
    assert sorted(order) == sorted(table.channel.values)
    raw, less = (
        table.cka_debiased.sel(projection=p, channel_a=order, channel_b=order).to_numpy()
        for p in ("none", "ols")
    )
    above = np.triu_indices(len(order), 1)
    np.testing.assert_array_equal(shown[above], raw[above])
    np.testing.assert_array_equal(shown.T[above], less.T[above])
    assert np.isnan(np.diag(shown)).all()
    assert [t.get_text() for t in panel.texts if "0" not in t.get_text()] == ["raw"]
    assert panel.get_xlabel() == "composition removed"


def test_families_stand_together_in_the_matrix():
    table = comparison({f"m{i}": ("x", "y") for i in range(6)})
    family = np.random.default_rng(0).permutation(np.arange(12) % 3)
    same = family[:, None] == family
    table.cka_debiased[:] = np.where(same, 0.9, 0.1)
    found = family[clustered(distances(table, "cka_debiased", "ols"))]
    assert np.count_nonzero(np.diff(found)) == 2


def test_one_projection_fills_the_matrix_and_directions_have_two_panels():
    table = comparison(projections=("none",))
    figure = plot_matrix(table, "cka")
    shown = cells(figure.axes[0])
    off = ~np.eye(len(shown), dtype=bool)
    np.testing.assert_allclose(shown[off], shown.T[off])
    assert figure.axes[0].get_xlabel() == "raw"
    figure = plot_matrix(comparison(), "r2")
    raw, less, _ = figure.axes
    assert (raw.get_xlabel(), less.get_xlabel()) == ("raw", "composition removed")
    order, off = order_of(figure), ~np.eye(11, dtype=bool)
    own = comparison().r2.sel(projection="none").mean("fold")
    expected = own.sel(channel_a=order, channel_b=order).to_numpy()
    np.testing.assert_allclose(cells(raw)[off], expected[off])


def test_cells_that_do_not_exist_are_hatched_and_said():
    table = comparison(irreps=("1o", "2e"), projections=("none",))
    figure = plot_matrix(table)
    shown = cells(figure.axes[0])
    assert np.isnan(shown[:11, 11:]).all()
    assert np.isfinite(shown[:11, :11]).sum() == 110
    assert figure.axes[0].patch.get_hatch()
    assert "hatched: no comparison" in caption(figure)
    assert "hatched" not in caption(plot_matrix(comparison()))
    # What nothing is left of comes last, and is there above the diagonal.
    figure = plot_matrix(lost(comparison(), "embedding"))
    shown = cells(figure.axes[0])
    assert all("embedding" in name for name in order_of(figure)[-2:])
    assert np.isnan(shown[-2:]).sum() == 2 * 11 - 1
    assert "hatched" in caption(figure)


def caption(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_controls_and_chance_are_marked():
    figure = plot_matrix(with_chance(comparison()))
    [control] = [x for x in figure.axes[0].get_yticklabels() if "bond-graph" in x.get_text()]
    assert control.get_text().startswith("◇")
    assert to_hex(control.get_color()) == colours(list(MODELS))["bond-graph"].lower()
    assert "◇ control" in caption(figure)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
    assert len(dots) == np.count_nonzero(cells(figure.axes[0]) <= 0.5)
    assert "control" not in caption(plot_matrix(comparison({"a": LAYERS})))


@pytest.mark.slow
def test_few_permutations_make_no_dots_and_are_told():
    table = with_chance(comparison())
    for count, words in ((18, "no p can reach 0.05 here: it takes 19 permutations"), (19, "")):
        table.attrs["settings"] = json.dumps({"probe": "molecule", "permutations": count})
        figure = plot_matrix(table)
        dots = [line for line in figure.axes[0].lines if line.get_marker() == "."]
        assert bool(dots) != bool(words)
        assert ("no p can reach" in caption(figure)) == bool(words)
        notes = [note for sheet in sheets(table) for note in sheet.notes]
        [chance] = [s for s in page.sections(table, []) if s.title == "Against chance"]
        assert any("No p can reach" in note for note in notes) == bool(words)
        assert words in chance.text


# Trees


def test_trees_join_where_their_linkage_does():
    table = comparison()
    figure = plot_dendrogram(table, "cka")
    for panel, projection in zip(figure.axes, ("none", "ols"), strict=True):
        far = 1 - table.cka.sel(projection=projection).to_numpy()
        heights = linkage(squareform(far, checks=False), "average")[:, 2]
        links = panel.collections[0].get_segments()
        np.testing.assert_allclose(sorted(link[1][0] for link in links), heights, atol=1e-12)
        names = [label.get_text() for label in panel.get_yticklabels()]
        assert len(set(names)) == 11
        nearest = np.unravel_index(np.argmin(far + 9 * np.eye(11)), far.shape)
        own = [f"{values.named(m)} {la}" for m, la, _ in values.channels(table)]
        assert abs(names.index(own[nearest[0]]) - names.index(own[nearest[1]])) == 1
    assert cophenet(linkage(squareform(far, checks=False), "average")).max() <= far.max()


def test_what_nothing_is_left_of_is_a_dot_beside_the_tree():
    figure = plot_dendrogram(lost(comparison(), "embedding"))
    raw, less = figure.axes
    assert not raw.lines
    names = [label.get_text() for label in less.get_yticklabels()]
    assert [names[int(line.get_ydata()[0])] for line in less.lines] == [
        "painn-qm9-gap embedding", "so3lr embedding",
    ]  # fmt: skip
    assert "dots" in caption(figure)


def test_pairs_that_cannot_be_compared_are_told_inside_a_family():
    table = comparison()
    for plot in (plot_dendrogram, plot_map):
        assert "count as the farthest" not in caption(plot(table))
    a, b = (str(c) for c in table.channel.values[[0, 5]])
    for ends in ((a, b), (b, a)):
        table.cka_debiased.loc[dict(zip(("channel_a", "channel_b"), ends, strict=True))] = np.nan
    for plot in (plot_dendrogram, plot_map):
        assert "cannot be compared count as the farthest" in caption(plot(table))


# Depths


def test_depths_go_from_the_first_layers_to_the_last():
    table = comparison()
    figure = plot_depths(table, "mace-qm9-energy", "so3lr", "r2")
    own = table.r2.mean("fold")
    rows = [f"mace-qm9-energy / {layer} / all" for layer in LAYERS[1:3]]
    columns = [f"so3lr / {layer} / all" for layer in LAYERS]
    for panel, projection in zip(figure.axes, ("none", "ols"), strict=False):
        expected = own.sel(projection=projection, channel_a=rows, channel_b=columns)
        np.testing.assert_allclose(cells(panel), expected.transpose("channel_a", "channel_b"))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(LAYERS[1:3])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(LAYERS)


def test_pairs_of_models_that_stay_most_alike_come_first():
    table = comparison({"a": ("x", "y"), "b": ("x", "y"), "c": ("x", "y"), "d": ("x",)})
    table.cka[:] = 0.1
    table.cka.loc[{"channel_a": "a / y / all", "channel_b": "c / x / all"}] = 0.9
    table.cka.loc[{"channel_a": "c / x / all", "channel_b": "a / y / all"}] = 0.9
    assert pairs(table, "cka", 2) == [("a", "c"), ("a", "b")]
    assert len(pairs(table, "cka", 9)) == 3
    runs = comparison({"painn-qm9-gap": LAYERS, "painn-qm9-gap-run1": LAYERS})
    assert pairs(runs, "cka", 3) == []


# The map


def test_classical_scaling_finds_points_of_a_plane_and_says_what_it_cannot_show():
    points = np.random.default_rng(0).normal(size=(7, 2))
    plane = classical_scaling(squareform(pdist(points)))
    np.testing.assert_allclose(pdist(plane.points), pdist(points), atol=1e-12)
    assert (plane.share, plane.negative) == pytest.approx((1, 0), abs=1e-9)
    # Corners of a regular simplex have as many equal eigenvalues as dimensions.
    assert classical_scaling(1 - np.eye(6)).share == pytest.approx(2 / 5)
    # Three points at distance 2 from each other, and 1 from a fourth: no Euclidean space has them.
    star = np.where(np.eye(4, dtype=bool), 0.0, 2.0)
    star[3, :3] = star[:3, 3] = 1
    assert classical_scaling(star).negative > 0.05
    assert classical_scaling(np.zeros((1, 1))).points.tolist() == [[0.0, 0.0]]


def test_the_map_has_a_point_for_every_channel_and_a_line_for_every_model():
    figure = plot_map(lost(comparison(), "embedding"))
    for panel, count in zip(figure.axes, (11, 9), strict=True):
        dots = [line for line in panel.lines if line.get_marker() != "None"]
        assert len(dots) == count
    raw, less = figure.axes
    assert raw.get_xlim() == less.get_xlim()
    assert "% of squared distance" in raw.get_xlabel()
    assert less.get_title(loc="right") == "nothing left of 2 channels"
    hollow = [line for line in raw.lines if line.get_markerfacecolor() == "white"]
    assert [line.get_label() for line in hollow if line.get_label()[0] != "_"] == ["◇ bond-graph"]
    figure = plot_map(comparison(irreps=("1o", "2e")))
    assert [panel.get_title() for panel in figure.axes] == [
        "raw, 1o", "composition removed, 1o", "raw, 2e", "composition removed, 2e",
    ]  # fmt: skip


# Last layers


def test_last_layers_are_compared_those_that_stay_alike_first():
    table = with_chance(comparison())
    found = last_pairs(table, "cka_debiased")
    own = values.channels(table)
    assert {own[i][1] for pair in found for i in pair} == {"interaction_1", "graph"}
    assert len(found) == 6
    assert len(last_pairs(table, "r2")) == 12
    likeness = table.cka_debiased.sel(projection="ols").to_numpy()
    figure = plot_pairs(table)
    [panel] = figure.axes
    dots = {line.get_label(): line for line in panel.lines if line.get_label()[0] != "_"}
    shown = dots["composition removed"].get_xdata()
    np.testing.assert_allclose(shown, np.sort([likeness[pair] for pair in found])[::-1])
    np.testing.assert_allclose(dots["permuted, composition removed"].get_xdata(), 0.02)
    whiskers = np.concatenate([lines.get_segments() for lines in panel.collections])
    np.testing.assert_allclose(np.ptp(whiskers[..., 0], axis=1).max(), 0.1)
    assert "95 % intervals" in caption(figure)
    bare = plot_pairs(comparison())
    assert "intervals" not in caption(bare)
    assert not [x for x in bare.axes[0].lines if x.get_label().startswith("permuted")]


# Bad input


PLOTS = {
    "matrix": plot_matrix,
    "pairs": plot_pairs,
    "dendrogram": plot_dendrogram,
    "map": plot_map,
    "depths": lambda table, measure: plot_depths(table, "so3lr", "so3lr", measure),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_measure_that_is_not_there_is_one_clear_line(plot):
    table = comparison().drop_vars(["cka_debiased", "r2"])
    with pytest.raises(InputError) as caught:
        plot(table, "cka_debiased")
    one_line(caught, "no cka_debiased", "measures=['cka_debiased']", "cka, cca, procrustes")
    with pytest.raises(UnknownNameError) as caught:
        plot(table, "ckaa")
    one_line(caught, "'ckaa'", "did you mean cka")
    with pytest.raises(InputError) as caught:
        plot(xr.Dataset({"cka": ("x", [1.0])}), "cka")
    one_line(caught, "compares no spaces", "cpdjax.spaces")


def test_too_few_channels_and_unknown_names_are_one_clear_line():
    table = comparison({"a": ("x",), "b": ("x",)})
    for call, words in (
        (lambda: plot_map(table), ["3 channels", "add models"]),
        (lambda: plot_depths(table, "a", "c"), ["'c'", "a, b"]),
        (lambda: plot_depths(table, "a", "b", irrep="1o"), ["irrep of a", "'1o'", "all"]),
        (lambda: plot_pairs(comparison({"a": ("x", "y")})), ["two models"]),
        (lambda: plot_dendrogram(comparison({"a": ("x",)})), ["two channels"]),
    ):
        with pytest.raises(InputError) as caught:
            call()
        one_line(caught, *words)


def test_the_accessor_draws_the_matrix_by_default():
    table = comparison({"a": ("x", "y"), "b": ("x",)}).drop_vars("cka_debiased")
    assert "How alike: CKA" in caption(table.cpd.plot())
    assert "Families by CCA" in caption(table.cpd.plot("dendrogram", measure="cca"))
    for options, word in (
        ({"target": "gap"}, "no targets"),
        ({"kind": "headline"}, "dendrogram, map, matrix, pairs"),
        ({"measure": "x"}, "unknown measure"),
    ):
        with pytest.raises(InputError) as caught:
            table.cpd.plot(**options)
        one_line(caught, word)


# Files and text


LONG = {
    "my_model-" * 12: ("a_very_long_layer_name_of_a_block" * 3, "x"),
    "ψ-net α₁ é $x$": ("couche_é", "Ω"),
    "_y": ("interaction_0", "2"),
    "bond-graph": ("graph",),
}
CASES = {
    "two": lambda: comparison({"painn-qm9-gap": ("x",), "so3lr": ("y",)}),
    "twelve": lambda: lost(with_chance(comparison()), "embedding"),
    "long names": lambda: comparison(LONG),
    "vectors": lambda: comparison(
        dict.fromkeys("ab", LAYERS[1:3]), irreps=("1o", "2e"), projections=("none",)
    ),
    "sixty": lambda: with_chance(comparison({f"model-{i}": LAYERS for i in range(15)})),
}


def drawn(table):
    """All figures of a comparison, by name."""
    own = values.models(table)
    found = {
        "matrix": plot_matrix(table),
        "r2": plot_matrix(table, "r2"),
        "pairs": plot_pairs(table),
        "dendrogram": plot_dendrogram(table),
        "depths": plot_depths(table, own[0], own[1]),
    }
    return found | ({"map": plot_map(table)} if table.sizes["channel"] > 2 else {})


def boxes(figure):
    """Every text that is seen, with its box: labels of ticks, headings, captions, numbers."""
    axes = [(own.xaxis, own.yaxis) for own in figure.axes]
    every = [axis for both in axes for axis in both]
    ticks = {
        t for axis in every for tick in axis.get_major_ticks() for t in (tick.label1, tick.label2)
    }
    seen = [t for t in figure.findobj(Text) if t not in ticks]
    for axis in every:
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            seen += [t for t in (tick.label1, tick.label2) if low <= tick.get_loc() <= high]
    return [(t.get_text(), t.get_window_extent()) for t in seen if t.get_text() and t.get_visible()]


SLOW = ("twelve", "sixty")


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow if c in SLOW else ()) for c in CASES]
)
def test_no_text_is_cut_and_none_lies_on_another(case):
    for name, figure in drawn(CASES[case]()).items():
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        found = boxes(figure)
        for text, box in found:
            beyond = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
            assert beyond <= 1, (name, text)
        for (text, box), (other, its) in combinations(found, 2):
            across = min(box.x1, its.x1) - max(box.x0, its.x0)
            along = min(box.y1, its.y1) - max(box.y0, its.y0)
            assert min(across, along) <= 2.5, (name, text, other)


def test_figures_and_page_are_written(tmp_path):
    few = {"painn-qm9-gap": LAYERS[:3], "so3lr": LAYERS[1:3], "bond-graph": ("graph",)}
    table = lost(with_chance(comparison(few)), "embedding")
    paths = figures.save_figures(table, tmp_path)
    assert [path.name for path in paths] == [
        *("pairs.png", "matrix.png", "r2.png", "dendrogram.png", "map.png", "depths_1.png"),
    ]
    made = page.save(table, paths, tmp_path, "cpdjax spaces --models a,b")
    parsed = check_page(made.read_text(encoding="utf-8"))
    headings = [text for _, text in parsed.headings]
    assert headings[0] == "How alike 3 models are beyond composition"
    assert "Against chance" in headings
    assert len(parsed.of("img")) == len(paths)
    assert "cpdjax spaces --models a,b" in parsed.facts
    names = [" / ".join(channel) for channel in values.channels(table)]
    rows = [row for row in parsed.rows if row[0] in names]
    assert len(rows) == 2 * 15
    first = rows[0]
    alike = table.cka_debiased.sel(projection="ols", channel_a=first[0], channel_b=first[1])
    off = table.cka_debiased.sel(projection="ols").to_numpy()[~np.eye(6, dtype=bool)]
    assert float(alike) == np.nanmax(off)
    assert f"{float(alike):.2f} (" in "".join(first)


@pytest.mark.parametrize(
    ("projection", "words"),
    [("none", ""), ("ols", "composition"), ("formula", "means of formulas")],
)
def test_a_page_speaks_of_what_was_removed_and_of_nothing_else(projection, words):
    sides = tuple(dict.fromkeys((projection, "none")))
    table = comparison({"a": ("x", "y"), "b": ("x",)}, projections=sides)
    found = page.sections(table, ["pairs.png", "matrix.png", "map.png"])
    told = [section.text + section.alt for section in found]
    assert any("removed" in text for text in told) == bool(words)
    assert any("composition" in text for text in told) == (words == "composition")
    assert not words or f"what {words} can tell of both" in told[1]


def test_tables_have_both_directions_and_say_what_does_not_exist():
    table = lost(comparison(), "embedding")
    made = tables.of_pairs(table, [(0, 5)])
    row = dict(zip(made.heads, made.rows[0], strict=True))
    r2 = table.r2.sel(projection="none").mean("fold").to_numpy()
    assert row["R² a → b, raw"] == f"{r2[0, 5]:.2f}"
    assert row["R² b → a, raw"] == f"{r2[5, 0]:.2f}"
    assert row["R² a → b, composition removed"] == "–"
    assert tables.of_chance(table, [(0, 5)]) is None
    own = tables.of_channels(table)
    assert own.rows[0][:4] == ["painn-qm9-gap", "embedding", "all", "16"]
    assert own.rows[0][own.heads.index("TwoNN, composition removed")] == "–"


@pytest.mark.slow
def test_few_channels_have_the_figures_that_say_something(monkeypatch):
    monkeypatch.setattr(figures, "write", lambda made, _: list(made))
    every = ["pairs.png", "matrix.png", "r2.png", "dendrogram.png"]
    assert figures.save_figures(comparison({"a": ("x",), "b": ("y",)}), "") == every
    assert figures.save_figures(comparison({"a": ("x", "y", "z")}), "") == [*every[1:], "map.png"]
