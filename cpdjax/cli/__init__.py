"""The command line: parses and calls, nothing else."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cpdjax import checks, models
from cpdjax.configuration import checked, read_toml
from cpdjax.data import bonds, datasets
from cpdjax.errors import FileError, InputError
from cpdjax.features import sources, store
from cpdjax.kernel.projection import PROJECTIONS
from cpdjax.models.cards import card_of
from cpdjax.models.training import run as training
from cpdjax.models.training.recipes import read_config, recipe
from cpdjax.models.weights.wheels import INSTALL
from cpdjax.probes.ladder import ladder as climb
from cpdjax.reports import checks as page
from cpdjax.reports import figures
from cpdjax.reports import findings as findings_page
from cpdjax.reports import scores as report
from cpdjax.reports.ladder import text_table
from cpdjax.reports.significance import differences_table, plot_differences, uncertainty_table
from cpdjax.studies import recommend as advising
from cpdjax.studies import reproduce as reproduction
from cpdjax.sweeps import results
from cpdjax.sweeps.differences import LAST, differences
from cpdjax.sweeps.settings import DEFAULT_MOLECULES, Config, Settings
from cpdjax.sweeps.sweep import sweep as run_sweep
from cpdjax.sweeps.targets import Targets

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    pretty_exceptions_enable=False,
)

models_app = typer.Typer(invoke_without_command=True)
app.add_typer(models_app, name="models")

_INVARIANTS = "How scalars are made: pool-then-norm, norm-then-pool or power-spectrum."
_PROJECTION = f"What is taken from the features: {', '.join(PROJECTIONS)}."

# The command line cannot be parsed; typer keeps its copy of click, and this name, to itself.
_UsageError: Any = typer.BadParameter.__base__
_INTERRUPTED = 130


@app.command()
def sweep(
    config: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="A model's name or a file; may be repeated.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Names of models, separated by commas, as --features.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help='"qm9", "qm9-probe" or a file that ASE reads.')
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Names, separated by commas, or a CSV or Parquet file.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Molecules drawn from QM9.")] = None,
    probe: Annotated[
        str | None, typer.Option(help="ridge, equivariant, atom or atom-equivariant.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Layers, separated by commas.")] = None,
    irreps: Annotated[str | None, typer.Option(help="Irreps, separated by commas.")] = None,
    invariants: Annotated[str | None, typer.Option(help=_INVARIANTS)] = None,
    pool: Annotated[str | None, typer.Option(help="mean or sum over atoms.")] = None,
    sizes: Annotated[str | None, typer.Option(help="Sizes, separated by commas.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Shuffles of the molecules.")] = None,
    folds: Annotated[int | None, typer.Option(help="Folds of the cross-validation.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help='"formula": share no formula between folds.')
    ] = None,
    alphas: Annotated[
        str | None, typer.Option(help='Ridge penalties, separated by commas, or "loo".')
    ] = None,
    standardize: Annotated[bool | None, typer.Option(help="Scale features.")] = None,
    projection: Annotated[str | None, typer.Option(help=_PROJECTION)] = None,
    permutations: Annotated[
        int | None, typer.Option(help="Permutations for p-values at the largest size.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option(help="What is permuted: residual (after composition) or marginal.")
    ] = None,
    permute_within: Annotated[
        str | None, typer.Option(help='"formula": exchange molecules of one formula only.')
    ] = None,
    bootstrap: Annotated[
        int | None, typer.Option(help="Replicates for intervals at the largest size.")
    ] = None,
    adjust: Annotated[
        str | None, typer.Option(help="p-values for all channels and targets: holm, bh or max-t.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draw, the shuffles, the folds.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    format: Annotated[str | None, typer.Option(help="zarr or netcdf.")] = None,
) -> None:
    """Probe features for targets; without arguments, 2,000 molecules of QM9.

    Interrupted and started again, it goes on where it stopped.
    """
    given = {k: v for k, v in locals().items() if v is not None and k not in ("config", "models")}
    if models is not None:
        given["features"] = (*given.get("features", ()), *_split(models))
    for name in ("layers", "irreps", "sizes", "alphas"):
        if name in given and given[name] != "loo":
            given[name] = _split(given[name])
    if targets is not None and not Path(targets).suffix:
        given["targets"] = _split(targets)
    chosen = checked(Config, {**(read_toml(config) if config else {}), **given})
    settings = chosen.model_dump(include=set(Settings.model_fields))
    table = run_sweep(
        chosen.features,
        dataset=chosen.dataset,
        targets=chosen.targets,
        n=chosen.n,
        out=chosen.out,
        progress=sys.stderr.isatty(),
        **settings,
    )
    suffix = ".zarr" if chosen.format == "zarr" else ".nc"
    saved = [
        results.save(table, chosen.out / f"results{suffix}"),
        results.save(table, chosen.out / "results.csv"),
        *report.save_figures(table, chosen.out),
    ]
    _show(table, saved)


@app.command()
def check(
    features: Annotated[
        list[str] | None, typer.Option(help="A model's name or a file; may be repeated.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Names of models, separated by commas, as --features.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help='"qm9" or a file that ASE reads.')] = None,
    targets: Annotated[
        str | None, typer.Option(help="Names, separated by commas, or a CSV or Parquet file.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Molecules drawn from QM9.")] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, separated by commas; by default the last.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    alpha: Annotated[str, typer.Option(help='Ridge penalty, or "loo".')] = "1.0",
    seed: Annotated[int, typer.Option(help="Of the draw and the folds.")] = 0,
    nonlinear: Annotated[bool, typer.Option(help="Nonlinear probes too: minutes.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("cpdjax-checks"),
) -> int:
    """Check the method four ways on features; without arguments, ANI-2x's AEV on QM9.

    Exit status 0 where all checks pass, 1 where one fails.
    """
    names = (*(features or ()), *_split(models or "")) or (checks.DEFAULT_FEATURES,)
    found = checks.run(
        list(names),
        dataset=dataset,
        targets=targets if targets is None or Path(targets).suffix else _split(targets),
        n=n,
        layers=None if layers is None else _split(layers),
        folds=folds,
        alpha=_penalty(alpha),
        seed=seed,
        nonlinear=nonlinear,
        progress=sys.stderr.isatty(),
    )
    Console(width=None if sys.stdout.isatty() else 200).print(page.table(found))
    for path in page.save(found, out):
        print(f"saved {path}")
    return 0 if found.passed else 1


@app.command("report")
def show(
    path: Annotated[Path, typer.Argument(help="A sweep's folder, .zarr or .nc.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures.")] = None,
) -> None:
    """Print the table of saved results and draw their figures anew."""
    table = results.load(path)
    _show(table, report.save_figures(table, out or _folder(path)))


@app.command()
def compare(
    path: Annotated[Path, typer.Argument(help="A sweep's folder, .zarr or .nc.")],
    target: Annotated[
        str | None, typer.Option(help="Names, separated by commas; all by default.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="The model to hold all others against; every pair without.")
    ] = None,
    layer: Annotated[str, typer.Option(help='A layer, or "last": each model\'s last.')] = LAST,
    out: Annotated[Path | None, typer.Option(help="Folder for the figure.")] = None,
) -> None:
    """Models against each other: differences of R²_geom, their intervals and p-values."""
    found = differences(
        results.load(path),
        None if target is None else _split(target),
        reference=reference,
        layer=layer,
    )
    Console(width=None if sys.stdout.isatty() else 200).print(differences_table(found))
    drawn = {"differences.png": plot_differences(found)}
    for saved in figures.write(drawn, out or _folder(path)):
        print(f"saved {saved}")


@app.command()
def extract(
    model: Annotated[str, typer.Argument(help="A model's name; see `cpdjax models`.")],
    dataset: Annotated[str, typer.Argument(help='"qm9", "qm9-probe" or a file that ASE reads.')],
    out: Annotated[Path, typer.Option(help="The Zarr store to write.")],
    n: Annotated[int | None, typer.Option(help="Molecules drawn from QM9; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    layers: Annotated[str | None, typer.Option(help="Layers, separated by commas.")] = None,
    pool: Annotated[
        str, typer.Option(help="mean or sum over atoms, or atom: a row per atom.")
    ] = "mean",
    invariants: Annotated[str | None, typer.Option(help=_INVARIANTS)] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Molecules a call.")] = None,
) -> None:
    """Compute a model's features of every structure, into a Zarr store.

    Interrupted and started again, it goes on where it stopped.
    """
    draw = {"qm9": datasets.qm9, "qm9-probe": models.zoo.qm9_probe}.get(dataset)
    if n is not None and draw is None:
        raise InputError("--n draws molecules from QM9; a file is taken whole")
    structures = draw(n, seed) if draw else datasets.read(dataset)
    seen = models.zoo.split(model)
    if seen is not None:
        seen.check_unseen(model, structures)
    store.extract_to(
        out,
        model,
        structures,
        layers=None if layers is None else _split(layers),
        pool=pool,
        invariants=invariants,
        dtype=dtype,
        batch_size=batch_size,
        progress=sys.stderr.isatty(),
    )
    print(f"saved {out}")


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file of a recipe, or a run's config.json.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="An architecture, such as painn.")] = None,
    target: Annotated[str | None, typer.Option(help="A target, such as gap or energy.")] = None,
    dataset: Annotated[str | None, typer.Option(help='"qm9" or a file that ASE reads.')] = None,
    train: Annotated[int | None, typer.Option(help="Molecules to train on.")] = None,
    validation: Annotated[int | None, typer.Option(help="Molecules to watch.")] = None,
    probe: Annotated[int | None, typer.Option(help="Molecules kept for probing.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every molecule is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Molecules a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At its highest.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and the molecules' order.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default its name.")
    ] = None,
) -> None:
    """Train an architecture on one target; the folder is a model's name from then on.

    Interrupted and started again, it goes on where it stopped.
    """
    given = {k: v for k, v in locals().items() if v is not None and k not in ("config", "out")}
    if model is not None:
        given["architecture"] = given.pop("model")
    chosen = recipe(**{**(read_config(config) if config else {}), **given})
    structures = datasets.qm9() if chosen.dataset == "qm9" else datasets.read(chosen.dataset)
    folder = out or Path(chosen.name)
    encoder = training.train(chosen, structures, folder, progress=sys.stderr.isatty())
    for fact, value in models.zoo.card(folder).items():
        print(f"{fact:16s} {value}")
    print(f"saved {folder}, {encoder.parameters:,} parameters")


@app.command()
def reproduce(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("cpdjax-reproduction"),
    models: Annotated[
        str | None, typer.Option(help="Names, separated by commas; by default all at hand.")
    ] = None,
    n: Annotated[int, typer.Option(help="Molecules drawn from QM9.")] = 2000,
    sizes: Annotated[str | None, typer.Option(help="Sizes, separated by commas.")] = None,
    repeats: Annotated[int, typer.Option(help="Shuffles of the molecules.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the draw, the shuffles, the folds.")] = 0,
) -> None:
    """Hold the paper's findings against the models at hand; a report in Markdown and HTML.

    Interrupted and started again, it goes on where it stopped.
    """
    found = reproduction.reproduce(
        out,
        None if models is None else _split(models),
        n=n,
        sizes=None if sizes is None else [int(size) for size in _split(sizes)],
        repeats=repeats,
        seed=seed,
        progress=sys.stderr.isatty(),
    )
    table = Table("finding", "paper", "ours", "verdict", box=SIMPLE_HEAD)
    for line in found.findings:
        table.add_row(*map(escape, (line.name, line.paper, line.ours, line.verdict)))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    for path in findings_page.save(found, out):
        print(f"saved {path}")


@app.command()
def recommend(
    path: Annotated[
        Path | None, typer.Argument(help="Results of a sweep, of `reproduce` or of this command.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The target; by default each.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help='Molecules of your own, or "qm9", "qm9-probe": sweeps anew.')
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Names, separated by commas, or a CSV or Parquet file.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Names, separated by commas; by default all at hand.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Molecules drawn from QM9.")] = None,
    repeats: Annotated[int, typer.Option(help="Shuffles of the molecules.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the draw, the shuffles, the folds.")] = 0,
    most: Annotated[int, typer.Option(help="Rows.")] = advising.MOST,
    out: Annotated[Path, typer.Option(help="Folder of new results.")] = Path(
        "cpdjax-recommendation"
    ),
) -> None:
    """Which encoder, layer, irrep and pooling gives the most accessible geometric information.

    From saved results, by default those of `reproduce`; or, with --dataset, from new sweeps with
    mean and sum pooling. Ranked by the lower end of the 95 % interval of R²_geom.
    """
    if dataset is None:
        tables = advising.load(path or Path("cpdjax-reproduction"))
    elif path is not None:
        raise InputError("saved results or --dataset: give one of them")
    else:
        tables = advising.survey(
            None if models is None else _split(models),
            dataset=dataset,
            targets=targets if targets is None or Path(targets).suffix else _split(targets),
            n=n,
            repeats=repeats,
            seed=seed,
            most=most,
            out=out,
            progress=sys.stderr.isatty(),
        )
    names = [str(name) for name in tables[0].target.values] if target is None else [target]
    for name in names:
        choices = advising.recommend(tables, name, most)
        table = Table(*advising.HEAD, title=escape(name), box=SIMPLE_HEAD)
        for choice in choices:
            table.add_row(*map(escape, choice.cells))
        Console(width=None if sys.stdout.isatty() else 120).print(table)
        print(advising.advice(choices, name))


@app.command()
def ladder(
    model: Annotated[str, typer.Argument(help="A model's name; see `cpdjax models`.")],
    dataset: Annotated[
        str, typer.Argument(help='"qm9" or a file that ASE reads, with SMILES.')
    ] = "qm9",
    layer: Annotated[str | None, typer.Option(help="The layer; the last by default.")] = None,
    targets: Annotated[str, typer.Option(help="Names, separated by commas.")] = "gap,mu,alpha",
    n: Annotated[int, typer.Option(help="Molecules drawn from QM9.")] = DEFAULT_MOLECULES,
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation.")] = 5,
    alpha: Annotated[str, typer.Option(help='Ridge penalty, or "loo".')] = "loo",
    seed: Annotated[int, typer.Option(help="Of the draw and the folds.")] = 0,
) -> None:
    """R² added by composition, bonds, functional groups and geometry, in this order."""
    structures = datasets.qm9(n, seed) if dataset == "qm9" else datasets.read(dataset)
    rungs = {
        "bonds and rings": bonds.bond_counts(structures)[0],
        "functional groups": bonds.group_counts(structures)[0],
    }
    chosen = Targets.from_structures(structures, _split(targets))
    [features] = sources.collect(model, structures, layers=None if layer is None else [layer])
    layer = list(features)[-1]
    found = climb(
        features.scalars(layer),
        chosen.counts,
        chosen.y,
        {name: counts for name, counts in rungs.items() if counts.size},
        folds=folds,
        alpha=_penalty(alpha),
        seed=seed,
    )
    title = f"{features.model} / {layer}, {len(structures):,} molecules"
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(text_table(found, list(chosen.targets), title))


@models_app.callback()
def list_models(context: typer.Context) -> None:
    """List the models that features can come from."""
    if context.invoked_subcommand is not None:
        return
    table = Table("model", "family", "parameters", "layers", "trained on", "licence", "weights")
    for name in models.names():
        table.add_row(name, *_facts(name))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@models_app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A model of mace-torch, NAME.model.")],
    out: Annotated[Path, typer.Option(help="The folder to write; a model's name from then on.")],
    head: Annotated[str | None, typer.Option(help="Which head to keep, of several.")] = None,
) -> None:
    """Make a folder of a MACE of your own that every command takes in place of a model's name.

    The file is read without torch, and nothing in it is run.
    """
    encoder = models.convert(file, out, head=head)
    for layer, irreps in encoder.irreps.items():
        print(f"{layer}  {irreps}")
    print(f"saved {out}, {encoder.parameters:,} parameters")


def _facts(name: str) -> tuple[str, ...]:
    card = card_of(name)
    if not card.at_hand:
        return card.family, "", "", card.data, card.licence, _install(card.distribution)
    try:
        model = models.load(name)
    except FileError as error:  # of another version, or altered
        return card.family, "", "", card.data, card.licence, escape(str(error))
    layers = "\n".join(f"{layer} {irreps}" for layer, irreps in model.irreps.items())
    parameters = f"{getattr(model, 'parameters', 0):,}"
    return card.family, parameters, layers, card.data, card.licence, "at hand"


def _install(distribution: str | None) -> str:
    """The command for one wheel: its dependencies, torch among them, stay out."""
    [pin] = (word for word in INSTALL.split() if word.partition("==")[0] == distribution)
    return f"pip install --no-deps {pin}"


def _show(table: xr.Dataset, saved: Sequence[Path]) -> None:
    # Rich takes a pipe for 80 columns wide, and would cut the table short.
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(report.text_table(table, console.width))
    uncertain = uncertainty_table(table, console.width)
    if uncertain is not None:
        console.print(uncertain)
    for path in saved:
        print(f"saved {path}")


def _folder(path: Path) -> Path:
    """Where figures of the results at `path` go."""
    return path if path.is_dir() and path.suffix != ".zarr" else path.parent


def _penalty(text: str) -> Any:
    try:
        return text if text == "loo" else float(text)
    except ValueError:
        raise InputError(f'--alpha must be a number or "loo", got {text!r}') from None


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main() -> None:
    """Run a command; what the user can mend ends in one line and exit status 2."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
        sys.exit(_run())


def _run() -> int:
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
    except _UsageError as error:
        _say(error.format_message())
        return 2
    except InputError as error:
        _say(str(error))
        return 2
    except OSError as error:
        _say(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 2
    if status == _INTERRUPTED:
        _say("interrupted; the same command goes on where it stopped")
    return status


def _say(message: str) -> None:
    print(f"cpdjax: {' '.join(message.split())}", file=sys.stderr)
