"""The checks for the eye: one page of pass and fail, and its figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from cpdjax.checks.compositional import FOLDS
from cpdjax.checks.criterion import Criterion
from cpdjax.checks.isomers import PAPER
from cpdjax.checks.leakage import PROCEDURES
from cpdjax.checks.nonlinear import PAPER as TREES
from cpdjax.checks.nonlinear import PROBES, RESIDUALS, Nonlinear
from cpdjax.checks.run import ChannelChecks, Checks
from cpdjax.files import atomic

_VERDICT = {True: "pass", False: "FAIL", None: ""}
_COLOURS = {True: "green", False: "bold red", None: "dim"}


def table(checks: Checks) -> Table:
    """Every line of the checks: figure, interval, criterion, verdict."""
    verdict = "all checks pass" if checks.passed else "A CHECK FAILS"
    shown = Table(title=f"{checks.dataset}, {checks.molecules:,} molecules: {verdict}")
    for name in ("features", "check", "quantity"):
        shown.add_column(name, overflow="fold")
    shown.add_column("figure", justify="right", no_wrap=True)
    shown.add_column("criterion", overflow="fold")
    shown.add_column("verdict", no_wrap=True)
    before: tuple[str, str] | None = None
    for label, line in checks.lines:
        head = ("", "") if (label, line.check) == before else (label, line.check)
        if before is not None and any(head):
            shown.add_section()
        before = (label, line.check)
        cells = (*head, line.quantity, _figure(line), line.rule)
        colour = _COLOURS[line.passed]
        verdict = f"[{colour}]{_VERDICT[line.passed]}[/{colour}]"
        shown.add_row(*(escape(c) for c in cells), verdict)
    return shown


def save(checks: Checks, folder: str | Path) -> list[Path]:
    """Write `checks.md`, `checks.csv` and the figures."""
    folder = Path(folder)
    figures = {"planted.png": plot_planted(checks), "isomers.png": plot_isomers(checks)}
    figures |= {
        "compositional.png": plot_compositional(checks),
        "leakage.png": plot_leakage(checks),
    }
    if any(c.nonlinear is not None for c in checks.channels.values()):
        figures["nonlinear.png"] = plot_nonlinear(checks)
    written = []
    for name, figure in figures.items():
        with atomic(folder / name) as temporary:
            figure.savefig(temporary, dpi=150)
        written.append(folder / name)
    with atomic(folder / "checks.csv") as temporary:
        frame(checks).to_csv(temporary, index=False)
    with atomic(folder / "checks.md") as temporary:
        temporary.write_text(markdown(checks, list(figures)))
    return [folder / "checks.md", folder / "checks.csv", *written]


def frame(checks: Checks) -> pd.DataFrame:
    """One row a line of the checks, and one a score of the nonlinear probes."""
    rows = [_row(label, line) for label, line in checks.lines]
    for label, channel in checks.channels.items():
        for where, score in _scores(channel.nonlinear):
            quantity = "R²: " + ", ".join(where)
            rows.append(
                _row(label, Criterion("nonlinear probes", quantity, score, "reported", None))
            )
    return pd.DataFrame(rows)


def markdown(checks: Checks, figures: list[str]) -> str:
    """The page: verdicts, what nonlinear probes found, figures."""
    lines = [
        f"# {'All checks pass' if checks.passed else 'A check fails'}",
        "",
        f"{checks.dataset}, {checks.molecules:,} molecules. Criteria are our choice, their "
        "reasons in the docstrings of `cpdjax.checks`. Brackets: 95 %, or the range that is named.",
        "",
        "| features | check | quantity | figure | criterion | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for label, line in checks.lines:
        cells = (label, line.check, line.quantity, _figure(line), line.rule, _VERDICT[line.passed])
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    for label, channel in checks.channels.items():
        if channel.nonlinear is not None:
            lines += ["", *_explained(label, channel.nonlinear)]
    return "\n".join([*lines, "", *(f"![{name}]({name})\n" for name in figures)])


def _explained(label: str, found: Nonlinear) -> list[str]:
    medians = np.nanmedian(found.r2, axis=3)  # kind, probe, residual, target
    low, high = TREES
    lines = [
        f"## Nonlinear probes of {label}",
        "",
        "R² on targets that composition alone decides, by what was taken out of the features "
        "(median over folds).",
    ]
    for k, kind in enumerate(FOLDS):
        lines += ["", f"| {kind} folds: probe | taken out | " + " | ".join(found.targets) + " |"]
        lines.append("|---|---|" + "---|" * len(found.targets))
        for p, probe in enumerate(PROBES):
            for r, residual in enumerate(RESIDUALS):
                cells = " | ".join(f"{v:.2f}" for v in medians[k, p, r])
                lines.append(f"| {probe} | {residual} | {cells} |")
    control = np.nanmedian(found.control, axis=1)
    trees = medians[:, PROBES.index("trees"), RESIDUALS.index("linear")]
    inside = int(((trees >= low) & (trees <= high)).sum())
    lines += [
        "",
        f"Trees on the linear residual: R² {trees.min():.2f} to {trees.max():.2f}; {inside} of "
        f"{trees.size} scores lie within the paper's {low} to {high}. On a control, linear in the "
        "counts plus noise, no probe of any target scores above "
        f"{control.max():.2f}: the probes do not invent the signal. It is in the residual: least "
        "squares takes out only what is linear in the counts, and features know composition "
        "nonlinearly too (a mean over atoms is a function of fractions). Where a probe scores "
        'higher on "linear" than on "none", the projection itself may have put it there (no '
        "experiment isolates it): X − CB holds the counts wherever X did not hold CB. What taking "
        "out more than the counts lowers came from the residual's mean; what is left after every "
        "formula's own mean is taken out comes presumably from its spread and from formulas that "
        "training has not seen (under grouped folds, all). "
        "The targets are functions of composition, so none of it is geometry.",
    ]
    return lines


def plot_isomers(checks: Checks) -> Figure:
    """Bars: share of isomer pairs in the target's order, whiskers at 95 %."""

    def draw(axes: Axes, label: str, channel: ChannelChecks) -> None:
        found = channel.isomers
        names = ("composition", "shuffled", "residual", "features")
        height = 0.8 / len(names)
        for i, name in enumerate(names):
            accuracy = getattr(found, name)
            whiskers = np.abs(accuracy.interval - accuracy.value)
            places = np.arange(len(found.targets)) + i * height
            axes.barh(places, accuracy.value, height, xerr=whiskers, label=name)
        axes.set_yticks(np.arange(len(found.targets)) + 1.5 * height, found.targets)
        axes.invert_yaxis()
        axes.axvline(0.5, color="black", linewidth=0.8)
        axes.axvline(
            PAPER, color="black", linewidth=0.8, linestyle=":", label="the paper's residual"
        )
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"isomer pairs in order ({int(found.pairs[0]):,} pairs)")
        axes.set_title(label, fontsize="medium")

    targets = max(len(c.isomers.targets) for c in checks.channels.values())
    return _panels(checks, draw, height=1.6 + 0.8 * targets)


def plot_compositional(checks: Checks) -> Figure:
    """R² of compositional targets from the residual and from the untouched features."""

    def draw(axes: Axes, label: str, channel: ChannelChecks) -> None:
        found = channel.compositional
        series = [
            (f"{what}, {kind} folds", np.nanmedian(scores[k], axis=0))
            for what, scores in (("residual", found.r2_geom), ("untouched", found.r2_full))
            for k, kind in enumerate(FOLDS)
        ]
        for i, (name, values) in enumerate(series):
            places = np.arange(len(found.targets)) + i * 0.2
            axes.barh(places, values, 0.2, label=name)
        axes.set_yticks(np.arange(len(found.targets)) + 0.3, found.targets)
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlim(-0.2, 1)
        axes.set_xlabel("R² (median over folds)")
        axes.set_title(label, fontsize="medium")

    return _panels(checks, draw, height=3.6)


def plot_planted(checks: Checks) -> Figure:
    """Estimates of every setting against the truth."""
    found = checks.planted
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    for truth, marker in (("analytic", "x"), ("expected", "o")):
        x, y = getattr(found, truth).ravel(), found.estimate.ravel()
        label = "n → ∞" if truth == "analytic" else f"{checks.molecules:,} molecules"
        spread = found.spread.ravel() if truth == "expected" else None
        axes.errorbar(x, y, spread, fmt=marker, markersize=3, linewidth=0.6, label=label)
    axes.set_xlabel("R²_geom on paper")
    axes.set_ylabel("R²_geom estimated")
    axes.set_title(f"Planted truth, {found.estimate.size} settings", fontsize="medium")
    axes.legend(fontsize="small")
    return figure


def plot_leakage(checks: Checks) -> Figure:
    """Bias of the score against the number of molecules, by what the projection has seen."""

    def draw(axes: Axes, label: str, channel: ChannelChecks) -> None:
        found = channel.leakage
        styles = ("-", "--", ":", "-.")
        for p, procedure in enumerate(PROCEDURES):
            for t, target in enumerate(found.targets):
                axes.plot(
                    found.sizes, found.bias[p, :, t], marker="o", markersize=3, color=f"C{p}",
                    linestyle=styles[t % 4], label=f"{procedure}: {target}",
                )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("molecules N")
        axes.set_ylabel("bias of R² (median)")
        axes.set_title(label, fontsize="medium")

    return _panels(checks, draw, height=4.4)


def plot_nonlinear(checks: Checks) -> Figure:
    """R² of every probe by what was taken out, random folds: median of targets, their range."""

    def draw(axes: Axes, label: str, channel: ChannelChecks) -> None:
        if channel.nonlinear is None:
            return
        medians = np.nanmedian(channel.nonlinear.r2[0], axis=2)  # probe, residual, target
        for p, probe in enumerate(PROBES):
            centre = np.nanmedian(medians[p], axis=1)
            whiskers = [centre - medians[p].min(1), medians[p].max(1) - centre]
            places = np.arange(len(RESIDUALS)) + p * 0.2
            axes.bar(places, centre, 0.2, yerr=whiskers, label=probe)
        axes.axhspan(*TREES, color="grey", alpha=0.2, label="the paper's trees, linear")
        axes.set_xticks(np.arange(len(RESIDUALS)) + 0.3, RESIDUALS)
        axes.set_ylim(-0.2, 1)
        axes.set_xlabel("taken out of the features")
        axes.set_ylabel("R², compositional targets")
        axes.set_title(label, fontsize="medium")

    return _panels(checks, draw, height=4.2)


def _panels(
    checks: Checks, draw: Callable[[Axes, str, ChannelChecks], None], height: float
) -> Figure:
    """A panel for every set of features, one legend."""
    count = len(checks.channels)
    figure = Figure(figsize=(6.4, height * count + 0.6), layout="constrained")
    panels = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axes, (label, channel) in zip(panels, checks.channels.items(), strict=True):
        draw(axes, label, channel)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _figure(line: Criterion) -> str:
    value = (
        f"{line.value:.3f}" if line.value == 0 or abs(line.value) >= 5e-4 else f"{line.value:.0e}"
    )
    if line.interval is None:
        return value
    low, high = line.interval
    return f"{value} ({low:.3f}, {high:.3f})"


def _row(label: str, line: Criterion) -> dict[str, str | float]:
    low, high = line.interval or (np.nan, np.nan)
    return {
        "features": label,
        "check": line.check,
        "quantity": line.quantity,
        "figure": line.value,
        "lower": low,
        "upper": high,
        "criterion": line.rule,
        "verdict": _VERDICT[line.passed] or "reported",
    }


def _scores(found: Nonlinear | None) -> list[tuple[tuple[str, ...], float]]:
    if found is None:
        return []
    medians = np.nanmedian(found.r2, axis=3)
    names = (FOLDS, PROBES, RESIDUALS, found.targets)
    return [
        (tuple(axis[i] for axis, i in zip(names, at, strict=True)), float(medians[at]))
        for at in np.ndindex(medians.shape)
    ]
