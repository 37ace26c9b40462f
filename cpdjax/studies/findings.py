"""The paper's findings beside ours, read off the results of sweeps.

The paper's values are those of J. Steier, arXiv 2603.03155v2. What its text leaves open is our
choice, and each finding says so. A finding is asked at each model's last interaction layer, which
we take to be the layer of the paper's values, and at its best layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from cpdjax.sweeps.table import (
    Place,
    along_path,
    last_interaction,
    layers_of,
    models_of,
    paths_of,
    scores_of,
)
from cpdjax.uncertainty.comparison import Estimate, compare, estimate

Verdict = Literal["holds", "does not hold", "not in the paper", "not run"]
GAP, DIPOLE = "gap", "mu"
ENERGY = "energy"


@dataclass(frozen=True)
class Finding:
    """Hold one statement of the paper, our result, and whether ours agrees."""

    name: str
    paper: str
    ours: str
    verdict: Verdict
    remark: str = ""


def verdict(holds: bool) -> Verdict:
    """Return the verdict on a statement of the paper.

    >>> verdict(True), verdict(False)
    ('holds', 'does not hold')
    """
    return "holds" if holds else "does not hold"


def best_layer(table: xr.Dataset, model: str) -> Place:
    """Return the layer with the highest mean R²_geom of the gap, optimistic by this choice."""
    layers = layers_of(table, model)
    best = max(layers, key=lambda layer: scores_of(table, model, layer, layers[layer], GAP).mean())
    return best, layers[best]


PLACES: dict[str, Callable[[xr.Dataset, str], Place]] = {
    "last interaction layer": last_interaction,
    "best layer": best_layer,
}


def gap_score(
    table: xr.Dataset, model: str, place: str = "last interaction layer", size: int | None = None
) -> Estimate:
    """Return R²_geom of the gap at one of `PLACES`."""
    return estimate(scores_of(table, model, *PLACES[place](table, model), GAP, size))


def models_by_gap(table: xr.Dataset) -> list[str]:
    """Return the models in order of R²_geom of the gap at the last interaction layer."""
    return sorted(models_of(table), key=lambda model: -gap_score(table, model).value)


def gradient(table: xr.Dataset) -> list[Finding]:
    """Ask how far apart the models are on the gap."""
    lines = []
    for place in PLACES:
        scores = {model: gap_score(table, model, place) for model in models_of(table)}
        worst = min(scores, key=lambda model: scores[model].value)
        best = max(scores, key=lambda model: scores[model].value)
        low, high = scores[worst], scores[best]
        ratio = f"a factor of {high.value / low.value:.1f}" if low.value > 0 else "no factor"
        lines.append(
            Finding(
                f"linear accessibility gradient, gap, {place}",
                "0.081 to 0.533, a factor of 6.6",
                f"{worst} {low} to {best} {high}, {ratio}",
                verdict(high.low > low.high),
                "It holds if the intervals of the best and the worst model do not overlap (our "
                "choice).",
            )
        )
    return lines


#: What the paper says of an architecture's gain, where it names one.
_GAINS = {"painn": "0.53 − 0.31 = +0.22", "mace": "0.44 − 0.08 = +0.36"}
_GAIN = 0.25


def alignment(table: xr.Dataset) -> list[Finding]:
    """Compare training on the gap with training on the energy, architecture by architecture."""
    pairs = {model: model.replace("-gap", f"-{ENERGY}") for model in models_of(table)}
    lines = [
        _aligned(table, model, other)
        for model, other in pairs.items()
        if model.endswith("-gap") and other in pairs
    ]
    missing = "No architecture was trained both on the gap and on the energy."
    return lines or [Finding("task alignment", f"about +{_GAIN}", "", "not run", missing)]


def _aligned(table: xr.Dataset, model: str, other: str) -> Finding:
    last, best = (_paired_difference(table, model, other, place) for place in PLACES)
    inside = "within" if last.low <= _GAIN <= last.high else "outside"
    architecture = model.split("-")[0]
    return Finding(
        f"task alignment, {architecture}: trained on gap minus trained on energy",
        _GAINS.get(architecture, f"about +{_GAIN}"),
        str(last),
        verdict(last.low > 0),
        "Both models are scored on the same folds. It holds if the interval is above zero. The "
        f"paper's +{_GAIN} is {inside} the interval. At the best layers: {best}",
    )


def diversity(table: xr.Dataset, pretrained: Sequence[str]) -> list[Finding]:
    """Compare models pretrained on diverse data with models trained on QM9's energies."""
    energy_trained = [m for m in models_of(table) if m.endswith(f"-{ENERGY}")]
    diverse = [m for m in pretrained if m in models_of(table)]
    name, paper = "diverse pretraining, gap", "0.36 (MPTraj) against 0.08 (QM9 energy), MACE"
    if not energy_trained or not diverse:
        missing = "It needs a pretrained model and a model trained on QM9's energy."
        return [Finding(name, paper, "", "not run", missing)]
    best = max(energy_trained, key=lambda m: gap_score(table, m).value)
    lines = []
    for model in diverse:
        last, at_best = (
            {m: _paired_difference(table, model, m, place) for m in energy_trained}
            for place in PLACES
        )
        above = [f"{m} {difference}" for m, difference in last.items() if difference.low > 0]
        lines.append(
            Finding(
                f"{name}: {model} minus the best trained on QM9's energy",
                paper,
                f"{gap_score(table, model)}, {best} {gap_score(table, best)}: {last[best]}",
                verdict(last[best].low > 0),
                "Both models are scored on the same folds. It holds if the interval is above "
                f"zero. Above {len(above)} of {len(energy_trained)}: {'; '.join(above) or 'none'}. "
                f"At the best layers: {at_best[best]}",
            )
        )
    return lines


def efficiency(table: xr.Dataset) -> list[Finding]:
    """Ask whether the ranking of models at few molecules predicts their ranking at full size."""
    models = models_of(table)
    sizes = [int(n) for n in table["size"].values]
    if len(models) < 3 or len(sizes) < 2:
        missing = "It needs at least 3 models and 2 sizes."
        return [Finding("sample efficiency", "ρ 0.964", "", "not run", missing)]
    means = {n: _means_by_repeat(table, models, n) for n in sizes}
    return [
        _ranking_at_first_size(means),
        _stable_from(means),
        _best_few_above_weakest_many(table, means),
    ]


_Means = dict[int, Float[np.ndarray, "model repeat"]]  # by size, ascending


def _ranking_at_first_size(means: _Means) -> Finding:
    first, last = min(means), max(means)
    small, large = means[first], means[last]
    rho = _spearman(small.mean(1), large.mean(1))
    single = [_spearman(small[:, r], large[:, r]) for r in range(small.shape[1])]
    return Finding(
        f"ranking at N = {first} against N = {last}",
        "Spearman ρ 0.964",
        f"Spearman ρ {rho:.3f}, {len(small)} models; "
        f"{min(single):.2f} to {max(single):.2f} in single repeats",
        verdict(rho > 0.9),
        "Models are ranked by their means over repeats. It holds if ρ is above 0.9 (our choice).",
    )


def _stable_from(means: _Means) -> Finding:
    *sizes, last = means
    rho = {n: _spearman(means[n].mean(1), means[last].mean(1)) for n in sizes}
    stable = [n for n in sizes if all(rho[larger] >= 0.95 for larger in sizes if larger >= n)]
    return Finding(
        "from which N on the ranking is stable",
        "500",
        "; ".join(f"N = {n}: ρ {value:.3f}" for n, value in rho.items()),
        verdict(bool(stable) and stable[0] <= 500),
        "A ranking is stable if ρ is at least 0.95 at this N and at every larger N (our choice). "
        "It holds if the ranking is stable from N = 500 or fewer.",
    )


def _best_few_above_weakest_many(table: xr.Dataset, means: _Means) -> Finding:
    models, first, last = models_of(table), min(means), max(means)
    best = models[int(means[first].mean(1).argmax())]
    weakest = models[int(means[last].mean(1).argmin())]
    few, many = gap_score(table, best, size=first), gap_score(table, weakest)
    overlap = "do not overlap" if few.low > many.high else "overlap"
    return Finding(
        f"best model at N = {first} above the weakest model at N = {last}",
        "PaiNN at 50 above SchNet at 2,000",
        f"{best} {few}, {weakest} {many}",
        verdict(few.value > many.value),
        f"It holds if the mean is higher. The intervals {overlap}.",
    )


def depth(table: xr.Dataset) -> xr.Dataset:
    """Return R²_geom of the gap and composition's share at every layer, axes (model, layer)."""
    models, layers = models_of(table), along_path(paths_of(table))
    r2_geom, share = (np.full((len(models), len(layers)), np.nan) for _ in range(2))
    for i, model in enumerate(models):
        for layer, irrep in layers_of(table, model).items():
            where = i, layers.index(layer)
            shares = table.composition_share.sel(model=model, layer=layer, irrep=irrep)
            r2_geom[where] = scores_of(table, model, layer, irrep, GAP).mean()
            share[where] = shares.isel(size=-1).mean().item()
    axes = ("model", "layer")
    data = {"r2_geom": (axes, r2_geom), "composition_share": (axes, share)}
    return xr.Dataset(data, {"model": models, "layer": layers})


def _paired_difference(table: xr.Dataset, one: str, other: str, place: str) -> Estimate:
    """Subtract scores on the same folds, each model at its own layer of that place."""
    first, second = (scores_of(table, m, *PLACES[place](table, m), GAP) for m in (one, other))
    return compare(first, second)


def _means_by_repeat(
    table: xr.Dataset, models: Sequence[str], size: int
) -> Float[np.ndarray, "model repeat"]:
    places = {model: last_interaction(table, model) for model in models}
    return np.stack([scores_of(table, m, *places[m], GAP, size).mean(1) for m in models])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.spearmanr(a, b).statistic)
