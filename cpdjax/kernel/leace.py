"""LEACE: the smallest affine change of features that leaves no linear trace of composition.

N. Belrose, D. Schneider-Joseph, S. Ravfogel, R. Cotterell, E. Raff and S. Biderman, "LEACE:
Perfect linear concept erasure in closed form", arXiv:2306.03819, theorem 4.3:

    x' = x − W⁺ P W (x − mean),   W = (S_XX^½)⁺,   P the projection onto the columns of W S_XC.

Multiplied out, W⁺ P W = S_XC (S_CX β)⁺ βᵀ with β = S_XX⁺ S_XC. Now β are the coefficients of least
squares from the features to composition, ĉ = βᵀ(x − mean) is what they say of it, its covariance
with x is S_XX β = S_XC and with itself S_CX β. So x' is the residual of x after least squares on
ĉ: LEACE is the projection of CPD with ĉ in composition's place, and needs no composition of a
molecule that it is applied to. With composition itself (oracle LEACE, theorem 5.2 there) it is
x' = x − S_XC S_CC⁺ (c − mean): the very residual of CPD, "ols".
"""

from __future__ import annotations

import jax.numpy as jnp

from cpdjax.kernel.fit import dual, primal
from cpdjax.kernel.moments import Moments, about_mean
from cpdjax.kernel.residual import Residual, Rows, TrainingRows


def with_predicted_composition(train: Moments, training: TrainingRows) -> Rows:
    """All rows, with ĉ in the place of composition, fitted on the training rows.

    Our choice: features are scaled to unit variance first, on which LEACE does not depend unless
    features outnumber training rows, and S_XX⁺ is (S_XX + eps^(3/4))⁻¹, which is smooth in the
    features. It differs from S_XX⁺ only along directions of 1e-12 of the features' variance and
    less: rounding blurs those, and they are left alone.
    """
    untouched, rows = about_mean(train), training.rows
    features, (folds, elements, slots) = train.features, rows.c.shape
    cx = untouched.cr[:, :features]
    m = untouched._replace(
        mean=jnp.concatenate([untouched.mean[:features], untouched.mean_c]),
        b=jnp.zeros((elements, features + elements), cx.dtype),
        cr=jnp.concatenate([cx, untouched.cc], axis=1),
        xy=untouched.xy if train.dual else cx.T,
    )
    own = Rows(rows.c, rows.x, rows.c, rows.weight)  # composition is the target
    residual = Residual.of(m, m.variance, standardize=True)
    penalty = (jnp.finfo(cx.dtype).eps ** 0.75 * m.n)[None]
    fit = dual if train.dual else primal
    found = fit(residual, m, TrainingRows(own, training.folds), _flat(own), penalty, loo=False)
    c = found.prediction[0].reshape(elements, folds, slots).swapaxes(0, 1)
    return rows._replace(c=c)


def _flat(rows: Rows) -> Rows:
    """(fold, column, slot) → (column, fold · slot)."""
    c, x, y = (a.swapaxes(0, 1).reshape(a.shape[1], -1) for a in (rows.c, rows.x, rows.y))
    return Rows(c, x, y, rows.weight.reshape(-1))
