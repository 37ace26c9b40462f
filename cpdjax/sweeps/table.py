"""A table of results is read here: which channels exist, their scores, the order of layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from cpdjax.errors import InputError
from cpdjax.features import layer_names
from cpdjax.models.naming import run_of
from cpdjax.uncertainty.comparison import Estimate, estimate
from cpdjax.uncertainty.runs import hierarchical

#: The axes that tell channels apart.
OWN = ("model", "layer", "irrep")

TRAINED_ON = "trained_on"
"""Name the attribute that says what models were trained on."""
#: Attributes that say something of each channel or model, by its name; the rest concerns all.
OF_EACH = ("features", "pool", "invariants", "models", TRAINED_ON, f"{TRAINED_ON}_unit")

_ENDS = {"embedding": 0, "readout": 2}  # of a path; all other layers are 1

#: A layer, and the irrep that holds all of its scalars.
Place = tuple[str, str]


def scores_of(
    table: xr.Dataset, model: str, layer: str, irrep: str, target: str, size: int | None = None
) -> Float[np.ndarray, "repeat fold"]:
    """Return R²_geom of one channel at one size (by default the largest) and the first α."""
    one = table.r2_geom.sel(model=model, layer=layer, irrep=irrep, target=target).isel(alpha=0)
    one = one.isel(size=-1) if size is None else one.sel(size=size)
    return one.transpose("repeat", "fold").to_numpy()


def score_of(
    table: xr.Dataset, model: str, layer: str, irrep: str, target: str, size: int | None = None
) -> Estimate:
    """Return the mean of `scores_of` with its interval, which with a test set is another one."""
    scores = scores_of(table, model, layer, irrep, target, size)
    return estimate(scores, overlap=overlap(table, size))


def setting(table: xr.Dataset, name: str) -> Any:
    """Return a setting of the sweep that made a table; None where it is not known."""
    return json.loads(table.attrs.get("settings", "{}")).get(name)


def overlap(table: xr.Dataset, size: int | None = None) -> float | None:
    """Return which part of its molecules a training set shares with that of another repeat.

    It is None where folds are held out and no test set.
    """
    test = setting(table, "test")
    if not test:
        return None
    own = int(table["size"][-1]) if size is None else size
    return own / (int(table.attrs["molecules"]) - test)


_BEYOND = {
    "bonds": "composition, bonds and rings",
    "groups": "composition, bonds, rings and functional groups",
}


def beyond(table: xr.Dataset) -> str:
    """Return in words what the projection takes from the features, as far as R²_geom shows it."""
    return _BEYOND.get(setting(table, "projection"), "composition")


def explained(table: xr.Dataset) -> xr.DataArray:
    """Return R² of what `beyond` names, without any feature: (repeat, size, fold, target)."""
    known = beyond(table) != "composition" and "r2_concepts" in table
    return table.r2_concepts if known else table.r2_comp


def trained_on(table: xr.Dataset) -> dict[str, str]:
    """Return the target that models of a table were trained on, of those that said so."""
    found: dict[str, str] = json.loads(table.attrs.get(TRAINED_ON, "{}"))
    return found


def models_of(table: xr.Dataset) -> list[str]:
    """Return the models of a table, in its order."""
    held = (table.n_features.to_numpy() > 0).any((1, 2))  # at once: studies ask thousands of times
    return [str(model) for model in table[OWN[0]].to_numpy()[held]]


def runs_in(table: xr.Dataset) -> dict[str, list[str]]:
    """Return the models of a table with their training runs, as `of_runs` has them."""
    return of_runs(models_of(table))


def of_runs(names: Iterable[str]) -> dict[str, list[str]]:
    """Return models, each with its training runs; one run keeps its own name.

    >>> of_runs(["painn-qm9-gap", "so3lr", "painn-qm9-gap-run1", "mace-qm9-gap-run2"])
    {'painn-qm9-gap': ['painn-qm9-gap', 'painn-qm9-gap-run1'], 'so3lr': ['so3lr'], \
'mace-qm9-gap-run2': ['mace-qm9-gap-run2']}
    """
    found: dict[str, list[str]] = {}
    for model in dict.fromkeys(names):
        found.setdefault(run_of(model)[0], []).append(model)
    return {name if len(runs) > 1 else runs[0]: runs for name, runs in found.items()}


def scores_of_runs(
    table: xr.Dataset, runs: Sequence[str], target: str
) -> Float[np.ndarray, "run repeat fold"]:
    """Return R²_geom of the last interaction layer of every run, at the largest size, first α."""
    return np.stack([scores_of(table, m, *last_interaction(table, m), target) for m in runs])


def score_of_runs(table: xr.Dataset, runs: Sequence[str], target: str) -> Estimate:
    """Return the mean of `scores_of_runs` with its interval, which counts the runs."""
    scores = scores_of_runs(table, runs, target)
    return hierarchical(scores, overlap=overlap(table))


def layers_of(table: xr.Dataset, model: str) -> dict[str, str]:
    """Return a model's layers on the data's path, each with the irrep of all its scalars."""
    found: dict[str, str] = {}
    for name, layer, irrep in present(table):
        if name == model and (layer not in found or irrep == "all"):
            found[layer] = irrep
    # Earlier versions wrote layers in the order in which they met them.
    return {layer: found[layer] for layer in sorted(found, key=lambda name: _ENDS.get(name, 1))}


def paths_of(table: xr.Dataset) -> list[list[str]]:
    """Return the layers of every model, each on its path."""
    return [list(layers_of(table, model)) for model in models_of(table)]


def last_interaction(table: xr.Dataset, model: str) -> Place:
    """Return the last interaction layer of a model, or its last layer where it has none."""
    found = layers_of(table, model)
    last = layer_names.last_interaction(list(found))
    return last, found[last]


def score_by_layer(
    table: xr.Dataset,
    model: str,
    target: str,
    size: int | None = None,
    *,
    over: Callable[[np.ndarray], Any] = np.mean,
) -> dict[str, float]:
    """Return one score of every layer of a model, `over` folds and repeats, along its path."""
    return {
        layer: float(over(scores_of(table, model, layer, irrep, target, size)))
        for layer, irrep in layers_of(table, model).items()
    }


def highest(scores: Float[np.ndarray, "*any layer"]) -> Int[np.ndarray, "*any"]:
    """Return which layer has the highest score; one that is unknown (NaN) is none."""
    return np.nan_to_num(scores, nan=-np.inf).argmax(-1)


class Elsewhere(NamedTuple):
    """Hold for every draw of molecules the layer that is best on the other draws, and its score."""

    layers: tuple[str, ...]
    scores: Float[np.ndarray, " draw"]


def best_layer_elsewhere(
    tables: Sequence[xr.Dataset],
    model: str,
    target: str,
    size: int | None = None,
    *,
    over: Callable[[np.ndarray], Any] = np.mean,
) -> Elsewhere:
    """Choose a layer on other molecules than it is scored on, so that no maximum is reported.

    Args:
        tables: results of one sweep on several draws of molecules, which share none.
        over: how the scores of folds and repeats become one: their mean or median.

    Raises:
        InputError: there are fewer than two draws, two are of the same molecules, or they have not
            the same layers of the model.
    """
    hashes = [table.attrs.get("dataset_hash", str(i)) for i, table in enumerate(tables)]
    if len(tables) < 2 or len(set(hashes)) < len(hashes):
        raise InputError(
            f"a layer is chosen on other molecules than it is scored on: give results of two draws "
            f"or more, each of its own molecules, got {len(set(hashes))}"
        )
    known = [layers_of(table, model) for table in tables]
    if not known[0] or any(layers != known[0] for layers in known):
        raise InputError(f"the draws must have the same layers of {model!r}: {known}")
    by_layer = [score_by_layer(table, model, target, size, over=over) for table in tables]
    found = np.array([list(scores.values()) for scores in by_layer])  # draw, layer
    best = highest(found.sum(0) - found)
    names = tuple(known[0])
    return Elsewhere(tuple(names[i] for i in best), found[np.arange(len(found)), best])


def ranking(table: xr.Dataset, target: str) -> list[tuple[str, str, str, int, Estimate]]:
    """Return every channel, best first: model, layer, irrep, columns, R²_geom with its interval."""
    found = []
    for model, layer, irrep in present(table):
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        score = score_of(table, model, layer, irrep, target)
        found.append((model, layer, irrep, count, score))
    return sorted(found, key=lambda row: -np.nan_to_num(row[4].low, nan=row[4].value))


def summary(table: xr.Dataset) -> pd.DataFrame:
    """Return a row for every channel and target at the largest size, best first.

    The columns are `model`, `layer`, `irrep`, `features`, `target`, `unit`; `r2_geom`, the mean
    over folds and repeats, with `low` and `high` (95 %, see `uncertainty.comparison.estimate`), and
    its `median`; the means `r2_full` and `r2_comp`; `alpha`, where there are several; `p_adjusted`,
    where there are permutations. Targets that a channel cannot predict are left out.
    """
    known = overlap(table)
    table, over = table.isel(size=-1), ("repeat", "fold")

    def of_one(scores: np.ndarray) -> np.ndarray:
        found = estimate(scores, overlap=known)
        return np.array([found.value, found.low, found.high, np.median(scores)])

    found = xr.apply_ufunc(
        of_one, table.r2_geom, input_core_dims=[over], output_core_dims=[["part"]], vectorize=True
    )
    parts = {name: found[..., i] for i, name in enumerate(("r2_geom", "low", "high", "median"))}
    parts |= {name: table[name].mean(over, skipna=False) for name in ("r2_full", "r2_comp")}
    parts |= {name: table[name] for name in ("p_adjusted",) if name in table}
    frame = xr.Dataset({"features": table.n_features, **parts}).to_dataframe().reset_index()
    # A tensor has no score from channels of another irrep, but one from composition: zero.
    frame = frame[(frame.features > 0) & (frame.r2_geom.notna() | frame.r2_comp.isna())]
    alpha = ["alpha"] if table.sizes["alpha"] > 1 else []
    first = [*OWN, "features", "target", "unit"]
    frame = frame.assign(unit=frame.get("unit", ""))[[*first, *parts, *alpha]]
    return frame.sort_values("r2_geom", ascending=False, kind="stable", ignore_index=True)


def along_path(paths: Sequence[Sequence[str]]) -> list[str]:
    """Merge the layers of several models, each in the order of its path, into one order.

    Every model's order is kept. Between layers that no model compares, an embedding comes first, a
    readout last, numbers that end names ascend, and what was met first comes first. Where two
    models contradict each other, these rules decide as well.

    >>> along_path([["embedding", "interaction_0", "readout"], ["interaction_1", "readout"], ["a"]])
    ['embedding', 'interaction_0', 'interaction_1', 'a', 'readout']
    """
    before: dict[str, set[str]] = {layer: set() for path in paths for layer in path}
    for path in paths:
        for layer, following in pairwise(path):
            before[following].add(layer)
    stems = [_stem(layer)[0] for layer in before]

    def rank(layer: str) -> tuple[int, int, int]:
        stem, number = _stem(layer)
        return _ENDS.get(layer, 1), stems.index(stem), number

    order: list[str] = []
    left = sorted(before, key=rank)
    while left:
        free = (layer for layer in left if before[layer] <= {*order})
        order.append(next(free, left[0]))
        left.remove(order[-1])
    return order


def _stem(layer: str) -> tuple[str, int]:
    """Return the name of a layer without the number at its end, and that number."""
    stem = layer.rstrip("0123456789")
    digits = layer[len(stem) :]
    return stem, int(digits[:9]) if digits else -1


def present(table: xr.Dataset) -> Iterable[tuple[str, str, str]]:
    """Return the (model, layer, irrep) that exist, one by one."""
    models, layers, irreps = (table[axis].to_numpy() for axis in OWN)  # xarray indexes slowly
    for i, j, k in np.argwhere(table.n_features.to_numpy() > 0):
        yield str(models[i]), str(layers[j]), str(irreps[k])


def joined(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return one table of the models of several, which were probed on the same molecules and folds.

    Layers are along the path. What concerns all models, such as `r2_comp`, is that of the first.

    Raises:
        InputError: a model is in two tables.
    """
    models = [model for table in tables for model in table.model.values.tolist()]
    for model in models:
        if models.count(model) > 1:
            raise InputError(f"{model!r} is in two tables: leave one out")
    first = tables[0]
    axes = {
        "layer": along_path([path for table in tables for path in paths_of(table)]),
        "irrep": list(dict.fromkeys(ir for t in tables for ir in t.irrep.values.tolist())),
    }
    own = [name for name, values in first.items() if "model" in values.dims]
    placed = [table[own].reindex(axes, fill_value={"n_features": 0}) for table in tables]
    of_all = first.drop_dims("model")
    together = xr.concat(placed, "model", join="exact", coords="minimal", compat="override")
    return together.assign(of_all.drop_vars(axes, errors="ignore").data_vars).assign_attrs(
        first.attrs | _of_each(tables)
    )


def _of_each(tables: Sequence[xr.Dataset]) -> dict[str, str]:
    """Return the attributes of tables that say something of each model, for all of them."""
    known = [name for name in OF_EACH if any(name in table.attrs for table in tables)]
    parts = {name: [json.loads(t.attrs.get(name, "{}")) for t in tables] for name in known}
    return {
        name: json.dumps({k: v for own in found for k, v in own.items()}, sort_keys=True)
        for name, found in parts.items()
    }
