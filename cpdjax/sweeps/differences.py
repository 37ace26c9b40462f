"""Models of one sweep are compared here: every difference with its interval and p-value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr

from cpdjax.configuration import names_in
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.sweeps.settings import LAST
from cpdjax.sweeps.table import last_interaction, layers_of, of_runs, overlap, scores_of
from cpdjax.uncertainty.bootstrap import Bootstrap
from cpdjax.uncertainty.multiplicity import adjust
from cpdjax.uncertainty.runs import hierarchical_difference


def differences(
    table: xr.Dataset,
    targets: str | Sequence[str] | None = None,
    *,
    reference: str | None = None,
    layer: str = LAST,
    runs: bool = False,
) -> pd.DataFrame:
    """Subtract R²_geom of one model from another's, at the largest size and the first α.

    Args:
        table: results of `sweep`, whose models share folds and repeats.
        targets: names of targets, in a list or separated by commas; by default all.
        reference: the model that all others are compared with; by default every pair is compared.
            A reference chosen for its score makes differences look larger than they are.
        layer: the name of a layer, and models without it are left out; or "last": the last
            interaction layer of each model, or its last layer where it has none. All scalars of a
            layer are taken together.
        runs: take all training runs of a model together, such as "painn-qm9-gap" and
            "painn-qm9-gap-run1", with the interval of `cpdjax.hierarchical_difference`, which
            counts their spread. Then `runs` and `reference_runs` say how many there are.

    Returns:
        A row for every pair and target: `target`, `model`, `layer`, `reference`,
        `reference_layer` (the layers that were compared), `difference` over repeats and folds
        with its corrected resampled t interval `low`, `high` at 95 % and `p_value` (see
        `cpdjax.compare`), `p_adjusted` (Holm, over all rows: the one to go by, which tables and
        figures show); and, where the sweep had `bootstrap`, the paired interval `bootstrap_low`,
        `bootstrap_high` (see `Bootstrap.difference`), of the first repeat.

    Raises:
        UnknownNameError: there is no such target, model or layer.
        InputError: there are fewer than two models to compare.

    >>> rng, axes = np.random.default_rng(0), ["model", "layer", "irrep"]
    >>> scores = rng.normal(0.5, 0.01, size=(2, 1, 1, 5, 1, 5, 1, 1))
    >>> scores[0] += 0.1
    >>> table = xr.Dataset(
    ...     {"r2_geom": ([*axes, "repeat", "size", "fold", "alpha", "target"], scores),
    ...      "n_features": (axes, np.full((2, 1, 1), 8))},
    ...     {"model": ["a", "b"], "layer": ["last"], "irrep": ["0e"], "target": ["gap"]})
    >>> differences(table)[["model", "reference", "difference"]].round(1).values.tolist()
    [['a', 'b', 0.1]]
    """
    known = [str(t) for t in table.target.values]
    chosen = known if targets is None else names_in(targets, known)
    for target in chosen:
        if target not in known:
            raise UnknownNameError("target", target, known)
    channels = _channels(table, layer)
    models = of_runs(channels) if runs else {model: [model] for model in channels}
    if reference is not None and reference not in models:
        model_of = {run: name for name, own in models.items() for run in own}
        if reference not in model_of:
            raise UnknownNameError("model", reference, channels)
        reference = model_of[reference]
    if len(models) < 2:
        raise InputError(
            f"a comparison needs two models with layer {layer!r}, the results have "
            f"{', '.join(models)}"
        )
    if overlap(table) == 1:
        raise InputError(
            f"at N = {int(table['size'][-1]):,} all repeats train on the same molecules, so that "
            "there is no interval: sweep again with a smaller last size (--sizes)"
        )
    pairs = list(combinations(models, 2))
    if reference is not None:
        pairs = [(model, reference) for model in models if model != reference]
    rows = [
        _row(table, target, {a: models[a], b: models[b]}, channels, runs)
        for target in chosen
        for a, b in pairs
    ]
    frame = pd.DataFrame(rows)
    frame.insert(list(frame).index("p_value") + 1, "p_adjusted", adjust(frame["p_value"]))
    return frame


def _channels(table: xr.Dataset, layer: str) -> dict[str, tuple[str, str]]:
    """Return the layer and irrep to compare of every model that has the layer."""
    models = [str(m) for m in table.model.values]
    of = {m: layers_of(table, m) for m in models}
    if layer == LAST:
        return {m: last_interaction(table, m) for m in models if of[m]}
    if not any(layer in layers for layers in of.values()):
        raise UnknownNameError("layer", layer, [LAST, *map(str, table.layer.values)])
    return {m: (layer, layers[layer]) for m, layers in of.items() if layer in layers}


def _row(
    table: xr.Dataset,
    target: str,
    pair: Mapping[str, Sequence[str]],
    channels: Mapping[str, tuple[str, str]],
    runs: bool,
) -> dict[str, object]:
    """Return the difference of two models, each with its training runs."""
    (a, ours), (b, theirs) = pair.items()
    first, second = (
        np.stack([scores_of(table, m, *channels[m], target) for m in own]) for own in pair.values()
    )
    found = hierarchical_difference(first, second, overlap=overlap(table))
    row: dict[str, object] = {"target": target, "model": a, "layer": channels[ours[0]][0]}
    row |= {"reference": b, "reference_layer": channels[theirs[0]][0]}
    row |= {"runs": len(ours), "reference_runs": len(theirs)} if runs else {}
    row |= {"difference": found.value, "low": found.low, "high": found.high}
    row["p_value"] = found.p_value
    if "replicate_r2_geom" in table and not runs:
        drawn, beside = (_replicates(table, m, *channels[m], target) for m in pair)
        interval = drawn.difference(beside)
        row |= {"bootstrap_low": interval.low.item(), "bootstrap_high": interval.high.item()}
    return row


def _replicates(table: xr.Dataset, model: str, layer: str, irrep: str, target: str) -> Bootstrap:
    own = {"model": model, "layer": layer, "irrep": irrep, "target": target}
    observed = scores_of(table, model, layer, irrep, target)[0].mean()
    replicates = table.replicate_r2_geom.sel(own).isel(alpha=0).to_numpy()
    return Bootstrap(np.reshape(observed, (1, 1)), replicates[:, None, None])
