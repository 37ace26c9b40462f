"""Advice: what the paper tells users, tested on targets that no model was trained on.

The targets are the dipole moment, the polarizability, the electronic spatial extent, the zero-point
energy and the heat capacity (our choice: neither the gap nor its orbitals, nor any energy). Each
piece of advice is a difference of means over architectures on the same folds, averaged over the
targets, and holds where its interval lies above zero; each target is asked by itself as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question
from cpdjax.studies.findings.alignment import gains
from cpdjax.studies.findings.equivariance import edge
from cpdjax.studies.findings.trees import findings as trees
from cpdjax.studies.groups import ARCHITECTURES, named
from cpdjax.studies.measured import Measured, Where, contrast
from cpdjax.studies.recommendation import PRETRAINED
from cpdjax.uncertainty.verdict import verdict

UNSEEN = ("mu", "alpha", "r2", "zpve", "cv")


def _diverse(measured: Measured) -> dict[str, float]:
    """Return the weights of pretrained models less the five that were trained on the energy."""
    # Without any, the first that is missing is named.
    own = [model for model in PRETRAINED if model in measured.models()] or PRETRAINED
    return {
        **{model: 1 / len(own) for model in own},
        **{named(a, "energy"): -1 / len(ARCHITECTURES) for a in ARCHITECTURES},
    }


def findings(measured: Measured) -> list[Finding]:
    """Ask for the objective, the data, equivariance and linear probes."""
    pieces = [
        ("objective", "trained on the gap minus trained on the energy",
         "the objective matters more than the architecture", gains()),
        ("data", "pretrained on other data minus trained on QM9's energy",
         "diverse data partly make up for a misaligned objective", _diverse(measured)),
        ("equivariance", "equivariant minus invariant, trained on the gap",
         "equivariance helps with an aligned objective", edge("gap")),
    ]  # fmt: skip
    found = []
    for key, name, paper, weights in pieces:
        questions = [
            Question(
                f"advice-{key}", f"{name}, mean of {len(UNSEEN)} targets not trained on", paper,
                OF_SIGN, partial(_over, weights=weights, targets=UNSEEN),
            ),
            *(
                Question(
                    f"advice-{key}-{target}", f"{name}: {target}", "", OF_SIGN,
                    partial(_over, weights=weights, targets=(target,)),
                )
                for target in UNSEEN
            ),
        ]  # fmt: skip
        found += [question(measured) for question in questions]
    return [*found, _linear(measured)]


def _over(measured: Measured, weights: Mapping[str, float], targets: tuple[str, ...]) -> Answer:
    terms = [
        (weight, np.mean([measured.scores(model, Where(target)) for target in targets], axis=0))
        for model, weight in weights.items()
    ]
    found = contrast(terms)
    return Answer(verdict(found), found)


def _linear(measured: Measured) -> Finding:
    """Ask whether nonlinear probes mislead, which is what the line on trees says."""
    line = trees(measured)[-1]
    return Finding(
        "advice-probes", "linear probes on the residual: nonlinear ones mislead there",
        "use linear probes", line.ours, line.verdict, line.estimate, line.rule, line.remark,
    )  # fmt: skip
