"""Diversity: do diverse data make up for an objective that does not fit?

The paper's MACE trained on MPTraj (0.36) stands 0.28 above its MACE trained on QM9's energies
(0.08). No weights of MACE on MPTraj are to be had here: SevenNet-0, on the same data, stands for it
(our choice), and its own level is held against 0.36 ± 0.1. Every further pretrained model is
compared with the mean of the five energy-trained ones. Pairs of one architecture whose runs differ
in data alone are those of `cpdjax.studies.diversity`: where both are measured, the more diverse one
less the other.
"""

from __future__ import annotations

from functools import partial

from cpdjax.studies.diversity import PAIRS
from cpdjax.studies.finding import OF_DIFFERENCE, OF_LEVEL, OF_SIGN, Answer, Finding, Question, near
from cpdjax.studies.groups import ARCHITECTURES, named
from cpdjax.studies.measured import Measured, Where
from cpdjax.studies.recommendation import PRETRAINED
from cpdjax.uncertainty.verdict import verdict

LEVEL, FROM = 0.36, 0.08
STAND_IN = "sevennet-0"
_ENERGY = {named(a, "energy"): -1 / len(ARCHITECTURES) for a in ARCHITECTURES}


def findings(measured: Measured) -> list[Finding]:
    """Ask for the paper's level and step, for every pretrained model, and for pairs."""
    bound = (LEVEL - FROM) / 2
    questions = [
        Question(
            "diversity", "pretrained on MPTraj: level of the gap (SevenNet-0 for MACE)",
            f"{LEVEL}", OF_LEVEL, _level,
        ),
        Question(
            "diversity-step", "pretrained on MPTraj minus MACE trained on energy",
            f"{LEVEL} − {FROM} = {LEVEL - FROM:.2f}", OF_DIFFERENCE.format(bound=bound),
            partial(_against, weights={STAND_IN: 1.0, named("mace", "energy"): -1.0}, bound=bound),
        ),
        *(
            Question(
                f"diversity-{model}", f"{model} minus the mean of five trained on energy", "",
                OF_SIGN, partial(_against, weights={model: 1.0} | _ENERGY, bound=0.0),
            )
            for model in PRETRAINED
        ),
        *(
            Question(
                f"diversity-{pair.narrow}-{pair.diverse}",
                f"{pair.diverse} minus {pair.narrow}: {pair.differ}", "", OF_SIGN,
                partial(_against, weights={pair.diverse: 1.0, pair.narrow: -1.0}, bound=0.0),
            )
            for pair in PAIRS
        ),
    ]  # fmt: skip
    return [question(measured) for question in questions]


def _level(measured: Measured) -> Answer:
    found = measured.score(STAND_IN)
    return Answer(near(found, LEVEL), found)


def _against(measured: Measured, weights: dict[str, float], bound: float) -> Answer:
    found = measured.contrast(weights)
    best = measured.contrast(weights, Where(layer="best"))
    return Answer(verdict(found, bound), found, f"At the best layers: {best}.")
