"""Define the command `spaces`, and how the results of a comparison are shown and pictured."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cpdjax
from cpdjax.cli import options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import command_line, show, takes_json, tell
from cpdjax.configuration import checked
from cpdjax.errors import LeftOutWarning
from cpdjax.progress import expect, stage
from cpdjax.representations.settings import SpaceConfig

if TYPE_CHECKING:
    import xarray as xr


@takes_json
@options.takes_settings(SpaceConfig)
def spaces(models: options.Models = None, **given: Any) -> None:
    """Compare the spaces of models: how alike are they, raw and beyond composition?

    Every pair of channels (layers of models, or their irreps) is compared by
    R² in both directions, CKA, CCA, Procrustes distance, and neighbours, and
    every channel has its dimensions. Without arguments: the ten models that
    come with cpdjax and two descriptors, the last interaction layer of each.
    Interrupted and started again, it goes on where it stopped.
    """
    if models is not None:
        given["features"] = [*given.get("features", ()), *(options.listed(models) or ())]
    chosen = checked(SpaceConfig, given)
    expect(2)  # of `_saved`
    warnings.filterwarnings("ignore", category=LeftOutWarning)  # the table says all of it, once
    table = cpdjax.spaces(
        chosen.features,
        controls=chosen.controls,
        dataset=chosen.dataset,
        n=chosen.n,
        out=chosen.out,
        progress=show_progress(),
        **chosen.given,
    )
    show_spaces(table)  # before figures are drawn
    show(saved=_saved(table, chosen.out, chosen.format))


def show_spaces(table: xr.Dataset) -> None:
    """Print what channels are like, what is near, and what was left out."""
    from cpdjax.reports.spaces.sheets import pairs, sheets
    from cpdjax.sweeps import left_out

    show(*sheets(table))
    tell("measures", pairs(table), [])  # for scripts alone
    tell("left_out", left_out.left_out_of(table), left_out.lines(table))


def _saved(table: xr.Dataset, folder: Path, kind: str) -> list[Path]:
    """Save results with their long table, figures and page, and return the paths."""
    from cpdjax.representations import results

    suffix = ".zarr" if kind == "zarr" else ".nc"
    with stage("writing results"):
        name = results.SPACES.results
        saved = [results.save(table, folder / f"{name}{end}") for end in (suffix, ".csv")]
    with stage("figures and page"):
        return [*saved, *pictured(table, folder)]


def pictured(table: xr.Dataset, folder: Path) -> list[Path]:
    """Write the figures of results, and the page that holds them; return the paths."""
    from cpdjax.reports.spaces import figures, page

    saved = figures.save_figures(table, folder)
    return [page.save(table, saved, folder, command_line()), *saved]
