"""Which encoder, layer, irrep and pooling to use for a target, and at which cost.

Two sweeps, one with means over atoms and one with sums, give two tables of results, and a ranking
takes both.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cpdjax import models
from cpdjax.configuration import checked
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, InputError, LeftOutWarning, UnknownNameError
from cpdjax.features.features import Features, as_means
from cpdjax.features.sources import collect, named_sources
from cpdjax.files import remove
from cpdjax.models import naming, zoo
from cpdjax.models.cards import card_of
from cpdjax.models.interface import Model
from cpdjax.omissions import note, noted
from cpdjax.progress import expect, shown, stage
from cpdjax.studies.extraction_cost import cost_of, milliseconds, with_costs
from cpdjax.studies.quantities import same_quantity
from cpdjax.sweeps import inputs, results
from cpdjax.sweeps.left_out import with_left_out
from cpdjax.sweeps.settings import DESCRIPTORS, MOST_RANKED, Settings
from cpdjax.sweeps.sweep import sweep
from cpdjax.sweeps.table import ranking, trained_on
from cpdjax.uncertainty.comparison import Estimate

PRETRAINED = ("sevennet-0", "so3lr", "chgnet-0.3.0", "ani-1x")
HEAD = ("model", "layer", "irrep", "pool", "features", "R²_geom (95 %)", "ms per molecule")

#: Where the command `reproduce` writes by default, and `recommend` reads.
REPRODUCTION = Path("cpdjax-reproduction")
_FILES = ("results.zarr", "sum.zarr")


@dataclass(frozen=True)
class Choice:
    """Hold a channel as a user would take it, with its score and its cost."""

    model: str
    layer: str
    irrep: str
    pool: str
    """"mean" or "sum" over atoms, or "none" where features belong to the molecule."""
    features: int
    """The number of features."""
    r2_geom: Estimate
    milliseconds: float
    """The wall time of extraction per molecule; NaN where it was not measured."""
    trained: bool = False
    """Whether the model was trained on the target itself, which its score then says little of."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Return a row under `HEAD`."""
        cost = f"{self.milliseconds:.3g}" if np.isfinite(self.milliseconds) else "–"
        model = f"{self.model} (trained on it)" if self.trained else self.model
        place = (model, self.layer, self.irrep, self.pool)
        return (*place, str(self.features), str(self.r2_geom), cost)

    def __str__(self) -> str:
        place = ", ".join((self.model, self.layer, self.irrep, self.pool))
        measured = np.isfinite(self.milliseconds)
        cost = f", {self.milliseconds:.3g} ms per molecule" if measured else ""
        columns = f"{self.features} feature{'' if self.features == 1 else 's'}"
        return f"{place}: R²_geom {self.r2_geom} from {columns}{cost}"


def installed() -> tuple[str, ...]:
    """Return the names of the zoo's models, and of pretrained models with installed weights."""
    return (
        *zoo.names(),
        *(name for name in PRETRAINED if card_of(f"{naming.SHIPPED}{name}").installed),
    )


def recommend(
    tables: xr.Dataset | Sequence[xr.Dataset],
    target: str,
    most: int | None = MOST_RANKED,
    *,
    with_trained: bool = False,
) -> list[Choice]:
    """Return the channels with the most accessible geometric information, best first.

    Channels are ordered by the lower end of the 95 % interval, so that a lucky channel does not
    lead. Models that were trained on the target are left out: whoever wants that target has the
    model's own output, and its score says little of other targets.

    Args:
        tables: results of `cpdjax.sweep`, or a table for each pooling, as `survey` returns and
            `load` reads them. Models without pooling are in the first table only.
        target: a target of the tables.
        most: the largest number of channels to return; None: all.
        with_trained: rank models that were trained on the target as well, and mark them.

    Raises:
        UnknownNameError: the tables have no such target.
    """
    tables = [tables] if isinstance(tables, xr.Dataset) else list(tables)
    if target not in tables[0].target.values:
        raise UnknownNameError("target", target, map(str, tables[0].target.values))
    choices = []
    for table in tables:
        pools = json.loads(table.attrs.get("pool", "{}"))
        if target not in table.target.values:
            continue
        trained = trained_on_it(table, target)
        for model, layer, irrep, features, score in ranking(table, target):
            if with_trained or model not in trained:
                place = model, layer, irrep, pools.get(model, "unknown"), features
                cost = cost_of(table, model, layer)
                choices.append(Choice(*place, score, cost, model in trained))
    return sorted(choices, key=lambda c: -np.nan_to_num(c.r2_geom.low, nan=-np.inf))[:most]


def trained_on_it(table: xr.Dataset, target: str) -> set[str]:
    """Return the models of a table that were trained on a target, or on one that tells the same.

    Which targets tell the same says `quantities.same_quantity`. Where tables do not say what models
    were trained on, the zoo is asked by name.

    >>> table = xr.Dataset(coords={"model": ["painn-qm9-gap-run1", "painn-qm9-energy"]})
    >>> trained_on_it(table, "gap"), trained_on_it(table, "g298_atom")
    ({'painn-qm9-gap-run1'}, {'painn-qm9-energy'})
    """
    known, names = trained_on(table), map(str, table.model.values)
    own = {name: known.get(name) or zoo.target_of(name) for name in names}
    return {name for name, trained in own.items() if same_quantity(trained, target)}


def with_training(table: xr.Dataset, models: Mapping[str, Any]) -> xr.Dataset:
    """Return the table with what its models were trained on, of which it has the features alone."""
    own = {name: models.get(name) for name in map(str, table.model.values)}
    return table.assign_attrs(results.attributes(results.training(own)))


def certain(choices: Sequence[Choice]) -> list[Choice]:
    """Return the channels whose interval lies above zero: those that can be recommended."""
    return [choice for choice in choices if choice.r2_geom.low > 0]


def advice(choices: Sequence[Choice], target: str) -> str:
    """Put a ranking into a sentence or two.

    >>> from dataclasses import replace
    >>> best = Choice("painn", "interaction_2", "0e", "sum", 48, Estimate(0.6, 0.5, 0.7), 2.0)
    >>> early = replace(best, layer="interaction_0", r2_geom=Estimate(0.5, 0.4, 0.6),
    ...                 milliseconds=0.5)
    >>> print(advice([best, early], "gap"))
    For gap take painn, interaction_2, 0e, sum: R²_geom 0.600 (0.500, 0.700) from 48 features, \
2 ms per molecule. This is cheaper and not significantly worse: painn, interaction_0, 0e, sum: \
R²_geom 0.500 (0.400, 0.600) from 48 features, 0.5 ms per molecule.
    """
    best = choices[0]
    if not best.r2_geom.low > 0:
        return (
            f"For {target} no channel certainly holds geometric information: the best is "
            f"{best}, and its interval is not above zero. Use more molecules."
        )
    cheaper = [
        c
        for c in choices[1:]
        if c.r2_geom.high >= best.r2_geom.low and c.milliseconds < best.milliseconds
    ]
    text = f"For {target} take {best}."
    if not cheaper:
        return text
    cheapest = min(cheaper, key=lambda c: c.milliseconds)
    return f"{text} This is cheaper and not significantly worse: {cheapest}."


def survey(
    features: Sequence[str | Path] | Mapping[str, Any] | None = None,
    *,
    dataset: Any,
    targets: Any = None,
    n: int | None = None,
    repeats: int = 5,
    seed: int = 0,
    most: int = MOST_RANKED,
    out: str | Path | None = None,
    progress: bool = False,
) -> list[xr.Dataset]:
    """Sweep all channels with mean and with sum pooling over a labelled set, however small.

    Features of atoms are computed once: the mean is the sum divided by the number of atoms. Models
    that cannot take the molecules are left out with a warning.

    Args:
        features: names or folders of models, by default `installed()` and two descriptors; or a
            mapping of names to these and to arrays (molecule, feature), which are not pooled.
        dataset, targets, n, repeats, seed: as in `cpdjax.sweep`; all molecules are used.
        most: the number of leading channels of each target whose cost is measured.
        out: a folder to keep the results in, which `load` reads. An interrupted survey continues
            there.
        progress: whether standard error shows what is being done, and how far it is.

    Returns:
        Results as of `cpdjax.sweep`, one table for mean and one for sum pooling, with
        `milliseconds` (model, layer). Models that were left out are among their `left_out`.

    Raises:
        UnknownNameError: a model does not exist.
        InputError: the data cannot be used, or no model can take the molecules.
    """
    sources = dict(named_sources((*installed(), *DESCRIPTORS) if features is None else features))
    settings = checked(Settings, {"seed": seed, "repeats": repeats})
    folder = None if out is None else Path(out)
    with shown(progress), noted() as before:
        expect(4 + 2 * len(sources))
        with stage("data"):
            structures, molecules = inputs.load(dataset, targets, n, settings)
        if structures is None:
            raise InputError("a table of formulas is not enough: give a file of structures")
        sums = _collect_sums(sources, structures)
        poolings = {
            "mean": [as_means(f, structures) for f in sums],
            "sum": [f for f in sums if f.pool == "sum"],
        }
        tables = []
        for pool, pooled in poolings.items():
            with stage(f"{pool}s of all models"):
                if pooled:
                    tables.append(
                        sweep(
                            pooled, dataset=structures, targets=list(molecules.by_name), pool=pool,
                            sizes=[len(structures)], repeats=repeats, seed=seed,
                            out=folder and folder / pool,
                        )
                    )  # fmt: skip
        tables = with_measured_costs(tables, sources, structures, most)
        opened = {name: _model(of) for name, of in sources.items()}
    tables = [with_training(table, opened) for table in tables]
    tables = [with_left_out(table, before) for table in tables]
    if folder is not None:
        save(tables, folder)
    return tables


def with_measured_costs(
    tables: Sequence[xr.Dataset],
    features: Sequence[str | Path] | Mapping[str, Any],
    structures: Structures,
    most: int = MOST_RANKED,
) -> list[xr.Dataset]:
    """Return the tables with `milliseconds` (model, layer) of the leading channels.

    Other channels have NaN, and so have features that do not come from a model.
    """
    sources = dict(named_sources(features))
    targets = [str(target) for target in tables[0].target.values]
    leading = {
        (choice.model, choice.layer): None
        for target in targets
        for with_trained in (False, True)
        for choice in recommend(tables, target, most, with_trained=with_trained)
    }
    costs = {}
    with stage("timing the best layers", len(leading)) as timed:
        loaded = {name: _model(sources.get(name)) for name, _ in leading}
        for name, layer in leading:
            if (model := loaded[name]) is not None:
                costs[name, layer] = milliseconds(model, layer, structures)
            timed.advance()
    return [with_costs(table, costs) for table in tables]


def save(tables: Sequence[xr.Dataset], folder: str | Path) -> None:
    """Write the tables of mean and sum pooling into a folder, and remove those of earlier calls."""
    for table, name in zip(tables, _FILES, strict=False):
        results.save(table, Path(folder) / name)
    for name in _FILES[len(tables) :]:
        if results.was_saved(Path(folder) / name):
            remove(Path(folder) / name)


def load(path: str | Path) -> list[xr.Dataset]:
    """Read the tables in a folder of `survey`, `reproduce` or a sweep, or the table of one file.

    Raises:
        FileError: as in `results.load`; where `reproduce` would have written, the error says so.
    """
    if Path(path) == REPRODUCTION and not (REPRODUCTION / _FILES[0]).exists():
        raise FileError(
            f"no results at {path}: run `cpdjax reproduce` first, or name the folder of a sweep, "
            "or give molecules of your own with --dataset"
        )
    of_sums = Path(path) / _FILES[1]
    return [results.load(path), *([results.load(of_sums)] if of_sums.exists() else [])]


def _collect_sums(sources: Mapping[str, Any], structures: Structures) -> list[Features]:
    """Return sums over atoms, from all sources that can take the molecules."""
    collected = []
    for name, source in sources.items():
        try:
            collected += collect({name: source}, structures, pool="sum")
        except UnknownNameError:
            raise
        except InputError as error:
            note("models", {name: str(error)})
            warnings.warn(f"{name} is left out: {error}", LeftOutWarning, stacklevel=3)
    if not collected:
        raise InputError(f"none of {', '.join(sources)} can take these molecules; see the warnings")
    return collected


def _model(source: Any) -> Model | None:
    if isinstance(source, str | Path):
        return models.load(source) if naming.find(source) else None
    return source if callable(getattr(source, "features", None)) else None
