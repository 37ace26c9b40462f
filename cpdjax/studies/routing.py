"""Which irrep holds the dipole and which the gap, for each way of making scalars and directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from cpdjax.studies.findings import DIPOLE, GAP, Estimate, Finding, Verdict, estimate, verdict
from cpdjax.sweeps.channels import ALL
from cpdjax.sweeps.table import present, scores_of

#: What equivariant probes predict from channels of the targets' own irreps.
TENSORS = ("dipole_point", "quadrupole_point")

_PAPER = {
    "mace": "dipole: L=1 0.586, L=0 0.38; gap: L=0 0.756, L=1 0.34",
    "visnet": "gap from scalars 0.877; dipole from vectors 0.018",
}
_NOTHING = 0.1  # our choice: below this R²_geom an irrep is said not to hold a target


@dataclass(frozen=True)
class Route:
    """Hold what one irrep of one model's routing layer knows of the targets."""

    model: str
    layer: str
    irrep: str
    features: int
    """The number of features, as scalars made by the first way."""
    scalars: Mapping[tuple[str, str], Estimate]
    """R²_geom by way of making scalars and by target."""
    tensors: Mapping[str, Estimate]
    """R² of equivariant probes by target, for targets that turn as the irrep does."""


def routing_layer(table: xr.Dataset, model: str) -> tuple[str, list[str]] | None:
    """Return the last layer with the most irreps, and these; None for a model of scalars only."""
    irreps: dict[str, list[str]] = {}
    for name, layer, irrep in present(table):
        if name == model and irrep != ALL:
            irreps.setdefault(layer, []).append(irrep)
    most = max(map(len, irreps.values()))
    layer = [layer for layer, own in irreps.items() if len(own) == most][-1]
    return (layer, sorted(irreps[layer])) if most > 1 else None


def routes(
    model: str, ways: Mapping[str, xr.Dataset], tensors: xr.Dataset | None = None
) -> list[Route]:
    """Return a route for every irrep of a model's routing layer; none for scalars only.

    Args:
        model: the name of a model in the tables.
        ways: results of `sweep` by way of making scalars (`irreps.INVARIANTS`).
        tensors: results of `sweep(probe="equivariant")` on the same molecules.
    """
    first = next(iter(ways.values()))
    place = routing_layer(first, model)
    if place is None:
        return []
    layer, irreps = place
    return [
        Route(
            model,
            layer,
            irrep,
            int(first.n_features.sel(model=model, layer=layer, irrep=irrep)),
            {
                (how, target): estimate(scores_of(table, model, layer, irrep, target))
                for how, table in ways.items()
                for target in (GAP, DIPOLE)
            },
            _equivariant_scores(tensors, model, layer, irrep),
        )
        for irrep in irreps
    ]


def _equivariant_scores(
    tensors: xr.Dataset | None, model: str, layer: str, irrep: str
) -> dict[str, Estimate]:
    if tensors is None or (model, layer, irrep) not in set(present(tensors)):
        return {}
    scores = {t: scores_of(tensors, model, layer, irrep, t) for t in TENSORS}
    # A target of another degree than the channel's has no score.
    return {t: estimate(score) for t, score in scores.items() if not np.isnan(score[0, 0])}


def routing_finding(lines: Sequence[Route]) -> Finding:
    """Ask of one model whether each quantity is in the irrep that it transforms by."""
    model, layer = lines[0].model, lines[0].layer
    architecture = model.split("-")[0]
    ways = list(dict.fromkeys(how for how, _ in lines[0].scalars))
    routed = [how for how in ways if _is_routed(lines, how, architecture)]
    ours = "; ".join(
        f"{r.irrep}: dipole {r.scalars[ways[0], DIPOLE]}, gap {r.scalars[ways[0], GAP]}"
        for r in lines
    )
    known = architecture in _PAPER
    said: Verdict = verdict(ways[0] in routed) if known else "not in the paper"
    rule = (
        "It holds if the gap is best predicted from scalars and vectors hold less than "
        f"{_NOTHING} of the dipole"
        if architecture == "visnet"
        else "It holds if the dipole is best predicted from L=1 and the gap from L=0"
    )
    return Finding(
        f"symmetry routing, {model}, {layer}, {ways[0]}",
        _PAPER.get(architecture, ""),
        ours,
        said,
        f"{rule}. This is so by {', '.join(routed) or 'no way of making scalars'} of "
        f"{', '.join(ways)}.",
    )


def _is_routed(lines: Sequence[Route], how: str, architecture: str) -> bool:
    def best(degree: str, target: str) -> float:
        own = (r.scalars[how, target].value for r in lines if r.irrep[0] == degree)
        return max(own, default=0)

    gap_of_others = max(r.scalars[how, GAP].value for r in lines if r.irrep[0] != "0")
    vectors, scalars = best("1", DIPOLE), best("0", DIPOLE)
    dipole_as_said = vectors < _NOTHING if architecture == "visnet" else vectors > scalars
    return best("0", GAP) > gap_of_others and dipole_as_said
