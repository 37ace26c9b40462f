"""Score composition alone in NumPy, before anything is compiled or any model has run."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from cpdjax.probes.folds import Layout
from cpdjax.probes.least_squares import predict_from_composition
from cpdjax.probes.r2 import r2_by_fold


def composition_scores(
    C: Float[np.ndarray, "row element"], Y: Float[np.ndarray, "row target"], layout: Layout
) -> Float[np.ndarray, "repeat fold target"]:
    """Return R² of least squares from composition at the largest size, on held-out rows.

    These are the `r2_comp` of `cpd` to rounding: NaN where a target is constant in a fold.
    """
    largest, found = layout.sizes[-1], []
    for repeat in range(len(layout.index)):
        rows, ids = layout.subset(repeat, largest), layout.fold_ids(repeat, largest)
        if layout.test:
            rows = np.concatenate([layout.test_set, rows])
            ids = (np.arange(len(rows)) >= len(layout.test_set)).astype(np.int64)
        prediction = predict_from_composition(C[rows], Y[rows], ids)
        found.append(r2_by_fold(Y[rows], prediction, ids)[: layout.held_out])
    return np.stack(found)
