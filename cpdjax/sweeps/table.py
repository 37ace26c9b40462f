"""A table of results is read here: which channels exist, their scores, the order of layers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from cpdjax.uncertainty.comparison import Estimate, estimate

#: The axes that tell channels apart.
OWN = ("model", "layer", "irrep")

#: A layer, and the irrep that holds all of its scalars.
Place = tuple[str, str]


def scores_of(
    table: xr.Dataset, model: str, layer: str, irrep: str, target: str, size: int | None = None
) -> Float[np.ndarray, "repeat fold"]:
    """Return R²_geom of one channel at one size (by default the largest) and the first α."""
    one = table.r2_geom.sel(model=model, layer=layer, irrep=irrep, target=target).isel(alpha=0)
    one = one.isel(size=-1) if size is None else one.sel(size=size)
    return one.transpose("repeat", "fold").to_numpy()


def models_of(table: xr.Dataset) -> list[str]:
    """Return the models of a table, in its order."""
    return list(dict.fromkeys(model for model, _, _ in present(table)))


def layers_of(table: xr.Dataset, model: str) -> dict[str, str]:
    """Return a model's layers in the data's order, each with the irrep of all its scalars."""
    found: dict[str, str] = {}
    for name, layer, irrep in present(table):
        if name == model and (layer not in found or irrep == "all"):
            found[layer] = irrep
    return {layer: found[layer] for layer in along_path(found)}


def last_interaction(table: xr.Dataset, model: str) -> Place:
    """Return the last interaction layer of a model, or its last layer where it has none."""
    layers = layers_of(table, model)
    inner = [layer for layer in layers if layer.startswith("interaction")] or list(layers)
    return inner[-1], layers[inner[-1]]


def ranking(table: xr.Dataset, target: str) -> list[tuple[str, str, str, int, Estimate]]:
    """Return every channel, best first: model, layer, irrep, columns, R²_geom with its interval."""
    found = []
    for model, layer, irrep in present(table):
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        score = estimate(scores_of(table, model, layer, irrep, target))
        found.append((model, layer, irrep, count, score))
    return sorted(found, key=lambda row: -row[4].low)


def summary(table: xr.Dataset) -> pd.DataFrame:
    """Return a row for every channel and target at the largest size, best first.

    The columns are `model`, `layer`, `irrep`, `features`, `target`, `unit`; `r2_geom`, the mean
    over folds and repeats, with `low` and `high` (95 %, see `uncertainty.comparison.estimate`), and
    its `median`; the means `r2_full` and `r2_comp`; `alpha`, where there are several; `p_adjusted`,
    where there are permutations. Targets that a channel cannot predict are left out.
    """
    table, over = table.isel(size=-1), ("repeat", "fold")

    def of_one(scores: np.ndarray) -> np.ndarray:
        found = estimate(scores)
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


def along_path(layers: Iterable[str]) -> list[str]:
    """Sort layers in the data's order: the embedding first, the readout last.

    A table holds layers in the order in which it met them, which differs where models do.
    """
    order = {"embedding": 0, "readout": 2}
    return sorted(layers, key=lambda layer: order.get(layer, 1))


def present(table: xr.Dataset) -> Iterable[tuple[str, str, str]]:
    """Return the (model, layer, irrep) that exist, one by one."""
    models, layers, irreps = (table[axis].to_numpy() for axis in OWN)  # xarray indexes slowly
    for i, j, k in np.argwhere(table.n_features.to_numpy() > 0):
        yield str(models[i]), str(layers[j]), str(irreps[k])
