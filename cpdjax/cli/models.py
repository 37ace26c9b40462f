"""Define the commands about models: `models` (`show`, `convert`), `extract`, `train`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import cpdjax
from cpdjax import models
from cpdjax.bounds import MOST_COPIES, MOST_ROWS, MOST_SEED
from cpdjax.cli import completion, options
from cpdjax.cli.messages import show_progress
from cpdjax.cli.terminal import put, show, takes_json
from cpdjax.errors import FileError
from cpdjax.models import listing, naming
from cpdjax.models.cards import card_of
from cpdjax.models.weights.wheels import INSTALL
from cpdjax.processes import ALONE, Team
from cpdjax.progress import expect, stage
from cpdjax.reports.sheet import Column, Sheet

_TRAINING = "Training"


class Models(TyperGroup):
    """Take the name of a model for `show`, so that `cpdjax models painn-qm9-gap` shows it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command, its name and the arguments that are left."""
        known = args[0] in self.commands or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["show", *args])


@takes_json
def list_models(
    context: typer.Context,
    layers: Annotated[
        bool, typer.Option("--layers", help="Show the layers of all models.")
    ] = False,
) -> None:
    """List the models that features can come from, or show one: `cpdjax models show NAME`."""
    if context.invoked_subcommand is None:
        facts = [_facts(name) for name in models.names()]
        show(*([_layers_table(facts)] if layers else [_models_table(facts)]))


@takes_json
def show_model(
    name: Annotated[str, typer.Argument(help="A model's name, or the folder of a training run.")],
) -> None:
    """Show what is known of a model: its data, licence, weights, and the irreps of its layers."""
    shipped = name in naming.shipped(runs=True)
    facts = _facts(name) if shipped else _facts_of_folder(name)
    show(_facts_table(facts), _layers_table([facts]))


def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="A model of mace-torch, megnet or nequix; or a folder of ANI networks, or their "
            "archive."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="The folder to write, which is the model's name from then on.")
    ],
    head: Annotated[str | None, typer.Option(help="Which of several heads to keep.")] = None,
) -> None:
    """Convert a model of another program to a folder that every command takes for a model's name.

    A model of mace-torch (NAME.model); a network of megnet (NAME.hdf5, with NAME.hdf5.json); or
    megnet-1.3.2.tar.gz, whose networks become folders below --out; a model of nequix (NAME.nqx);
    a folder of ANI networks, or its archive (ANI-2x). None of the programs that wrote them is
    needed, and nothing in the file is run.
    """
    found = models.convert(file, out, head=head)
    several = isinstance(found, list)
    for encoder in found if isinstance(found, list) else [found]:
        if not several:
            for layer, irreps in encoder.irreps.items():
                put(f"{layer}  {irreps}")
        place = out / encoder.name if several else out
        put(f"saved {place}, {encoder.parameters:,} parameters")


@options.takes_processes
def extract(
    model: options.Model,
    dataset: Annotated[
        str,
        typer.Argument(help=f'"qm9", "qm9-probe", "conformers" or {options.FILES}.'),
    ],
    out: Annotated[
        Path, typer.Option(help="The Zarr store to write.", rich_help_panel=options.OUTPUT)
    ],
    n: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_ROWS,
            help="Molecules drawn from QM9; by default all, and 300 for conformers.",
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
    elements: options.Elements = None,
    skip_unknown: options.SkipUnknown = False,
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
    from cpdjax.features.extraction import known_layers
    from cpdjax.features.sources import Source
    from cpdjax.models import zoo
    from cpdjax.sweeps import inputs

    expect(2)
    inputs.check_drawn(dataset, n)
    encoder = models.load(model)
    with stage("data"):
        structures = inputs.molecules(
            dataset,
            n,
            seed,
            elements=options.listed(elements),
            known={model: encoder.elements} if skip_unknown else None,
            default=None,
        )
    wanted = known_layers(encoder, options.listed(layers))
    Source(model, encoder, list(wanted), zoo.split(model)).check(structures)
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
            help=f'"qm9" or {options.FILES}; by default qm9.', rich_help_panel=options.DATA
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


def _facts(name: str) -> dict[str, Any]:
    """Return what is known of a model by the name of each fact."""
    found = listing.listed().get(name)
    card = found.card if found else card_of(f"{naming.SHIPPED}{name}")
    facts: dict[str, Any] = {"model": name, "family": card.family, "trained_on": card.data}
    facts |= {"licence": card.licence, "installed": card.installed, "parameters": None}
    if not card.installed:
        return facts | {"layers": {}, "weights": _install(card.distribution)}
    try:
        known = found or listing.loaded(name)
        known.check()
    except FileError as error:  # the wheel is of another version, or altered
        return facts | {"layers": {}, "weights": f"damaged: {error}"}
    of_model = {"parameters": known.parameters, "layers": dict(known.layers)}
    return facts | of_model | {"weights": "installed"}


def _facts_of_folder(path: str) -> dict[str, Any]:
    """Return what is known of the model in a folder, or of one that no list shows."""
    model = models.load(path)
    named = naming.find(path)
    card = card_of(path) if named else None
    known = {}
    if card:
        known = {"family": card.family, "trained_on": card.data, "licence": card.licence}
    layers = {layer: str(irreps) for layer, irreps in model.irreps.items()}
    parameters = getattr(model, "parameters", None)  # which models of a user's own may lack
    return {"model": path, **known, "parameters": parameters, "layers": layers}


def _models_table(facts: Sequence[Mapping[str, Any]]) -> Sheet:
    """Return a line for each model; what stands before a colon or a bracket is enough of a fact."""
    columns = [Column("model", "name"), Column("family", "name"), Column("trained on", "name")]
    rows, missing = [], []
    for fact in facts:
        state = {"installed": "yes"}.get(fact["weights"], "damaged" if fact["installed"] else "no")
        short = fact["family"].partition(" (")[0], fact["trained_on"].partition(":")[0]
        rows.append((fact["model"], *short, state))
        if state != "yes":
            missing.append(f"{fact['model']}: {fact['weights']}")
    several = [runs for runs in map(naming.runs_of, naming.trained()) if len(runs) > 1]
    notes = [
        *missing,
        f"Further training runs of {len(several)} models, such as {several[0][1]}",
        "More of one: cpdjax models show NAME. Layers of all: cpdjax models --layers",
    ]
    return Sheet("models", "", [*columns, Column("installed", "name")], rows, facts, notes)


def _layers_table(facts: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = [Column("model", "group"), Column("layer", "name"), Column("irreps", "name")]
    records = [
        {"model": fact["model"], "layer": layer, "irreps": irreps}
        for fact in facts
        for layer, irreps in fact["layers"].items()
    ]
    return Sheet("layers", "", columns, [tuple(record.values()) for record in records], records)


def _facts_table(facts: Mapping[str, Any]) -> Sheet:
    """Return a line for each fact but the layers."""
    shown = {k: v for k, v in facts.items() if k not in ("layers", "installed") and v is not None}
    texts = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in shown.items()}
    rows = [(name.replace("_", " "), text) for name, text in texts.items()]
    return Sheet("model", "", [Column("fact", "name"), Column("value", "words")], rows, [facts])


def _install(distribution: str | None) -> str:
    """Return the command that installs one wheel without its dependencies, torch among them."""
    [pin] = (word for word in INSTALL.split() if word.partition("==")[0] == distribution)
    return f"pip install --no-deps {pin}"
