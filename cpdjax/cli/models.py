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
from cpdjax.cli import options
from cpdjax.cli.terminal import put, show, show_progress
from cpdjax.errors import FileError
from cpdjax.models import listing, naming
from cpdjax.models.cards import card_of
from cpdjax.models.weights.wheels import INSTALL
from cpdjax.processes import ALONE, Team
from cpdjax.reports.text import MOST_OF_A_SENTENCE, for_terminal


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
    model: Annotated[str, typer.Argument(help="A model's name; see `cpdjax models`.")],
    dataset: Annotated[str, typer.Argument(help='"qm9", "qm9-probe" or a file that ASE reads.')],
    out: Annotated[Path, typer.Option(help="The Zarr store to write.")],
    n: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_ROWS, help="Molecules drawn from QM9; by default all."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Random seed of the molecules drawn.")
    ] = 0,
    layers: options.Layers = None,
    elements: options.Elements = None,
    skip_unknown: options.SkipUnknown = False,
    pool: Annotated[
        str, typer.Option(help="mean or sum over atoms, or atom: a row for each atom.")
    ] = "mean",
    invariants: Annotated[
        str | None,
        typer.Option(
            help="Make scalars at once: pool-then-norm, norm-then-pool or power-spectrum."
        ),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=MOST_COPIES, help="Molecules in one batch.")
    ] = None,
    team: Team = ALONE,
) -> None:
    """Compute a model's features of every structure, into a Zarr store.

    Interrupted and started again, it goes on where it stopped.
    """
    from cpdjax.features.extraction import known_layers
    from cpdjax.features.limits import check_elements
    from cpdjax.models import zoo
    from cpdjax.sweeps import inputs

    encoder = models.load(model)
    structures = inputs.molecules(
        dataset,
        n,
        seed,
        elements=options.listed(elements),
        known={model: encoder.elements} if skip_unknown else None,
        default=None,
    )
    wanted = known_layers(encoder, options.listed(layers))
    check_elements(encoder, structures)
    seen = zoo.split(model)
    if seen is not None:
        seen.check_unseen(model, structures)
    cpdjax.extract_to(
        out,
        encoder,
        structures,
        layers=wanted,
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
    model: Annotated[str | None, typer.Option(help="An architecture, such as painn.")] = None,
    target: Annotated[str | None, typer.Option(help="A target, such as gap or energy.")] = None,
    dataset: Annotated[str | None, typer.Option(help='"qm9" or a file that ASE reads.')] = None,
    train: Annotated[int | None, typer.Option(help="Training molecules.")] = None,
    validation: Annotated[int | None, typer.Option(help="Validation molecules.")] = None,
    held_out: Annotated[
        int | None, typer.Option(help="Molecules that are held out, to be probed later.")
    ] = None,
    probe: Annotated[
        int | None, typer.Option(help="The former name of --held-out.", hidden=True)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size, in molecules.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of the weights and of the molecules' order.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default its name.")
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
