"""Define the command `check`: is the probe telling the truth?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cpdjax.cli import options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import command_line, show, takes_json
from cpdjax.progress import expect, stage


@takes_json
def check(
    features: options.Features = None,
    models: options.Models = None,
    dataset: options.Dataset = None,
    targets: options.Targets = None,
    n: options.Molecules = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Layers, separated by commas; last is the last interaction layer; by default the "
            "very last, such as the readout.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    folds: options.Folds = 5,
    alpha: options.Penalty = "1.0",
    seed: options.Seed = 0,
    nonlinear: Annotated[
        bool,
        typer.Option(
            help="Run nonlinear probes as well, which takes minutes.",
            rich_help_panel=options.PROBE,
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of the page.", rich_help_panel=options.OUTPUT)
    ] = Path("cpdjax-checks"),
) -> int:
    """Check the method four ways on features; without arguments, ANI-2x's AEV on QM9.

    The exit status is 0 where all checks pass, and 1 where one fails.
    """
    from cpdjax.checks.suite import DEFAULT_FEATURES, run
    from cpdjax.reports import checks

    expect(1)
    names = [*(features or ()), *(options.listed(models) or ())] or [DEFAULT_FEATURES]
    found = run(
        names,
        dataset=dataset,
        targets=targets,
        n=n,
        layers=options.listed(layers),
        folds=folds,
        alpha=options.penalty(alpha),
        seed=seed,
        nonlinear=nonlinear,
        progress=show_progress(),
    )
    show(checks.table(found))  # before figures are drawn, which takes a while
    with stage("figures"):
        saved = checks.save(found, out, command_line())
    show(saved=saved)
    return 0 if found.passed else 1
