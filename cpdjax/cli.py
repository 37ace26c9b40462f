"""The command line: parses and calls, nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cpdjax import models, report, results
from cpdjax.errors import InputError
from cpdjax.settings import Config, Settings, checked, read_toml
from cpdjax.sweep import sweep as run_sweep

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def sweep(
    config: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="A model's name or a file; may be repeated.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help='"qm9" or a file that ASE reads.')] = None,
    targets: Annotated[
        str | None, typer.Option(help="Names, separated by commas, or a CSV or Parquet file.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Molecules drawn from QM9.")] = None,
    layers: Annotated[str | None, typer.Option(help="Layers, separated by commas.")] = None,
    irreps: Annotated[str | None, typer.Option(help="Irreps, separated by commas.")] = None,
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
    seed: Annotated[int | None, typer.Option(help="Of the draw, the shuffles, the folds.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    format: Annotated[str | None, typer.Option(help="zarr or netcdf.")] = None,
) -> None:
    """Probe features for targets; without arguments, 2,000 molecules of QM9.

    Interrupted and started again, it goes on where it stopped.
    """
    given = {k: v for k, v in locals().items() if v is not None and k != "config"}
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
        progress=True,
        **settings,
    )
    suffix = ".zarr" if chosen.format == "zarr" else ".nc"
    saved = [
        results.save(table, chosen.out / f"results{suffix}"),
        results.save(table, chosen.out / "results.csv"),
        *report.save_figures(table, chosen.out),
    ]
    console = _console()
    console.print(report.text_table(table))
    for path in saved:
        console.print(f"saved {path}", soft_wrap=True, highlight=False)


@app.command("report")
def show(
    path: Annotated[Path, typer.Argument(help="A sweep's folder, .zarr or .nc.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures.")] = None,
) -> None:
    """Print the table of saved results and draw their figures anew."""
    table = results.load(path)
    console = _console()
    console.print(report.text_table(table))
    for figure in report.save_figures(table, out or (path if path.is_dir() else path.parent)):
        console.print(f"saved {figure}", soft_wrap=True, highlight=False)


@app.command("models")
def list_models() -> None:
    """List the models that features can come from."""
    for name in models.names():
        model = models.load(name)
        layers = ", ".join(f"{layer} {irreps}" for layer, irreps in model.irreps.items())
        _console().print(f"{name}: {layers}", soft_wrap=True, highlight=False)


def _console() -> Console:
    # Rich takes a pipe for 80 columns wide, and would cut the table short.
    return Console(width=None if sys.stdout.isatty() else 160)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main() -> None:
    """Run a command; what the user can mend ends in one line and exit status 2."""
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on where it stopped", 130)


def _fail(message: str, status: int) -> Any:
    print(f"cpdjax: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
