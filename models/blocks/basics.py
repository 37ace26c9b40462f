"""What several architectures are built of; conventions are those of the torch references.

Everything works on the last axis, in the precision of its input.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from cpdjax.errors import UnknownNameError

Activation = Callable[[Array], Array]


def shifted_softplus(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Return log(1 + eˣ) − log 2, which is zero at zero.

    Written as max(x, 0) + log(½ + ½ e^−|x|): half the time of `log1p`, forwards and backwards.
    """
    return jnp.maximum(x, 0) + jnp.log(0.5 + 0.5 * jnp.exp(-jnp.abs(x)))


ACTIVATIONS: dict[str, Activation] = {
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "identity": lambda x: x,
}
"""Activations by the names that references share, as torch computes them."""

# Roots of the second moment of f(z), z normal, as e3nn (torch) computes them: by sampling, so that
# they differ from the integral in the fourth digit. Weights were trained with these.
_MOMENTS: dict[str, tuple[float, Activation]] = {
    "silu": (1.6791767923989418, jax.nn.silu),
    "tanh": (1.5937334472592345, jnp.tanh),
    "ssp": (1.878204668541552, shifted_softplus),
    "relu": (1.4163393446331365, jax.nn.relu),
    "sigmoid": (1.8467055342154763, jax.nn.sigmoid),
    "elu": (1.2467863885570512, jax.nn.elu),
    "abs": (1.001110600838467, jnp.abs),
}


def normalized(name: str) -> Activation:
    """Return an activation scaled as e3nn (torch) scales it, for weights trained there.

    Raises:
        UnknownNameError: the scale of this activation is not known.
    """
    if name not in _MOMENTS:
        raise UnknownNameError("activation", name, _MOMENTS)
    factor, function = _MOMENTS[name]
    return lambda x: function(x) * np.asarray(factor, x.dtype)


def cosine_cutoff(r: Float[Array, "*n"], cutoff: float) -> Float[Array, "*n"]:
    """Return ½ (cos πr/c + 1), and zero beyond the cutoff c."""
    return jnp.where(r < cutoff, 0.5 * (jnp.cos(r * (np.pi / cutoff)) + 1), 0)


def polynomial_cutoff(
    r: Float[Array, "*n"], cutoff: float | Float[Array, "*n"], p: int = 6
) -> Float[Array, "*n"]:
    """Return DimeNet's envelope, and zero beyond the cutoff.

    With x = r / cutoff, the envelope is 1 − (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) − p(p+1)/2 x^(p+2).
    Computed as (1 − x)³ Σ_k<p (k+1)(k+2)/2 x^k, whose terms are positive: the powers above cancel
    near the cutoff, which cost float32 a digit of every feature behind it.
    """
    x = r / cutoff
    series = jnp.full_like(x, p * (p + 1) / 2)
    for k in reversed(range(p - 1)):
        series = series * x + (k + 1) * (k + 2) / 2
    return jnp.where(r < cutoff, (1 - x) ** 3 * series, 0)


class Perceptron(nn.Module):
    """Apply e3nn's fully connected network: no biases, weights over the root of the inputs."""

    widths: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(
        self, x: Float[Array, "*n in"]
    ) -> tuple[Float[Array, "*n hidden"], Float[Array, "*n out"]]:
        """Return the last hidden layer and the output."""
        hidden = x
        for i, width in enumerate(self.widths):
            hidden = x if i == 0 else normalized(self.activation)(x)
            fan_in = hidden.shape[-1]
            weight = self.param(f"layer{i}", nn.initializers.normal(1.0), (fan_in, width), x.dtype)
            x = hidden @ (weight / np.sqrt(fan_in).item())
        return hidden, x


class LayerNorm(nn.Module):
    """Scale and shift channels of mean 0 and variance 1; Flax's own needs type promotion."""

    epsilon: float = 1e-5
    """Value added to the variance, by default torch's."""

    @nn.compact
    def __call__(self, x: Float[Array, "*n channel"]) -> Float[Array, "*n channel"]:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels, x.dtype)
        bias = self.param("bias", nn.initializers.zeros, channels, x.dtype)
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        return x * jnp.broadcast_to(scale, x.shape) + jnp.broadcast_to(bias, x.shape)
