"""The paper's findings beside ours, read off the results of sweeps.

Source of the figures: J. Steier, arXiv 2603.03155v2. What its text leaves open is our choice and is
said so in each finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from cpdjax.comparison import Estimate, estimate
from cpdjax.results import present

Verdict = Literal["holds", "does not hold", "not run"]
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


def scores_of(
    table: xr.Dataset, model: str, layer: str, irrep: str, target: str, size: int | None = None
) -> Float[np.ndarray, "repeat fold"]:
    """R²_geom of one channel at one size (the largest by default) and the first α."""
    one = table.r2_geom.sel(model=model, layer=layer, irrep=irrep, target=target).isel(alpha=0)
    one = one.isel(size=-1) if size is None else one.sel(size=size)
    return one.transpose("repeat", "fold").to_numpy()


def layers_of(table: xr.Dataset, model: str) -> dict[str, str]:
    """A model's layers, in the data's order, with the irrep that holds all of a layer's scalars."""
    found: dict[str, str] = {}
    for name, layer, irrep in present(table):
        if name == model and (layer not in found or irrep == "all"):
            found[layer] = irrep
    return found


def last_interaction(table: xr.Dataset, model: str) -> tuple[str, str]:
    """The layer that the paper's figures are taken to be of (our choice), and its irrep."""
    layers = layers_of(table, model)
    inner = [layer for layer in layers if layer.startswith("interaction")] or list(layers)
    return inner[-1], layers[inner[-1]]


def gradient(table: xr.Dataset) -> list[Finding]:
    """How far apart the models are on the gap."""
    last = {m: _last(table, m) for m in _models(table)}
    worst, best = (choose(last, key=lambda m: last[m].value) for choose in (min, max))
    ratio = last[best].value / last[worst].value if last[worst].value > 0 else np.inf
    return [
        Finding(
            "linear accessibility gradient, gap, last interaction layer",
            "0.081 to 0.533, a factor 6.6",
            f"{worst} {last[worst]} to {best} {last[best]}, a factor {ratio:.1f}",
            "holds" if last[best].low > last[worst].high else "does not hold",
            "holds: the intervals of the first and the last model do not meet (our choice)",
        )
    ]


def alignment(table: xr.Dataset) -> list[Finding]:
    """Trained on the gap minus trained on the energy, architecture by architecture."""
    lines = []
    for model in _models(table):
        other = model.replace("-gap", f"-{ENERGY}")
        if not model.endswith("-gap") or other not in _models(table):
            continue
        pair = [scores_of(table, m, *last_interaction(table, m), GAP) for m in (model, other)]
        difference = estimate(pair[0] - pair[1])
        lines.append(
            Finding(
                f"task alignment, {model.removesuffix('-gap')}: trained on gap minus on energy",
                "about +0.25",
                str(difference),
                "holds" if difference.low > 0 else "does not hold",
                "paired on the same folds; holds: the interval is above zero",
            )
        )
    if lines:
        return lines
    return [Finding("task alignment", "about +0.25", "", "not run", "no architecture has both")]


def diversity(table: xr.Dataset, pretrained: Sequence[str]) -> list[Finding]:
    """Pretrained on diverse data against trained on QM9's energies."""
    own = [m for m in _models(table) if m.endswith(f"-{ENERGY}")]
    others = [m for m in pretrained if m in _models(table)]
    name, paper = "diverse pretraining, gap", "0.36 (MPTraj) against 0.08 (QM9 energy)"
    if not own or not others:
        return [Finding(name, paper, "", "not run", "needs pretrained and energy-trained models")]
    best = max(own, key=lambda m: _last(table, m).value)
    return [
        Finding(
            f"{name}: {model}",
            paper,
            f"{_last(table, model)} against {best} {_last(table, best)}",
            "holds" if _last(table, model).low > _last(table, best).high else "does not hold",
            "against the best energy-trained model at hand",
        )
        for model in others
    ]


def routing(tables: Mapping[str, xr.Dataset]) -> list[Finding]:
    """Where dipole and gap are, irrep by irrep, for each way of making scalars."""
    lines = []
    for how, table in tables.items():
        for model in _models(table):
            layer, kinds = _richest(table, model)
            if not any(kind[0] != "0" for kind in kinds):
                continue
            found = {
                (kind, t): estimate(scores_of(table, model, layer, kind, t))
                for kind in kinds
                for t in (DIPOLE, GAP)
            }
            vector = max(found[k, DIPOLE].value for k in kinds if k[0] == "1")
            scalar = max(found[k, DIPOLE].value for k in kinds if k[0] == "0")
            gaps = [found[k, GAP].value for k in kinds]
            routed = vector > scalar and max(gaps) == found[kinds[0], GAP].value
            text = "; ".join(
                f"{k}: dipole {found[k, DIPOLE].value:.2f}, gap {found[k, GAP].value:.2f}"
                for k in kinds
            )
            lines.append(
                Finding(
                    f"symmetry routing, {model}, {layer}, {how}",
                    "MACE: dipole L=1 0.586, L=0 0.38; gap L=0 0.756, L=1 0.34",
                    text,
                    "holds" if routed else "does not hold",
                    "holds: the dipole is best from L=1, the gap from L=0",
                )
            )
    return lines


def efficiency(table: xr.Dataset) -> list[Finding]:
    """Does the ranking of models at N = 50 foretell that at full size?"""
    models = _models(table)
    sizes = [int(n) for n in table["size"].values]
    if len(models) < 3 or len(sizes) < 2:
        return [Finding("sample efficiency", "ρ 0.964", "", "not run", "needs 3 models, 2 sizes")]
    small, large = ([_last(table, m, size).value for m in models] for size in (sizes[0], sizes[-1]))
    rho = float(stats.spearmanr(small, large).statistic)
    best, weakest = models[int(np.argmax(small))], models[int(np.argmin(large))]
    return [
        Finding(
            f"ranking at N = {sizes[0]} against N = {sizes[-1]}",
            "Spearman ρ 0.964",
            f"Spearman ρ {rho:.3f}, {len(models)} models",
            "holds" if rho > 0.9 else "does not hold",
            "holds: ρ above 0.9 (our choice)",
        ),
        Finding(
            f"best at N = {sizes[0]} above the weakest at N = {sizes[-1]}",
            "PaiNN at 50 above SchNet at 2,000",
            f"{best} {max(small):.3f}, {weakest} {min(large):.3f}",
            "holds" if max(small) > min(large) else "does not hold",
        ),
    ]


def depth(table: xr.Dataset) -> xr.Dataset:
    """R²_geom of the gap and composition's share at every layer: axes (model, layer)."""
    models, layers = _models(table), [str(layer) for layer in table.layer.values]
    found = {k: np.full((len(models), len(layers)), np.nan) for k in ("r2_geom", "share")}
    for i, model in enumerate(models):
        for layer, irrep in layers_of(table, model).items():
            where = i, layers.index(layer)
            one = table.composition_share.sel(model=model, layer=layer, irrep=irrep)
            found["r2_geom"][where] = np.median(scores_of(table, model, layer, irrep, GAP))
            found["share"][where] = one.isel(size=-1).median().item()
    data = {
        "r2_geom": (("model", "layer"), found["r2_geom"]),
        "composition_share": (("model", "layer"), found["share"]),
    }
    return xr.Dataset(data, {"model": models, "layer": layers})


def ranking(table: xr.Dataset, target: str) -> list[tuple[str, str, str, int, Estimate]]:
    """Every channel by R²_geom, best first: model, layer, irrep, columns, score with interval."""
    found = []
    for model, layer, irrep in present(table):
        count = int(table.n_features.sel(model=model, layer=layer, irrep=irrep))
        score = estimate(scores_of(table, model, layer, irrep, target))
        found.append((model, layer, irrep, count, score))
    return sorted(found, key=lambda row: -row[4].low)


def _models(table: xr.Dataset) -> list[str]:
    return list(dict.fromkeys(model for model, _, _ in present(table)))


def _last(table: xr.Dataset, model: str, size: int | None = None) -> Estimate:
    return estimate(scores_of(table, model, *last_interaction(table, model), GAP, size))


def _richest(table: xr.Dataset, model: str) -> tuple[str, list[str]]:
    """The last layer with the most irreps, and these."""
    kinds: dict[str, list[str]] = {}
    for name, layer, irrep in present(table):
        if name == model and irrep != "all":
            kinds.setdefault(layer, []).append(irrep)
    most = max(map(len, kinds.values()))
    layer = [layer for layer, found in kinds.items() if len(found) == most][-1]
    return layer, sorted(kinds[layer])
