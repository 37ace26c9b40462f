"""Find the spectrum of each channel's residual: its size, its dimensions, how it is whitened."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cpdjax.likeness.draws import by_unit
from cpdjax.likeness.stack import Stack


class Spectrum(NamedTuple):
    """Hold the eigenvalues λ of one channel's eᵀe, descending, and what is made of them."""

    eigenvalues: Float[np.ndarray, " direction"]
    vectors: Float[np.ndarray, "feature direction"]
    #: What CCA keeps of each direction: λ/(λ+α), or 1 and 0.
    kept: Float[np.ndarray, " direction"]
    #: The derivative of `kept` in λ.
    slope: Float[np.ndarray, " direction"]

    @classmethod
    def of(
        cls, e: Float[np.ndarray, "row feature"], alpha: float, variance: float | None
    ) -> Spectrum:
        """Decompose a residual; with `variance`, keep the fewest directions that have this share.

        Which directions these are is taken as given by replicates.
        """
        found, vectors = np.linalg.eigh(e.T @ e)
        values, vectors = found[::-1], vectors[:, ::-1]
        # What dependent columns leave is rounding, of either sign.
        rounding = len(values) * np.finfo(values.dtype).eps * values[0]
        values = np.where(values > rounding, values, 0)
        if variance is None:
            return cls(values, vectors, values / (values + alpha), alpha / (values + alpha) ** 2)
        before = np.cumsum(values) - values
        kept = (before < variance * values.sum()) & (values > 0)
        return cls(values, vectors, kept.astype(float), np.zeros_like(values))

    @property
    def whitening(self) -> Float[np.ndarray, "feature direction"]:
        """Return the map after which directions have `kept` as their sums of squares."""
        return self.vectors * np.sqrt(
            self.kept / np.where(self.eigenvalues > 0, self.eigenvalues, 1)
        )

    @property
    def logarithms(self) -> Float[np.ndarray, " direction"]:
        """Return log(λ / Σλ), or 0 where λ is zero: then its share of the entropy is none."""
        total = self.eigenvalues.sum()
        return np.log(np.where(self.eigenvalues > 0, self.eigenvalues, total) / total)

    @property
    def effective_rank(self) -> float:
        """Return the exponential of the entropy of λ / Σλ (Roy and Vetterli, EUSIPCO 2007)."""
        return float(np.exp(-self.eigenvalues @ self.logarithms / self.eigenvalues.sum()))

    def rank_change(
        self, raised: Float[np.ndarray, "draw direction"]
    ) -> Float[np.ndarray, " draw"]:
        """Return by how much `effective_rank` changes, to first order, where λ are raised."""
        rank = self.effective_rank
        change = raised * (self.eigenvalues > 0) @ (self.logarithms + np.log(rank))
        return -rank * change / self.eigenvalues.sum()


class Own(NamedTuple):
    """Hold sums over the residual e of each channel by itself; replicates have draws in front."""

    #: tr eᵀe.
    trace: Float[np.ndarray, "*draw channel"]
    #: ‖eᵀe‖²_F.
    overlap: Float[np.ndarray, "*draw channel"]
    #: What single rows contribute to `overlap`, Σᵢ ‖eᵢ‖⁴; see `pairs`.
    diagonal: Float[np.ndarray, "*draw channel"]
    #: `Spectrum.kept`, with zeros behind it.
    kept: Float[np.ndarray, "*draw channel direction"]
    effective_rank: Float[np.ndarray, "*draw channel"]

    @classmethod
    def of(cls, spectra: list[Spectrum], single: Float[np.ndarray, "vector pair channel"]) -> Own:
        """Return the sums of every channel, with `single` from `pairs`."""
        return cls(
            np.array([s.eigenvalues.sum() for s in spectra]),
            np.array([(s.eigenvalues**2).sum() for s in spectra]),
            (single**2).sum((0, 1)),
            side_by_side([s.kept for s in spectra]),
            np.array([s.effective_rank for s in spectra]),
        )

    def replicates(
        self, stack: Stack, e: Float[np.ndarray, "row column"], spectra: list[Spectrum],
        single: Float[np.ndarray, "vector pair channel"], weights: Float[np.ndarray, "draw unit"],
    ) -> Own:  # fmt: skip
        """Return first-order replicates: every sum plus Σ (weight − 1) · contribution.

        A molecule that is drawn twice is not given as two rows, since these would be each other's
        nearest neighbours, and their kernel with each other would count as that of two molecules.
        """
        moves = weights - 1
        raised = []  # by how much eigenvalues rise
        for channel, spectrum in enumerate(spectra):
            turned = e[:, stack.columns(channel)] @ spectrum.vectors
            raised.append(moves @ by_unit(turned**2, stack.unit))
        both = list(zip(spectra, raised, strict=True))
        # A row's product with itself has its weight twice, as products of different rows have both.
        of_vectors = 2 * (single**2).sum(1)
        diagonal = moves @ by_unit(of_vectors, stack.unit[:: stack.components])
        return Own(
            self.trace + np.stack([r.sum(1) for r in raised], 1),
            self.overlap + np.stack([2 * r @ s.eigenvalues for s, r in both], 1),
            self.diagonal + diagonal,
            self.kept + side_by_side([r * s.slope for s, r in both]),
            self.effective_rank + np.stack([s.rank_change(r) for s, r in both], 1),
        )


def pairs(
    stack: Stack, e: Float[np.ndarray, "row column"]
) -> Float[np.ndarray, "vector pair channel"]:
    """Return ‖eᵢ‖² of every row i and channel or, of vectors, the products of their components.

    What one vector contributes by itself to ‖e_aᵀ e_b‖² is the sum over its pairs of components of
    a's product times b's. It stays the same when the molecule turns.
    """
    found = []
    for channel in range(stack.channels):
        own = e[:, stack.columns(channel)]
        vectors = own.reshape(-1, stack.components, own.shape[1])
        products = np.einsum("vic,vjc->vij", vectors, vectors, optimize=True)
        found.append(products.reshape(len(vectors), -1))
    return np.stack(found, -1)


def side_by_side(parts: list[Float[np.ndarray, "*draw direction"]]) -> np.ndarray:
    """Return (*draw, channel, direction), with zeros behind the directions of each channel."""
    most = max(p.shape[-1] for p in parts)
    widened = [np.pad(p, [(0, 0)] * (p.ndim - 1) + [(0, most - p.shape[-1])]) for p in parts]
    return np.stack(widened, -2)
