"""Eighty molecules of eight formulas with a few spaces of known likeness, which tests share."""

import numpy as np

from cpdjax.probes.folds import kfold

RNG = np.random.default_rng(7)
ROWS = 80
FORMULA = np.repeat(np.arange(8), 10)
C = RNG.poisson(3, (8, 3)).astype(float)[FORMULA]
A = RNG.normal(size=(ROWS, 5)) + C @ RNG.normal(size=(3, 5))
TURN = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
SPACES = {
    "a": A,
    "turned": 1e30 * A @ TURN + 3e30,  # another unit and origin: the same space
    "part": A[:, :2],
    "noise": RNG.normal(size=(ROWS, 5)),
    "counts": C,  # nothing beside composition
}
FOLD = kfold(ROWS, 5)


def residual(x, concepts=C):
    """What least squares fitted on the training rows of each fold leaves of the others.

    Without concepts it is all of x, about its mean.
    """
    left = x.copy()
    for k in range(5 if concepts.shape[1] else 0):
        train, held_out = k != FOLD, k == FOLD
        full = np.column_stack([np.ones(ROWS), concepts])
        left[held_out] = x[held_out] - full[held_out] @ np.linalg.lstsq(full[train], x[train])[0]
    return left - left.mean(0)


def cka(x, y):
    """Linear CKA by its definition, from Gram matrices of rows."""
    x, y = (z - z.mean(0) for z in (x, y))
    k, m = x @ x.T, y @ y.T
    return (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())
