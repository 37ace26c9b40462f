"""The findings, section by section: each asks what was measured, by rules that stand beforehand.

The paper's values are those of J. Steier, arXiv 2603.03155v2. What its text leaves open is our
choice, and each section says so in its docstring.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpdjax.studies.finding import Finding
from cpdjax.studies.findings import (
    advice,
    alignment,
    controls,
    depth,
    diversity,
    efficiency,
    equivariance,
    gradient,
    isomers,
    objectives,
    routing,
    sampling,
    trees,
    widths,
)
from cpdjax.studies.measured import Measured

#: The sections in the order of the report: the paper's own findings, then what a referee asks.
SECTIONS = (
    gradient, alignment, diversity, routing, equivariance, efficiency, isomers, trees,
    controls, objectives, widths, depth, sampling, advice,
)  # fmt: skip


def answers(measured: Measured) -> list[Finding]:
    """Return all findings, in the order of `SECTIONS`."""
    return [finding for section in SECTIONS for finding in section.findings(measured)]


#: What the paper states of QM9, one by one: its table, and its sentence on equivariance.
OF_PAPER = (
    "gradient", "alignment-range", "alignment", "alignment-painn", "alignment-mace", "diversity",
    "routing-mace-mu", "routing-mace-gap", "routing-visnet-gap", "routing-visnet-mu",
    "isomers-composition", "isomers", "trees", "ranking", "stable", "painn-at-50", "equivariance",
)  # fmt: skip


def of_paper(found: Sequence[Finding]) -> list[Finding]:
    """Return the findings that the paper states itself, in its order."""
    own = {finding.key: finding for finding in found if finding.key in OF_PAPER}
    return [own[key] for key in OF_PAPER if key in own]
