"""Objectives: does a network lead on the target that it was trained on, and on which others?

The published MEGNet networks are one architecture with 13 objectives of QM9; the one trained on the
gap is compared, target by target, with the mean of the four trained on energies. Alignment is
circular where it is asked of the label alone: the gap, and the orbitals it is made of; the dipole
moment, the polarizability and the heat capacity are neither. Which molecules they were trained on
is not known, and nearly all of QM9 is likely. They are one run of each objective, so that the
interval is of molecules alone.
"""

from __future__ import annotations

from functools import partial

from cpdjax.studies.finding import OF_SIGN, Answer, Finding, Question
from cpdjax.studies.measured import ENERGY, Measured, NotMeasuredError, Where
from cpdjax.studies.quantities import same_quantity
from cpdjax.uncertainty.verdict import verdict

FAMILY = "megnet-qm9-"
TARGETS = ("gap", "homo", "lumo", "mu", "alpha", "r2", "cv")


def findings(measured: Measured) -> list[Finding]:
    """Ask on which targets the gap-trained network leads."""
    return [
        Question(
            f"objectives-{target}", f"MEGNet trained on gap minus trained on energies: {target}",
            "", OF_SIGN, partial(_lead, target=target),
        )(measured)
        for target in TARGETS
    ]  # fmt: skip


def _lead(measured: Measured, target: str) -> Answer:
    own = [m for m in measured.models() if m.startswith(FAMILY)]
    energies = [m for m in own if same_quantity(measured.trained_on.get(m, ""), ENERGY)]
    if f"{FAMILY}gap" not in own or not energies:
        raise NotMeasuredError(
            "the published MEGNet networks were not measured: convert them from the source "
            "distribution of megnet 1.3.2, and give their folder with --also"
        )
    weights = {f"{FAMILY}gap": 1.0} | dict.fromkeys(energies, -1 / len(energies))
    found = measured.contrast(weights, Where(target))
    return Answer(verdict(found), found)
