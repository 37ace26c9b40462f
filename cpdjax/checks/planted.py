"""Planted truth: synthetic representations whose R²_geom is known on paper.

Composition C (centred, given), geometry ξ (k independent standard normal numbers) and noise ε make

    G = ρ C M + √(1−ρ²) ξ          geometry, of which composition knows the share ρ²
    X = √s C A + √(1−s) (G + σ ε) B          representation, composition's share s, B orthogonal
    y = √g ξb + √(f(1−g)) Ca + √((1−f)(1−g)) η          target, geometry's share g, f = 0.8

with every term scaled to unit variance, ‖b‖ = 1, and η standard normal.

**In the population.** Least squares of X on C leaves Z = √(1−s) (√(1−ρ²) ξ + σε) B, since ξ and ε
are independent of C. The orthogonal B only rotates Z, and standardising undoes the common scale. So
with B the identity each feature of Z, at unit variance, has the covariance r_j = κ √g b_j with y,
where κ² = (1−ρ²) / (1−ρ² + σ²) is the share of geometry in the variance of Z. Ridge with λ = α/n on
uncorrelated features of unit variance has the weights w_j = r_j / (1+λ). These explain 2 wᵀr − wᵀw,
and since y has unit variance,

    R²_geom = κ² g (2/(1+λ) − 1/(1+λ)²)  →  κ² g  for n → ∞.

Neither s nor A enters: the score does not depend on how much of the representation is composition.

**With n training rows,** m held-out rows, k features and q independent columns of C. The training
residual is orthogonal to C, so composition's part of y adds no noise to the weights w. What adds
noise is v = (1 − κ²) g + (1−f)(1−g), the variance of y given C and Z. To first order the squared
error grows by three terms: by v k / (n−q−k−2) from the weights (exact for normal features at
α = 0); by q/n of the explained variance e = κ² g from the projection, which is applied to held-out
rows; and by a factor 1 + 1/n from the mean. R² is taken about the held-out rows' own mean, which
makes the error m/(m−1) as large:

    E R²_geom ≈ 1 − (1 − R²_geom(λ) + v k / (n−q−k−2) + e q / n) (1 + 1/n) m/(m−1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cpdjax.checks.outcome import Outcome, required
from cpdjax.checks.procedures import Procedure, projection_per_fold
from cpdjax.errors import InputError
from cpdjax.probes.folds import kfold

GEOMETRY_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""The geometry shares g of the target."""
CHECK = "planted truth"
MOLECULES = 2000
"""For so many molecules the bounds below hold; they grow as 1/√n for fewer."""

_LINEAR_REST = 0.8  # f
_RMS, _LARGEST = 0.01, 0.03


class Representation(NamedTuple):
    """Hold one setting of the grid: how X is made of composition, geometry and noise."""

    composition_share: float
    """The share s of composition in X."""
    overlap: float
    """The share ρ² of geometry that composition knows."""
    noise: float
    """The standard deviation σ of the noise."""
    width: int
    """The number k of features."""


GRID = tuple(Representation(*s) for s in product((0.0, 0.5, 0.99), (0.0, 0.5), (0.0, 1.0), (8, 32)))
"""The representations. With every geometry share of the target they make 144 settings."""


@dataclass(frozen=True)
class Planted:
    """Hold estimates beside the truth, with axes (representation, geometry share of the target)."""

    molecules: int
    grid: tuple[Representation, ...]
    shares: tuple[float, ...]
    estimate: Float[np.ndarray, "setting share"]
    """The mean R²_geom over folds and repeats."""
    spread: Float[np.ndarray, "setting share"]
    """The standard deviation over repeats."""
    analytic: Float[np.ndarray, "setting share"]
    """R²_geom in the population, n → ∞."""
    expected: Float[np.ndarray, "setting share"]
    """R²_geom with this number of molecules, to first order in 1/n."""

    @property
    def outcomes(self) -> tuple[Outcome, Outcome]:
        """Compare the deviation of estimates from expectations with its bounds."""
        deviation = self.estimate - self.expected
        scale = float(np.sqrt(max(MOLECULES / self.molecules, 1.0)))
        rms, largest = _RMS * scale, _LARGEST * scale
        quantity = "estimated minus expected R²_geom"
        over = f"{deviation.size} settings"
        return (
            required(
                CHECK, f"{quantity}, root mean square over {over}",
                np.sqrt((deviation**2).mean()), (0, rms), f"at most {rms:.3f}",
            ),
            required(
                CHECK, f"{quantity}, largest magnitude of {over}",
                np.abs(deviation).max(), (0, largest), f"at most {largest:.3f}",
            ),
        )  # fmt: skip


def check_planted(
    C: Float[np.ndarray, "molecule element"],
    *,
    grid: tuple[Representation, ...] = GRID,
    shares: tuple[float, ...] = GEOMETRY_SHARES,
    repeats: int = 5,
    folds: int = 5,
    seed: int = 0,
    procedure: Procedure = projection_per_fold,
) -> Planted:
    """Estimate R²_geom (α = 1) of synthetic representations whose truth is derived above.

    Composition is that of real molecules; geometry, noise, mixing and folds are drawn anew in each
    repeat.

    The requirement is our choice: over all settings, the estimate deviates from its expectation by
    at most 0.01 in the root mean square and by at most 0.03 in any setting, with 2,000 molecules.
    With n < 2,000 both bounds are √(2000/n) times as large. They are two to three times the scatter
    of the estimates.

    Raises:
        InputError: all molecules have the same composition, or there are fewer molecules than four
            times the features of the widest representation.

    >>> C = np.random.default_rng(0).integers(1, 9, (400, 3)).astype(float)
    >>> found = check_planted(C, grid=(Representation(0.5, 0.0, 1.0, 8),), shares=(0.5,))
    >>> found.analytic.tolist(), all(outcome.passed for outcome in found.outcomes)
    ([[0.25]], True)
    """
    n, fewest = len(C), 4 * max(setting.width for setting in grid)
    if not C.var(0).any():
        raise InputError("the check of planted truth needs molecules of different composition")
    if n < fewest:
        raise InputError(f"the check of planted truth needs at least {fewest} molecules, got {n}")
    centred = C - C.mean(0)
    rank = int(np.linalg.matrix_rank(centred))
    scores = np.empty((len(grid), repeats, len(shares)))
    for s, setting in enumerate(grid):
        for r, rng in enumerate(_generators(seed, s, repeats)):
            X, Y = draw(centred, setting, shares, rng)
            ids = kfold(n, folds, seed=int(rng.integers(2**31)))
            scores[s, r] = procedure(X, C, Y, ids, 1.0).mean(0)
    analytic = np.array([[truth(s, g) for g in shares] for s in grid])
    expected = np.array([[expectation(s, g, n, folds, rank) for g in shares] for s in grid])
    return Planted(n, grid, shares, scores.mean(1), scores.std(1), analytic, expected)


def draw(
    C: Float[np.ndarray, "molecule element"],
    setting: Representation,
    shares: tuple[float, ...],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "molecule feature"], Float[np.ndarray, "molecule share"]]:
    """Draw features, and a target for every geometry share, given centred composition."""
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
    """Return R²_geom in the population, with the Ridge penalty λ = α/n.

    >>> truth(Representation(0.9, 0.0, 1.0, 8), 0.6)
    0.3
    """
    shrunk = 1 / (1 + ridge)
    return _geometry_share(setting) * share * (2 * shrunk - shrunk**2)


def expectation(setting: Representation, share: float, n: int, folds: int, rank: int) -> float:
    """Return the mean R²_geom (α = 1) of `n` molecules in `folds` folds, to first order in 1/n."""
    m = n / folds
    train, kappa2, k = n - m, _geometry_share(setting), setting.width
    unexplained = (1 - kappa2) * share + (1 - _LINEAR_REST) * (1 - share)
    error = 1 - truth(setting, share, 1 / train)
    error += unexplained * k / (train - rank - k - 2) + kappa2 * share * rank / train
    return 1 - error * (1 + 1 / train) * m / (m - 1)


def _geometry_share(setting: Representation) -> float:
    """Return κ²: which share of the residual's variance is geometry."""
    geometry = 1 - setting.overlap
    return geometry / (geometry + setting.noise**2)


def _linear(C: np.ndarray, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random linear functions of composition and scale them to unit variance."""
    made = C @ rng.normal(size=(C.shape[1], columns))
    return made / made.std(0)


def _generators(seed: int, setting: int, repeats: int) -> Iterator[np.random.Generator]:
    for repeat in range(repeats):
        yield np.random.default_rng([seed, setting, repeat])
