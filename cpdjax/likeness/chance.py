"""Compare channels linearly with those whose rows are permuted, for many permutations.

Projection, folds and Ridge are linear in the features y of channel b. So the held-out errors of
predicting b from a are W y, with a map W of rows that belongs to channel a, projection and folds,
and to no order of y's rows: everything is done anew for a permutation, and fitted once. The same
holds for e_aᵀe_b, whereas b's own sums, and its whitening for CCA, are found for every permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from cpdjax.likeness.forms import sums_of_squares
from cpdjax.likeness.formulas import linear_measures
from cpdjax.likeness.linear import LinearRow
from cpdjax.likeness.prepared import Prepared
from cpdjax.likeness.projectors import Concepts
from cpdjax.likeness.residuals import Fits, Residuals, residuals
from cpdjax.likeness.spectrum import Spectrum, pairs, side_by_side
from cpdjax.likeness.stack import Stack
from cpdjax.machine.threads import one_blas_thread

#: The maps of rows that are held at a time take 1 GB in float64.
_IN_MAPS = 2**27


def pays(stack: Stack) -> bool:
    """Return whether many permutations cost less by `Chance` than each by `linear.linear_row`.

    They do where channels are wide for the number of rows: products of rows are N² for each fold
    and pair, those of columns N p².
    """
    rows, columns = stack.x.shape
    folds = int(stack.fold.max()) + 1
    of_rows = rows * ((folds + 1) * stack.channels**2 + columns)
    return bool(of_rows <= 2 * columns**2)


@dataclass(frozen=True, eq=False)
class Chance:
    """Hold what all permutations of the rows of b share."""

    prepared: Prepared
    fits: Fits
    left: Sequence[Residuals]
    measures: Sequence[str]
    alpha: float
    variance: float | None

    @classmethod
    def of(
        cls, stack: Stack, prepared: Prepared, projection: str, measures: Sequence[str],
        *, alpha: float, variance: float | None = None,
    ) -> Chance:  # fmt: skip
        """Fit what all permutations share.

        Permuted rows must have the concepts of the rows whose places they take.

        Args:
            prepared: what `prepared.prepare` made of the stack.
            measures: which of r2, cka, cka_debiased and cca are wanted.
        """
        concepts = Concepts.of(stack.concepts, stack.elements, projection)
        with one_blas_thread():
            left = residuals(stack, concepts, alpha)
        return cls(prepared, Fits.of(stack, concepts), left, measures, alpha, variance)

    @property
    def parts(self) -> list[range]:
        """Return the channels in parts whose maps fit into memory."""
        step = max(_IN_MAPS // len(self.prepared.stack.x) ** 2, 1)
        channels = range(self.prepared.stack.channels)
        return [channels[i : i + step] for i in range(0, len(channels), step)]

    def sums(
        self, channels: range, orders: Int[np.ndarray, "order row"]
    ) -> dict[str, Float[np.ndarray, "order channel_a *fold channel_b"]]:
        """Return squared errors and ‖e_aᵀe_b‖² of some channels a and all permuted channels b."""
        features = [r.raw for r in self.left]
        n, b = len(orders), len(features)
        held_out = self.fits.held_out(np.eye(orders.shape[1]))
        maps: list[np.ndarray] = []
        if "r2" in self.measures:
            maps += [w for a in channels for w in self._errors(a, held_out)]
        errors = len(maps)
        if any("cka" in name for name in self.measures):
            about = self.fits.about_mean(held_out, np.eye(orders.shape[1]))
            maps += [self.left[a].e.T @ about for a in channels]
        if not maps:
            return {}
        found = sums_of_squares(maps, features, orders)
        every = {
            "errors": found[:, :errors].reshape(n, -1, len(self.fits.folds), b),
            "overlap": found[:, errors:],
        }
        return {name: values for name, values in every.items() if values.size}

    def _errors(self, a: int, held_out: np.ndarray) -> list[Float[np.ndarray, "held_out row"]]:
        """Return for every fold the map from b's features to the errors of Ridge from channel a."""
        left, found = self.left[a], []
        for k, (place, (q, _)) in enumerate(self.fits.folds):
            training = left.x[~place] - q @ left.fitted[k]
            w = held_out[place]
            w[:, ~place] -= ((left.e[place] + left.shift[k]) @ left.ridge[k]) @ training.T
            found.append(w)
        return found

    def matrices(
        self, order: Int[np.ndarray, " row"], sums: dict[str, np.ndarray]
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """Return the wanted measures of all pairs for one order of b's rows.

        CCA is NaN below the diagonal: what is symmetric needs one permutation for both ways.

        Args:
            sums: what `sums` returned for this order, of all channels a.
        """
        stack, own = self.prepared.stack, self.prepared.own
        features = [r.raw[order] for r in self.left]
        held_out = [self.fits.held_out(y) for y in features]
        about = [self.fits.about_mean(*both) for both in zip(held_out, features, strict=True)]
        unit = np.sqrt(own.trace / [np.vdot(e, e) for e in about])
        e = [u * one for u, one in zip(unit, about, strict=True)]
        single = pairs(stack, np.hstack(e))
        right = own._replace(
            overlap=np.array([((one.T @ one) ** 2).sum() for one in e]),
            diagonal=(single**2).sum((0, 1)),
        )
        unknown = np.full((len(e), len(e)), np.nan)
        canonical = unknown
        if "cca" in self.measures:
            kept, white = self._whitened(e, order)
            right, canonical = right._replace(kept=kept), self._canonical(white)
        row = LinearRow(
            1 - sums["errors"] / self._spread(held_out) if "errors" in sums else unknown[:, None],
            sums["overlap"] * unit**2 if "overlap" in sums else unknown,
            np.einsum("vpa,vpb->ab", self._single, single, optimize=True),
            canonical,
        )
        found = linear_measures(row, own, right, self.prepared.rows)
        return {name: found[name] for name in self.measures}

    @cached_property
    def _single(self) -> Float[np.ndarray, "vector pair channel"]:
        return pairs(self.prepared.stack, self.prepared.e)

    @cached_property
    def _white(self) -> list[Float[np.ndarray, "row direction"]]:
        return [r.e @ w for r, w in zip(self.left, self.prepared.whitening, strict=True)]

    def _spread(
        self, held_out: Sequence[Float[np.ndarray, "row feature"]]
    ) -> Float[np.ndarray, "fold channel"]:
        """Return the sums of squares of held-out residuals about the mean of each fold."""
        centred = self.fits.centred
        return np.array(
            [
                [((y[place] - (y[place].mean(0) if centred else 0)) ** 2).sum() for y in held_out]
                for place, _ in self.fits.folds
            ]
        )

    def _whitened(
        self, e: Sequence[Float[np.ndarray, "row feature"]], order: Int[np.ndarray, " row"]
    ) -> tuple[Float[np.ndarray, "channel direction"], Float[np.ndarray, "row direction"]]:
        """Return `Spectrum.kept` and the whitened columns of permuted channels side by side."""
        if self.fits.only_mean:  # then permuted residuals are residuals permuted
            return self.prepared.own.kept, np.hstack(self._white)[order]
        spectra = [Spectrum.of(one, self.alpha, self.variance) for one in e]
        white = [one @ s.whitening for one, s in zip(e, spectra, strict=True)]
        return side_by_side([s.kept for s in spectra]), np.hstack(white)

    def _canonical(
        self, white: Float[np.ndarray, "row direction"]
    ) -> Float[np.ndarray, "channel_a channel_b"]:
        """Return ‖w_aᵀ w_b‖² of whitened columns w, from the diagonal on."""
        channels = len(self._white)
        first = np.searchsorted(self.prepared.stack.owner, np.arange(channels))
        found = np.full((channels, channels), np.nan)
        for a, own in enumerate(self._white):
            crossed = own.T @ white[:, first[a] :]
            found[a, a:] = np.add.reduceat(
                np.einsum("ij,ij->j", crossed, crossed), first[a:] - first[a]
            )
        return found
