"""Find the first principal components of a residual, so that wide and narrow features are probed
at one width.

Principal components are the eigenvectors of ZᵀZ with the largest eigenvalues, Z being the training
residual on the scale that the probe sees. They are not rescaled: Ridge on them is Ridge on Z whose
weights lie in their span. Where eigenvalues are equal, or differ by rounding alone, each vector of
their space is as good as another; if the last component that is taken and the first that is not
have one eigenvalue, which of both is taken is left to rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from cpdjax.kernel import lapack
from cpdjax.kernel.moments import Moments, einsum, matmul
from cpdjax.kernel.residual import Residual, Rows, TrainingRows


class Components(NamedTuple):
    """Hold the first principal components of a residual, which a fit takes in its place."""

    whole: Residual
    #: The components as orthonormal columns; a column of zeros where the residual has no more.
    axes: Float[Array, "feature component"]
    products: Float[Array, "component component"]
    with_targets: Float[Array, "component target"]
    #: Their variances are far apart: see `ridge.on_grid`.
    scaled: bool = False

    @property
    def mean_y(self) -> Float[Array, " target"]:
        """Return the mean of the targets over the training rows."""
        return self.whole.mean_y

    @property
    def trace(self) -> Float[Array, ""]:
        """Return the trace of ZᵀZ, at which scale its eigenvectors are rounded."""
        return self.whole.trace

    def leverages(self, rows: Rows, n: Float[Array, ""]) -> Float[Array, " row"]:
        """Return the leverages of the residual's regression on composition."""
        return self.whole.leverages(rows, n)

    def features(self, rows: Rows) -> Float[Array, "component row"]:
        """Return the components of any rows."""
        return matmul(self.axes.T, self.whole.features(rows))

    def targets(self, rows: Rows) -> Float[Array, "target row"]:
        """Return what composition leaves of the targets."""
        return self.whole.targets(rows)

    def gram(self, _: Moments) -> Float[Array, "component component"]:
        """Return the products of components, summed over the training rows."""
        return self.products

    def cross(self, _: Moments) -> Float[Array, "component target"]:
        """Return the products of components and targets, summed over the training rows."""
        return self.with_targets


def principal(residual: Residual, m: Moments, training: TrainingRows, count: int) -> Components:
    """Return the first `count` components of the training rows, whose moments are `m`.

    There must be fewer than features and, in the dual form, than training rows.
    """
    if not m.dual:
        gram = residual.gram(m)
        axes, _ = leading(gram, count)
        products = matmul(axes.T, matmul(gram, axes))
        return Components(residual, axes, products, matmul(axes.T, residual.cross(m)))

    def of_fold(rows: Rows) -> tuple[Array, Array]:
        return residual.features(rows).T, residual.targets(rows).T

    z, y = (a.reshape(-1, a.shape[-1]) for a in training.map(of_fold))
    vectors, values = leading(einsum("nd,md->nm", z, z), count)
    length = jnp.sqrt(jnp.where(values > 0, values, 1))
    rough = matmul(z.T, vectors) / length[None]
    # One step of Newton's iteration makes the columns orthonormal to full accuracy, and carries
    # the derivative of their lengths, which the eigenvalues above do not.
    axes = rough - matmul(rough, _excess(rough)) / 2
    found = matmul(z, axes)
    return Components(residual, axes, matmul(found.T, found), matmul(found.T, y))


def _excess(a: Float[Array, "n column"]) -> Float[Array, "column column"]:
    """Return by how much the products of columns differ from those of orthonormal ones."""
    products = matmul(a.T, a)
    present = (a != 0).any(0)
    return products - jnp.diag(present.astype(a.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def leading(
    gram: Float[Array, "n n"], count: int
) -> tuple[Float[Array, "n component"], Float[Array, " component"]]:
    """Return the eigenvectors of the `count` largest eigenvalues, and these; zeros for rounding.

    The eigenvalues have no derivative. That of the vectors turns them out of the space that they
    span, and not within it, where every basis is as good: so equal eigenvalues do no harm.
    """
    values, vectors = lapack.eigh(gram)
    kept = jnp.where(values > _rounding(values), values, 0)[-count:]
    return jnp.where(kept[None] > 0, vectors[:, -count:], 0), kept


@leading.defjvp
def _leading_derivative(count: int, primals: Any, tangents: Any) -> Any:
    (gram,), (change,) = primals, tangents
    values, vectors = lapack.eigh(gram)
    found, kept = leading(gram, count)
    rest = vectors[:, :-count]
    gaps = kept[None] - values[:-count, None]
    apart = (gaps > _rounding(values)) & (kept[None] > 0)
    turned = matmul(rest.T, matmul(change, found))
    turned = jnp.where(apart, turned / jnp.where(apart, gaps, 1), 0)
    return (found, kept), (matmul(rest, turned), jnp.zeros_like(lax.stop_gradient(kept)))


def _rounding(values: Float[Array, " n"]) -> Float[Array, ""]:
    """Return how large an eigenvalue may be by rounding alone; they ascend."""
    return len(values) * jnp.finfo(values.dtype).eps * values[-1]
