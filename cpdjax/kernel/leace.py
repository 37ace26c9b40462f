"""Apply LEACE, the smallest affine change of features that leaves no linear trace of composition.

N. Belrose, D. Schneider-Joseph, S. Ravfogel, R. Cotterell, E. Raff and S. Biderman, "LEACE:
Perfect linear concept erasure in closed form", arXiv:2306.03819, theorem 4.3:

    x' = x − W⁺ P W (x − mean),   W = (S_XX^½)⁺,   P the projection onto the columns of W S_XC.

Multiplied out,  W⁺ P W = S_XC (S_CX β)⁺ βᵀ  with  β = S_XX⁺ S_XC. The matrix β holds the
coefficients of least squares from the features to composition, so the features predict the
composition  ĉ = βᵀ(x − mean). The covariance of ĉ with x is  S_XX β = S_XC,  and with itself
S_CX β. The changed features x' are therefore the residual of x after least squares on ĉ.

So LEACE is the projection of CPD with the predicted composition ĉ in the place of composition, and
it needs no composition of the molecules that it is applied to. With composition itself (oracle
LEACE, theorem 5.2 of the article) the change is  x' = x − S_XC S_CC⁺ (c − mean),  which is the
residual of the projection "ols".
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from cpdjax.kernel.fit import dual, primal
from cpdjax.kernel.moments import Moments, about_mean
from cpdjax.kernel.residual import Residual, Rows, TrainingRows


def with_predicted_composition(train: Moments, training: TrainingRows) -> Rows:
    """Return all rows with the composition that the features predict in the place of composition.

    See `predicted_composition`.
    """
    rows = training.rows
    folds, elements, slots = rows.c.shape
    flat = predicted_composition(train, training, _flat(rows))
    return rows._replace(c=flat.reshape(elements, folds, slots).swapaxes(0, 1))


def predicted_composition(
    train: Moments, training: TrainingRows, wanted: Rows
) -> Float[Array, "element row"]:
    """Return the composition that the features predict of any rows.

    The prediction is ĉ of the module's docstring, fitted on the training rows, whose moments are
    `train`. Two things are our choice. First, features are scaled to unit variance; LEACE does not
    depend on that unless features outnumber training rows. Second, the pseudo-inverse S_XX⁺ is
    replaced by (S_XX + eps^(3/4))⁻¹, which is smooth in the features. The two inverses differ only
    along directions with 1e-12 of the features' variance or less, which rounding blurs; the
    features are left unchanged along these.
    """
    # Prediction is Ridge with a tiny penalty from the raw features to composition. So `primal` or
    # `dual` does it, given moments in which composition is the target and nothing is projected out.
    raw, rows = about_mean(train), training.rows
    features, elements = train.features, rows.c.shape[1]
    cx = raw.cr[:, :features]
    m = raw._replace(
        mean=jnp.concatenate([raw.mean[:features], raw.mean_c]),
        b=jnp.zeros((elements, features + elements), cx.dtype),
        cr=jnp.concatenate([cx, raw.cc], axis=1),
        xy=raw.xy if train.dual else cx.T,
    )
    own = Rows(rows.c, rows.x, rows.c, rows.weight)
    residual = Residual.of(m, m.variance, standardize=True)
    penalty = (jnp.finfo(cx.dtype).eps ** 0.75 * m.n)[None]
    fit = dual if train.dual else primal
    own = TrainingRows(own, training.folds)
    held = wanted._replace(y=wanted.c)
    return fit(residual, m, own, held, penalty, loo=False).prediction[0]


def _flat(rows: Rows) -> Rows:
    """Return rows with axes (column, fold · slot) from rows with axes (fold, column, slot)."""
    c, x, y = (a.swapaxes(0, 1).reshape(a.shape[1], -1) for a in (rows.c, rows.x, rows.y))
    return Rows(c, x, y, rows.weight.reshape(-1))
