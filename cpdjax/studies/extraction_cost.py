"""The cost of features: the wall time of extracting one layer, in milliseconds per molecule."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import xarray as xr

from cpdjax.data.structures import Structures
from cpdjax.features.extraction import Extraction
from cpdjax.models.interface import Model

_MOLECULES, _CALLS = 64, 5  # how many molecules a cost is measured on, and how often


def milliseconds(model: Model, layer: str, structures: Structures) -> float:
    """Measure the wall time of extracting one layer on this machine, in ms per molecule.

    The time includes neighbour lists but not compilation. It is the median of five calls on 64
    molecules drawn from the structures, or on all if they are fewer.

    >>> from ase.build import molecule
    >>> from cpdjax import models
    >>> ds = Structures.from_atoms([molecule("H2O"), molecule("CH4")])
    >>> milliseconds(models.load("coulomb-spectrum"), "spectrum", ds) > 0
    True
    """
    drawn = np.random.default_rng(0).permutation(len(structures))[:_MOLECULES]
    extraction = Extraction.of(model, structures.select(drawn), [layer])
    rows = np.arange(len(drawn))
    extraction.rows(rows)  # compiles
    seconds = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        extraction.rows(rows)
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds)) / len(drawn)


def cost_of(table: xr.Dataset, model: str, layer: str) -> float:
    """Return the milliseconds per molecule that a table holds; NaN where none were measured."""
    if "milliseconds" not in table:
        return np.nan
    return table.milliseconds.sel(model=model, layer=layer).item()


def with_costs(table: xr.Dataset, costs: Mapping[tuple[str, str], float]) -> xr.Dataset:
    """Return the table with `milliseconds` (model, layer), from costs by model and layer."""
    names, layers = ([str(name) for name in table[axis].values] for axis in ("model", "layer"))
    values = [[costs.get((model, layer), np.nan) for layer in layers] for model in names]
    attributes = {
        "description": "wall time of extraction per molecule; NaN where it was not measured",
        "units": "ms",
    }
    return table.assign(milliseconds=(("model", "layer"), np.array(values), attributes))
