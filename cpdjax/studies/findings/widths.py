"""Widths: models are tapped at 24 to 1,024 columns, and a probe with more columns reads more.

With 24 principal components of the training residual each, all models have as many columns as the
narrowest layer. The rankings of the ten with and without are compared by Spearman's ρ, fold by
fold: the ranking is kept where its interval lies above 0.9. All repeats are of the same molecules,
so the interval is the corrected resampled one. The same is asked of the penalty (α = 1 against
leave-one-out), of the layer (last against best), and of what is subtracted.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import stats

from cpdjax.studies.finding import Answer, Finding, Question
from cpdjax.studies.findings.efficiency import KEPT
from cpdjax.studies.groups import TEN
from cpdjax.studies.measured import Measured, Where
from cpdjax.uncertainty.comparison import estimate
from cpdjax.uncertainty.verdict import verdict

WAYS = {
    "width": ("24 columns each", Where(setting="width")),
    "loo": ("α by leave-one-out", Where(setting="loo")),
    "best": ("the best layer of each", Where(layer="best")),
    "groups": ("bonds, rings and groups subtracted", Where(setting="groups")),
}


def findings(measured: Measured) -> list[Finding]:
    """Ask whether the ranking of the ten survives each other way of scoring."""
    return [
        Question(
            f"widths-{key}", f"ranking of ten models as at the last layer and α = 1: {words}", "",
            f"holds if the interval of ρ lies above {KEPT}", partial(_kept, where=where),
        )(measured)
        for key, (words, where) in WAYS.items()
    ]  # fmt: skip


def _kept(measured: Measured, where: Where) -> Answer:
    before, after = (
        np.stack([measured.scores(m, at)[0] for m in TEN]) for at in (Where(), where)
    )  # model, repeat, fold
    folds = zip(before.T.reshape(-1, len(TEN)), after.T.reshape(-1, len(TEN)), strict=True)
    rho = np.array([stats.spearmanr(one, other).statistic for one, other in folds])
    found = estimate(rho.reshape(before.T.shape[:2]).T)
    return Answer(verdict(found, KEPT), found, ours=f"ρ {found}, fold by fold")
