"""Take a projection from the features of each channel, fold by fold, and keep what Ridge needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import linalg

from cpdjax.errors import InputError
from cpdjax.kernel.residual import varies
from cpdjax.likeness.projectors import Concepts, Projector
from cpdjax.likeness.stack import Stack

_Turn = Callable[[Float[np.ndarray, "some feature"]], Float[np.ndarray, "some column"]]


class ChannelError(InputError):
    """Say that a channel, whose number is `channel`, cannot be compared, and why."""

    def __init__(self, channel: int, reason: str):
        super().__init__(f"channel {channel} {reason}")
        self.channel, self.reason = channel, reason


class NothingLeftError(ChannelError):
    """Say that a projection leaves nothing of a channel."""

    def __init__(self, channel: int):
        super().__init__(
            channel,
            "has nothing left that could be compared: its columns are constant, or the projection "
            "explains all of them; leave it out or take another projection",
        )


class Residuals(NamedTuple):
    """Hold what a projection leaves of a channel, in one unit.

    A channel with more columns than rows is turned to as many columns as there are rows: all that
    is measured depends on inner products of rows alone.
    """

    #: Raw features about their mean, but for columns of which nothing is left.
    raw: Float[np.ndarray, "row column"]
    #: Held-out residuals, or raw features, about their mean over all rows.
    e: Float[np.ndarray, "row feature"]
    #: What must be added to e for the held-out residuals of each fold.
    shift: Float[np.ndarray, "fold feature"]
    #: What the projection leaves of every row when it is fitted on all of them.
    x: Float[np.ndarray, "row feature"]
    #: For every fold qᵀx over its training rows.
    fitted: list[Float[np.ndarray, "direction feature"]]
    #: For every fold (SᵀS + α s² I)⁻¹, where S is what the projection leaves of the training rows,
    #: and s² its columns' mean variance; zero where a column has nothing left.
    ridge: Float[np.ndarray, "fold feature feature"]


class Fits(NamedTuple):
    """Hold a projection fitted on all rows, and on the training rows of every fold."""

    centred: bool
    whole: Float[np.ndarray, "row direction"]
    folds: list[tuple[Bool[np.ndarray, " row"], Projector]]

    @classmethod
    def of(cls, stack: Stack, concepts: Concepts) -> Fits:
        """Fit a projection."""
        every = np.ones(len(stack.x), bool)
        held_out = [stack.fold == k for k in range(stack.fold.max() + 1)]
        folds = [(h, concepts.projector(~h, h)) for h in held_out]
        return cls(stack.concepts is not None, concepts.projector(every, every).q, folds)

    def residuals(self, x: Float[np.ndarray, "row feature"], alpha: float) -> Residuals | None:
        """Return what is left of the features of one channel, or None where that is nothing.

        All columns of a channel are divided by one number, so that a turned space stays a turned
        space. Whether something is left of a column is asked where the projection is fitted on all
        rows: held out, a molecule with an element of its own is explained by nothing.

        Raises:
            numpy.linalg.LinAlgError: when α is too small for Ridge from dependent columns.
        """
        mean = self._mean(x)
        x = x - mean
        left = x - self.whole @ (self.whole.T @ x)
        kept = self._varying(x, mean, left)
        if not kept.any():
            return None
        own = _narrowed(x, kept)
        held_out = self.held_out(x)
        fitted, ridges = [], []
        for place, (q, _) in self.folds:
            rows = x[~place]
            fitted.append(q.T @ left[~place])
            training = rows - q @ (q.T @ rows)
            varying = kept & self._varying(rows, mean, training)
            ridges.append(_ridge(own(training * varying), varying.sum(), alpha))
        e = self.about_mean(held_out, x)
        shift = np.stack([self._mean((held_out - e)[place]) for place, _ in self.folds])
        unit = 1 / np.sqrt((e[:, kept] ** 2).mean())
        raw, e, shift, left, *fitted = (own(a) * unit for a in (x, e, shift, left, *fitted))
        return Residuals(raw, e, shift, left, fitted, np.stack(ridges) / unit**2)

    @property
    def only_mean(self) -> bool:
        """Return whether nothing but a mean is taken."""
        return self.whole.shape[1] <= 1

    def held_out(self, x: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row feature"]:
        """Return what the fit of every fold leaves of the rows that it holds out."""
        left = np.empty_like(x)
        for place, (q, h) in self.folds:
            left[place] = x[place] - h @ (q.T @ x[~place])
        return left

    def about_mean(
        self, held_out: Float[np.ndarray, "row feature"], x: Float[np.ndarray, "row feature"]
    ) -> Float[np.ndarray, "row feature"]:
        """Return held-out residuals of x, whose own mean is zero, about their mean over all rows.

        With nothing but a mean to take, that of all rows is taken: others compare raw features so,
        and the folds' own means matter for Ridge alone.
        """
        return x if self.only_mean else held_out - self._mean(held_out)

    def _mean(self, x: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, " feature"]:
        """Return the mean of columns; zero of vectors and tensors, which turn with a molecule."""
        return x.mean(0) if self.centred else np.zeros(x.shape[1])

    def _varying(
        self, x: Float[np.ndarray, "some feature"], mean: Float[np.ndarray, " feature"],
        left: Float[np.ndarray, "some feature"],
    ) -> Bool[np.ndarray, " feature"]:  # fmt: skip
        """Return which columns have more than rounding `left`; `mean` has been taken from x."""
        own = self._mean(x)
        return np.asarray(varies((left**2).mean(0), ((x - own) ** 2).mean(0), mean + own))


def residuals(stack: Stack, concepts: Concepts, alpha: float) -> list[Residuals]:
    """Return what a projection leaves of every channel.

    Raises:
        NothingLeftError: when nothing but rounding is left of a channel.
        ChannelError: when α is too small for Ridge from a channel whose columns are dependent.
    """
    fits = Fits.of(stack, concepts)
    found = []
    for channel in range(stack.channels):
        try:
            left = fits.residuals(stack.x[:, stack.columns(channel)], alpha)
        except linalg.LinAlgError:
            raise ChannelError(
                channel,
                f"has columns that depend on each other, for which alpha={alpha:g} is too small: "
                "take a larger one, such as 1",
            ) from None
        if left is None:
            raise NothingLeftError(channel)
        found.append(left)
    return found


def _narrowed(x: Float[np.ndarray, "row feature"], kept: Bool[np.ndarray, " feature"]) -> _Turn:
    """Return a map of a channel's columns: those not kept become zero, and more than rows fewer."""
    if len(kept) <= len(x):
        return lambda a: a * kept
    basis = np.zeros((len(kept), min(len(x), kept.sum())))
    basis[kept] = np.linalg.qr(x[:, kept].T).Q
    return lambda a: a @ basis


def _ridge(
    left: Float[np.ndarray, "train feature"], columns: int, alpha: float
) -> Float[np.ndarray, "feature feature"]:
    """Return (SᵀS + α s² I)⁻¹ of a residual S, and zero where a column is.

    Args:
        columns: how many of the channel's own columns vary, of which s² is the mean variance.
    """
    kept = np.flatnonzero(left.any(0))
    inverse = np.zeros((left.shape[1], left.shape[1]))
    if len(kept):
        gram = left[:, kept].T @ left[:, kept]
        penalty = alpha * np.trace(gram) / (len(left) * columns)
        factor = linalg.cho_factor(gram + penalty * np.eye(len(kept)))
        inverse[np.ix_(kept, kept)] = linalg.cho_solve(factor, np.eye(len(kept)))
    return inverse
