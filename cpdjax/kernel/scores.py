"""Score held-out predictions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cpdjax.displays import Shown
from cpdjax.kernel.moments import einsum, matmul


def r2_score(
    y: Float[Array, "target row"],
    prediction: Float[Array, "*alpha target row"],
    weight: Float[Array, " row"],
) -> Float[Array, "*alpha target"]:
    """Return  R² = 1 − Σ(y − ŷ)² / Σ(y − ȳ)²  over the rows of weight 1.

    The mean ȳ is that of the same rows. The result equals scikit-learn's `r2_score`, except that
    for a target without variance it is NaN rather than 0 or 1.
    """
    count = jnp.maximum(weight.sum(), 1)
    mean = matmul(y, weight) / count
    centred = (y - mean[:, None]) * weight[None]
    total = (centred * centred).sum(-1)
    # The values of a constant target differ from their computed mean by rounding: a spread of no
    # more than that is no variance.
    rounding = jnp.finfo(y.dtype).eps * jnp.abs(mean) * 4
    varies = total > count * rounding * rounding
    expand = (None,) * (prediction.ndim - y.ndim)
    error = matmul(jnp.square(y[expand] - prediction), weight)
    ratio = error / jnp.where(varies, total, 1)[expand]
    return jnp.where(varies[expand], 1 - ratio, jnp.nan)


def tensor_r2(
    y: Float[Array, "target row"],
    prediction: Float[Array, "*alpha target row"],
    weight: Float[Array, " row"],
) -> Float[Array, "*alpha target"]:
    """Return  R² = 1 − Σ‖y − ŷ‖² / Σ‖y‖²  of tensors, or NaN for a target that is zero throughout.

    Each row holds one component of one molecule's tensor, with weight 0 for padding. The variance
    is taken about zero, since zero is the only tensor that no rotation changes: so the score stays
    the same however each molecule is turned. The usual R², component by component about the
    held-out mean, does not, because that mean depends on the orientation in which every molecule
    happens to be stored.
    """
    total = einsum("n,tn->t", weight, jnp.square(y))
    expand = (None,) * (prediction.ndim - y.ndim)
    error = einsum("n,...tn->...t", weight, jnp.square(y[expand] - prediction))
    ratio = error / jnp.where(total > 0, total, 1)[expand]
    return jnp.where((total > 0)[expand], 1 - ratio, jnp.nan)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scores:
    """Hold the scores of CPD, fold by fold; a learning curve has leading axes (repeat, size).

    - `r2_geom`: R² of the probe on the residual, which is what the projection leaves of the
      features.
    - `r2_full`: R² of the same probe on the raw features.
    - `r2_comp`: R² of least squares from composition alone.
    - `composition_share`: the share of the training rows' feature variance that the projection
      takes away, which is by default the share that composition explains. Every feature counts as
      much as the probe makes of it: all equally when standardised.
    - `alpha_geom` and `alpha_full`: the α behind every score. This is the grid itself or, with
      `alphas="loo"`, the value that leave-one-out chose.
    - `prediction`: on request, the held-out prediction from the residual for every molecule.
    - `r2_both`: on request, R² of composition and residual together, which is the sum of least
      squares from composition and Ridge from the residual.
    """

    r2_geom: Float[Array, "*curve fold alpha target"]
    r2_full: Float[Array, "*curve fold alpha target"]
    r2_comp: Float[Array, "*curve fold target"]
    composition_share: Float[Array, "*curve fold"]
    alpha_geom: Float[Array, "*curve fold alpha target"]
    alpha_full: Float[Array, "*curve fold alpha target"]
    prediction: Float[Array, "*curve alpha molecule target"] | None = None
    r2_both: Float[Array, "*curve fold alpha target"] | None = None

    def __repr__(self) -> str:
        shown = self._shown()
        if shown is not None:
            return shown.text
        shapes = {f.name: np.shape(getattr(self, f.name)) for f in fields(self)}
        return f"Scores({', '.join(f'{name}: {shape}' for name, shape in shapes.items() if shape)})"

    def _repr_html_(self) -> str | None:
        shown = self._shown()
        return None if shown is None else shown.html

    def _shown(self) -> Shown | None:
        """Return a row for every target; None for axes of a caller's own, or without values."""
        arrays = {"R²_geom": self.r2_geom, "R²_full": self.r2_full, "R²_comp": self.r2_comp}
        if self.r2_both is not None:
            arrays["R²_both"] = self.r2_both
        if not all(map(_has_values, arrays.values())) or np.ndim(self.r2_geom) not in (3, 5):
            return None
        scores = {name: np.asarray(a) for name, a in arrays.items()}
        scores["R²_comp"] = scores["R²_comp"][..., None, :]  # the same for every α
        scores = {name: a if a.ndim == 5 else a[None, None] for name, a in scores.items()}
        repeats, sizes, folds, alphas, targets = scores["R²_geom"].shape
        grid = np.asarray(self.alpha_geom).reshape(-1, alphas, targets)[0, :, 0]
        axes = {"size": range(sizes), "α": [f"{a:g}" for a in grid], "target": range(targets)}
        told = [name for name, places in axes.items() if len(places) > 1 or name == "target"]
        cells = [_spread(np.broadcast_to(a, scores["R²_geom"].shape)) for a in scores.values()]
        rows = [
            (*(axes[name][i] for name, i in zip(axes, place, strict=True) if name in told), *found)
            for place, *found in zip(np.ndindex(sizes, alphas, targets), *cells, strict=True)
        ]
        over = f"{folds} folds" if folds > 1 else "one test set"
        over += f" in {repeats} repeats" if repeats > 1 else ""
        return Shown(f"Scores: mean ± standard deviation over {over}", (*told, *scores), rows)


def _has_values(array: Any) -> bool:
    return isinstance(array, np.ndarray | jax.Array) and not isinstance(array, jax.core.Tracer)


def _spread(scores: Float[np.ndarray, "repeat size fold alpha target"]) -> list[str]:
    """Return mean and standard deviation of R² over repeats and folds, as texts."""
    count = scores.shape[0] * scores.shape[2]
    means = scores.mean((0, 2)).ravel()
    spreads = scores.std((0, 2), ddof=1).ravel() if count > 1 else np.full(means.size, np.nan)
    return [_pair(*pair) for pair in zip(means, spreads, strict=True)]


def _pair(mean: float, spread: float) -> str:
    """Return a score in two digits, or far below zero its magnitude, with its spread."""
    if not np.isfinite(mean):
        return "undefined"
    known = (mean, spread) if np.isfinite(spread) else (mean,)
    return " ± ".join(f"{v:.2f}" if abs(v) < 10 else f"{v:.0e}" for v in known)
