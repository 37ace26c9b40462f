"""Four probes of the same matrices: Ridge, boosted trees, networks and kernel ridge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from cpdjax.checks import kernel_ridge, mlp
from cpdjax.errors import InputError
from cpdjax.probes.r2 import r2

PROBES = ("ridge", "trees", "mlp", "kernel ridge")


class Case(NamedTuple):
    """Hold training and held-out rows of one fold, features and targets at unit variance."""

    x: Float[np.ndarray, "train feature"]
    y: Float[np.ndarray, "train target"]
    held_out: Float[np.ndarray, "row feature"]
    held_out_y: Float[np.ndarray, "row target"]


Probe = Callable[[Sequence[Case]], Float[np.ndarray, "case target"]]


def make_probes(seeds: int, seed: int, training: mlp.Training) -> dict[str, Probe]:
    """Return the functions that score `PROBES`: R² of every case and target.

    Args:
        seeds: how many networks are trained for each case and target; their R² is averaged.
        seed: the random seed of the trees.
        training: how a network is trained.

    Raises:
        InputError: scikit-learn is not installed.
    """
    trees = _boosted_trees()(random_state=seed)
    return {
        "ridge": partial(_case_by_case, _predict_ridge),
        "trees": partial(_case_by_case, partial(_predict_trees, trees)),
        "mlp": partial(_score_networks, seeds=seeds, training=training),
        "kernel ridge": partial(_case_by_case, _predict_kernel_ridge),
    }


def _case_by_case(predict: Callable[[Case], np.ndarray], cases: Sequence[Case]) -> np.ndarray:
    return np.stack([r2(case.held_out_y, predict(case)) for case in cases])


def _predict_ridge(case: Case) -> Float[np.ndarray, "row target"]:
    """Predict by Ridge with α = 1."""
    mean = case.y.mean(0)
    gram = case.x.T @ case.x + np.eye(case.x.shape[1])
    return mean + case.held_out @ np.linalg.solve(gram, case.x.T @ (case.y - mean))


# scikit-learn's trees run on OpenMP's threads, which only wait for each other on a few thousand
# rows.
@threadpool_limits.wrap(limits=1)
def _predict_trees(trees: Any, case: Case) -> Float[np.ndarray, "row target"]:
    return np.stack([trees.fit(case.x, y).predict(case.held_out) for y in case.y.T], axis=1)


def _predict_kernel_ridge(case: Case) -> Float[np.ndarray, "row target"]:
    return kernel_ridge.predict(case.x, case.y, case.held_out)[0]


def _score_networks(
    cases: Sequence[Case], *, seeds: int, training: mlp.Training
) -> Float[np.ndarray, "case target"]:
    """Train the networks of all cases at once, on as many rows as the smallest training set has.

    Held-out rows are repeated up to the size of the largest fold; repeated rows are not scored.
    """
    fewest = min(len(c.x) for c in cases)
    most = max(len(c.held_out) for c in cases)
    x, y = np.stack([c.x[:fewest] for c in cases]), np.stack([c.y[:fewest] for c in cases])
    padded = np.stack([np.resize(c.held_out, (most, x.shape[2])) for c in cases])
    predictions = mlp.predict(x, y, padded, seeds=seeds, training=training)
    return np.stack(
        [
            np.mean([r2(c.held_out_y, p[: len(c.held_out_y)]) for p in of_case], axis=0)
            for c, of_case in zip(cases, predictions, strict=True)
        ]
    )


def _boosted_trees() -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise InputError(
            'nonlinear probes need scikit-learn: pip install "cpdjax[nonlinear]"'
        ) from error
    return HistGradientBoostingRegressor
