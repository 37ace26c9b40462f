"""A table of results is read here: which channels exist, their scores, the order of layers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
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
    last = last_of(layers)
    return last, layers[last]


def last_of(layers: Iterable[str]) -> str:
    """Return the last interaction layer, or the last layer where there is none.

    >>> last_of(["interaction_0", "interaction_1", "readout"]), last_of(["spectrum"])
    ('interaction_1', 'spectrum')
    """
    known = along_path(layers)
    return ([layer for layer in known if layer.startswith("interaction")] or known)[-1]


def ranking(table: xr.Dataset, target: str) -> list[tuple[str, str, str, int, Estimate]]:
    """Return every channel, best first: model, layer, irrep, columns, R²_geom with its interval."""
    found = []
    for model, layer, irrep in present(table):
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        score = estimate(scores_of(table, model, layer, irrep, target))
        found.append((model, layer, irrep, count, score))
    return sorted(found, key=lambda row: -row[4].low)


def along_path(layers: Iterable[str]) -> list[str]:
    """Sort layers in the data's order: the embedding first, the readout last.

    A table holds layers in the order in which it met them, which differs where models do.
    """
    order = {"embedding": 0, "readout": 2}
    return sorted(layers, key=lambda layer: order.get(layer, 1))


def present(table: xr.Dataset) -> Iterable[tuple[str, str, str]]:
    """Return the (model, layer, irrep) that exist, one by one."""
    for i, j, k in np.argwhere(table.n_features.to_numpy() > 0):
        yield str(table.model[i].item()), str(table.layer[j].item()), str(table.irrep[k].item())
