"""The settings of the study: on which molecules, with which options, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cpdjax.features.layer_names import LAST
from cpdjax.irreps import INVARIANTS
from cpdjax.studies.measured import ENERGY, MAIN
from cpdjax.studies.quantities import ATOMIZED
from cpdjax.sweeps.channels import ALL

TENSORS = ("dipole_point", "quadrupole_point")
WIDTH = 24
"""Columns of the narrowest layer that is probed (MACE's), to which all are brought."""
FEW = ("gap", "mu", ENERGY)
"""The targets of settings that take long, and of sums over atoms."""

Rows = Literal["pool", "library"] | int


@dataclass(frozen=True)
class Setting:
    """Hold one way of probing every model."""

    name: str
    words: str
    """What it is for."""
    rows: Rows = 0
    """A draw's number; "pool", all draws; or "library", the first molecules of QM9."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What `cpdjax.sweep` is told beside the repeats and the seed."""
    of_runs: bool = False
    """Whether further training runs are probed as well."""
    pool: Literal["mean", "sum"] = "mean"


def settings(n: int, draws: int, sizes: Sequence[int], repeats: int) -> list[Setting]:
    """Return all settings but those of single models' irreps, in the order they are measured."""
    last = {"layers": [LAST], "irreps": [ALL]}
    one, gap = {"repeats": 1}, {"targets": ["gap"]}
    curve = {**last, **gap, "sizes": list(sizes)}
    whole = {"sizes": [n], "repeats": repeats}
    fixed = {**curve, "test": n, "repeats": 2 * repeats}
    library = {"composition": "fractions", "shuffle": False, **one, **last, **gap}
    return [
        Setting(MAIN, "what findings are judged on", 0, {**whole, "targets": ATOMIZED}, True),
        *(
            Setting(f"draw {k}", "other molecules: where layers are chosen, and a plain standard "
                    "error", k, {**one, "irreps": [ALL], "targets": ATOMIZED})
            for k in range(1, draws)
        ),
        Setting("loo", "α by leave-one-out in place of 1", 0,
                {**whole, "irreps": [ALL], "targets": FEW, "alphas": "loo"}, True),
        Setting("width", f"{WIDTH} principal components of the training residual", 0,
                {**whole, **last, "targets": ATOMIZED, "components": WIDTH}, True),
        Setting("bonds", "bonds and rings subtracted with composition", 0,
                {**whole, **last, "targets": ATOMIZED, "projection": "bonds"}, True),
        Setting("groups", "bonds, rings and functional groups subtracted with composition", 0,
                {**whole, **last, "targets": ATOMIZED, "projection": "groups"}, True),
        Setting("curve", "five folds inside the N molecules", 0, {**curve, "repeats": repeats}),
        Setting("test", "training on N molecules, a fixed test set", "pool", fixed),
        Setting("test-loo", "the same with α by leave-one-out", "pool", {**fixed, "alphas": "loo"}),
        Setting("library", "as the author's library: fractions, the first molecules unshuffled",
                "library", library),
        Setting("sum", "sums over atoms in place of means", 0, {**whole, "targets": FEW},
                pool="sum"),
    ]  # fmt: skip


def of_irreps(n: int, repeats: int, layer: str) -> list[Setting]:
    """Return the settings of a model's routing layer: other scalars, and vectors themselves."""
    common = {"layers": [layer], "sizes": [n], "repeats": repeats}
    scalars = {**common, "targets": ["gap", "mu"]}
    words = "another way of making scalars of irreps"
    return [
        *(Setting(how, words, 0, {**scalars, "invariants": how}) for how in INVARIANTS[1:]),
        Setting("equivariant", "vectors and tensors predicted as such", 0,
                {**common, "targets": TENSORS, "probe": "equivariant", "alphas": "loo"}),
    ]  # fmt: skip
