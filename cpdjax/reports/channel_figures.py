"""Figures of channels: R²_geom of every layer and irrep, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.reports.figures import (
    label_rows,
    label_width,
    legend,
    make_room,
    panel_title,
    panels,
    plot_intervals,
    room_for_legend,
    shared_legend,
    ticks_at_sizes,
)  # fmt: skip
from cpdjax.reports.scores import summary, targets_of
from cpdjax.reports.style import (
    FLOOR,
    GREY,
    INK,
    LABEL,
    ROW,
    SHADE,
    colours,
    mark_leaving,
    markers,
    shades,
    styled,
)  # fmt: skip
from cpdjax.reports.symbols import symbol_text
from cpdjax.reports.text import for_figure, left_out_text, penalty_text, score_text
from cpdjax.sweeps.table import (
    beyond,
    explained,
    last_interaction,
    layers_of,
    models_of,
    present,
    setting,
)  # fmt: skip
from cpdjax.sweeps.targets import EXPLAINED

#: What a figure holds at most: channels, panels in a row, inches of height; curves in a panel, and
#: models where each has one.
MOST_CHANNELS, ACROSS, MOST_INCHES, MOST_CURVES, MOST_MODELS = 120, 6, 16.0, 8, 12
MOST_TARGETS = 12
MOST_BANDS = 4

#: The rule of figures in which a model is one channel, as captions say it.
LAST_LAYER = "last interaction layer of each model, a descriptor's last, all irreps"
_DOTS = "median and quartiles over folds and repeats"


class _Row(NamedTuple):
    """Hold a row of a panel: its label, its hue, and the numbers of its channels."""

    label: str
    colour: str
    channels: Sequence[int] = ()
    """None in the heading of a model, whose layers follow."""


def shown_targets(table: xr.Dataset, most: int) -> tuple[dict[str, str], str]:
    """Return the targets that a figure holds with their symbols, and a note about the others.

    They are in the table's order. Those that composition explains to `EXPLAINED` come last, since
    nothing of them is left to be seen.
    """
    symbols = {name: symbol_text(name, unit) for name, unit in targets_of(table)}
    told = table.r2_comp.isel(size=-1).median(("fold", "repeat")) >= EXPLAINED
    ordered = sorted(symbols, key=lambda name: bool(told.sel(target=name)))
    left_out = left_out_text(targets=len(ordered[most:]))
    return {name: symbols[name] for name in ordered[:most]}, left_out


def by_rank(scores: Float[np.ndarray, "channel target"]) -> list[int]:
    """Return the numbers of the channels, the best first.

    The mean is taken over ranks, not scores, so that no target outweighs the others.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    ranks = known.argsort(axis=0, kind="stable").argsort(axis=0).mean(1)
    return [int(i) for i in np.argsort(-ranks, kind="stable")]


def grey_text(table: xr.Dataset) -> str:
    """Return what a caption says of the grey: whatever the projection takes explains it."""
    what = beyond(table)
    return f"grey: what {what} explain{'s' * (what == 'composition')}"


def _explained(table: xr.Dataset, targets: Sequence[str]) -> Float[np.ndarray, " target"]:
    """Return the R² that the grey shows, of all that the projection takes, without any feature."""
    own = explained(table).isel(size=-1).sel(target=list(targets))
    return own.median(("fold", "repeat")).to_numpy()


def mark_explained(panel: Axes, score: float) -> None:
    """Mark zero, and shade the share of the variance that a score explains, from 1 downwards.

    R²_geom is a share of the same variance, and ends where the shade begins, but for chance.
    """
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
    if np.isnan(score):
        return
    left = 1 - min(max(score, 0), 1)
    panel.axvspan(left, 1, color=SHADE, linewidth=0, zorder=0)
    panel.axvline(left, color=GREY, linewidth=0.6, linestyle=":", zorder=1)


def head_panels(
    panels: Sequence[Axes], table: xr.Dataset, targets: Mapping[str, str], inches: float
) -> None:
    """Give panels of this width their targets, and mark R² of all that the projection takes."""
    name = str(explained(table).name).replace("r2_", "R²_")
    scores = _explained(table, list(targets))
    for panel, symbol, score in zip(panels, targets.values(), scores.tolist(), strict=True):
        panel_title(panel, symbol, inches, f"{name} {score_text(score)}")
        mark_explained(panel, score)


def lowest(values: Float[np.ndarray, "*value"]) -> float:
    """Return where an axis of R² begins: a little below the lowest value, but not below `FLOOR`."""
    return max(FLOOR, float(values[np.isfinite(values)].min(initial=0.0)) - 0.03)


def largest(table: xr.Dataset) -> str:
    """Return the number of molecules of the scores that a figure shows, and how they are fitted."""
    parts = [f"N = {int(table['size'][-1]):,}"]
    if table.sizes["alpha"] == 1:
        parts.append(penalty_text(table.alpha.values[0]))
    if components := setting(table, "components"):
        parts.append(f"{components:,} components")
    return ", ".join(parts)


@styled
def plot_targets(table: xr.Dataset) -> Figure:
    """Plot R²_geom of every layer: a panel for each target, a row for each layer, hue by model.

    Dots are medians, whiskers reach from the lower to the upper quartile, shapes tell irreps.
    Where there is one layer alone, one panel has a row for each target.
    """
    scores = summary(table).isel(size=-1).transpose("channel", "target")
    kept = by_rank(scores["median"].to_numpy())[:MOST_CHANNELS]
    rows, left_out = _rows(table, kept), left_out_text(channels=scores.sizes["channel"] - len(kept))
    if len(rows) == 1:
        return _plot_one_layer(table, scores, rows[0])
    height = ROW * len(rows) + 0.3
    targets, note = shown_targets(
        table, min(MOST_TARGETS, ACROSS * max(1, int(MOST_INCHES / height)))
    )
    text = (largest(table), _DOTS, grey_text(table), left_out, note)
    figure, axes = panels(
        len(targets), across=ACROSS, size=(1.65, height),
        margin=(label_width(row.label for row in rows), 0.7), sharex=True, sharey=True,
        title="R²_geom by layer", text="; ".join(filter(None, text)), xlabel="R²_geom",
    )  # fmt: skip
    scores = scores.sel(target=list(targets))
    quartiles = _quartiles(scores)
    axes[0].set_xlim(lowest(quartiles[:2]), 1)
    head_panels(axes, table, targets, 1.65)
    for t, panel in enumerate(axes):
        dots = [(y, channel, t) for y, row in enumerate(rows) for channel in row.channels]
        _plot_dots(panel, dots, quartiles, table)
    label_rows(axes, [(row.label, row.colour, not row.channels) for row in rows])
    _legend_of_irreps(figure, axes[0])
    return figure


def _plot_one_layer(table: xr.Dataset, scores: xr.Dataset, row: _Row) -> Figure:
    """Plot R²_geom of the irreps of one layer, a row for each target."""
    targets, note = shown_targets(table, MOST_TARGETS)
    text = (largest(table), _DOTS, grey_text(table), note)
    figure, [panel] = panels(
        1, size=(4.0, ROW * len(targets) + 0.3), margin=(label_width(targets.values()), 0.5),
        xlabel="R²_geom", title=f"R²_geom of {row.label}", text="; ".join(filter(None, text)),
    )  # fmt: skip
    scores = scores.sel(target=list(targets))
    quartiles = _quartiles(scores)
    panel.set_xlim(lowest(quartiles[:2]), 1)
    shares = np.clip(_explained(table, list(targets)), 0, 1)
    panel.barh(range(len(targets)), shares, 0.9, 1 - shares, color=SHADE, zorder=0)
    panel.axvline(0, color=INK, linewidth=0.6, zorder=1)
    dots = [(t, channel, t) for t in range(len(targets)) for channel in row.channels]
    _plot_dots(panel, dots, quartiles, table)
    label_rows([panel], [(symbol, INK, False) for symbol in targets.values()])
    _legend_of_irreps(figure, panel)
    return figure


def _rows(table: xr.Dataset, kept: Sequence[int]) -> list[_Row]:
    """Return a row for each layer of the channels kept, a model's own below its heading."""
    hues = colours(models_of(table))
    layers: dict[tuple[str, str], list[int]] = {}
    for i, (model, layer, _) in enumerate(present(table)):
        if i in set(kept):
            layers.setdefault((model, layer), []).append(i)
    rows: list[_Row] = []
    for model, hue in hues.items():
        own = [layer for layer in layers_of(table, model) if (model, layer) in layers]
        if len(own) == 1:
            rows.append(_Row(f"{model}, {own[0]}", hue, layers[model, own[0]]))
        elif own:
            rows += [_Row(model, hue), *(_Row(layer, hue, layers[model, layer]) for layer in own)]
    return rows


def _quartiles(scores: xr.Dataset) -> Float[np.ndarray, "3 channel target"]:
    """Return median, lower and upper quartile."""
    return np.stack([scores[name].to_numpy() for name in ("median", "lower", "upper")])


def _plot_dots(
    panel: Axes,
    dots: Sequence[tuple[int, int, int]],
    quartiles: Float[np.ndarray, "3 channel target"],
    table: xr.Dataset,
) -> None:
    """Plot dots, each given by its row, channel and target; irreps lie side by side in a row."""
    channels, hues = list(present(table)), colours(models_of(table))
    shapes = markers(_irreps(table))
    for k, (irrep, shape) in enumerate(shapes.items()):
        own = [dot for dot in dots if channels[dot[1]][2] == irrep]
        if own:
            y, channel, target = np.transpose(own)
            y = y + (k - (len(shapes) - 1) / 2) * 0.6 / len(shapes)
            colour = [hues[channels[c][0]] for c in channel]
            plot_intervals(panel, y, quartiles[:, channel, target], colour, shape, irrep)


def _irreps(table: xr.Dataset) -> list[str]:
    """Return the irreps of a table's channels, that of all scalars first."""
    return sorted({irrep for *_, irrep in present(table)}, key=lambda i: (i != "all", i))


def _legend_of_irreps(figure: Figure, panel: Axes) -> None:
    _, labels = panel.get_legend_handles_labels()
    if len(labels) > 1:
        shared_legend(figure, panel)


@styled
def plot_curves(table: xr.Dataset) -> Figure:
    """Plot R²_geom against the number of molecules, a panel for each target, hue by model.

    Lines are medians, bands reach from the lower to the upper quartile. Shades go through the
    layers of a model, the last one darkest.
    """
    scores, sizes = summary(table), [int(size) for size in table["size"].values]
    curves, rule = _curves(table, scores)
    targets, note = shown_targets(table, MOST_TARGETS)
    models = models_of(table)
    whose = models[0] if len(models) == 1 else ""
    is_short = len(curves) <= 4 and max(len(curve.label) for curve in curves) <= 20
    beside = 0.0 if is_short else room_for_legend(len(targets), 4)
    said = _DOTS if len(curves) <= MOST_BANDS else "median over folds and repeats"
    figure, axes = panels(
        len(targets), across=4, size=(2.3, 1.9), margin=(0.6 + beside, 0.5), beside=beside,
        sharex=True, sharey=True, title="R²_geom by number of molecules",
        text="; ".join(filter(None, (whose, said, rule, note))),
        xlabel="molecules N", ylabel="R²_geom",
    )  # fmt: skip
    shown = scores.sel(target=list(targets)).isel(channel=[curve.channel for curve in curves])
    end = shown["lower" if len(curves) <= MOST_BANDS else "median"].to_numpy()
    axes[0].set_ylim(lowest(end), min(1.0, float(np.nanmax(shown["upper"], initial=0.1)) + 0.05))
    if is_short:
        make_room(axes[0], len(curves), 1.9)
    for panel, (target, symbol) in zip(axes, targets.items(), strict=True):
        panel_title(panel, symbol, 2.3)
        _plot_curves_of(panel, shown.sel(target=target), curves, sizes)
    if is_short:
        axes[0].legend(loc="upper left")
    else:
        legend(figure, axes)
    return figure


class _Curve(NamedTuple):
    """Hold the number of a channel, what a legend calls it, and how its line looks."""

    channel: int
    label: str
    colour: str
    marker: str
    line: str


def _curves(table: xr.Dataset, scores: xr.Dataset) -> tuple[list[_Curve], str]:
    """Return the channels that have a curve, and the rule that chose them.

    All channels, or of more than `MOST_CURVES` the last interaction layer of each model.
    """
    channels, rule = list(enumerate(present(table))), ""
    if len(channels) > MOST_CURVES:
        places = {(m, *last_interaction(table, m)) for m in models_of(table)}
        channels = [(i, channel) for i, channel in channels if channel in places]
        medians = scores["median"].isel(size=-1).transpose("channel", "target").to_numpy()
        best = sorted(by_rank(medians[[i for i, _ in channels]])[:MOST_MODELS])
        rule = LAST_LAYER
        if len(best) < len(channels):
            rule += f"; the best {len(best)} of {len(channels)} models"
        channels = [channels[k] for k in best]
    hues, layers = colours(models_of(table)), [str(layer) for layer in table.layer.values]
    if rule:
        shapes = markers(list(hues))
        return [_Curve(i, m, hues[m], shapes[m], "-") for i, (m, _, _) in channels], rule
    curves, shapes, irreps = [], markers(layers), _irreps(table)
    for i, (model, layer, irrep) in channels:
        own = list(layers_of(table, model))
        hue = shades(hues[model], len(own))[own.index(layer)]
        line = ("-", "--", ":", "-.")[irreps.index(irrep) % 4]
        names = ((model, len(hues) > 1), (layer, True), (irrep, len(irreps) > 1))
        label = " / ".join(name for name, tells in names if tells)
        curves.append(_Curve(i, label, hue, shapes[layer], line))
    return curves, rule


def _plot_curves_of(
    panel: Axes, scores: xr.Dataset, curves: Sequence[_Curve], sizes: Sequence[int]
) -> None:
    """Plot the curves of one target, with bands where they are few."""
    panel.axhline(0, color=INK, linewidth=0.6, zorder=1)
    ticks_at_sizes(panel, sizes)
    names = ("median", "lower", "upper")
    parts = {name: scores[name].transpose("channel", "size").to_numpy() for name in names}
    for i, curve in enumerate(curves):
        median, low, high = (parts[name][i] for name in names)
        panel.plot(
            sizes, median, curve.line, marker=curve.marker, color=curve.colour, markersize=3,
            label=for_figure(curve.label, LABEL),
        )  # fmt: skip
        if len(curves) <= MOST_BANDS:
            panel.fill_between(sizes, low, high, alpha=0.15, color=curve.colour, linewidth=0)
        mark_leaving(panel, sizes, median, curve.colour, along="y")
