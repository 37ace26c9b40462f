"""Where dipole and gap are, irrep by irrep, for each way of making scalars, and directly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from cpdjax.studies.findings import DIPOLE, GAP, Estimate, Finding, Verdict, estimate
from cpdjax.sweeps.table import present, scores_of

#: What equivariant probes predict from channels of the targets' own irreps.
TENSORS = ("dipole_point", "quadrupole_point")

_PAPER = {
    "mace": "dipole: L=1 0.586, L=0 0.38; gap: L=0 0.756, L=1 0.34",
    "visnet": "gap from scalars 0.877; dipole from vectors 0.018",
}
_NOTHING = 0.1  # our choice: below this a stream is said not to hold a target


@dataclass(frozen=True)
class Route:
    """What one irrep of one model's routing layer holds."""

    model: str
    layer: str
    irrep: str
    features: int
    scalars: Mapping[tuple[str, str], Estimate]
    """R²_geom by way of making scalars and target."""
    tensors: Mapping[str, Estimate]
    """R² of equivariant probes by target, of channels that turn as it does."""


def routing_layer(table: xr.Dataset, model: str) -> tuple[str, list[str]] | None:
    """The last layer with the most irreps, and these; None for a model of scalars only."""
    kinds: dict[str, list[str]] = {}
    for name, layer, irrep in present(table):
        if name == model and irrep != "all":
            kinds.setdefault(layer, []).append(irrep)
    most = max(map(len, kinds.values()))
    layer = [layer for layer, found in kinds.items() if len(found) == most][-1]
    return (layer, sorted(kinds[layer])) if most > 1 else None


def routes(
    model: str, ways: Mapping[str, xr.Dataset], tensors: xr.Dataset | None = None
) -> list[Route]:
    """Every irrep of a model's routing layer.

    Args:
        ways: results of `sweep` by way of making scalars (`features.INVARIANTS`).
        tensors: results of `sweep(probe="equivariant")` on the same molecules.
    """
    first = next(iter(ways.values()))
    found = routing_layer(first, model)
    if found is None:
        return []
    layer, kinds = found
    lines = []
    for kind in kinds:
        scalars = {
            (how, target): estimate(scores_of(table, model, layer, kind, target))
            for how, table in ways.items()
            for target in (GAP, DIPOLE)
        }
        count = int(first.n_features.sel(model=model, layer=layer, irrep=kind))
        lines.append(
            Route(model, layer, kind, count, scalars, _direct(tensors, model, layer, kind))
        )
    return lines


def _direct(tensors: xr.Dataset | None, model: str, layer: str, kind: str) -> dict[str, Estimate]:
    if tensors is None or (model, layer, kind) not in set(present(tensors)):
        return {}
    scores = {t: scores_of(tensors, model, layer, kind, t) for t in TENSORS}
    # A target of another degree than the channel's has no score.
    return {t: estimate(score) for t, score in scores.items() if score[0, 0] == score[0, 0]}


def finding(lines: list[Route]) -> Finding:
    """Does each quantity sit in the irrep that it transforms by?"""
    model, layer = lines[0].model, lines[0].layer
    architecture = model.split("-")[0]
    ways = list(dict.fromkeys(how for how, _ in lines[0].scalars))
    kept = [how for how in ways if _kept(lines, how, architecture)]
    default = "; ".join(
        f"{r.irrep}: dipole {r.scalars[ways[0], DIPOLE]}, gap {r.scalars[ways[0], GAP]}"
        for r in lines
    )
    if architecture not in _PAPER:
        verdict: Verdict = "not in the paper"
    else:
        verdict = "holds" if ways[0] in kept else "does not hold"
    rule = (
        f"holds: the gap is best from scalars, and vectors hold less than {_NOTHING} of the dipole"
        if architecture == "visnet"
        else "routed: the dipole is best from L=1, the gap from L=0"
    )
    return Finding(
        f"symmetry routing, {model}, {layer}, {ways[0]}",
        _PAPER.get(architecture, ""),
        default,
        verdict,
        f"{rule}; so by {', '.join(kept) or 'no way of making scalars'} of {', '.join(ways)}",
    )


def _kept(lines: list[Route], how: str, architecture: str) -> bool:
    def best(degree: str, target: str) -> float:
        return max((r.scalars[how, target].value for r in lines if r.irrep[0] == degree), default=0)

    others = max(r.scalars[how, GAP].value for r in lines if r.irrep[0] != "0")
    if architecture == "visnet":
        return best("0", GAP) > others and best("1", DIPOLE) < _NOTHING
    return best("0", GAP) > others and best("1", DIPOLE) > best("0", DIPOLE)
