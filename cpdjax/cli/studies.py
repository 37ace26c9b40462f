"""Define the commands about the paper's findings: `reproduce`, `recommend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cpdjax.bounds import MOST_COPIES
from cpdjax.cli import completion, options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import command_line, show, takes_json, tell
from cpdjax.configuration import checked
from cpdjax.errors import InputError
from cpdjax.progress import expect, stage
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, MOST_RANKED, Settings

_Models = Annotated[
    str | None,
    typer.Option(
        help="Names of models, separated by commas; by default all that are installed.",
        rich_help_panel=options.DATA,
        autocompletion=completion.models,
    ),
]


@takes_json
def reproduce(
    out: Annotated[
        Path, typer.Option(help="Folder of the report.", rich_help_panel=options.OUTPUT)
    ] = Path("cpdjax-reproduction"),
    models: _Models = None,
    also: Annotated[
        Path | None,
        typer.Option(
            help="Folder of saved models, such as `cpdjax models convert` makes: all take part; by "
            "default none.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    n: options.Molecules = DEFAULT_MOLECULES,
    draws: Annotated[
        int,
        typer.Option(
            min=2,
            max=MOST_COPIES,
            help="Disjoint draws of so many molecules.",
            rich_help_panel=options.PROBE,
        ),
    ] = 5,
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Numbers of molecules, separated by commas; by default 50 to 2,000.",
            rich_help_panel=options.PROBE,
        ),
    ] = None,
    repeats: options.Repeats = 5,
    seed: options.Seed = 0,
) -> None:
    """Hold the paper's findings against models and controls; report in Markdown, HTML and CSV.

    All installed models take part, their training runs, untrained twins, and descriptors without
    geometry. Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.reports import findings
    from cpdjax.reports.study_tables import findings_table
    from cpdjax.studies import reproduction

    expect(1)
    names, n = options.listed(models), n or DEFAULT_MOLECULES
    plan = reproduction.plan(reproduction.subjects(names, also), n, draws)
    tell("plan", plan, [plan])
    found = reproduction.reproduce(
        out,
        names,
        also=also,
        n=n,
        draws=draws,
        sizes=checked(Settings, {"sizes": options.listed(sizes)}).sizes,
        repeats=repeats,
        seed=seed,
        progress=show_progress(),
    )
    show(findings_table(found))
    with stage("report and figures"):
        saved = findings.save(found, out, command_line())
    show(saved=saved)


@takes_json
def recommend(
    path: Annotated[
        Path | None, typer.Argument(help="Results of a sweep, of `reproduce` or of this command.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target; by default each.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help='Molecules of your own, or "qm9", "qm9-probe"; these are swept anew.',
            rich_help_panel=options.DATA,
        ),
    ] = None,
    targets: options.Targets = None,
    models: _Models = None,
    n: options.Molecules = None,
    repeats: options.Repeats = 5,
    seed: options.Seed = 0,
    most: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_COPIES, help="Rows of the table.", rich_help_panel=options.OUTPUT
        ),
    ] = MOST_RANKED,
    with_trained: Annotated[
        bool,
        typer.Option(
            "--with-trained",
            help="Rank models that were trained on the target as well, and mark them.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of new results.", rich_help_panel=options.OUTPUT)
    ] = Path("cpdjax-recommendation"),
) -> None:
    """Say which encoder, layer, irrep and pooling gives the most accessible geometric information.

    The answer comes from saved results, by default those of `reproduce`; or, with --dataset, from
    new sweeps with mean and sum pooling. Channels are ranked by the lower end of the 95 % interval
    of R²_geom. Models that were trained on the target asked for are named, and not ranked.
    """
    from cpdjax.reports.study_tables import recommendation_table
    from cpdjax.studies import recommendation

    if dataset is None:
        tables = recommendation.load(path or recommendation.REPRODUCTION)
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
    show(recommendation_table(tables, names, most, with_trained))


@takes_json
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
    alpha: options.Penalty = "loo",
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
        alpha=options.penalty(alpha),
        seed=seed,
        progress=show_progress(),
    )
    show(scatter.text_table(found))
    with stage("page"):
        saved = scatter.save(found, out, command_line())
    show(saved=saved)
