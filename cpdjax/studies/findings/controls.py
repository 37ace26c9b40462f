"""Controls: what a descriptor without one coordinate holds, and what untrained weights hold.

R²_geom is named after geometry, but what composition does not explain may be the bond graph. Three
controls stand beside the models: composition alone (which must score zero), the bond graph (bond
types, ring sizes, groups and neighbourhoods, no coordinate), and untrained twins of the five
architectures. A group of models stands above a control where the difference of means lies above
zero. "Beyond the graph" is R²_geom after bonds, rings and groups were subtracted as composition is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question
from cpdjax.studies.groups import ARCHITECTURES, COMPOSITION, GRAPH, named, twin
from cpdjax.studies.measured import Measured, Where
from cpdjax.studies.recommendation import PRETRAINED
from cpdjax.uncertainty.verdict import verdict

ZERO = 1e-6  # above zero, for rounding
_SHARE = 1 / len(ARCHITECTURES)
#: What untrained twins are held against: the gap, and targets that no model was trained on.
TARGETS = ("gap", "r2", "cv", "mu")


def findings(measured: Measured) -> list[Finding]:
    """Ask of composition, of the graph, of untrained twins, and for what is beyond the graph."""
    questions = [
        Question(
            "controls-composition", "composition alone: R²_geom of the gap", "0 by construction",
            "holds if no fold scores above zero: only the mean of training molecules is left",
            _nothing,
        ),
        Question(
            "controls-graph", "the bond graph without coordinates: R²_geom of the gap", "",
            OF_SIGN, partial(_sum, weights={GRAPH: 1.0}, where=Where()),
        ),
    ]  # fmt: skip
    for objective in ("gap", "energy"):
        five = {named(a, objective): _SHARE for a in ARCHITECTURES}
        twins = {twin(a): -_SHARE for a in ARCHITECTURES}
        questions.append(
            _above(f"graph-{objective}", f"trained on {objective}, mean of five, minus the bond "
                   "graph: gap", five | {GRAPH: -1.0}, Where())
        )  # fmt: skip
        questions += [
            _above(f"untrained-{objective}-{target}", f"trained on {objective} minus untrained, "
                   f"mean of five: {target}", five | twins, Where(target))
            for target in TARGETS
        ]  # fmt: skip
        questions.append(
            _above(f"beyond-{objective}", f"trained on {objective}, mean of five: gap beyond the "
                   "bond graph (groups subtracted)", five, Where(setting="groups"))
        )  # fmt: skip
    for model in PRETRAINED:
        questions += [
            _above(f"graph-{model}", f"{model} minus the bond graph: gap",
                   {model: 1.0, GRAPH: -1.0}, Where()),
            _above(f"beyond-{model}", f"{model}: gap beyond the bond graph (groups subtracted)",
                   {model: 1.0}, Where(setting="groups")),
        ]  # fmt: skip
    return [question(measured) for question in questions]


def _above(key: str, name: str, weights: Mapping[str, float], where: Where) -> Question:
    return Question(
        f"controls-{key}", name, "", OF_SIGN, partial(_sum, weights=weights, where=where)
    )


def _sum(measured: Measured, weights: Mapping[str, float], where: Where) -> Answer:
    found = measured.contrast(weights, where)
    return Answer(verdict(found), found)


def _nothing(measured: Measured) -> Answer:
    found = measured.score(COMPOSITION)
    is_nothing = measured.scores(COMPOSITION, Where()).max() <= ZERO
    return Answer("holds" if is_nothing else "does not hold", found)
