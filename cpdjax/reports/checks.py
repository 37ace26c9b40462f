"""The report of `cpdjax check`: every requirement with pass or fail, and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cpdjax.checks import planted
from cpdjax.checks.compositional import FOLD_KINDS
from cpdjax.checks.nonlinear import PAPER_TREES_R2, Nonlinear
from cpdjax.checks.nonlinear_probes import PROBES
from cpdjax.checks.outcome import Outcome, reported
from cpdjax.checks.residualisation import RESIDUALS
from cpdjax.checks.suite import Checks
from cpdjax.files import write_csv
from cpdjax.reports import check_figures
from cpdjax.reports.figures import write
from cpdjax.reports.pages import imprint, page
from cpdjax.reports.pages.page import Section
from cpdjax.reports.sheet import Column, Kind, Sheet

_HEAD = ("features", "check", "quantity", "value", "requirement", "verdict")
_VERDICTS = {True: "pass", False: "FAIL", None: "reported"}


def table(checks: Checks) -> Sheet:
    """Return a table with one row for each outcome, under its features and check."""
    verdict = "all checks pass" if checks.passed else "A CHECK FAILS"
    kinds: tuple[Kind, ...] = ("group", "group", "words", "number", "words", "name")
    return Sheet(
        "checks",
        f"{checks.dataset}, {checks.molecules:,} molecules: {verdict}",
        [Column(head, kind) for head, kind in zip(_HEAD, kinds, strict=True)],
        [_cells(label, outcome) for label, outcome in checks.outcomes],
        [_row(label, outcome) for label, outcome in checks.outcomes],
        _notes(checks),
    )


def _notes(checks: Checks) -> tuple[str, ...]:
    """Say what to do where planted truth is missed by too few molecules."""
    missed = any(o.check == planted.CHECK and o.passed is False for _, o in checks.outcomes)
    if not missed or checks.molecules >= planted.MOLECULES:
        return ()
    return (
        f"Planted truth is known to first order in 1/N, and {checks.molecules:,} molecules with a "
        f"rare element may be too few for it: check with {planted.MOLECULES:,}.",
    )


def save(checks: Checks, folder: str | Path, command: str = "") -> list[Path]:
    """Write the page as Markdown and HTML, `checks.csv` and the figures; return the paths."""
    folder = Path(folder)
    figures = {
        "planted.png": check_figures.plot_planted(checks),
        "isomers.png": check_figures.plot_isomers(checks),
        "compositional.png": check_figures.plot_compositional(checks),
        "leakage.png": check_figures.plot_leakage(checks),
    }
    if any(channel.nonlinear is not None for channel in checks.channels.values()):
        figures["nonlinear.png"] = check_figures.plot_nonlinear(checks)
    written = write(figures, folder)
    write_csv(frame(checks), folder / "checks.csv")
    origin = imprint.of_run(checks.dataset, checks.molecules, command, checks.facts)
    pages = page.save(sections(checks), written, folder, "checks", origin)
    return [*pages, folder / "checks.csv", *written]


def frame(checks: Checks) -> pd.DataFrame:
    """Return one row for each outcome, and one for each score of the nonlinear probes."""
    outcomes = list(checks.outcomes)
    for label, channel in checks.channels.items():
        if channel.nonlinear is not None:
            outcomes += [(label, score) for score in _nonlinear_scores(channel.nonlinear)]
    return pd.DataFrame([_row(label, outcome) for label, outcome in outcomes])


def sections(checks: Checks) -> list[Section]:
    """Return the page: outcomes, scores of the nonlinear probes, figures."""
    found = [
        Section(
            "All checks pass" if checks.passed else "A check fails",
            f"{checks.dataset}, {checks.molecules:,} molecules. The requirements are our choice; "
            "the docstrings of cpdjax.checks give the reasons. Brackets hold the 95 % interval, "
            "or the range that the requirement names.",
            _HEAD,
            [_cells(label, outcome) for label, outcome in checks.outcomes],
        )
    ]
    for label, channel in checks.channels.items():
        if channel.nonlinear is not None:
            found += _nonlinear_sections(label, channel.nonlinear)
    any_nonlinear = len(found) > 1
    return [*found, *_FIGURES, *([_NONLINEAR_FIGURE] if any_nonlinear else [])]


_FIGURES = (
    Section(
        "Planted truth",
        "Estimates of R²_geom from synthetic features are plotted against the value that is known "
        "on paper, for infinitely many molecules and for this number of molecules. Error bars are "
        "the standard deviation over repeats.",
        figure="planted.png",
    ),
    Section(
        "Structural isomers",
        "Isomers have the same composition, so composition cannot predict which of two isomers has "
        "the larger target. Bars show the share of isomer pairs in the right order, with 95 % "
        "intervals; 0.5 is chance.",
        figure="isomers.png",
    ),
    Section(
        "Compositional targets",
        "These targets are functions of the counts of the elements alone. The residual should "
        "hold nothing of the targets that are linear in the counts, and little of the others. Bars "
        "show R² in the median over folds.",
        figure="compositional.png",
    ),
    Section(
        "Leakage",
        "The projection must be fitted on training rows alone. Lines show by how much R² changes "
        "where one projection is fitted on all rows, and where there is no projection.",
        figure="leakage.png",
    ),
)
_NONLINEAR_FIGURE = Section(
    "Nonlinear probes",
    "Bars show R² on compositional targets by what was taken out of the features, in random folds: "
    "the median over targets, and the range over targets as error bars.",
    figure="nonlinear.png",
)


def _nonlinear_sections(label: str, found: Nonlinear) -> tuple[Section, Section]:
    scores = Section(
        f"Nonlinear probes of {label}",
        "R² on targets that composition alone decides, by what was taken out of the features "
        "(median over folds).",
        ("folds", "probe", "taken out", *found.targets),
        [
            (kind, probe, residual, *(f"{score:.2f}" for score in found.medians[k, p, r]))
            for k, kind in enumerate(FOLD_KINDS)
            for p, probe in enumerate(PROBES)
            for r, residual in enumerate(RESIDUALS)
        ],
    )
    return scores, Section(f"What the nonlinear probes of {label} show", _explanation(found))


def _explanation(found: Nonlinear) -> str:
    low, high = PAPER_TREES_R2
    trees = found.on_linear_residual[:, PROBES.index("trees")]
    inside = int(((trees >= low) & (trees <= high)).sum())
    control = np.nanmedian(found.control, axis=1)
    return (
        f"Trees on the linear residual reach R² {trees.min():.2f} to {trees.max():.2f}; {inside} "
        f"of {trees.size} scores lie within the paper's {low} to {high}. On a control, which is "
        "linear in the counts plus noise, no probe of any target scores above "
        f"{control.max():.2f}: the probes do not invent the signal. The signal is in the residual. "
        "Least squares takes out only what is linear in the counts, and features also know "
        "composition nonlinearly (a mean over atoms is a function of fractions). Where a probe "
        'scores higher with "linear" taken out than with "none", the projection itself may have '
        "put the signal there (no experiment isolates it): X − CB holds the counts wherever X did "
        "not hold CB. A score that falls when more than the counts is taken out came from the "
        "residual's mean. What is left after every formula's own mean is taken out presumably "
        "comes from the residual's spread, and from formulas that training has not seen (under "
        "grouped folds, all of them). The targets are functions of composition, so none of the "
        "signal is geometry."
    )


def _cells(label: str, outcome: Outcome) -> tuple[str, ...]:
    """Return a row under `_HEAD`."""
    verdict = _VERDICTS[outcome.passed]
    value = _value_text(outcome)
    return label, outcome.check, outcome.quantity, value, outcome.requirement, verdict


def _value_text(outcome: Outcome) -> str:
    value = outcome.value
    text = f"{value:.0e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}"
    if outcome.interval is None:
        return text
    low, high = outcome.interval
    return f"{text} ({low:.3f}, {high:.3f})"


def _row(label: str, outcome: Outcome) -> dict[str, str | float]:
    low, high = outcome.interval or (np.nan, np.nan)
    return {
        "features": label,
        "check": outcome.check,
        "quantity": outcome.quantity,
        "value": outcome.value,
        "lower": low,
        "upper": high,
        "requirement": outcome.requirement,
        "verdict": _VERDICTS[outcome.passed],
    }


def _nonlinear_scores(found: Nonlinear) -> Iterator[Outcome]:
    names = (FOLD_KINDS, PROBES, RESIDUALS, found.targets)
    for at, score in np.ndenumerate(found.medians):
        kind, probe, residual, target = (axis[i] for axis, i in zip(names, at, strict=True))
        quantity = f"{target}, {kind} folds, {probe}, {residual} taken out: R²"
        yield reported("nonlinear probes", quantity, float(score))
