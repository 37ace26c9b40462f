"""Read from a comparison of spaces what figures and pages show: likeness, paths, sides, names."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.features.layer_names import last_interaction
from cpdjax.likeness.measures import OF_PAIRS
from cpdjax.reports.objectives import CONTROLS, objective_of
from cpdjax.reports.text import left_out_text
from cpdjax.sweeps.table import setting
from cpdjax.uncertainty.multiplicity import LEVEL, needed, smallest

RAW = "none"
"""The projection that takes nothing but means."""
CONTROL = "◇"
"""Marks models that know no coordinate or have random weights."""

_REMOVED = {
    RAW: "raw",
    "ols": "composition removed",
    "bonds": "composition, bonds and rings removed",
    "groups": "composition, bonds, rings and groups removed",
    "formula": "means of formulas removed",
}
_AXES = ("channel", "channel_a", "channel_b")
#: Irreps that a label leaves out where a layer has no other.
SCALARS = ("all", "0e")


def checked(table: xr.Dataset, measure: str) -> xr.Dataset:
    """Return results that hold a measure of pairs.

    Raises:
        InputError: the dataset compares no spaces, or the measure was not asked for.
        UnknownNameError: there is no such measure.
    """
    if not {*_AXES, "projection"} <= set(table.dims):
        raise InputError(
            "this dataset compares no spaces: expected what cpdjax.spaces returns, or what its "
            "folder holds"
        )
    if measure not in OF_PAIRS:
        raise UnknownNameError("measure", measure, OF_PAIRS)
    if measure not in table:
        raise InputError(
            f"the results hold no {measure}: compare with measures=[{measure!r}], or show one of "
            f"{', '.join(measures(table)) or 'none'}"
        )
    return table


def measures(table: xr.Dataset) -> list[str]:
    """Return the measures of pairs that results hold."""
    return [name for name in OF_PAIRS if name in table]


def sides(table: xr.Dataset) -> dict[str, str]:
    """Return the projections, the raw one first, each with what it is called."""
    names = sorted(map(str, table.projection.values), key=lambda name: name != RAW)
    known = _REMOVED | ({"ols": "elements removed"} if setting(table, "probe") == "atom" else {})
    return {name: known.get(name, f"{name} removed") for name in names}


def removed(table: xr.Dataset) -> str:
    """Return the projection that takes composition out; the raw one where there is no other."""
    return list(sides(table))[-1]


def matrix(
    table: xr.Dataset, measure: str, projection: str, part: str = ""
) -> Float[np.ndarray, "channel channel"]:
    """Return a measure of all pairs, from rows to columns, in the mean over folds.

    Args:
        table: the results.
        measure: its name.
        projection: what was taken out.
        part: "_low", "_high", "_null" or "_p_adjusted"; all undefined where results hold none.
    """
    if measure + part not in table:
        return np.full((table.sizes["channel_a"], table.sizes["channel_b"]), np.nan)
    values = table[measure + part].sel(projection=projection)
    values = values.mean("fold", skipna=False) if "fold" in values.dims else values
    return values.transpose("channel_a", "channel_b").to_numpy()


def channels(table: xr.Dataset) -> list[tuple[str, str, str]]:
    """Return model, layer and irrep of every channel."""
    parts = (table[name].to_numpy().astype(str).tolist() for name in ("model", "layer", "irrep"))
    return list(zip(*parts, strict=True))


def models(table: xr.Dataset) -> list[str]:
    """Return the models in the order of the results."""
    return list(dict.fromkeys(model for model, _, _ in channels(table)))


def is_control(model: str) -> bool:
    """Return whether a model knows no coordinate or has random weights."""
    return objective_of(model) in CONTROLS


def named(model: str) -> str:
    """Return the name of a model, marked where it is a control.

    >>> named("so3lr"), named("bond-graph")
    ('so3lr', '◇ bond-graph')
    """
    return f"{CONTROL} {model}" if is_control(model) else model


def controls_text(table: xr.Dataset) -> str:
    """Return what a caption says of controls; nothing where there is none."""
    found = any(map(is_control, models(table)))
    return f"{CONTROL} control: no coordinate, or random weights" if found else ""


def layer_names(table: xr.Dataset) -> list[str]:
    """Return the layer of every channel, with its irrep where the layer alone would not tell."""
    own = channels(table)
    places = [(model, layer) for model, layer, _ in own]
    return [
        layer if irrep in SCALARS and places.count((model, layer)) == 1 else f"{layer} {irrep}"
        for model, layer, irrep in own
    ]


def paths(table: xr.Dataset) -> dict[tuple[str, str], list[int]]:
    """Return the channels of every model and irrep along the path of the data, by number.

    All scalars together are a path of their own. It takes in the layers that have one irrep alone,
    whose scalars are all that there are.
    """
    own, found = channels(table), dict[tuple[str, str], list[int]]()
    layers = [(model, layer) for model, layer, _ in own]
    whole = {model for model, _, irrep in own if irrep == "all"}
    for i, (model, _, irrep) in enumerate(own):
        if model in whole and irrep != "all" and layers.count(layers[i]) == 1:
            found.setdefault((model, "all"), []).append(i)
        found.setdefault((model, irrep), []).append(i)
    return found


def main_paths(table: xr.Dataset) -> dict[tuple[str, str], list[int]]:
    """Return the path of all scalars of each model; of one without, the paths of its irreps."""
    found = paths(table)
    whole = {model for model, irrep in found if irrep == "all"}
    return {key: own for key, own in found.items() if key[1] == "all" or key[0] not in whole}


def last_channels(table: xr.Dataset) -> list[int]:
    """Return the channel of every main path at the model's last interaction layer, by number."""
    own, found = channels(table), []
    for path in main_paths(table).values():
        layers = [own[i][1] for i in path]
        found.append(path[layers.index(last_interaction(layers))])
    return found


def shown(table: xr.Dataset, most: int) -> tuple[xr.Dataset, str]:
    """Return results of at most so many channels, and a note about the others.

    Of more, every model has its last interaction layer alone.
    """
    if table.sizes["channel"] <= most:
        return table, ""
    kept = sorted(last_channels(table))[:most]
    note = left_out_text(channels=table.sizes["channel"] - len(kept))
    said = f"last interaction layer of each model; {note}"
    return table.isel(dict.fromkeys(_AXES, kept)), said


def molecules_text(table: xr.Dataset) -> str:
    """Return the number of molecules, and of atoms where these are rows; nothing if unknown."""
    known = table.attrs
    if "molecules" not in known:
        return ""
    said = f"{int(known['molecules']):,} molecules"
    of_atoms = str(setting(table, "probe")).startswith("atom") and "rows" in known
    return f"{said}, {int(known['rows']):,} atoms" if of_atoms else said


def moved_text(table: xr.Dataset) -> str:
    """Return what changes places in permutations, and how many of the rows can."""
    of_atoms = str(setting(table, "probe")).startswith("atom")
    what = "atoms within molecule and element" if of_atoms else "molecules within formulas"
    moved = table.attrs.get("exchangeable")
    share = "" if moved is None else f" ({int(moved):,} of {int(table.attrs['rows']):,} can)"
    return f"{what} change places{share}"


def too_few(table: xr.Dataset) -> str:
    """Return that permutations are too few for any p-value to be small; nothing if they are not."""
    count = setting(table, "permutations")
    if not count or smallest("max-t", 1, int(count)) <= LEVEL:
        return ""
    return f"no p can reach {LEVEL:g} here: it takes {needed('max-t', 1)} permutations"


def caption(*parts: str) -> str:
    """Return a caption of the parts that say something."""
    return "; ".join(filter(None, parts))
