"""What a reader may believe, in a few lines; and what would change our mind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cpdjax.models.naming import CONTROLS
from cpdjax.reports.findings.tables import asked
from cpdjax.studies.finding import VERDICTS, Finding
from cpdjax.studies.findings import of_paper
from cpdjax.studies.groups import ARCHITECTURES, GRAPH, named
from cpdjax.studies.measured import Measured, NotMeasuredError, Where

CHANGES = (
    "Weights of MACE and ViSNet that the paper used, or its layers: ours are small, trained for a "
    "few epochs on one budget, and the last interaction layer is our reading of its text.",
    "More training runs: an interval over three runs is wide, and what is not decided here may be "
    "decided by ten. A difference that changes sign from run to run would fall.",
    "A score beyond the bond graph that is as high for energy-trained models as for gap-trained "
    "ones, or an untrained twin as high as a trained one: alignment would then be no matter of "
    "geometry, or none of training.",
    "An objective that is neither the target nor made of it, and still raises R²_geom of targets "
    "that no model was trained on: the advice on objectives would then reach beyond its own label.",
    "Another layer, width or penalty by which the ranking of the ten changes: the lines on widths "
    "and depth say how far that is so already.",
    "Geometries of one molecule, with composition and bonds constant, where the ranking differs "
    "from the one between molecules.",
)


def may_believe(measured: Measured, findings: Sequence[Finding]) -> list[str]:
    """Return the first lines of the report: few enough that ten lines hold title and all."""
    by_key = {finding.key: finding for finding in findings}
    lines = [
        _tally(findings), _runs(measured), _graph(measured),
        _told(by_key, "controls-untrained-gap-gap", "What training on the gap adds to untrained "
              "twins, in R²_geom of the gap"),
        _told(by_key, "alignment", "Training on the gap in place of the energy, in R²_geom of it"),
        _told(by_key, "advice-objective", "The same on five targets that neither was trained on"),
        _told(by_key, "equivariance", "Equivariance with the gap, less equivariance with the "
              "energy, as objective"),
        _told(by_key, "widths-width", "The ranking of the ten models at 24 columns each"),
    ]  # fmt: skip
    return [line for line in lines if line]


def _tally(findings: Sequence[Finding]) -> str:
    own = of_paper(findings)
    counts: Counter[str] = Counter(finding.verdict for finding in own)
    told = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
    return f"Of {len(own)} statements of the paper: {told}, by rules that stood beforehand."


def _runs(measured: Measured) -> str:
    runs = [len(measured.runs(model)) for model in measured.models() if model not in CONTROLS]
    several = sum(count > 1 for count in runs)
    if not several:
        return (
            "Every model is one training run: no interval here speaks of another run, and all "
            "speak of molecules and folds alone."
        )
    return (
        f"{several} of {len(runs)} models have several training runs (up to {max(runs)}), over "
        "which their intervals go; the others' speak of molecules alone."
    )


def _graph(measured: Measured) -> str:
    graph = asked(measured, GRAPH, Where())
    if graph is None:
        return "The bond graph was not measured, so no score here can be called geometry."
    told = f"R²_geom of the gap is {graph.value:.2f} from bonds alone, without one coordinate"
    try:
        groups = {
            objective: (
                np.mean([measured.score(named(a, objective)).value for a in ARCHITECTURES]),
                np.mean([
                    measured.score(named(a, objective), Where(setting="groups")).value
                    for a in ARCHITECTURES
                ]),
            )
            for objective in ("gap", "energy")
        }  # fmt: skip
    except NotMeasuredError:
        return f"{told}."
    means = "; ".join(
        f"trained on {objective} {whole:.2f}, beyond bonds and groups {beyond:.2f}"
        for objective, (whole, beyond) in groups.items()
    )
    return f"{told}. Means of five architectures: {means}."


def _told(by_key: dict[str, Finding], key: str, words: str) -> str:
    found = by_key.get(key)
    if found is None or found.verdict == "not run":
        return ""
    return f"{words}: {found.ours}. By its rule: {found.verdict}."
