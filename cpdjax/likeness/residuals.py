"""Take a projection from the columns of a stack, fold by fold, and keep what Ridge needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg

from cpdjax.errors import InputError
from cpdjax.kernel.residual import varies
from cpdjax.likeness.projectors import Concepts
from cpdjax.likeness.stack import Stack


class NothingLeftError(InputError):
    """Say that a projection leaves nothing of a channel, whose number is `channel`."""

    def __init__(self, channel: int):
        super().__init__(
            f"channel {channel} has nothing left that could be compared: its columns are constant, "
            "or the projection explains all of them; leave it out or take another projection"
        )
        self.channel = channel


@dataclass(frozen=True, eq=False)
class Residuals:
    """Hold what a projection leaves of all columns, each channel in one unit of its own."""

    #: Held-out residuals about their mean over all rows.
    e: Float[np.ndarray, "row column"]
    #: That mean; zero for tensors, of which none is taken.
    shift: Float[np.ndarray, " column"]
    #: What the projection leaves of every row when it is fitted on all of them.
    x: Float[np.ndarray, "row column"]
    #: For every fold qᵀx over its training rows.
    fitted: list[Float[np.ndarray, "direction column"]]
    #: For each channel (SᵀS + α s² I)⁻¹ of each fold, where S is what the projection leaves of the
    #: training rows, and s² its columns' mean variance; zero where a column has nothing left.
    ridges: list[Float[np.ndarray, "fold feature feature"]]

    @classmethod
    def of(cls, stack: Stack, concepts: Concepts, alpha: float) -> Residuals:
        """Fit the projection on the training rows of every fold, and once on all rows.

        Raises:
            NothingLeftError: when nothing but rounding is left of a channel.
            InputError: when α is too small for Ridge from a channel whose columns are dependent.
        """
        x = stack.x - _mean(stack, stack.x)
        e, fitted, training = np.empty_like(x), [], []
        q = concepts.projector(every := np.ones(len(x), bool), every).q
        left = x - q @ (q.T @ x)
        for k in range(stack.fold.max() + 1):
            train, held_out = stack.fold != k, stack.fold == k
            fit = concepts.projector(train, held_out)
            explained = fit.q.T @ x[train]
            e[held_out] = x[held_out] - fit.h @ explained
            fitted.append(fit.q.T @ left[train])
            training.append(_Training.of(stack, train, x[train] - fit.q @ explained))
        shift = _mean(stack, e)
        e -= shift
        scale = _scale(stack, e, left)
        ridges = [
            np.stack([t.ridge(channel, scale[stack.columns(channel)], alpha) for t in training])
            for channel in range(stack.channels)
        ]
        return cls(e * scale, shift * scale, left * scale, [f * scale for f in fitted], ridges)


@dataclass(frozen=True, eq=False)
class _Training:
    """Hold what Ridge needs of the training rows of a fold, in the features' own units."""

    rows: int
    varying: list[Bool[np.ndarray, " feature"]]
    grams: list[Float[np.ndarray, "feature feature"]]

    @classmethod
    def of(
        cls, stack: Stack, train: Bool[np.ndarray, " row"], left: Float[np.ndarray, "train column"]
    ) -> _Training:
        varying = _varying(stack, stack.x[train], left)
        own = [stack.columns(channel) for channel in range(stack.channels)]
        return cls(len(left), [varying[o] for o in own], [left[:, o].T @ left[:, o] for o in own])

    def ridge(
        self, channel: int, scale: Float[np.ndarray, " feature"], alpha: float
    ) -> Float[np.ndarray, "feature feature"]:
        """Return (SᵀS + α s² I)⁻¹ in the units of `scale`, zero where nothing is left."""
        kept = np.flatnonzero(self.varying[channel] & (scale > 0))
        inverse = np.zeros((len(scale), len(scale)))
        if not len(kept):
            return inverse
        gram = self.grams[channel][np.ix_(kept, kept)] * scale[kept] * scale[kept, None]
        penalty = alpha * np.trace(gram) / (self.rows * len(kept))
        try:
            factor = linalg.cho_factor(gram + penalty * np.eye(len(kept)))
        except linalg.LinAlgError:
            raise InputError(
                f"alpha={alpha:g} is too small for channel {channel}, whose columns depend on each "
                "other: take a larger one, such as 1"
            ) from None
        inverse[np.ix_(kept, kept)] = linalg.cho_solve(factor, np.eye(len(kept)))
        return inverse


def _mean(stack: Stack, x: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " column"]:
    """Return the mean of every column; zero of vectors and tensors, which turn with a molecule."""
    return np.zeros(x.shape[1]) if stack.concepts is None else x.mean(0)


def _varying(
    stack: Stack, x: Float[np.ndarray, "some column"], left: Float[np.ndarray, "some column"]
) -> Bool[np.ndarray, " column"]:
    """Return which columns have more than rounding `left`."""
    mean = _mean(stack, x)
    return np.asarray(varies((left**2).mean(0), ((x - mean) ** 2).mean(0), mean))


def _scale(
    stack: Stack, e: Float[np.ndarray, "row column"], left: Float[np.ndarray, "row column"]
) -> Float[np.ndarray, " column"]:
    """Return what to multiply columns by: 0 where nothing is left, else one number a channel.

    It is one number for all columns of a channel, so that a turned space stays a turned space.
    Whether something is left is asked where the projection is fitted on all rows: held out, a
    molecule with an element of its own is explained by nothing.
    """
    scale = _varying(stack, stack.x, left).astype(float)
    variance = (e**2).mean(0)
    for channel in range(stack.channels):
        own = stack.columns(channel)
        if not scale[own].any():
            raise NothingLeftError(channel)
        scale[own] /= np.sqrt(np.average(variance[own], weights=scale[own]))
    return scale
