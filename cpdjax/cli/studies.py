"""Define the commands about the paper's findings: `reproduce`, `recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from cpdjax.bounds import MOST_COPIES
from cpdjax.cli import options
from cpdjax.cli.terminal import command_line, put, show, show_progress
from cpdjax.configuration import checked
from cpdjax.errors import InputError
from cpdjax.reports.text import MOST_OF_A_SENTENCE, for_terminal
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, MOST_RANKED, Settings

_INSTALLED = "Names of models, separated by commas; by default all that are installed."


def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("cpdjax-reproduction"),
    models: Annotated[str | None, typer.Option(help=_INSTALLED)] = None,
    n: options.Molecules = DEFAULT_MOLECULES,
    sizes: Annotated[
        str | None, typer.Option(help="Numbers of molecules, separated by commas.")
    ] = None,
    repeats: options.Repeats = 5,
    seed: options.Seed = 0,
) -> None:
    """Hold the paper's findings against the installed models; report in Markdown and HTML.

    Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.reports import findings
    from cpdjax.studies import reproduction

    found = reproduction.reproduce(
        out,
        options.listed(models),
        n=n or DEFAULT_MOLECULES,
        sizes=checked(Settings, {"sizes": options.listed(sizes)}).sizes,
        repeats=repeats,
        seed=seed,
        progress=show_progress(),
    )
    table = Table("finding", "paper", "ours", "verdict", box=SIMPLE_HEAD)
    for line in found.findings:
        cells = (line.name, line.paper, line.ours, line.verdict)
        table.add_row(*(for_terminal(cell, most=MOST_OF_A_SENTENCE) for cell in cells))
    show(table, saved=findings.save(found, out, command_line()))


def recommend(
    path: Annotated[
        Path | None, typer.Argument(help="Results of a sweep, of `reproduce` or of this command.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target; by default each.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help='Molecules of your own, or "qm9", "qm9-probe"; these are swept anew.'),
    ] = None,
    targets: options.Targets = None,
    models: Annotated[str | None, typer.Option(help=_INSTALLED)] = None,
    n: options.Molecules = None,
    repeats: options.Repeats = 5,
    seed: options.Seed = 0,
    most: Annotated[
        int, typer.Option(min=1, max=MOST_COPIES, help="Rows of the table.")
    ] = MOST_RANKED,
    out: Annotated[Path, typer.Option(help="Folder of new results.")] = Path(
        "cpdjax-recommendation"
    ),
) -> None:
    """Say which encoder, layer, irrep and pooling gives the most accessible geometric information.

    The answer comes from saved results, by default those of `reproduce`; or, with --dataset, from
    new sweeps with mean and sum pooling. Channels are ranked by the lower end of the 95 % interval
    of R²_geom.
    """
    from cpdjax.studies import recommendation

    if dataset is None:
        tables = recommendation.load(path or Path("cpdjax-reproduction"))
    elif path is not None:
        raise InputError("saved results or --dataset: give one of them")
    else:
        tables = recommendation.survey(
            options.listed(models),
            dataset=dataset,
            targets=targets,
            n=n,
            repeats=repeats,
            seed=seed,
            most=most,
            out=out,
            progress=show_progress(),
        )
    names = [str(name) for name in tables[0].target.values] if target is None else [target]
    for name in names:
        choices = recommendation.recommend(tables, name, most)
        table = Table(*recommendation.HEAD, title=for_terminal(name), box=SIMPLE_HEAD)
        for choice in choices:
            table.add_row(*map(for_terminal, choice.cells))
        show(table)
        put(recommendation.advice(choices, name))


def scatter(
    features: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Names of models, or files of features.")
    ],
    dataset: options.Dataset = None,
    targets: options.Targets = None,
    n: options.Molecules = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Layers, separated by commas; by default the last interaction layer."),
    ] = None,
    folds: options.Folds = 5,
    alpha: Annotated[
        str | None,
        typer.Option(help='Ridge penalty α, or "loo"; by default that of a sweep.'),
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("cpdjax-scatter"),
) -> None:
    """Show which molecules carry a score: an interactive page of predictions and molecules.

    Without --targets, the gap of QM9 or all targets of a file. The scores are those of the first
    repeat of a sweep.
    """
    from cpdjax.reports.pages import scatter
    from cpdjax.studies.carriers import carriers

    found = carriers(
        features,
        dataset=dataset,
        targets=targets,
        n=n,
        layers=options.listed(layers),
        folds=folds,
        alpha=None if alpha is None else options.penalty(alpha),
        seed=seed,
        progress=show_progress(),
    )
    show(scatter.text_table(found), saved=scatter.save(found, out, command_line()))
