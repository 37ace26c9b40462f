"""Prepare a stack: take out what a projection explains, and find what all pairs need once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.errors import InputError
from cpdjax.likeness.layout import Layout, padded
from cpdjax.likeness.projectors import Concepts
from cpdjax.likeness.residuals import Residuals
from cpdjax.likeness.spectrum import Own, Spectrum, pairs
from cpdjax.likeness.stack import Stack
from cpdjax.machine.precision import precision

#: Debiased measures divide by (rows − 3).
_LEAST_ROWS = 4


class Block(NamedTuple):
    """Hold the channels of one padded width."""

    channel: Int[Array, " member"]
    column: Int[Array, "member width"]
    whitening: Float[Array, "member width width"]


class Columns(NamedTuple):
    """Hold all columns side by side, in the units of `Prepared.e`; the last one is zeros.

    The letter x stands for what the projection leaves when it is fitted on all rows. It differs
    from e, and from what a fold's projection leaves of its training rows, by what a projection can
    predict. So inner products of all three follow from those of e, the one large product.
    """

    e: Float[Array, "fold column slot"]
    #: What must be added to e for the residuals before their mean was taken.
    shift: Float[Array, " column"]
    #: The sum of e over the rows of a fold.
    total: Float[Array, "fold column"]
    #: x and e within the directions of a fold's rows that a projection can predict.
    predictable_x: Float[Array, "fold column direction"]
    predictable_e: Float[Array, "fold column direction"]
    #: qᵀx over the training rows of a fold; see `projectors.Projector`.
    fitted: Float[Array, "fold column direction"]
    #: For every channel 1 at its columns.
    owner: Float[Array, "channel column"]
    #: The sums of squares of a fold's residuals, and the same about the fold's mean.
    squares: Float[Array, "fold channel"]
    spread: Float[Array, "fold channel"]
    #: What single rows contribute to products; see `spectrum.pairs`.
    pairs: Float[Array, "fold vector pair channel"]
    #: 1 where a slot holds a row.
    present: Float[Array, "fold slot"]
    unit: Int[Array, "fold slot"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Hold what a projection leaves of a stack, with what each channel's measures need of it.

    In memory it takes twice what the stack's features take, and while it is made five times.
    """

    stack: Stack
    alpha: float
    #: Held-out residuals, every row's from the fold that holds it out, about their mean over all
    #: rows (but for tensors), each channel in units of the root of its columns' mean variance.
    e: Float[np.ndarray, "row column"]
    own: Own
    own_replicates: Own | None
    layout: Layout
    columns: Columns
    blocks: list[Block]
    #: For each channel its map to whitened columns, and `residuals.Residuals.ridges`.
    whitening: list[Float[np.ndarray, "feature direction"]]
    ridges: list[Float[np.ndarray, "fold feature feature"]]

    @property
    def rows(self) -> float:
        """Return the number of rows about whose mean e is; infinite where no mean was taken."""
        return float("inf") if self.stack.concepts is None else float(len(self.stack.x))

    def white(self, channel: int) -> Float[np.ndarray, "row direction"]:
        """Return e (eᵀe + α I)^(−½) of a channel, in its principal directions; or those kept."""
        return self.e[:, self.stack.columns(channel)] @ self.whitening[channel]


def prepare(
    stack: Stack,
    projection: str,
    *,
    alpha: float,
    variance: float | None = None,
    weights: Float[np.ndarray, "draw unit"] | None = None,
) -> Prepared:
    """Return the residuals of a stack, with what the measures of its channels need.

    Args:
        projection: one of `projectors.PROJECTIONS`.
        alpha: the penalty of Ridge and of CCA, for columns whose mean variance is one.
        variance: for SVCCA the share of variance that the directions kept have; by default all
            directions count, each by λ/(λ+α), with λ the eigenvalues of eᵀe.
        weights: how often each molecule is drawn in each draw of a bootstrap.

    Raises:
        NothingLeftError: when nothing but rounding is left of a channel.
        UnknownNameError: when channels cannot be compared under a projection of that name.
        InputError: when there are too few rows, or α or the share are out of their range.
    """
    _check(stack, alpha, variance)
    concepts = Concepts.of(stack.concepts, stack.elements, projection)
    residuals = Residuals.of(stack, concepts, alpha)
    own_columns = [stack.columns(channel) for channel in range(stack.channels)]
    spectra = [Spectrum.of(residuals.e[:, c], alpha, variance) for c in own_columns]
    single = pairs(stack, residuals.e)
    own = Own.of(spectra, single)
    replicates = None
    if weights is not None:
        replicates = own.replicates(stack, residuals.e, spectra, single, weights)
    layout = Layout.of(stack)
    whitening = [s.whitening for s in spectra]
    with precision(np.float64):
        return Prepared(
            stack, alpha, residuals.e, own, replicates, layout,
            _columns(stack, layout, concepts, residuals, single),
            _blocks(layout, whitening), whitening, residuals.ridges,
        )  # fmt: skip


def _check(stack: Stack, alpha: float, variance: float | None) -> None:
    if len(stack.x) < _LEAST_ROWS:
        raise InputError(f"comparing channels needs {_LEAST_ROWS} rows or more, got {len(stack.x)}")
    if not 0 < alpha < np.inf:
        raise InputError(f"alpha must be a positive number, such as 1, got {alpha!r}")
    if variance is not None and not 0 < variance <= 1:
        raise InputError(
            f"variance must be a share above 0 and up to 1, such as 0.99, got {variance!r}"
        )


def _columns(
    stack: Stack, layout: Layout, concepts: Concepts, residuals: Residuals,
    single: Float[np.ndarray, "vector pair channel"],
) -> Columns:  # fmt: skip
    e, shift = layout.by_fold(residuals.e), np.append(residuals.shift, 0)
    spans = [concepts.span(stack.fold == k) for k in range(len(e))]
    held_out = [stack.fold == k for k in range(len(e))]
    owner = np.arange(stack.channels)[:, None] == np.append(stack.owner, -1)
    present = layout.present.astype(float)
    whole = (e + shift[:, None]) * present[:, None]
    squares = (whole**2).sum(2)
    mean = 0 if stack.concepts is None else whole.sum(2) / present.sum(1)[:, None]
    vectors = layout.row[:, :: stack.components] // stack.components
    found = Columns(
        e=e,
        shift=shift,
        total=e.sum(2),
        predictable_x=_stacked([s.T @ residuals.x[h] for s, h in zip(spans, held_out)]),
        predictable_e=_stacked([s.T @ residuals.e[h] for s, h in zip(spans, held_out)]),
        fitted=_stacked(residuals.fitted),
        owner=owner.astype(float),
        squares=squares @ owner.T,
        spread=(squares - present.sum(1)[:, None] * mean**2) @ owner.T,
        pairs=np.concatenate([single, np.zeros_like(single[:1])])[vectors],
        present=present,
        unit=np.append(stack.unit, 0)[layout.row],
    )
    return Columns(*(jnp.asarray(a) for a in found))


def _stacked(parts: list[Float[np.ndarray, "direction column"]]) -> np.ndarray:
    """Return (fold, column, direction), with a column and as many directions of zeros as needed."""
    most = max(len(p) for p in parts)
    return np.stack([np.pad(p.T, ((0, 1), (0, most - len(p)))) for p in parts])


def _blocks(layout: Layout, whitening: list[Float[np.ndarray, "feature direction"]]) -> list[Block]:
    """Return the channels by their padded width."""
    found = []
    for size in sorted({len(c) for c in layout.column}):
        members = [i for i, c in enumerate(layout.column) if len(c) == size]
        found.append(
            Block(
                jnp.asarray(members),
                jnp.asarray(np.stack([layout.column[i] for i in members])),
                jnp.asarray(np.stack([padded(whitening[i], size) for i in members])),
            )
        )
    return found
