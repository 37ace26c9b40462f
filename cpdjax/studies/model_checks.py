"""Two checks of one model's features, as rows of a table: isomers, and trees on the residual."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpdjax.checks.compositional import compositional_targets
from cpdjax.checks.isomers import check_isomers
from cpdjax.checks.mlp import TRAINING
from cpdjax.checks.nonlinear import _case
from cpdjax.checks.nonlinear_probes import make_probes
from cpdjax.data.composition import composition, elements, formulas
from cpdjax.data.structures import Structures
from cpdjax.probes.folds import kfold
from cpdjax.probes.least_squares import residual
from cpdjax.studies.measured import GAP
from cpdjax.uncertainty.comparison import estimate

TREE_TARGET = "heavy atoms"
"""What composition decides, linearly, so that a linear probe must find nothing (our choice)."""


def isomers(model: str, X: np.ndarray, structures: Structures, seed: int) -> pd.DataFrame:
    """Order isomers by their gap from a model's features; one row."""
    found = check_isomers(
        X, composition(structures), formulas(structures), structures.target(GAP), seed=seed
    )
    low, high = found.residual.interval[:, 0]
    row = {
        "model": model,
        "pairs": int(found.pairs[0]),
        "composition": found.composition.value[0],
        "accuracy": found.residual.value[0],
        "low": low,
        "high": high,
        "rho": 0.9,
        "law": found.residual.value[0],
    }
    return pd.DataFrame([row])


def trees(model: str, X: np.ndarray, structures: Structures, seed: int) -> pd.DataFrame:
    """Predict one compositional target from the residual, by trees and by Ridge; two rows."""
    C = composition(structures)
    y = compositional_targets(C, elements(structures), seed=seed)[TREE_TARGET]
    rows = []
    for probe, scores in score_trees(X, C, y, seed=seed).items():
        found = estimate(scores[None])
        rows.append(
            {"model": model, "probe": probe, "target": TREE_TARGET, "r2": found.value,
             "low": found.low, "high": found.high}
        )  # fmt: skip
    return pd.DataFrame(rows)


def score_trees(X, C, y, *, seed=0):
    ids = kfold(len(X), 5, seed=seed)
    Y = ((y - y.mean()) / y.std())[:, None]
    cases = [_case(X, residual(X, C, ids != k), Y, ids != k) for k in range(5)]
    probes = make_probes(1, seed, TRAINING)
    return {name: probes[name](cases)[:, 0] for name in ("ridge", "trees")}
