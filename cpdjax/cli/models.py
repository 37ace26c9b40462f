"""Define the commands about models: `models`, `models convert`, `extract`, `train`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

import cpdjax
from cpdjax import models
from cpdjax.bounds import MOST_COPIES, MOST_ROWS, MOST_SEED
from cpdjax.cli import completion, options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import put, show
from cpdjax.errors import FileError, InputError
from cpdjax.models import listing, naming
from cpdjax.models.cards import card_of
from cpdjax.models.weights.wheels import INSTALL
from cpdjax.processes import ALONE, Team
from cpdjax.progress import expect, stage
from cpdjax.reports.text import MOST_OF_A_SENTENCE, for_terminal

_TRAINING = "Training"


def list_models(context: typer.Context) -> None:
    """List the models that features can come from."""
    if context.invoked_subcommand is not None:
        return
    table = Table("model", "family", "parameters", "layers", "trained on", "licence", "weights")
    known = listing.listed()
    for name in models.names():
        table.add_row(for_terminal(name), *map(_several_lines, _facts(name, known.get(name))))
    show(table)


def convert(
    file: Annotated[Path, typer.Argument(help="A model of mace-torch, NAME.model.")],
    out: Annotated[
        Path, typer.Option(help="The folder to write, which is the model's name from then on.")
    ],
    head: Annotated[str | None, typer.Option(help="Which of several heads to keep.")] = None,
) -> None:
    """Convert a MACE model of your own to a folder that every command takes for a model's name.

    The file is read without torch, and nothing in it is run.
    """
    encoder = models.convert(file, out, head=head)
    for layer, irreps in encoder.irreps.items():
        put(f"{layer}  {irreps}")
    put(f"saved {out}, {encoder.parameters:,} parameters")


@options.takes_processes
def extract(
    model: options.Model,
    dataset: Annotated[str, typer.Argument(help='"qm9", "qm9-probe" or a file that ASE reads.')],
    out: Annotated[
        Path, typer.Option(help="The Zarr store to write.", rich_help_panel=options.OUTPUT)
    ],
    n: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_ROWS,
            help="Molecules drawn from QM9; by default all.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_SEED,
            help="Random seed of the molecules drawn.",
            rich_help_panel=options.DATA,
        ),
    ] = 0,
    layers: options.Layers = None,
    pool: Annotated[
        str,
        typer.Option(
            help="mean or sum over atoms, or atom: a row for each atom.",
            rich_help_panel=options.PREPARATION,
            autocompletion=completion.one_of(("mean", "sum", "atom")),
        ),
    ] = "mean",
    invariants: Annotated[
        str | None,
        typer.Option(
            help="Make scalars at once: pool-then-norm, norm-then-pool or power-spectrum; by "
            "default layers keep their irreps.",
            rich_help_panel=options.PREPARATION,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float64 or float32; by default float64 wherever the device has it.",
            rich_help_panel=options.PREPARATION,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_COPIES,
            help="Molecules in one batch; by default as many as suit the device's memory.",
            rich_help_panel=options.PREPARATION,
        ),
    ] = None,
    team: Team = ALONE,
) -> None:
    """Compute a model's features of every structure, into a Zarr store.

    Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.models import zoo

    draw = {"qm9": cpdjax.datasets.qm9, "qm9-probe": zoo.qm9_probe}.get(dataset)
    if n is not None and draw is None:
        raise InputError("--n draws molecules from QM9; a file is taken whole")
    expect(2)
    with stage("data"):
        structures = draw(n, seed) if draw else cpdjax.datasets.read(dataset)
    seen = zoo.split(model)
    if seen is not None:
        seen.check_unseen(model, structures)
    cpdjax.extract_to(
        out,
        model,
        structures,
        layers=options.listed(layers),
        pool=pool,
        invariants=invariants,
        dtype=dtype,
        batch_size=batch_size,
        progress=show_progress() and team.leads,
        processes=team,
    )
    if team.leads:
        put(f"saved {out}")


def train(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file of a recipe, or a run's config.json.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="An architecture, such as painn.", autocompletion=completion.architectures
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="A target, such as gap or energy.",
            rich_help_panel=options.DATA,
            autocompletion=completion.targets,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help='"qm9" or a file that ASE reads; by default qm9.', rich_help_panel=options.DATA
        ),
    ] = None,
    train: Annotated[
        int | None,
        typer.Option(help="Training molecules; by default 20,000.", rich_help_panel=options.DATA),
    ] = None,
    validation: Annotated[
        int | None,
        typer.Option(help="Validation molecules; by default 2,000.", rich_help_panel=options.DATA),
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(
            help="Molecules that are held out, to be probed later; by default 10,000.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    probe: Annotated[
        int | None, typer.Option(help="The former name of --held-out.", hidden=True)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs; by default 5.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Batch size, in molecules; by default 32.", rich_help_panel=_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate; by default the architecture's.", rich_help_panel=_TRAINING
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Random seed of the weights and of the molecules' order; by default 0.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; by default its name.", rich_help_panel=options.OUTPUT
        ),
    ] = None,
) -> None:
    """Train an architecture on one target; the folder is a model's name from then on.

    Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.models import training, zoo
    from cpdjax.models.training.recipes import read_config, recipe

    if probe is not None:
        warnings.warn("--probe is called --held-out now", stacklevel=1)
    given = {
        "architecture": model,
        "target": target,
        "dataset": dataset,
        "train": train,
        "validation": validation,
        "held_out": probe if held_out is None else held_out,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    chosen = recipe(
        **{
            **(read_config(config) if config else {}),
            **{name: value for name, value in given.items() if value is not None},
        }
    )
    qm9 = chosen.dataset == "qm9"
    expect(2)
    with stage("data"):
        structures = cpdjax.datasets.qm9() if qm9 else cpdjax.datasets.read(chosen.dataset)
    folder = out or Path(chosen.name)
    encoder = training.train(chosen, structures, folder, progress=show_progress())
    for fact, value in zoo.card(folder).items():
        put(f"{fact:16s} {value}")
    put(f"saved {folder}, {encoder.parameters:,} parameters")


def _facts(name: str, known: listing.Listed | None) -> tuple[str, ...]:
    """Return the cells of a model's row."""
    card = known.card if known else card_of(f"{naming.SHIPPED}{name}")
    if not card.installed:
        return card.family, "", "", card.data, card.licence, _install(card.distribution)
    try:
        model = known or listing.loaded(name)
        model.check()
    except FileError as error:  # the wheel is of another version, or altered
        return card.family, "", "", card.data, card.licence, str(error)
    layers = "\n".join(f"{layer} {irreps}" for layer, irreps in model.layers.items())
    return card.family, f"{model.parameters:,}", layers, card.data, card.licence, "installed"


def _several_lines(text: str) -> Text:
    """Return a cell whose line breaks are ours, and whose names are shown as they are."""
    lines = (for_terminal(line, most=MOST_OF_A_SENTENCE) for line in text.split("\n"))
    return Text("\n").join(lines)


def _install(distribution: str | None) -> str:
    """Return the command that installs one wheel without its dependencies, torch among them."""
    [pin] = (word for word in INSTALL.split() if word.partition("==")[0] == distribution)
    return f"pip install --no-deps {pin}"
