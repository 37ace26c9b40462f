"""Say in one line what makes scores of a sweep unreliable, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from cpdjax.sweeps.table import present

#: How many channels, and targets of a channel, a hint names.
_MOST_NAMED = 2


def hints(table: xr.Dataset) -> list[str]:
    """Return a line for channels that are too wide, and one for folds that failed.

    Both are looked for at the largest size, where scores are best. A channel is too wide where it
    has more columns than there are training rows: Ridge then fits what it will not find again.

    >>> from cpdjax.sweeps.sweep import sweep
    >>> made = {"formula": ["CH4", "C2H6", "H2O", "CO2"] * 10, "gap": np.random.rand(40)}
    >>> wide = sweep({"wide": np.random.rand(40, 50)}, targets=made, repeats=1, alphas=1)
    >>> hints(wide)[0][:59]
    'More columns than the 32 training molecules: wide / feature'
    """
    loo = bool(np.isnan(table.alpha.values).any())
    return [line for line in (_wide(table, loo), _failed(table, loo)) if line]


def _wide(table: xr.Dataset, loo: bool) -> str:
    size, folds = int(table["size"][-1]), table.sizes["fold"]
    rows = int(table.attrs.get("rows", 0)) * size // max(int(table.attrs.get("molecules", 1)), 1)
    trained = (folds - 1, folds) if folds > 1 else (1, 1)  # one fold is a test set
    training = (rows or size) * trained[0] // trained[1]
    wide = [
        f"{model} / {layer} / {irrep} ({count:,})"
        for model, layer, irrep in present(table)
        if (count := int(table.n_features.sel(model=model, layer=layer, irrep=irrep))) > training
    ]
    if not wide:
        return ""
    cure = "take more molecules, or fewer columns (--irreps)"
    if not loo:
        cure = f"choose α by leave-one-out (--alphas loo), {cure}"
    what = "molecules" if training == size * trained[0] // trained[1] else "rows"
    return (
        f"More columns than the {training:,} training {what}: {_named(wide)}. "
        f"{cure[0].upper()}{cure[1:]}."
    )


def _failed(table: xr.Dataset, loo: bool) -> str:
    failed = (table.r2_geom.isel(size=-1) < -1).any(("repeat", "fold", "alpha"))
    found = [
        f"{model} / {layer} / {irrep} ({_named([str(target) for target in targets])})"
        for model, layer, irrep in present(table)
        if len(targets := table.target.values[failed.sel(model=model, layer=layer, irrep=irrep)])
    ]
    if not found:
        return ""
    cure = "Take more molecules" if loo else "Choose α by leave-one-out (--alphas loo)"
    return (
        f"R² of a fold is below −1, since held-out molecules lie outside the training range: "
        f"{_named(found)}. {cure}, and read medians, not means."
    )


def _named(names: Sequence[str]) -> str:
    """Return the first names, and how many there are beside them."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
