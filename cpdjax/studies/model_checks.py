"""Checks of one model's features, as rows of a table: isomers, trees, the author's library."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cpdjax.checks.authors_library import STEPS, Sample, toward_the_authors_library
from cpdjax.checks.isomers import check_isomers
from cpdjax.checks.trees import PROBES, check_trees
from cpdjax.data.composition import composition, elements, formulas
from cpdjax.data.structures import Structures
from cpdjax.studies.measured import GAP
from cpdjax.uncertainty.comparison import estimate


def isomers(model: str, X: np.ndarray, structures: Structures, seed: int) -> pd.DataFrame:
    """Order isomers by their gap from a model's features; one row."""
    found = check_isomers(
        X, composition(structures), formulas(structures), structures.target(GAP), seed=seed
    )
    low, high = found.residual.interval[:, 0]
    row = {
        "model": model, "pairs": int(found.pairs[0]), "composition": found.composition.value[0],
        "accuracy": found.residual.value[0], "low": low, "high": high,
        "rho": found.residual.correlation[0], "law": found.residual.law[0],
    }  # fmt: skip
    limits = zip(found.thresholds, found.residual.by_threshold[:, 0], strict=True)
    return pd.DataFrame([row | {f"above {limit:g}": share for limit, share in limits}])


def trees(model: str, X: np.ndarray, structures: Structures, seed: int) -> pd.DataFrame:
    """Predict one compositional target from the residual, by trees and by Ridge; two rows."""
    C = composition(structures)
    found = check_trees({model: X}, C, formulas(structures), elements(structures), seed=seed)
    rows = []
    for p, probe in enumerate(PROBES):
        score = estimate(found.r2[0, p, :1])  # in random folds
        row = {"model": model, "probe": probe, "target": found.target, "r2": score.value}
        rows.append(row | {"low": score.low, "high": score.high})
    return pd.DataFrame(rows)


def library(
    model: str,
    drawn: tuple[np.ndarray, Structures],
    first: tuple[np.ndarray, Structures],
    seed: int,
) -> pd.DataFrame:
    """Go step by step from our procedure to that of the author's library; a row for each step."""
    both = (drawn, first)
    present = {symbol for _, structures in both for symbol in elements(structures)}
    samples = [
        Sample(X, composition(s, elements=sorted(present)), s.target(GAP)[:, None]) for X, s in both
    ]
    means = toward_the_authors_library(*samples, seed=seed).means[:, 0]
    return pd.DataFrame({"model": model, "step": STEPS, "r2": means})
