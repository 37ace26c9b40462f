"""The paper's findings beside ours, read off the results of sweeps.

Source of the figures: J. Steier, arXiv 2603.03155v2. What its text leaves open is our choice and is
said so in each finding. A finding is asked at each model's last interaction layer, which we take
the paper's figures to be of, and at its best layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from cpdjax.sweeps.table import Place, along_path, last_interaction, layers_of, models_of, scores_of
from cpdjax.uncertainty.comparison import Estimate, compare, estimate

Verdict = Literal["holds", "does not hold", "not in the paper", "not run"]
GAP, DIPOLE = "gap", "mu"
ENERGY = "energy"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    paper: str
    ours: str
    verdict: Verdict
    remark: str = ""


def best_layer(table: xr.Dataset, model: str) -> Place:
    """The layer with the highest mean R²_geom of the gap: chosen on the scores it reports."""
    layers = layers_of(table, model)
    best = max(layers, key=lambda layer: scores_of(table, model, layer, layers[layer], GAP).mean())
    return best, layers[best]


PLACES: dict[str, Callable[[xr.Dataset, str], Place]] = {
    "last interaction layer": last_interaction,
    "best layer": best_layer,
}


def gap_of(
    table: xr.Dataset, model: str, place: str = "last interaction layer", size: int | None = None
) -> Estimate:
    """R²_geom of the gap at one of `PLACES`."""
    return estimate(scores_of(table, model, *PLACES[place](table, model), GAP, size))


def gradient(table: xr.Dataset) -> list[Finding]:
    """How far apart the models are on the gap."""
    lines = []
    for place in PLACES:
        found = {m: gap_of(table, m, place) for m in models_of(table)}
        worst, best = (choose(found, key=lambda m: found[m].value) for choose in (min, max))
        ratio = found[best].value / found[worst].value if found[worst].value > 0 else np.inf
        lines.append(
            Finding(
                f"linear accessibility gradient, gap, {place}",
                "0.081 to 0.533, a factor of 6.6",
                f"{worst} {found[worst]} to {best} {found[best]}, a factor of {ratio:.1f}",
                "holds" if found[best].low > found[worst].high else "does not hold",
                "holds: the intervals of the first and the last model do not meet (our choice)",
            )
        )
    return lines


#: What the paper says of an architecture's gain, where it names one.
_GAINS = {"painn": "0.53 − 0.31 = +0.22", "mace": "0.44 − 0.08 = +0.36"}
_GAIN = 0.25


def alignment(table: xr.Dataset) -> list[Finding]:
    """Trained on the gap minus trained on the energy, architecture by architecture."""
    lines = []
    for model in models_of(table):
        other = model.replace("-gap", f"-{ENERGY}")
        if not model.endswith("-gap") or other not in models_of(table):
            continue
        last, best = (_difference(table, model, other, place) for place in PLACES)
        inside = "within" if last.low <= _GAIN <= last.high else "outside"
        architecture = model.split("-")[0]
        lines.append(
            Finding(
                f"task alignment, {architecture}: trained on gap minus on energy",
                _GAINS.get(architecture, f"about +{_GAIN}"),
                str(last),
                "holds" if last.low > 0 else "does not hold",
                f"paired on the same folds; holds: the interval is above zero. The paper's "
                f"+{_GAIN} is {inside} it. Best layers: {best}",
            )
        )
    if lines:
        return lines
    return [Finding("task alignment", "about +0.25", "", "not run", "no architecture has both")]


def diversity(table: xr.Dataset, pretrained: Sequence[str]) -> list[Finding]:
    """Pretrained on diverse data against trained on QM9's energies."""
    own = [m for m in models_of(table) if m.endswith(f"-{ENERGY}")]
    others = [m for m in pretrained if m in models_of(table)]
    name, paper = "diverse pretraining, gap", "0.36 (MPTraj) against 0.08 (QM9 energy), MACE"
    if not own or not others:
        return [Finding(name, paper, "", "not run", "needs pretrained and energy-trained models")]
    best = max(own, key=lambda m: gap_of(table, m).value)
    lines = []
    for model in others:
        last, first = ({m: _difference(table, model, m, place) for m in own} for place in PLACES)
        above = [f"{m} {d}" for m, d in last.items() if d.low > 0]
        lines.append(
            Finding(
                f"{name}: {model} minus the best trained on QM9's energy",
                paper,
                f"{gap_of(table, model)}, {best} {gap_of(table, best)}: {last[best]}",
                "holds" if last[best].low > 0 else "does not hold",
                "paired on the same folds; holds: the interval is above zero. Above "
                f"{len(above)} of {len(own)}: {'; '.join(above) or 'none'}. Best layers: "
                f"{first[best]}",
            )
        )
    return lines


def efficiency(table: xr.Dataset) -> list[Finding]:
    """Does the ranking of models at few molecules foretell that at full size?"""
    models = models_of(table)
    sizes = [int(n) for n in table["size"].values]
    if len(models) < 3 or len(sizes) < 2:
        return [Finding("sample efficiency", "ρ 0.964", "", "not run", "needs 3 models, 2 sizes")]
    means = {n: _by_repeat(table, models, n) for n in sizes}  # size: (model, repeat)
    small, large = means[sizes[0]], means[sizes[-1]]
    rho = {n: _spearman(means[n].mean(1), large.mean(1)) for n in sizes[:-1]}
    single = [_spearman(small[:, r], large[:, r]) for r in range(small.shape[1])]
    stable = [n for n in sizes[:-1] if all(rho[m] >= 0.95 for m in rho if m >= n)]
    best, weakest = int(small.mean(1).argmax()), int(large.mean(1).argmin())
    one, other = gap_of(table, models[best], size=sizes[0]), gap_of(table, models[weakest])
    return [
        Finding(
            f"ranking at N = {sizes[0]} against N = {sizes[-1]}",
            "Spearman ρ 0.964",
            f"Spearman ρ {rho[sizes[0]]:.3f}, {len(models)} models; "
            f"{min(single):.2f} to {max(single):.2f} in single repeats",
            "holds" if rho[sizes[0]] > 0.9 else "does not hold",
            "of means over repeats; holds: ρ above 0.9 (our choice)",
        ),
        Finding(
            "from which N on the ranking is stable",
            "500",
            "; ".join(f"N = {n}: ρ {value:.3f}" for n, value in rho.items()),
            "holds" if stable and stable[0] <= 500 else "does not hold",
            "stable: ρ of 0.95 and more at this and every larger N (our choice)",
        ),
        Finding(
            f"best at N = {sizes[0]} above the weakest at N = {sizes[-1]}",
            "PaiNN at 50 above SchNet at 2,000",
            f"{models[best]} {one}, {models[weakest]} {other}",
            "holds" if one.value > other.value else "does not hold",
            "by their means; intervals " + ("apart" if one.low > other.high else "meet"),
        ),
    ]


def depth(table: xr.Dataset) -> xr.Dataset:
    """R²_geom of the gap and composition's share at every layer: axes (model, layer)."""
    models, layers = models_of(table), along_path(map(str, table.layer.values))
    found = {k: np.full((len(models), len(layers)), np.nan) for k in ("r2_geom", "share")}
    for i, model in enumerate(models):
        for layer, irrep in layers_of(table, model).items():
            where = i, layers.index(layer)
            one = table.composition_share.sel(model=model, layer=layer, irrep=irrep)
            found["r2_geom"][where] = scores_of(table, model, layer, irrep, GAP).mean()
            found["share"][where] = one.isel(size=-1).mean().item()
    data = {
        "r2_geom": (("model", "layer"), found["r2_geom"]),
        "composition_share": (("model", "layer"), found["share"]),
    }
    return xr.Dataset(data, {"model": models, "layer": layers})


def _difference(table: xr.Dataset, one: str, other: str, place: str) -> Estimate:
    """Paired on the same folds, each model at its own layer of that place."""
    first, second = (scores_of(table, m, *PLACES[place](table, m), GAP) for m in (one, other))
    return compare(first, second)


def _by_repeat(
    table: xr.Dataset, models: Sequence[str], size: int
) -> Float[np.ndarray, "model repeat"]:
    places = {m: last_interaction(table, m) for m in models}
    return np.stack([scores_of(table, m, *places[m], GAP, size).mean(1) for m in models])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(stats.spearmanr(a, b).statistic)
