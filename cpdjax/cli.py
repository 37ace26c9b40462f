"""The command line: parses and calls, nothing else."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import xarray as xr
from rich.console import Console

from cpdjax import models, report, results
from cpdjax.errors import InputError
from cpdjax.settings import Config, Settings, checked, read_toml
from cpdjax.sweep import sweep as run_sweep

app = typer.Typer(
    help="What does an atomistic model know beyond composition, where, and in which channel?",
    add_completion=False,
    pretty_exceptions_enable=False,
)

# The command line cannot be parsed; typer keeps its copy of click, and this name, to itself.
_UsageError: Any = typer.BadParameter.__base__
_INTERRUPTED = 130


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


@app.command("report")
def show(
    path: Annotated[Path, typer.Argument(help="A sweep's folder, .zarr or .nc.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures.")] = None,
) -> None:
    """Print the table of saved results and draw their figures anew."""
    table = results.load(path)
    is_folder = path.is_dir() and path.suffix != ".zarr"
    _show(table, report.save_figures(table, out or (path if is_folder else path.parent)))


@app.command("models")
def list_models() -> None:
    """List the models that features can come from."""
    for name in models.names():
        model = models.load(name)
        layers = ", ".join(f"{layer} {irreps}" for layer, irreps in model.irreps.items())
        print(f"{name}: {layers}")


def _show(table: xr.Dataset, saved: Sequence[Path]) -> None:
    # Rich takes a pipe for 80 columns wide, and would cut the table short.
    Console(width=None if sys.stdout.isatty() else 200).print(report.text_table(table))
    for path in saved:
        print(f"saved {path}")


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


if __name__ == "__main__":
    main()
