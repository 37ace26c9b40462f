"""Figures of the checks, most with a panel for every set of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.checks.compositional import FOLD_KINDS
from cpdjax.checks.isomers import PAPER_ACCURACY
from cpdjax.checks.leakage import PROCEDURES
from cpdjax.checks.nonlinear import PAPER_TREES_R2
from cpdjax.checks.nonlinear_probes import PROBES
from cpdjax.checks.residualisation import RESIDUALS
from cpdjax.checks.suite import ChannelChecks, Checks
from cpdjax.reports.figures import panel_title, panels, shared_legend, ticks_at_sizes
from cpdjax.reports.style import (
    FLOOR,
    GREY,
    INK,
    LABEL,
    MARKERS,
    PALETTE,
    SHADE,
    mark_leaving,
    styled,
)  # fmt: skip
from cpdjax.reports.text import for_figure


@styled
def plot_planted(checks: Checks) -> Figure:
    """Plot the estimate of every setting against the truth."""
    found = checks.planted
    figure, [axes] = panels(
        1, size=(4.2, 4.0), margin=(0, 0), xlabel="R²_geom on paper", ylabel="R²_geom estimated",
        title=f"Planted truth, {found.estimate.size} settings",
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6)
    estimate, spread = found.estimate.ravel(), found.spread.ravel()
    axes.plot(found.analytic.ravel(), estimate, "x", color=GREY, markersize=4, label="n → ∞")
    axes.errorbar(
        found.expected.ravel(), estimate, spread, fmt="o", color=PALETTE[0], markersize=3.5,
        linewidth=0.8, label=f"{checks.molecules:,} molecules",
    )  # fmt: skip
    axes.legend(loc="upper left")
    return figure


@styled
def plot_isomers(checks: Checks) -> Figure:
    """Plot the share of isomer pairs in the target's order as bars, with 95 % intervals."""
    targets = max(len(channel.isomers.targets) for channel in checks.channels.values())
    pairs = max(int(channel.isomers.pairs[0]) for channel in checks.channels.values())
    label = f"share of isomer pairs in order ({pairs:,} pairs)"
    return _plot_channels(checks.channels, _plot_isomers, 0.4 + 0.6 * targets, label)


def _plot_isomers(axes: Axes, channel: ChannelChecks) -> None:
    found = channel.isomers
    accuracies = {
        "composition": found.composition,
        "shuffled": found.shuffled,
        "residual": found.residual,
        "raw features": found.features,
    }
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color=INK, linewidth=0.6)
    series = {name: accuracy.value for name, accuracy in accuracies.items()}
    whiskers = [np.abs(accuracy.interval - accuracy.value) for accuracy in accuracies.values()]
    _plot_bars(axes, found.targets, series, whiskers)
    axes.axvline(
        PAPER_ACCURACY, color=INK, linewidth=0.8, linestyle=":", label="the paper's residual"
    )


@styled
def plot_compositional(checks: Checks) -> Figure:
    """Plot R² of compositional targets from the residual and from the raw features."""
    targets = max(len(channel.compositional.targets) for channel in checks.channels.values())
    label = "R² (median over folds)"
    return _plot_channels(checks.channels, _plot_compositional, 0.4 + 0.6 * targets, label)


def _plot_compositional(axes: Axes, channel: ChannelChecks) -> None:
    found = channel.compositional
    series = {
        f"{features}, {kind} folds": np.nanmedian(scores[k], axis=0)
        for features, scores in (("residual", found.r2_geom), ("raw features", found.r2_full))
        for k, kind in enumerate(FOLD_KINDS)
    }
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_xlim(FLOOR, 1)
    _plot_bars(axes, found.targets, series)


def _plot_bars(
    axes: Axes,
    targets: Sequence[str],
    series: Mapping[str, Float[np.ndarray, " target"]],
    whiskers: Sequence[Float[np.ndarray, "2 target"]] | None = None,
) -> None:
    """Plot a group of bars for each target; the limits of the axes are final."""
    height = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        places = np.arange(len(targets)) + (i - (len(series) - 1) / 2) * height
        error = None if whiskers is None else whiskers[i]
        axes.barh(
            places, values, height, xerr=error, label=name, color=PALETTE[i],
            error_kw={"linewidth": 0.8, "ecolor": INK},
        )  # fmt: skip
        mark_leaving(axes, values, places, PALETTE[i], along="x")
    axes.set_yticks(np.arange(len(targets)), [for_figure(target, LABEL) for target in targets])
    axes.invert_yaxis()


@styled
def plot_leakage(checks: Checks) -> Figure:
    """Plot the bias of R² against the number of molecules, by procedure and target."""
    return _plot_channels(checks.channels, _plot_leakage, 3.0, "molecules N", "bias of R² (median)")


def _plot_leakage(axes: Axes, channel: ChannelChecks) -> None:
    """Hues tell procedures, and lines and shapes tell targets."""
    found = channel.leakage
    axes.set_yscale("symlog", linthresh=0.1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}".replace("-", "−"))
    axes.axhline(0, color=INK, linewidth=0.6)
    ticks_at_sizes(axes, found.sizes)
    looks: list[dict[str, Any]] = [
        {"linestyle": ("-", "--", ":", "-.")[t % 4], "marker": MARKERS[t % len(MARKERS)]}
        for t in range(len(found.targets))
    ]
    for p, procedure in enumerate(PROCEDURES):
        for t, look in enumerate(looks):
            axes.plot(found.sizes, found.bias[p, :, t], markersize=3, color=PALETTE[p], **look)
        axes.plot([], [], color=PALETTE[p], label=procedure)
    for target, look in zip(found.targets, looks, strict=True):
        axes.plot([], [], color=GREY, markersize=3, label=for_figure(target, LABEL), **look)


@styled
def plot_nonlinear(checks: Checks) -> Figure:
    """Plot R² of every probe by what was taken out, in random folds.

    A bar is the median over targets, its whiskers the range over targets.
    """
    tried = {
        label: channel
        for label, channel in checks.channels.items()
        if channel.nonlinear is not None
    }
    labels = ("taken out of the features", "R², compositional targets")
    return _plot_channels(tried, _plot_nonlinear, 3.0, *labels)


def _plot_nonlinear(axes: Axes, channel: ChannelChecks) -> None:
    if channel.nonlinear is None:
        return
    axes.set_ylim(FLOOR, 1)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.axhspan(*PAPER_TREES_R2, color=SHADE, zorder=0, label="the paper's trees, linear")
    for p, (probe, scores) in enumerate(zip(PROBES, channel.nonlinear.medians[0], strict=True)):
        centre = np.nanmedian(scores, axis=1)
        whiskers = [centre - scores.min(1), scores.max(1) - centre]
        places = np.arange(len(RESIDUALS)) + p * 0.2
        axes.bar(
            places, centre, 0.2, yerr=whiskers, label=probe, color=PALETTE[p],
            error_kw={"linewidth": 0.8, "ecolor": INK},
        )  # fmt: skip
        mark_leaving(axes, places, centre, PALETTE[p], along="y")
    axes.set_xticks(np.arange(len(RESIDUALS)) + 0.3, RESIDUALS)


def _plot_channels(
    channels: Mapping[str, ChannelChecks],
    plot: Callable[[Axes, ChannelChecks], None],
    height: float,
    xlabel: str,
    ylabel: str = "",
) -> Figure:
    """Plot a panel for every set of features, with one legend."""
    figure, axes = panels(
        len(channels), across=2, size=(4.0, height), margin=(0, 0.9), xlabel=xlabel, ylabel=ylabel
    )
    for panel, (label, channel) in zip(axes, channels.items(), strict=True):
        plot(panel, channel)
        panel_title(panel, label, 4.0)
    shared_legend(figure, axes[0])
    return figure
