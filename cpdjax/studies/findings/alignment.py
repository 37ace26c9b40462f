"""Alignment: training on the gap against training on the energy.

All differences are on the same folds, over all training runs. The mean over the five architectures,
PaiNN and MACE are held against half of the paper's differences (0.25, 0.22, 0.36); the range of the
gap-trained models against the paper's range ± 0.1, for each of the five (our choice).
"""

from __future__ import annotations

from functools import partial

from cpdjax.studies.finding import OF_DIFFERENCE, OF_SIGN, Answer, Finding, Question, every, near
from cpdjax.studies.groups import ARCHITECTURES, named
from cpdjax.studies.measured import Measured, NotMeasuredError, Where
from cpdjax.uncertainty.verdict import verdict

RANGE = (0.44, 0.53)
GAIN = 0.25
#: What the paper says of architectures that it names: trained on the gap, then on the energy.
NAMED = {"painn": (0.53, 0.31), "mace": (0.44, 0.08)}


def gains(objectives: tuple[str, str] = ("gap", "energy")) -> dict[str, float]:
    """Return the weights of the mean over architectures of one objective less another."""
    share = 1 / len(ARCHITECTURES)
    return {
        named(architecture, objective): sign * share
        for objective, sign in zip(objectives, (1, -1), strict=True)
        for architecture in ARCHITECTURES
    }


def findings(measured: Measured) -> list[Finding]:
    """Ask for the range, the mean gain, every architecture's gain, and the gain elsewhere."""
    questions = [
        Question(
            "alignment-range", "models trained on the gap", f"{RANGE[0]} to {RANGE[1]}",
            "holds if the interval of each of the five lies within 0.1 of the paper's range",
            _range,
        ),
        _gain("alignment", "last interaction layer", Where(), f"about +{GAIN}"),
        *(_of(architecture) for architecture in ("painn", "mace", "schnet", "dimenet++", "visnet")),
        _gain("alignment-best", "best layer of each", Where(layer="best")),
        _gain("alignment-width", "24 columns each", Where(setting="width")),
        Question(
            "alignment-energy",
            "atomization energy: trained on energy minus trained on gap, mean of five", "",
            OF_SIGN, partial(_mean, where=Where("u0_atom"), bound=0.0, ways=("energy", "gap")),
        ),
    ]  # fmt: skip
    return [question(measured) for question in questions]


def _range(measured: Measured) -> Answer:
    scores = {a: measured.score(named(a, "gap")) for a in ARCHITECTURES}
    ours = "; ".join(f"{architecture} {score}" for architecture, score in scores.items())
    return Answer(every(near(score, *RANGE) for score in scores.values()), ours=ours)


def _gain(key: str, words: str, where: Where, paper: str = "") -> Question:
    return Question(
        key, f"gap: trained on gap minus trained on energy, mean of five, {words}", paper,
        OF_DIFFERENCE.format(bound=GAIN / 2), partial(_mean, where=where, bound=GAIN / 2),
    )  # fmt: skip


def _mean(
    measured: Measured, where: Where, bound: float, ways: tuple[str, str] = ("gap", "energy")
) -> Answer:
    found = measured.contrast(gains(ways), where)
    return Answer(verdict(found, bound), found)


def _of(architecture: str) -> Question:
    high, low = NAMED.get(architecture, (GAIN, 0))
    paper = f"{high} − {low} = {high - low:.2f}" if low else f"about +{GAIN}"
    bound = (high - low) / 2
    return Question(
        f"alignment-{architecture}", f"{architecture}: trained on gap minus trained on energy",
        paper, OF_DIFFERENCE.format(bound=bound),
        partial(_pair, architecture=architecture, bound=bound),
    )  # fmt: skip


def _pair(measured: Measured, architecture: str, bound: float) -> Answer:
    gap, energy = (named(architecture, objective) for objective in ("gap", "energy"))
    found = measured.difference(gap, energy)
    levels = f"{measured.score(gap)} − {measured.score(energy)}: {found}"
    runs = min(len(measured.runs(model)) for model in (gap, energy))
    alone = "One training run each: the interval is of molecules alone. " if runs == 1 else ""
    try:
        width = measured.difference(gap, energy, Where(setting="width"))
        alone += f"24 columns each: {width}."
    except NotMeasuredError:
        pass
    return Answer(verdict(found, bound), found, alone.strip(), levels)
