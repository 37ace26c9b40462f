"""Equivariance: does it help, and only with an objective that fits?

The seed's sentence is an interaction: (equivariant − invariant | trained on the gap) − (the same |
trained on the energy), on the gap. Equivariant are PaiNN, ViSNet and MACE, invariant SchNet and
DimeNet++, each group by its mean. It holds where the interval lies above zero, and the two parts
are asked by themselves. Architectures are these five and no sample of all: the interval is over
training runs, molecules and folds.
"""

from __future__ import annotations

from functools import partial

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question
from cpdjax.studies.groups import EQUIVARIANT, INVARIANT, named
from cpdjax.studies.measured import Measured, Where
from cpdjax.uncertainty.verdict import verdict


def edge(objective: str, sign: float = 1.0) -> dict[str, float]:
    """Return the weights of equivariant less invariant models of one objective."""
    return {
        **{named(a, objective): sign / len(EQUIVARIANT) for a in EQUIVARIANT},
        **{named(a, objective): -sign / len(INVARIANT) for a in INVARIANT},
    }


INTERACTION = edge("gap") | edge("energy", -1.0)


def findings(measured: Measured) -> list[Finding]:
    """Ask for the interaction, for each objective by itself, and for the interaction elsewhere."""
    name = "equivariant minus invariant"
    asked = [
        ("", f"{name}: trained on gap minus trained on energy",
         "equivariance helps only with an aligned objective", INTERACTION, Where()),
        ("-gap", f"{name}, trained on gap", "", edge("gap"), Where()),
        ("-energy", f"{name}, trained on energy", "", edge("energy"), Where()),
        ("-best", f"{name}: gap minus energy, best layer of each", "", INTERACTION,
         Where(layer="best")),
        ("-width", f"{name}: gap minus energy, 24 columns each", "", INTERACTION,
         Where(setting="width")),
    ]  # fmt: skip
    return [
        Question(
            f"equivariance{key}", words, paper, OF_SIGN, partial(_judged, weights=w, where=at)
        )(measured)
        for key, words, paper, w, at in asked
    ]


def _judged(measured: Measured, weights: dict[str, float], where: Where) -> Answer:
    found = measured.contrast(weights, where)
    return Answer(verdict(found), found)
