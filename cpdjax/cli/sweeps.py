"""Define the commands about sweeps: `sweep`, `report`, `compare`, `ladder`."""

from __future__ import annotations

import json
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import cpdjax
from cpdjax.cli import completion, options, spaces
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import command_line, folder_of, put_lines, show, takes_json, tell
from cpdjax.configuration import as_toml, checked, read_toml, schema_of
from cpdjax.errors import FileError, LeftOutWarning
from cpdjax.processes import ALONE, Team
from cpdjax.progress import expect, stage
from cpdjax.sweeps.settings import ALL, DEFAULT_MOLECULES, LAST, Config

if TYPE_CHECKING:
    import xarray as xr


@takes_json
@options.takes_processes
@options.takes_settings(Config)
def sweep(
    config: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    models: options.Models = None,
    print_config: options.PrintConfig = False,
    print_schema: options.PrintSchema = False,
    team: Team = ALONE,
    **given: Any,
) -> None:
    """Probe features for targets.

    Without arguments: the ten models that come with cpdjax and two descriptors,
    all scalars of the last interaction layer of each, on 2,000 molecules of QM9
    that no model has seen. Models that are named are probed in all layers.
    Interrupted and started again, it goes on where it stopped.
    """
    if print_schema:
        put_lines(json.dumps(schema_of(Config), indent=2, ensure_ascii=False))
        return
    if models is not None:
        given["features"] = [*given.get("features", ()), *(options.listed(models) or ())]
    chosen = checked(Config, {**(read_toml(config) if config else {}), **given})
    if print_config:
        put_lines(as_toml(chosen))
        return
    expect(2)  # of `_saved`
    warnings.filterwarnings("ignore", category=LeftOutWarning)  # the table says all of it, once

    table = cpdjax.sweep(
        chosen.features,
        controls=chosen.controls,
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


@takes_json
def merge(
    folders: Annotated[list[Path], typer.Argument(help="Folders of sweeps of different features.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Join sweeps of different models that were made apart, on the same molecules and settings.

    The folder is that of one sweep of all models. p-values are adjusted anew, for all of them.
    """
    from cpdjax import checksums
    from cpdjax.sweeps.merging import merged

    expect(2)  # of `_saved`
    kind = "netcdf" if (folders[0] / "results.nc").exists() else "zarr"
    with merged(folders, out) as (table, folder):
        saved = _saved(table, folder, kind)
        checksums.add(folder, saved)
    _show(table)
    show(saved=[out / path.name for path in saved])


@takes_json
def report(
    path: Annotated[
        Path,
        typer.Argument(
            help="The folder of a sweep or of a comparison of spaces, a .zarr or a .nc."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the page and figures.")] = None,
) -> None:
    """Print the table of saved results, and write their figures and their page anew.

    The results are those of a sweep, or of a comparison of spaces.
    """
    from cpdjax.representations import results as compared
    from cpdjax.sweeps import results

    if compared.holds(path):
        table, shown, pictured = compared.load(path), spaces.show_spaces, spaces.pictured
    else:
        table, shown, pictured = results.load(path), _show, _pictured
    shown(table)
    with stage("figures and page"):
        saved = pictured(table, out or folder_of(path))
    show(saved=saved)


@takes_json
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
        str,
        typer.Option(
            help='The layer to compare, or "last": the last interaction layer of each model.'
        ),
    ] = LAST,
    out: Annotated[Path | None, typer.Option(help="Folder of the figure.")] = None,
) -> None:
    """Compare models with each other: differences of R²_geom, their intervals and p-values.

    Where the results hold several training runs of a model, a second table takes these together.
    """
    from cpdjax.reports import figures, significance, significance_figures
    from cpdjax.sweeps.table import of_runs

    with stage("comparing models"):
        table = _of_sweep(path)
        how: dict[str, Any] = {"reference": reference, "layer": layer}
        found = [cpdjax.differences(table, options.listed(target), **how)]
        known = of_runs([*found[0].model, *found[0].reference])
        if len(known) > 1 and any(len(runs) > 1 for runs in known.values()):
            found.append(cpdjax.differences(table, options.listed(target), **how, runs=True))
    with stage("figures"):
        plotted = {"differences.png": significance_figures.plot_differences(found[0], table)}
        saved = figures.write(plotted, out or folder_of(path))
    show(*(significance.differences_table(one, table) for one in found), saved=saved)


def _of_sweep(path: Path) -> xr.Dataset:
    """Return the results of a sweep, or say what shows those of a comparison of spaces."""
    from cpdjax.representations import results as compared
    from cpdjax.sweeps import results

    if compared.holds(path) and not results.holds(path):
        raise FileError(
            f"{path} holds a comparison of spaces, and no scores of a sweep to compare: "
            f"`cpdjax report {shlex.quote(str(path))}` shows how alike its models are"
        )
    return results.load(path)


@takes_json
def ladder(
    models: Annotated[
        str,
        typer.Argument(
            metavar="MODELS",
            help="Names of models, separated by commas, or all: those that come with cpdjax, two "
            "descriptors and the controls. Or package.module:object, whose code is run.",
            autocompletion=completion.models,
        ),
    ],
    dataset: Annotated[
        str, typer.Argument(help='"qm9", "qm9-probe", or a file that ASE reads, with SMILES.')
    ] = "qm9",
    layer: Annotated[
        str | None,
        typer.Option(
            help='The layer, or "last": the last interaction layer. By default the very last of a '
            "model alone, and last of several."
        ),
    ] = None,
    targets: Annotated[
        str, typer.Option(help="Names of targets, separated by commas.")
    ] = "gap,mu,alpha",
    n: options.Molecules = DEFAULT_MOLECULES,
    folds: options.Folds = 5,
    alpha: options.Penalty = "loo",
    seed: options.Seed = 0,
) -> None:
    """Show the R² that composition, bonds, functional groups and geometry add, in this order.

    Several models stand in one table, on the same molecules and folds.
    """
    from cpdjax.reports.ladder import table_of_models, text_table
    from cpdjax.studies.ladders import ladders

    found = ladders(
        ALL if models == ALL else options.listed(models) or (),
        dataset=dataset,
        layer=layer,
        targets=options.listed(targets),
        n=n,
        folds=folds,
        alpha=options.penalty(alpha),
        seed=seed,
    )
    names, units = list(found.units), list(found.units.values())
    if len(found.models) == 1:
        [(name, one)] = found.models.items()
        title = f"{name} / {found.layers[name]}, {found.molecules:,} molecules"
        show(text_table(one, names, title, units))
        return
    title = f"{found.molecules:,} molecules of {found.dataset}"
    show(table_of_models(found.models, names, title, units))


def _saved(table: xr.Dataset, folder: Path, kind: str) -> list[Path]:
    """Save results with their long table, figures and page, and return the paths."""
    from cpdjax.sweeps import results

    suffix = ".zarr" if kind == "zarr" else ".nc"
    with stage("writing results"):
        saved = [
            results.save(table, folder / f"results{suffix}"),
            results.save(table, folder / "results.csv"),
        ]
    with stage("figures and page"):
        return [*saved, *_pictured(table, folder)]


def _pictured(table: xr.Dataset, folder: Path) -> list[Path]:
    """Write the figures of results, and the page that holds them; return the paths."""
    from cpdjax.reports import score_figures
    from cpdjax.reports.pages import sweep as page

    figures = score_figures.save_figures(table, folder)
    return [page.save(table, figures, folder, command_line()), *figures]


def _show(table: xr.Dataset) -> None:
    """Print scores, their uncertainty, what was left out, and what makes scores unreliable."""
    from cpdjax.reports import hints, scores, significance
    from cpdjax.sweeps import left_out

    uncertain = significance.uncertainty_table(table), significance.runs_table(table)
    show(scores.text_table(table), *uncertain)
    tell("left_out", left_out.left_out_of(table), left_out.lines(table))
    found = hints.hints(table)
    tell("hints", found, found)
