"""Sampling: what the molecules that are drawn do to the figures.

The author's library takes fractions for composition and the first N molecules unshuffled, which are
the smallest of QM9 and were partly trained on. The same models on those molecules, less the models
on a random draw: where the interval of the difference leaves zero, the sampling moves the figures.
The two sets of molecules are independent, so the intervals are added; both are of the models' first
training runs, which are the same networks. Five disjoint draws of the probe molecules give a plain
standard error beside the corrected resampled one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from cpdjax.studies.finding import Answer, Finding, Question, near
from cpdjax.studies.groups import TEN
from cpdjax.studies.measured import MAIN, Measured, NotMeasuredError, Score, Where, contrast
from cpdjax.uncertainty.comparison import Estimate
from cpdjax.uncertainty.draws import of_draws

V1_MACE = 0.782


def findings(measured: Measured) -> list[Finding]:
    """Ask what the library's sampling does to composition's score and to the models' scores."""
    rule = "holds if the interval of the difference of the two samples leaves zero"
    questions = [
        Question(
            "sampling-composition", "first of QM9 minus a random draw: R²_comp of the gap",
            "", rule, partial(_moved, models=TEN[:1], score="r2_comp"),
        ),
        Question(
            "sampling-models", "first of QM9 minus a random draw: R²_geom of the gap, "
            "mean of ten", "", rule, partial(_moved, models=TEN, score="r2_geom"),
        ),
        Question(
            "sampling-v1", "MACE on the first molecules of QM9: R²_geom of the gap",
            f"{V1_MACE} (first version)", "holds if the interval lies within 0.1 of it", _v1,
        ),
        Question(
            "sampling-draws", "the corrected interval is not narrower than five draws' plain one",
            "", "holds if its median width over the ten is at least 0.8 of the plain one", _draws,
        ),
    ]  # fmt: skip
    return [question(measured) for question in questions]


def _moved(measured: Measured, models: tuple[str, ...], score: Score) -> Answer:
    there, here = (
        _of_first_runs(measured, models, Where(setting=setting, score=score))
        for setting in ("library", MAIN)
    )
    reach = np.hypot((there.high - there.low) / 2, (here.high - here.low) / 2)
    value = there.value - here.value
    found = Estimate(value, float(value - reach), float(value + reach))
    moved = abs(value) > reach
    # Folds of unshuffled molecules differ in kind, so "not decided" is all that a wide one says.
    ours = f"{there.value:.3f} − {here.value:.3f}: {found}"
    return Answer("holds" if moved else "not decided", found, ours=ours)


def _of_first_runs(measured: Measured, models: Sequence[str], where: Where) -> Estimate:
    """Return the mean of models' first training runs, over molecules and folds alone."""
    return contrast([(1 / len(models), measured.scores(m, where)[:1]) for m in models])


def _v1(measured: Measured) -> Answer:
    found = measured.score("mace-qm9-gap", Where(setting="library"))
    return Answer(near(found, V1_MACE), found)


def draws(measured: Measured, model: str, target: str = "gap") -> np.ndarray:
    """Return a model's mean score in each disjoint draw of molecules, at its last interaction."""
    names = [name for name in measured.tables if name.startswith("draw ")]
    if not names:
        raise NotMeasuredError("one draw of molecules only was measured")
    first = [measured.scores(model, Where(target))[0][0].mean()]
    others = [measured.scores(model, Where(target, setting=name))[0].mean() for name in names]
    return np.array([*first, *others])


def _draws(measured: Measured) -> Answer:
    ratios = []
    for model in TEN:
        corrected = _of_first_runs(measured, [model], Where())
        simple = of_draws(draws(measured, model))
        ratios.append((corrected.high - corrected.low) / (simple.high - simple.low))
    middle = float(np.median(ratios))
    ours = f"median ratio of widths {middle:.2f}"
    return Answer("holds" if middle >= 0.8 else "does not hold", ours=ours)
