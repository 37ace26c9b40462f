"""Routing: which irrep holds the dipole, and which the gap.

R²_geom of the gap cannot exceed 1 − R²_comp, some 0.6: the paper's 0.756 and 0.877 must be R²_full
(an inference, ours), so the gap is judged by R²_full, and R²_geom is told beside it. The dipole
moment is judged by R²_geom, as its figures exceed no bound. Scalars are norms of pooled vectors
(our choice). The layer is the last of those with most irreps. For MACE the difference between L=1
and L=0 is held against half of the paper's; for ViSNet the levels against the paper's ± 0.1. The
paper's training is not known: the gap-trained model is judged, and the energy-trained one asked as
well.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from cpdjax.studies.finding import (
    OF_DIFFERENCE,
    OF_LEVEL,
    Answer,
    Finding,
    Question,
    near,
)
from cpdjax.studies.groups import named
from cpdjax.studies.measured import DIPOLE, GAP, Measured, NotMeasuredError, Score, Where, contrast
from cpdjax.sweeps.channels import ALL
from cpdjax.sweeps.table import present
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.verdict import verdict

VECTORS, SCALARS = "1", "0"
#: What is judged by which score, and the paper's figures for L=1 and L=0 of MACE.
MACE: dict[str, tuple[Score, str, float, float]] = {
    DIPOLE: ("r2_geom", VECTORS, 0.586, 0.38),
    GAP: ("r2_full", SCALARS, 0.756, 0.34),
}
_OTHER: dict[Score, Score] = {"r2_geom": "r2_full", "r2_full": "r2_geom"}
VISNET: dict[str, tuple[Score, str, float]] = {
    GAP: ("r2_full", SCALARS, 0.877),
    DIPOLE: ("r2_geom", VECTORS, 0.018),
}


def routing_layer(table: xr.Dataset, model: str) -> tuple[str, list[str]] | None:
    """Return the last layer with the most irreps, and these; None for a model of scalars only."""
    irreps: dict[str, list[str]] = {}
    for name, layer, irrep in present(table):
        if name == model and irrep != ALL:
            irreps.setdefault(layer, []).append(irrep)
    most = max(map(len, irreps.values()), default=0)
    layer = [layer for layer, own in irreps.items() if len(own) == most][-1] if irreps else ""
    return (layer, sorted(irreps[layer])) if most > 1 else None


def findings(measured: Measured) -> list[Finding]:
    """Ask of MACE and of ViSNet, trained on the gap and on the energy."""
    questions = []
    for objective in ("gap", "energy"):
        beside = "" if objective == "gap" else f"-{objective}"
        for target, (score, degree, high, low) in MACE.items():
            other = SCALARS if degree == VECTORS else VECTORS
            questions.append(
                Question(
                    f"routing-mace-{target}{beside}",
                    f"MACE trained on {objective}, {target}: L={degree} minus L={other}, {score}",
                    f"{high} − {low} = {high - low:.3f}" if not beside else "",
                    OF_DIFFERENCE.format(bound=(high - low) / 2),
                    partial(
                        _step, model=named("mace", objective), target=target, score=score,
                        degrees=(degree, other), bound=(high - low) / 2,
                    ),
                )
            )  # fmt: skip
        for target, (score, degree, level) in VISNET.items():
            words = "scalars" if degree == SCALARS else "vectors"
            questions.append(
                Question(
                    f"routing-visnet-{target}{beside}",
                    f"ViSNet trained on {objective}, {target} from {words}, {score}",
                    f"{level}" if not beside else "",
                    OF_LEVEL,
                    partial(
                        _level, model=named("visnet", objective), target=target, score=score,
                        degree=degree, level=level,
                    ),
                )
            )  # fmt: skip
    return [question(measured) for question in questions]


def at(measured: Measured, model: str, degree: str, target: str, score: Score) -> Where:
    """Return where a model's irrep of a degree is scored, in its routing layer."""
    table = measured.table()
    place = routing_layer(table, measured.runs(model)[0])
    irrep = f"{degree}{'eo'[int(degree) % 2]}"  # the parity of spherical harmonics
    if place is None or irrep not in place[1]:
        raise NotMeasuredError(f"{model} has no {irrep} in the layer with most irreps")
    return Where(target, layer=place[0], irrep=irrep, score=score)


def _step(
    measured: Measured,
    model: str,
    target: str,
    score: Score,
    degrees: tuple[str, str],
    bound: float,
) -> Answer:
    places = [at(measured, model, degree, target, score) for degree in degrees]
    first, second = (measured.scores(model, place) for place in places)
    found = _within_model(first, second)
    levels = " − ".join(str(measured.score(model, place)) for place in places)
    other = _OTHER[score]
    beside = [measured.score(model, at(measured, model, d, target, other)) for d in degrees]
    remark = f"By {other}: {beside[0]} and {beside[1]}. {_directly(measured, model)}"
    return Answer(verdict(found, bound), found, remark.strip(), f"{levels}: {found}")


def _within_model(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Subtract two channels of one model, run by run."""
    return contrast([(1.0, first - second)])


def _level(
    measured: Measured, model: str, target: str, score: Score, degree: str, level: float
) -> Answer:
    found = measured.score(model, at(measured, model, degree, target, score))
    other = _OTHER[score]
    beside = measured.score(model, at(measured, model, degree, target, other))
    remark = f"By {other}: {beside}."
    if degree == VECTORS:
        remark += f" {_directly(measured, model)}"
    return Answer(near(found, level), found, remark.strip())


def _directly(measured: Measured, model: str) -> str:
    """Say what an equivariant probe reads of the dipole vector, where it was measured."""
    place = routing_layer(measured.table(), measured.runs(model)[0])
    try:
        table = measured.table("equivariant")
    except NotMeasuredError:
        return ""
    if place is None or model not in table.model.values:
        return ""
    found = measured.score(model, Where("dipole_point", "equivariant", layer=place[0], irrep="1o"))
    return f"As a vector (dipole of the Mulliken charges), L=1 holds {found}."
