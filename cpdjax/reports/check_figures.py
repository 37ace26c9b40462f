"""Figures of the checks, most with a panel for every set of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpdjax.checks.compositional import FOLD_KINDS
from cpdjax.checks.isomers import PAPER_ACCURACY
from cpdjax.checks.leakage import PROCEDURES
from cpdjax.checks.nonlinear import PAPER_TREES_R2
from cpdjax.checks.nonlinear_probes import PROBES
from cpdjax.checks.residualisation import RESIDUALS
from cpdjax.checks.suite import ChannelChecks, Checks
from cpdjax.reports.figures import panels, shared_legend
from cpdjax.reports.text import for_figure


def plot_planted(checks: Checks) -> Figure:
    """Plot the estimate of every setting against the truth."""
    found = checks.planted
    figure, [axes] = panels(1, size=(5, 4.6), margin=(0, 0))
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    estimate = found.estimate.ravel()
    style: dict[str, Any] = {"markersize": 3, "linewidth": 0.6}
    axes.errorbar(found.analytic.ravel(), estimate, fmt="x", label="n → ∞", **style)
    label = f"{checks.molecules:,} molecules"
    spread = found.spread.ravel()
    axes.errorbar(found.expected.ravel(), estimate, spread, fmt="o", label=label, **style)
    axes.set_xlabel("R²_geom on paper")
    axes.set_ylabel("R²_geom estimated")
    axes.set_title(f"Planted truth, {found.estimate.size} settings", fontsize="medium")
    axes.legend(fontsize="small")
    return figure


def plot_isomers(checks: Checks) -> Figure:
    """Plot the share of isomer pairs in the target's order as bars, with 95 % intervals."""
    targets = max(len(channel.isomers.targets) for channel in checks.channels.values())
    return _plot_channels(checks, _plot_isomers, 1.6 + 0.8 * targets)


def _plot_isomers(axes: Axes, channel: ChannelChecks) -> None:
    found = channel.isomers
    accuracies = {
        "composition": found.composition,
        "shuffled": found.shuffled,
        "residual": found.residual,
        "raw features": found.features,
    }
    height = 0.8 / len(accuracies)
    for i, (name, accuracy) in enumerate(accuracies.items()):
        whiskers = np.abs(accuracy.interval - accuracy.value)
        places = np.arange(len(found.targets)) + i * height
        axes.barh(places, accuracy.value, height, xerr=whiskers, label=name)
    axes.set_yticks(
        np.arange(len(found.targets)) + 1.5 * height, list(map(for_figure, found.targets))
    )
    axes.invert_yaxis()
    axes.axvline(0.5, color="black", linewidth=0.8)
    axes.axvline(
        PAPER_ACCURACY, color="black", linewidth=0.8, linestyle=":", label="the paper's residual"
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of isomer pairs in order ({int(found.pairs[0]):,} pairs)")


def plot_compositional(checks: Checks) -> Figure:
    """Plot R² of compositional targets from the residual and from the raw features."""
    return _plot_channels(checks, _plot_compositional, 3.6)


def _plot_compositional(axes: Axes, channel: ChannelChecks) -> None:
    found = channel.compositional
    series = {
        f"{features}, {kind} folds": np.nanmedian(scores[k], axis=0)
        for features, scores in (("residual", found.r2_geom), ("raw features", found.r2_full))
        for k, kind in enumerate(FOLD_KINDS)
    }
    for i, (name, values) in enumerate(series.items()):
        axes.barh(np.arange(len(found.targets)) + i * 0.2, values, 0.2, label=name)
    axes.set_yticks(np.arange(len(found.targets)) + 0.3, list(map(for_figure, found.targets)))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(-0.2, 1)
    axes.set_xlabel("R² (median over folds)")


def plot_leakage(checks: Checks) -> Figure:
    """Plot the bias of R² against the number of molecules, by procedure and target."""
    return _plot_channels(checks, _plot_leakage, 4.4)


def _plot_leakage(axes: Axes, channel: ChannelChecks) -> None:
    found = channel.leakage
    styles = ("-", "--", ":", "-.")
    for p, procedure in enumerate(PROCEDURES):
        for t, target in enumerate(found.targets):
            axes.plot(
                found.sizes, found.bias[p, :, t], marker="o", markersize=3, color=f"C{p}",
                linestyle=styles[t % 4], label=for_figure(f"{procedure}: {target}"),
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("molecules N")
    axes.set_ylabel("bias of R² (median)")


def plot_nonlinear(checks: Checks) -> Figure:
    """Plot R² of every probe by what was taken out, in random folds.

    A bar is the median over targets, its whiskers the range over targets.
    """
    return _plot_channels(checks, _plot_nonlinear, 4.2)


def _plot_nonlinear(axes: Axes, channel: ChannelChecks) -> None:
    if channel.nonlinear is None:
        return
    for p, (probe, scores) in enumerate(zip(PROBES, channel.nonlinear.medians[0], strict=True)):
        centre = np.nanmedian(scores, axis=1)
        whiskers = [centre - scores.min(1), scores.max(1) - centre]
        axes.bar(np.arange(len(RESIDUALS)) + p * 0.2, centre, 0.2, yerr=whiskers, label=probe)
    axes.axhspan(*PAPER_TREES_R2, color="grey", alpha=0.2, label="the paper's trees, linear")
    axes.set_xticks(np.arange(len(RESIDUALS)) + 0.3, RESIDUALS)
    axes.set_ylim(-0.2, 1)
    axes.set_xlabel("taken out of the features")
    axes.set_ylabel("R², compositional targets")


def _plot_channels(
    checks: Checks, plot: Callable[[Axes, ChannelChecks], None], height: float
) -> Figure:
    """Plot a panel for every set of features, with one legend."""
    figure, axes = panels(len(checks.channels), size=(6.4, height), margin=(0, 0.6))
    for panel, (label, channel) in zip(axes, checks.channels.items(), strict=True):
        plot(panel, channel)
        panel.set_title(for_figure(label), fontsize="medium")
    shared_legend(figure, axes[0], columns=2)
    return figure
