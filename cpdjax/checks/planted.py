"""Planted truth: synthetic representations whose R²_geom is known on paper.

Composition C (centred, given), geometry ξ (k independent standard normal numbers) and noise ε:

    G = ρ C M + √(1−ρ²) ξ          geometry, of which composition knows the share ρ²
    X = √s C A + √(1−s) (G + σ ε) B          representation, composition's share s, B orthogonal
    y = √g ξb + √(f(1−g)) Ca + √((1−f)(1−g)) η          target, geometry's share g, f = 0.8

with every term scaled to unit variance, ‖b‖ = 1, η standard normal.

**In the population.** Least squares of X on C leaves Z = √(1−s) (√(1−ρ²) ξ + σε) B, since ξ and ε
are independent of C. B turns Z and nothing else, and standardising undoes the common scale, so with
B the identity each feature of Z, at unit variance, has the covariance r_j = κ √g b_j with y, where
κ² = (1−ρ²) / (1−ρ² + σ²) is how much of it is geometry. Ridge with λ = α/n on uncorrelated features
of unit variance has w_j = r_j / (1+λ); it explains 2 wᵀr − wᵀw, and as var y = 1,

    R²_geom = κ² g (2/(1+λ) − 1/(1+λ)²)  →  κ² g  for n → ∞.

Neither s nor A enters: how much of a representation is composition does not matter.

**With n training rows,** m held-out rows, k features and q independent columns of C. The training
residual is orthogonal to C, so composition's part of y adds no noise to w; what does is
v = (1 − κ²) g + (1−f)(1−g), the variance of y given C and Z. To first order the squared error grows
by v k / (n−q−k−2) (weights: exact for normal features at α = 0), by q/n of the explained variance
e = κ² g (the projection, applied to held-out rows) and by a factor 1 + 1/n (the mean); R² is about
the held-out rows' own mean, which makes it m/(m−1) as large:

    E R²_geom ≈ 1 − (1 − R²_geom(λ) + v k / (n−q−k−2) + e q / n) (1 + 1/n) m/(m−1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cpdjax.checks.criterion import Criterion, within
from cpdjax.checks.procedures import Procedure, in_fold
from cpdjax.errors import InputError
from cpdjax.probes.folds import kfold

GEOMETRY_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""g of the target."""

_CHECK = "planted truth"
_LINEAR_REST = 0.8  # f
_MOLECULES = 2000  # for which the bounds below hold; they grow as 1/√n for fewer
_RMS, _WORST = 0.01, 0.03


class Representation(NamedTuple):
    """One setting of the grid."""

    composition_share: float
    """s."""
    overlap: float
    """ρ²."""
    noise: float
    """σ."""
    width: int
    """k."""


GRID = tuple(Representation(*s) for s in product((0.0, 0.5, 0.99), (0.0, 0.5), (0.0, 1.0), (8, 32)))
"""The representations; with every geometry share of the target, 144 settings."""


@dataclass(frozen=True)
class Planted:
    """Estimates beside the truth, with axes (representation, geometry share of the target)."""

    grid: tuple[Representation, ...]
    shares: tuple[float, ...]
    estimate: Float[np.ndarray, "setting share"]
    """Mean over folds and repeats."""
    spread: Float[np.ndarray, "setting share"]
    """Standard deviation over repeats."""
    analytic: Float[np.ndarray, "setting share"]
    """In the population, n → ∞."""
    expected: Float[np.ndarray, "setting share"]
    """With the given number of molecules, to first order in 1/n."""
    criteria: tuple[Criterion, ...]


def check_planted(
    C: Float[np.ndarray, "molecule element"],
    *,
    grid: tuple[Representation, ...] = GRID,
    shares: tuple[float, ...] = GEOMETRY_SHARES,
    repeats: int = 5,
    folds: int = 5,
    seed: int = 0,
    procedure: Procedure = in_fold,
) -> Planted:
    """R²_geom (α = 1) of synthetic representations, beside what it must be by the derivation above.

    Composition is that of real molecules; geometry, noise, mixing and folds are drawn anew in each
    repeat.

    Verdict (our choice): over all settings, the estimate deviates from its expectation by at most
    0.01 in the root mean square and 0.03 at worst, at 2,000 molecules; for N fewer, both
    bounds are √(2000/N) as large. That is two to three times the scatter of the estimates.

    Raises:
        InputError: all molecules are of one composition, or fewer molecules than four times the
            widest representation.

    >>> C = np.random.default_rng(0).integers(1, 9, (400, 3)).astype(float)
    >>> found = check_planted(C, grid=(Representation(0.5, 0.0, 1.0, 8),), shares=(0.5,))
    >>> found.analytic.tolist(), all(line.passed for line in found.criteria)
    ([[0.25]], True)
    """
    n, widest = len(C), max(s.width for s in grid)
    if not C.var(0).any():
        raise InputError("planted truth needs molecules of unlike composition")
    if n < 4 * widest:
        raise InputError(f"planted truth needs at least {4 * widest} molecules, got {n}")
    centred = C - C.mean(0)
    rank = int(np.linalg.matrix_rank(centred))
    scores = np.empty((len(grid), repeats, len(shares)))
    for s, setting in enumerate(grid):
        for r, rng in enumerate(_generators(seed, s, repeats)):
            X, Y = draw(centred, setting, shares, rng)
            ids = kfold(n, folds, seed=int(rng.integers(2**31)))
            scores[s, r] = procedure(X, C, Y, ids, 1.0).mean(0)
    analytic = np.array([[truth(s, g) for g in shares] for s in grid])
    with_n = np.array([[expectation(s, g, n, folds, rank) for g in shares] for s in grid])
    estimate = scores.mean(1)
    deviation = estimate - with_n
    scale = np.sqrt(max(_MOLECULES / n, 1.0))
    lines = (
        within(
            _CHECK, f"estimate less expectation, root mean square of {deviation.size} settings",
            np.sqrt((deviation**2).mean()), (0, _RMS * scale), f"at most {_RMS * scale:.3f}",
        ),
        within(
            _CHECK, "the same, at worst",
            np.abs(deviation).max(), (0, _WORST * scale), f"at most {_WORST * scale:.3f}",
        ),
    )  # fmt: skip
    return Planted(grid, shares, estimate, scores.std(1), analytic, with_n, lines)


def draw(
    C: Float[np.ndarray, "molecule element"],
    setting: Representation,
    shares: tuple[float, ...],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "molecule feature"], Float[np.ndarray, "molecule share"]]:
    """Features and a target for every geometry share, of centred composition."""
    s, overlap, noise, k = setting
    n = len(C)
    xi, eta = rng.normal(size=(n, k)), rng.normal(size=(n, 1))
    b = rng.normal(size=k)
    turn, _ = np.linalg.qr(rng.normal(size=(k, k)))
    geometry = np.sqrt(overlap) * _linear(C, k, rng) + np.sqrt(1 - overlap) * xi
    geometry = geometry + noise * rng.normal(size=(n, k))
    X = np.sqrt(s) * _linear(C, k, rng) + np.sqrt(1 - s) * geometry @ turn
    g, f = np.asarray(shares), _LINEAR_REST
    known = (xi @ b / np.linalg.norm(b))[:, None]
    Y = np.sqrt(g) * known + np.sqrt(f * (1 - g)) * _linear(C, 1, rng)
    return X, Y + np.sqrt((1 - f) * (1 - g)) * eta


def truth(setting: Representation, share: float, ridge: float = 0.0) -> float:
    """R²_geom in the population, with the Ridge penalty λ = α/n.

    >>> truth(Representation(0.9, 0.0, 1.0, 8), 0.6)
    0.3
    """
    shrunk = 1 / (1 + ridge)
    return _kept(setting) * share * (2 * shrunk - shrunk**2)


def expectation(setting: Representation, share: float, n: int, folds: int, rank: int) -> float:
    """Mean R²_geom (α = 1) of `n` molecules in `folds` folds, to first order in 1/n."""
    m = n / folds
    train, kept, k = n - m, _kept(setting), setting.width
    unexplained = (1 - kept) * share + (1 - _LINEAR_REST) * (1 - share)
    error = 1 - truth(setting, share, 1 / train)
    error += unexplained * k / (train - rank - k - 2) + kept * share * rank / train
    return 1 - error * (1 + 1 / train) * m / (m - 1)


def _kept(setting: Representation) -> float:
    """κ²: how much of the residual's variance is geometry."""
    own = 1 - setting.overlap
    return own / (own + setting.noise**2)


def _linear(C: np.ndarray, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Random linear functions of composition, of unit variance."""
    made = C @ rng.normal(size=(C.shape[1], columns))
    return made / made.std(0)


def _generators(seed: int, setting: int, repeats: int) -> Iterator[np.random.Generator]:
    for repeat in range(repeats):
        yield np.random.default_rng([seed, setting, repeat])
