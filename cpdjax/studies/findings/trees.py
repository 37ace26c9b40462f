"""Trees: gradient boosting on the residual, for a target that composition decides.

One target over the ten models, as the paper has it; which target is our choice: the number of heavy
atoms. Composition was subtracted, so a linear probe must find nothing. The paper's range is held
against the interval of each model ± 0.1, and a second line asks whether trees mislead at all.
"""

from __future__ import annotations

from cpdjax.checks.nonlinear import PAPER_TREES_R2
from cpdjax.studies.finding import Answer, Finding, Question, Verdict, below, every, near
from cpdjax.studies.groups import TEN
from cpdjax.studies.measured import Measured, NotMeasuredError
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.verdict import verdict

MISLED = 0.05


def findings(measured: Measured) -> list[Finding]:
    """Ask for the paper's range, and whether trees find what linear probes do not."""
    low, high = PAPER_TREES_R2
    questions = [
        Question(
            "trees", "trees on the residual, one compositional target, ten models",
            f"R² {low} to {high}, linear about 0",
            "holds if the interval of each of the ten lies within 0.1 of the paper's range", _range,
        ),
        Question(
            "trees-mislead", "trees find composition where linear probes find none, ten models", "",
            f"holds if R² of trees lies above {MISLED} and that of Ridge below it, for each",
            _mislead,
        ),
    ]  # fmt: skip
    return [question(measured) for question in questions]


def scores(measured: Measured, probe: str) -> dict[str, Estimate]:
    """Return R² of a probe by model, of those of the ten that were measured."""
    frame = measured.frame("trees")
    own = frame[frame.probe == probe].set_index("model")
    found = {
        model: Estimate(float(own.r2[model]), float(own.low[model]), float(own.high[model]))
        for model in TEN
        if model in own.index
    }
    if len(found) < len(TEN):
        raise NotMeasuredError(f"trees were run on {len(found)} of the ten models")
    return found


def _range(measured: Measured) -> Answer:
    found = scores(measured, "trees")
    ours = "; ".join(f"{model} {score}" for model, score in found.items())
    return Answer(every(near(score, *PAPER_TREES_R2) for score in found.values()), ours=ours)


def _mislead(measured: Measured) -> Answer:
    trees, ridge = (scores(measured, probe) for probe in ("trees", "ridge"))
    verdicts: list[Verdict] = [verdict(score, MISLED) for score in trees.values()]
    quiet = [below(score, MISLED) for score in ridge.values()]
    middle = sorted(score.value for score in trees.values())[len(trees) // 2]
    least = sorted(score.value for score in ridge.values())[len(ridge) // 2]
    return Answer(every(verdicts + quiet), ours=f"medians: trees {middle:.2f}, Ridge {least:.2f}")
