"""Define the command `models runs`: further training runs of the models that come with cpdjax."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import cpdjax
from cpdjax.bounds import MOST_SEED
from cpdjax.cli import completion, options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import put
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import naming
from cpdjax.progress import stage


def runs(
    names: Annotated[
        str | None,
        typer.Argument(
            help="Models, such as painn-qm9-gap, separated by commas; by default all ten.",
            autocompletion=completion.models,
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Random seeds, separated by commas; 0 made the first run.")
    ] = "1,2",
    out: Annotated[Path, typer.Option(help="The folder in which each run has its own.")] = Path(
        "cpdjax-runs"
    ),
) -> None:
    """Train models that come with cpdjax once more, with other random seeds.

    Each run is what `cpdjax train` makes of the model's config.json with that seed, in a folder
    such as painn-qm9-gap-run1, whose path is a model's name from then on. Finished runs are left as
    they are. Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.models import training
    from cpdjax.models.training.recipes import read_config, recipe

    chosen = options.listed(names) or list(naming.trained())
    for name in chosen:
        if name not in naming.trained():
            raise UnknownNameError("trained model", name, naming.trained())
    wanted = _seeds(seeds)
    with stage("data"):
        structures = cpdjax.datasets.qm9()
    for seed in wanted:
        for name in chosen:
            config = read_config(naming.ZOO / name / naming.CONFIG)
            folder = out / f"{name}-run{seed}"
            own = recipe(**{**config, "seed": seed})
            training.train(own, structures, folder, progress=show_progress())
            put(f"saved {folder}")


def _seeds(text: str) -> list[int]:
    """Return the seeds in a text."""
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = [-1]
    if not all(1 <= seed <= MOST_SEED for seed in found):
        raise InputError(f"--seeds: expected whole numbers from 1 on, such as 1,2, got {text!r}")
    return found
