"""Golden of LEACE and oracle LEACE; environment_leace.txt pins what it ran in.

The package's erasers in float64, fitted on the training rows and applied to all. Shrinkage and the
bound on the trace are off and tolerances tiny: what is left is the definition of the paper
(arXiv:2306.03819), in covariances of the sample. Of one case training rows outnumber features, of
the other features outnumber them; there the pseudo-inverse, and so LEACE, depends on the scale of
the features, and theirs is 1. Composition is integer counts, which features see nonlinearly.
"""

from pathlib import Path

import numpy as np
import torch
from concept_erasure import LeaceFitter, OracleFitter

TINY = 1e-10
torch.set_num_threads(1)


def make(rows, features, seed):
    rng = np.random.default_rng(seed)
    c = rng.integers(0, 7, (rows, 3)).astype(np.float64)
    x = rng.normal(size=(rows, features)) + c @ rng.normal(size=(3, features))
    x += 0.05 * (c**2) @ rng.normal(size=(3, features)) + 2
    trained = np.arange(rows) % 4 > 0
    x /= x[trained].std(0)
    every = [torch.tensor(a) for a in (x, c)]
    some = [a[torch.tensor(trained)] for a in every]
    leace = LeaceFitter.fit(*some, shrinkage=False, constrain_cov_trace=False, svd_tol=TINY)
    oracle = OracleFitter.fit(*some, shrinkage=False, svd_tol=TINY)
    return {
        "x": x,
        "c": c,
        "trained": trained,
        "leace": leace.eraser(every[0]).numpy(),
        "oracle": oracle.eraser(*every).numpy(),
    }


arrays = {}
for case, made in {"primal": make(80, 12, 0), "dual": make(12, 12, 1)}.items():
    arrays |= {f"{case}/{name}": values for name, values in made.items()}
    moved = [np.abs(made[name] - made["x"]).max() for name in ("leace", "oracle")]
    print(case, "largest change by LEACE and oracle LEACE", moved)
np.savez_compressed(Path(__file__).parent / "leace.npz", **arrays)
