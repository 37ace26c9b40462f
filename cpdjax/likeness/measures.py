"""Name the measures: what each says, which way round, and what it is called in tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """Describe one measure of two channels, a and b, or of one alone."""

    label: str
    description: str
    #: Whether a to b and b to a are two numbers.
    directed: bool = False
    #: Whether more of it means more alike; otherwise it is a distance.
    more_alike: bool = True


OF_PAIRS = {
    "r2": Measure(
        "R² a → b",
        "R² of Ridge from a to b on held-out rows, all columns of b together; the global feature "
        "reconstruction error (Goscinski et al., Mach. Learn.: Sci. Technol. 2, 025028, 2021) is "
        "the square root of 1 − R²",
        directed=True,
    ),
    "cka": Measure("CKA", "linear centred kernel alignment, biased"),
    "cka_debiased": Measure("CKA debiased", "linear centred kernel alignment, debiased"),
    "cca": Measure(
        "CCA",
        "mean squared canonical correlation, each direction damped by λ/(λ + alpha) with its sum "
        "of squares λ; or, where a share of variance is set, of principal components (SVCCA)",
    ),
    "procrustes": Measure(
        "Procrustes", "distance of the best rotation, both of unit size", more_alike=False
    ),
    "imbalance": Measure(
        "imbalance a → b",
        "information imbalance: near 0 where neighbours in a are neighbours in b, 1 by chance",
        directed=True,
        more_alike=False,
    ),
    "shared_neighbours": Measure("shared kNN", "share of the k nearest neighbours in common"),
}
OF_CHANNELS = {
    "participation_ratio": Measure("participation ratio", "(Σλ)² / Σλ² of the covariance"),
    "effective_rank": Measure("effective rank", "exp of the entropy of λ / Σλ"),
    "intrinsic_dimension": Measure("TwoNN", "intrinsic dimension, from the two nearest distances"),
}
