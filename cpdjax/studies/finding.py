"""A finding: what the paper says, what is measured here, and by which rule it is judged.

A question names its rule before anything is measured. Three rules serve nearly all of them (our
choice), and none looks at the largest or smallest of the scores that it judges:

- a difference holds where its interval lies above half of the paper's difference;
- a level holds where its interval lies within 0.1 of the paper's figure, or range of figures;
- a direction holds where its interval lies above zero.

It does not hold where the interval lies wholly on the other side, and is not decided in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from cpdjax.errors import InputError
from cpdjax.studies.measured import Measured
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.verdict import verdict

Verdict = Literal["holds", "does not hold", "not decided", "not run", "not in the paper"]
VERDICTS: tuple[str, ...] = get_args(Verdict)

SLACK = 0.1  # of a level
OF_DIFFERENCE = "holds if the interval lies above half of the paper's difference, {bound:.3f}"
OF_LEVEL = "holds if the interval lies within 0.1 of the paper's figure"
OF_SIGN = "holds if the interval lies above zero"


@dataclass(frozen=True)
class Finding:
    """Hold one statement, the paper's figure and ours, and what the rule says of it."""

    key: str
    """The noun of the section, and a number where it has several."""
    name: str
    paper: str
    ours: str
    verdict: Verdict
    estimate: Estimate | None = None
    """The estimate that was judged; None where there is none, or several were."""
    rule: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Answer:
    """Hold what was found; `ours` is the estimate, unless more is to be said."""

    verdict: Verdict
    estimate: Estimate | None = None
    remark: str = ""
    ours: str = ""


@dataclass(frozen=True)
class Question:
    """Hold a statement, its rule, and how it is answered from what was measured."""

    key: str
    name: str
    paper: str
    rule: str
    answer: Callable[[Measured], Answer]

    def __call__(self, measured: Measured) -> Finding:
        """Return the finding; "not run" where something it needs was not measured."""
        try:
            found = self.answer(measured)
        except InputError as error:  # too few models, sizes or repeats
            found = Answer("not run", remark=str(error))
        ours = found.ours or ("" if found.estimate is None else str(found.estimate))
        return Finding(
            self.key, self.name, self.paper, ours, found.verdict, found.estimate, self.rule,
            found.remark,
        )  # fmt: skip


def near(
    estimate: Estimate, low: float, high: float | None = None, slack: float = SLACK
) -> Verdict:
    """Judge a level: the interval lies within `slack` of the paper's figure, or of its range.

    >>> near(Estimate(0.5, 0.45, 0.55), 0.44, 0.53), near(Estimate(0.1, 0.0, 0.2), 0.44, 0.53)
    ('holds', 'does not hold')
    >>> near(Estimate(0.6, 0.5, 0.7), 0.44, 0.53)
    'not decided'
    """
    top = (low if high is None else high) + slack
    return every([verdict(estimate, low - slack), below(estimate, top)])


def below(estimate: Estimate, bound: float) -> Verdict:
    """Judge whether a quantity lies below a bound, by the rule of `verdict`.

    >>> below(Estimate(0.0, -0.1, 0.1), 0.2), below(Estimate(0.0, -0.1, 0.1), 0.05)
    ('holds', 'not decided')
    """
    return verdict(Estimate(-estimate.value, -estimate.high, -estimate.low), -bound)


def every(verdicts: Iterable[Verdict]) -> Verdict:
    """Judge several at once: all hold, or one does not, or it is not decided.

    >>> every(["holds", "not decided"]), every(["holds", "does not hold"])
    ('not decided', 'does not hold')
    """
    found = set(verdicts)
    if "does not hold" in found:
        return "does not hold"
    return "holds" if found == {"holds"} else "not decided"
