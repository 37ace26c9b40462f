"""`cpdjax recommend`: which encoder, layer, irrep and pooling to take for a target, at which price.

Two sweeps, one with means over atoms and one with sums, give two tables of results; a ranking
takes both.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cpdjax import models
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.extraction import Extraction
from cpdjax.features.features import Features, as_means
from cpdjax.features.sources import collect
from cpdjax.files import remove
from cpdjax.models import zoo
from cpdjax.models.cards import CARDS
from cpdjax.models.interface import Model
from cpdjax.studies.findings import Estimate
from cpdjax.sweeps import results
from cpdjax.sweeps.inputs import load as load_data
from cpdjax.sweeps.settings import DEFAULT_FEATURES, Settings
from cpdjax.sweeps.sweep import sweep
from cpdjax.sweeps.table import ranking

PRETRAINED = ("sevennet-0", "so3lr", "chgnet-0.3.0", "ani-1x")
MOST = 10
"""Rows of a ranking, and channels of a target whose cost is measured."""
HEAD = ("model", "layer", "irrep", "pool", "features", "R²_geom (95 %)", "ms a molecule")

_SAMPLE, _CALLS = 64, 5  # molecules that a cost is measured on, and how often
_FILES = ("results.zarr", "sum.zarr")


@dataclass(frozen=True)
class Choice:
    """A channel as a user would take it."""

    model: str
    layer: str
    irrep: str
    pool: str
    """"mean" or "sum" over atoms, "none" where features belong to the molecule."""
    features: int
    """Columns."""
    r2_geom: Estimate
    milliseconds: float
    """Wall time of extraction, a molecule; NaN: not measured."""

    @property
    def cells(self) -> tuple[str, ...]:
        """A row under `HEAD`."""
        cost = f"{self.milliseconds:.3g}" if np.isfinite(self.milliseconds) else "–"
        own = (self.model, self.layer, self.irrep, self.pool)
        return (*own, str(self.features), str(self.r2_geom), cost)


def at_hand() -> tuple[str, ...]:
    """The zoo, and pretrained models whose weights are installed."""
    return (*zoo.names(), *(name for name in PRETRAINED if CARDS[name].at_hand))


def recommend(
    tables: xr.Dataset | Sequence[xr.Dataset], target: str, most: int = MOST
) -> list[Choice]:
    """The channels with the most accessible geometric information, best first.

    Ordered by the lower end of the 95 % interval, so that a lucky channel does not lead.

    Args:
        tables: results of `cpdjax.sweep`; or several, one a pooling, where models that pool
            nothing are in the first alone: what `survey` returns and `load` reads.
        target: a target of the tables.
        most: rows at most.

    Raises:
        UnknownNameError: no such target.
    """
    tables = [tables] if isinstance(tables, xr.Dataset) else list(tables)
    if target not in tables[0].target.values:
        raise UnknownNameError("target", target, map(str, tables[0].target.values))
    pooled = {str(model) for table in tables[1:] for model in table.model.values}
    found = []
    for table in tables:
        asked = json.loads(table.attrs["settings"])["pool"]
        for model, layer, irrep, features, score in ranking(table, target):
            pool = asked if len(tables) == 1 or model in pooled else "none"
            cost = _cost(table, model, layer)
            found.append(Choice(model, layer, irrep, pool, features, score, cost))
    return sorted(found, key=lambda c: -np.nan_to_num(c.r2_geom.low, nan=-np.inf))[:most]


def advice(choices: Sequence[Choice], target: str) -> str:
    """A ranking in a sentence or two.

    >>> from dataclasses import replace
    >>> best = Choice("painn", "interaction_2", "0e", "sum", 48, Estimate(0.6, 0.5, 0.7), 2.0)
    >>> early = replace(best, layer="interaction_0", r2_geom=Estimate(0.5, 0.4, 0.6),
    ...                 milliseconds=0.5)
    >>> print(advice([best, early], "gap"))
    For gap take painn, interaction_2, 0e, sum: R²_geom 0.600 (0.500, 0.700) from 48 features, \
2 ms a molecule. Cheaper, and not certainly worse: painn, interaction_0, 0e, sum: R²_geom 0.500 \
(0.400, 0.600) from 48 features, 0.5 ms a molecule.
    """
    best = choices[0]
    if not best.r2_geom.low > 0:
        return (
            f"For {target} no channel has geometric information for certain: the best is "
            f"{_described(best)}, and its interval is not above zero. Use more molecules."
        )
    cheaper = [
        c
        for c in choices[1:]
        if c.r2_geom.high >= best.r2_geom.low and c.milliseconds < best.milliseconds
    ]
    text = f"For {target} take {_described(best)}."
    if not cheaper:
        return text
    cheapest = min(cheaper, key=lambda c: c.milliseconds)
    return f"{text} Cheaper, and not certainly worse: {_described(cheapest)}."


def _described(choice: Choice) -> str:
    place = ", ".join((choice.model, choice.layer, choice.irrep, choice.pool))
    measured = np.isfinite(choice.milliseconds)
    cost = f", {choice.milliseconds:.3g} ms a molecule" if measured else ""
    return f"{place}: R²_geom {choice.r2_geom} from {choice.features} features{cost}"


def survey(
    features: Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    dataset: Any,
    targets: Any = None,
    n: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    most: int = MOST,
    out: str | Path | None = None,
    progress: bool = False,
) -> list[xr.Dataset]:
    """Sweeps of all channels with mean and sum pooling on a labelled set, however small.

    Atoms' features are computed once: the mean is the sum over the number of atoms. Models that
    cannot take the molecules are left out with a warning.

    Args:
        features: names or folders of models, by default all at hand and two descriptors; or a
            mapping of names to these and to arrays (molecule, feature), which are not pooled.
        dataset, targets, n, repeats, seed: as in `cpdjax.sweep`; all molecules are used.
        most: of this many leading channels of every target the cost is measured.
        out: a folder to keep the results in, for `load`; an interrupted survey goes on there.
        progress: show progress bars on standard error.

    Returns:
        Results as of `cpdjax.sweep`, one table for mean and one for sum pooling, with
        `milliseconds` (model, layer).

    Raises:
        UnknownNameError: a model that does not exist.
        InputError: data that cannot be used; no model that can take them.
    """
    structures, molecules = load_data(dataset, targets, n, Settings(seed=seed))
    if structures is None:
        raise InputError("a table of formulas is not enough: give a file of structures")
    sources = _sources((*at_hand(), *DEFAULT_FEATURES) if features is None else features)
    gathered = _gather(sources, structures, progress)
    folder = None if out is None else Path(out)
    poolings = {
        "mean": [as_means(f, structures) for f in gathered],
        "sum": [f for f in gathered if f.pool == "sum"],
    }
    tables = [
        sweep(
            found,
            dataset=structures,
            targets=list(molecules.by_name),
            pool=pool,
            sizes=[len(structures)],
            repeats=repeats,
            seed=seed,
            out=folder and folder / pool,
            progress=progress,
        )
        for pool, found in poolings.items()
        if found
    ]
    tables = priced(tables, sources, structures, most)
    if folder is not None:
        save(tables, folder)
    return tables


def priced(
    tables: Sequence[xr.Dataset],
    features: Sequence[str | Path] | Mapping[str, Any],
    structures: Structures,
    most: int = MOST,
) -> list[xr.Dataset]:
    """The tables with `milliseconds` (model, layer) where a channel leads in the ranking.

    NaN elsewhere, and for what is no model.
    """
    sources = _sources(features)
    targets = [str(t) for t in tables[0].target.values]
    leading = [c for t in targets for c in recommend(tables, t, most)]
    costs: dict[tuple[str, str], float] = {}
    for name in dict.fromkeys(c.model for c in leading):
        model = _model(sources.get(name))
        for layer in dict.fromkeys(c.layer for c in leading if c.model == name):
            if model is not None:
                costs[name, layer] = milliseconds(model, layer, structures)
    return [_with_costs(table, costs) for table in tables]


def milliseconds(model: Model, layer: str, structures: Structures) -> float:
    """Wall time of extracting one layer, neighbour lists included, a molecule, on this machine.

    Measured on at most 64 of the molecules, after compilation: the median of five calls.

    >>> from ase.build import molecule
    >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
    >>> milliseconds(models.load("coulomb-spectrum"), "spectrum", ds) > 0
    True
    """
    drawn = np.random.default_rng(0).permutation(len(structures))[:_SAMPLE]
    run = Extraction.of(model, structures.select(drawn), [layer])
    rows = np.arange(len(drawn))
    run.rows(rows)  # compiles
    seconds = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        run.rows(rows)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds)) / len(drawn)


def save(tables: Sequence[xr.Dataset], folder: str | Path) -> None:
    """Write the tables of mean and of sum pooling into a folder; none of an earlier call stays."""
    for table, name in zip(tables, _FILES, strict=False):
        results.save(table, Path(folder) / name)
    for name in _FILES[len(tables) :]:
        remove(Path(folder) / name)


def load(path: str | Path) -> list[xr.Dataset]:
    """The tables in a folder of `survey`, `reproduce` or a sweep, or of one file.

    Raises:
        FileError: as `results.load`.
    """
    beside = Path(path) / _FILES[1]
    return [results.load(path), *([results.load(beside)] if beside.exists() else [])]


def _sources(features: Sequence[str | Path] | Mapping[str, Any]) -> dict[str, Any]:
    """By the names that results know them under."""
    if isinstance(features, Mapping):
        return {str(name): source for name, source in features.items()}
    return {Path(source).name: source for source in features}


def _gather(sources: Mapping[str, Any], structures: Structures, progress: bool) -> list[Features]:
    """Sums over atoms, of all sources that can take the molecules."""
    found = []
    for name, source in sources.items():
        try:
            found += collect({name: source}, structures, pool="sum", progress=progress)
        except UnknownNameError:
            raise
        except InputError as error:
            warnings.warn(f"{name} is left out: {error}", stacklevel=3)
    if not found:
        raise InputError(f"none of {', '.join(sources)} can take these molecules; see the warnings")
    return found


def _model(source: Any) -> Model | None:
    if isinstance(source, str | Path):
        known = str(source) in models.names() or models.is_saved(source)
        return models.load(source) if known else None
    return source if callable(getattr(source, "features", None)) else None


def _cost(table: xr.Dataset, model: str, layer: str) -> float:
    if "milliseconds" not in table:
        return np.nan
    return table.milliseconds.sel(model=model, layer=layer).item()


def _with_costs(table: xr.Dataset, costs: Mapping[tuple[str, str], float]) -> xr.Dataset:
    names, layers = ([str(name) for name in table[axis].values] for axis in ("model", "layer"))
    values = [[costs.get((model, layer), np.nan) for layer in layers] for model in names]
    about = {"description": "wall time of extraction, a molecule; NaN: not measured", "units": "ms"}
    return table.assign(milliseconds=(("model", "layer"), np.array(values), about))
