"""Sample efficiency: is the ranking of models at 50 molecules that at 2,000?

Spearman's ρ of the ten models' R²_geom of the gap at N molecules with that at the largest N, draw
by draw of the training molecules, as a paper would make it with one draw; its mean has the t
interval of draws that share molecules (see `comparison.estimate`). A ranking is kept where the
interval of ρ lies above 0.9 (our choice). The test set is fixed: the same molecules score every
size, and an interval is over training molecules alone. Beside it stands the older way, five folds
inside the N molecules, which trains on 40 and scores on 10.

PaiNN at 50 against SchNet at 2,000 is asked by name. The paper's objective is not known here: both
trained on the gap is judged, and the other pairs are asked as well.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from scipy import stats

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question, every
from cpdjax.studies.groups import TEN, named
from cpdjax.studies.measured import Measured, NotMeasuredError, Where, contrast
from cpdjax.sweeps.table import overlap
from cpdjax.uncertainty.comparison import Estimate, estimate
from cpdjax.uncertainty.verdict import verdict

KEPT = 0.9
FEW, STABLE = 50, 500
#: How a ranking at few molecules can be measured, by setting.
SETTINGS = {
    "test": "fixed test set, α = 1",
    "test-loo": "fixed test set, α by leave-one-out",
    "curve": "five folds inside the N molecules, α = 1",
}
_RULE = f"holds if the interval of ρ lies above {KEPT}"


def findings(measured: Measured) -> list[Finding]:
    """Ask for the ranking at 50, from where on it is stable, and PaiNN against SchNet."""
    questions = []
    for setting, words in SETTINGS.items():
        first = setting == "test"
        questions += [
            Question(
                "ranking" if first else f"ranking-{setting}",
                f"ranking of ten models at N = {FEW} as at the largest N, {words}",
                "Spearman ρ 0.964" if first else "", _RULE, partial(_at_few, setting=setting),
            ),
            Question(
                "stable" if first else f"stable-{setting}",
                f"ranking stable from N = {STABLE}, {words}", "from N = 500" if first else "",
                f"holds if the interval of ρ lies above {KEPT} at {STABLE} and every larger N",
                partial(_stable, setting=setting),
            ),
        ]  # fmt: skip
    pairs = [("gap", "gap"), ("energy", "energy"), ("gap", "energy")]
    questions += [
        Question(
            "painn-at-50" if i == 0 else f"painn-at-50-{one}-{other}",
            f"PaiNN trained on {one} at N = 50 minus SchNet trained on {other} at the largest N",
            "above zero" if i == 0 else "", OF_SIGN, partial(_few_above_many, one=one, other=other),
        )
        for i, (one, other) in enumerate(pairs)
    ]  # fmt: skip
    return [question(measured) for question in questions]


def correlations(measured: Measured, setting: str) -> dict[int, Estimate]:
    """Return Spearman's ρ with the ranking at the largest size, by size."""
    table = measured.table(setting)
    sizes = [int(size) for size in table["size"].values]
    by_size = {
        size: np.stack(
            [measured.scores(m, Where(setting=setting, size=size))[0].mean(1) for m in TEN]
        )
        for size in sizes
    }  # each (model, repeat)
    largest = by_size[sizes[-1]].mean(1)
    return {
        size: estimate(
            np.array([[stats.spearmanr(draw, largest).statistic] for draw in scores.T]),
            overlap=_shared(table, size),
        )
        for size, scores in by_size.items()
        if size < sizes[-1]
    }


def _shared(table: xr.Dataset, size: int) -> float:
    """Return which part of their molecules two draws share, of a size beside a test set or not."""
    beside_test = overlap(table, size)
    return size / int(table.attrs["molecules"]) if beside_test is None else beside_test


def _at_few(measured: Measured, setting: str) -> Answer:
    found = correlations(measured, setting)
    if FEW not in found:
        raise NotMeasuredError(f"N = {FEW} was not measured beside a larger N")
    rho = found[FEW]
    ours = f"ρ {rho}, mean of single draws"
    return Answer(verdict(rho, KEPT), rho, ours=ours)


def _stable(measured: Measured, setting: str) -> Answer:
    found = {n: rho for n, rho in correlations(measured, setting).items() if n >= STABLE}
    if not found:
        raise NotMeasuredError(f"no N from {STABLE} on was measured beside a larger one")
    ours = "; ".join(f"N = {n:,}: ρ {rho}" for n, rho in found.items())
    return Answer(every(verdict(rho, KEPT) for rho in found.values()), ours=ours)


def _few_above_many(measured: Measured, one: str, other: str) -> Answer:
    few, many = named("painn", one), named("schnet", other)
    where = Where(setting="test", size=FEW)
    if FEW not in measured.table("test")["size"].values:
        raise NotMeasuredError(f"N = {FEW} was not measured")
    terms = [
        (1.0, measured.scores(few, where)),
        (-1.0, measured.scores(many, Where(setting="test"))),
    ]
    found = contrast(terms, overlap(measured.table("test")))
    first, second = (score.mean() for _, score in terms)
    remark = "The interval is over training molecules alone: all share one test set."
    return Answer(verdict(found), found, remark, f"{first:.3f} − {second:.3f}: {found}")
