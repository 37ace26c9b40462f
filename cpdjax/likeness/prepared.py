"""Prepare a stack: take out what a projection explains, and find what all pairs need once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from cpdjax.errors import InputError
from cpdjax.likeness.blocks import Block, blocks
from cpdjax.likeness.columns import Columns
from cpdjax.likeness.layout import Layout
from cpdjax.likeness.projectors import Concepts
from cpdjax.likeness.residuals import residuals
from cpdjax.likeness.spectrum import Own, Spectrum, pairs
from cpdjax.likeness.stack import Stack
from cpdjax.machine.precision import precision
from cpdjax.machine.threads import one_blas_thread

LEAST_ROWS = 4
"""Rows that any measure needs: debiased ones divide by (rows − 3)."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Hold what a projection leaves of a stack, with what each channel's measures need of it.

    In memory it takes twice what the stack's features take, and while it is made six times.
    """

    #: The stack with `e` for its features, and as many columns as these have.
    stack: Stack
    own: Own
    own_replicates: Own | None
    layout: Layout
    columns: Columns
    blocks: list[Block]
    #: For each channel its map to whitened columns, e (eᵀe + α I)^(−½) in its principal directions
    #: or those kept, and `residuals.Residuals.ridge`.
    whitening: list[Float[np.ndarray, "feature direction"]]
    ridges: list[Float[np.ndarray, "fold feature feature"]]

    @property
    def e(self) -> Float[np.ndarray, "row column"]:
        """Return held-out residuals, every row's from the fold that holds it out, or raw features.

        They are about their mean over all rows (but for tensors), each channel in units of the root
        of its columns' mean variance. Where a channel has more columns than rows, they are turned
        to as many columns as rows.
        """
        return self.stack.x

    @property
    def rows(self) -> float:
        """Return the number of rows about whose mean e is; infinite where no mean was taken."""
        return float("inf") if self.stack.concepts is None else float(len(self.stack.x))


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
        ChannelError: when α is too small for a channel whose columns depend on each other.
        UnknownNameError: when channels cannot be compared under a projection of that name.
        InputError: when there are too few rows, or when α or the share are out of their range.
    """
    _check(stack, alpha, variance)
    concepts = Concepts.of(stack.concepts, stack.elements, projection)
    # Threads of BLAS cost more than they bring in hundreds of small factorisations.
    with one_blas_thread(), precision(np.float64):
        left = residuals(stack, concepts, alpha)
        e = np.hstack([r.e for r in left])
        owner = np.repeat(np.arange(stack.channels), [r.e.shape[1] for r in left])
        stack = replace(stack, x=e, owner=owner)
        spectra = [Spectrum.of(r.e, alpha, variance) for r in left]
        single = pairs(stack, e)
        own = Own.of(spectra, single)
        replicates = None
        if weights is not None:
            replicates = own.replicates(stack, e, spectra, single, weights)
        layout = Layout.of(stack)
        whitening = [s.whitening for s in spectra]
        return Prepared(
            stack, own, replicates, layout,
            Columns.of(stack, layout, concepts, left, single),
            blocks(layout, whitening), whitening, [r.ridge for r in left],
        )  # fmt: skip


def _check(stack: Stack, alpha: float, variance: float | None) -> None:
    if len(stack.x) < LEAST_ROWS:
        raise InputError(f"comparing channels needs {LEAST_ROWS} rows or more, got {len(stack.x)}")
    if not 0 < alpha < np.inf:
        raise InputError(f"alpha must be a positive number, such as 1, got {alpha!r}")
    if variance is not None and not 0 < variance <= 1:
        raise InputError(
            f"variance must be a share above 0 and up to 1, such as 0.99, got {variance!r}"
        )
