"""Define the commands about sweeps: `sweep`, `report`, `compare`, `ladder`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cpdjax
from cpdjax.cli import options
from cpdjax.cli.terminal import command_line, console, folder_of, show, show_progress
from cpdjax.configuration import checked, read_toml
from cpdjax.processes import ALONE, Team
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, LAST, Config

if TYPE_CHECKING:
    import xarray as xr


@options.takes_processes
@options.takes_settings(Config)
def sweep(
    config: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    models: options.Models = None,
    team: Team = ALONE,
    **given: Any,
) -> None:
    """Probe features for targets; without arguments, 2,000 molecules of QM9.

    Interrupted and started again, it goes on where it stopped.
    """
    if models is not None:
        given["features"] = [*given.get("features", ()), *(options.listed(models) or ())]
    chosen = checked(Config, {**(read_toml(config) if config else {}), **given})

    table = cpdjax.sweep(
        chosen.features,
        dataset=chosen.dataset,
        targets=chosen.targets,
        n=chosen.n,
        out=chosen.out,
        progress=show_progress() and team.leads,
        processes=team,
        **chosen.given,
    )
    if team.leads:
        _show(table)  # before figures are drawn, which takes longer than all else that is left
        show(saved=_saved(table, chosen.out, chosen.format))


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sweeps of different features.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Join sweeps of different models that were made apart, on the same molecules and settings.

    The folder is that of one sweep of all models. p-values are adjusted anew, for all of them.
    """
    from cpdjax import checksums
    from cpdjax.sweeps.merging import merged

    kind = "netcdf" if (folders[0] / "results.nc").exists() else "zarr"
    with merged(folders, out) as (table, folder):
        saved = _saved(table, folder, kind)
        checksums.add(folder, saved)
    _show(table)
    show(saved=[out / path.name for path in saved])


def report(
    path: options.Results,
    out: Annotated[Path | None, typer.Option(help="Folder of the page and figures.")] = None,
) -> None:
    """Print the table of saved results, and write their figures and their page anew."""
    from cpdjax.sweeps import results

    table = results.load(path)
    _show(table)
    show(saved=_pictured(table, out or folder_of(path)))


def compare(
    path: options.Results,
    target: Annotated[
        str | None, typer.Option(help="Names of targets, separated by commas; by default all.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The model that all others are compared with; by default every pair."),
    ] = None,
    layer: Annotated[
        str, typer.Option(help='The layer to compare, or "last": the last of each model.')
    ] = LAST,
    out: Annotated[Path | None, typer.Option(help="Folder of the figure.")] = None,
) -> None:
    """Compare models with each other: differences of R²_geom, their intervals and p-values."""
    from cpdjax.reports import figures, significance, significance_figures
    from cpdjax.sweeps import results

    found = cpdjax.differences(
        results.load(path), options.listed(target), reference=reference, layer=layer
    )
    plotted = {"differences.png": significance_figures.plot_differences(found)}
    saved = figures.write(plotted, out or folder_of(path))
    show(significance.differences_table(found), saved=saved)


def ladder(
    model: Annotated[str, typer.Argument(help="A model's name; see `cpdjax models`.")],
    dataset: Annotated[
        str, typer.Argument(help='"qm9", or a file that ASE reads and that holds SMILES.')
    ] = "qm9",
    layer: Annotated[str | None, typer.Option(help="The layer; by default the last.")] = None,
    targets: Annotated[
        str, typer.Option(help="Names of targets, separated by commas.")
    ] = "gap,mu,alpha",
    n: options.Molecules = DEFAULT_MOLECULES,
    folds: options.Folds = 5,
    alpha: options.Penalty = "loo",
    seed: options.Seed = 0,
) -> None:
    """Show the R² that composition, bonds, functional groups and geometry add, in this order."""
    from cpdjax.features.sources import collect
    from cpdjax.reports.ladder import text_table
    from cpdjax.sweeps.pairing import paired
    from cpdjax.sweeps.targets import Targets

    penalty, read = options.penalty(alpha), cpdjax.datasets.read
    structures = cpdjax.datasets.qm9(n, seed) if dataset == "qm9" else read(dataset)
    rungs = {
        "bonds and rings": cpdjax.bond_counts(structures)[0],
        "functional groups": cpdjax.group_counts(structures)[0],
    }
    predicted = Targets.from_structures(structures, options.listed(targets))
    [features] = collect(model, structures, layers=None if layer is None else [layer])
    features = paired(features, predicted)
    last = list(features)[-1]
    found = cpdjax.ladder(
        features.scalars(last),
        predicted.counts,
        predicted.y,
        {name: counts for name, counts in rungs.items() if counts.size},
        folds=folds,
        alpha=penalty,
        seed=seed,
    )
    title = f"{features.model} / {last}, {len(structures):,} molecules"
    show(text_table(found, list(predicted.by_name), title))


def _saved(table: xr.Dataset, folder: Path, kind: str) -> list[Path]:
    """Save results with their long table, figures and page, and return the paths."""
    from cpdjax.sweeps import results

    suffix = ".zarr" if kind == "zarr" else ".nc"
    return [
        results.save(table, folder / f"results{suffix}"),
        results.save(table, folder / "results.csv"),
        *_pictured(table, folder),
    ]


def _pictured(table: xr.Dataset, folder: Path) -> list[Path]:
    """Write the figures of results, and the page that holds them; return the paths."""
    from cpdjax.reports import score_figures
    from cpdjax.reports.pages import sweep as page

    figures = score_figures.save_figures(table, folder)
    return [page.save(table, figures, folder, command_line()), *figures]


def _show(table: xr.Dataset) -> None:
    """Print the table of scores, and that of their uncertainty."""
    from cpdjax.reports import scores, significance

    width = console().width
    show(scores.text_table(table, width), significance.uncertainty_table(table, width))
