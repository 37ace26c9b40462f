"""The gradient: how far apart the models are on the gap.

Two of the ten models are compared: the first and the last of the ranking on other molecules (draw
1), so that neither is chosen on the scores that are subtracted. The paper has 0.533 − 0.081 =
0.452. The difference holds where its interval lies above half of that (our choice). It is asked at
the last interaction layer, which we take for the paper's; then where each model has another layer,
another penalty, or as many columns as every other.
"""

from __future__ import annotations

from functools import partial

from cpdjax.studies.finding import OF_DIFFERENCE, Answer, Finding, Question
from cpdjax.studies.groups import TEN
from cpdjax.studies.measured import ELSEWHERE, Measured, Where
from cpdjax.uncertainty.verdict import verdict

HIGH, LOW = 0.533, 0.081
BOUND = (HIGH - LOW) / 2
#: In which ways the gradient is asked, by the words for them.
WAYS = {
    "last interaction layer": Where(),
    "best layer of each": Where(layer="best"),
    "24 columns each": Where(setting="width"),
    "α by leave-one-out": Where(setting="loo"),
}


def findings(measured: Measured) -> list[Finding]:
    """Ask for the gradient in each of `WAYS`."""
    return [
        Question(
            "gradient" if i == 0 else f"gradient-{i}",
            f"gradient of the gap over ten models, {words}",
            f"{LOW} to {HIGH}, a difference of {HIGH - LOW:.3f}" if i == 0 else "",
            OF_DIFFERENCE.format(bound=BOUND),
            partial(_spread, where=where),
        )(measured)
        for i, (words, where) in enumerate(WAYS.items())
    ]


def _spread(measured: Measured, where: Where) -> Answer:
    choosing = Where(setting=ELSEWHERE, layer=where.layer)
    first, *_, last = measured.ranked(TEN, choosing)
    found = measured.difference(first, last, where)
    ends = f"{last} {measured.score(last, where)} to {first} {measured.score(first, where)}"
    return Answer(
        verdict(found, BOUND), found, "The two are the ends of the ranking on other molecules.",
        f"{ends}: {found}",
    )  # fmt: skip
