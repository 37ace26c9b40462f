"""What is known of each model beside its numbers: family, licence, training data, where it is."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cpdjax.models import zoo


@dataclass(frozen=True)
class Card:
    """Facts about a model, for `cpdjax models` and for reports."""

    family: str
    licence: str
    data: str
    """What it was trained on."""
    distribution: str | None = None
    """The wheel that carries the weights; None: nothing to install."""

    @property
    def at_hand(self) -> bool:
        """Whether the weights are installed."""
        if self.distribution is None:
            return True
        try:
            version(self.distribution)
        except PackageNotFoundError:
            return False
        return True


_MPTRAJ = "MPTraj: relaxations of inorganic crystals, PBE(+U)"
_ANI_1X = "ANI-1x: organic molecules off equilibrium, ωB97X/6-31G*"

CARDS = {
    "ani-2x-aev": Card("descriptor (AEV)", "Apache-2.0", "none"),
    "coulomb-spectrum": Card("descriptor (Coulomb matrix)", "Apache-2.0", "none"),
    "sevennet-0": Card("NequIP (SevenNet)", "MIT", _MPTRAJ, "sevenn"),
    "sevennet-0-22may2024": Card("NequIP (SevenNet)", "MIT", _MPTRAJ, "sevenn"),
    "sevennet-l3i5": Card("NequIP (SevenNet)", "MIT", _MPTRAJ, "sevenn"),
    "so3lr": Card(
        "SO3krates",
        "MIT",
        "organic molecules and fragments with non-covalent interactions, PBE0+MBD",
        "so3krates-torch",
    ),
    "chgnet-0.3.0": Card("CHGNet", "BSD-3-Clause", _MPTRAJ, "chgnet"),
    "chgnet-0.2.0": Card("CHGNet", "BSD-3-Clause", _MPTRAJ, "chgnet"),
    "chgnet-r2scan": Card("CHGNet", "BSD-3-Clause", f"{_MPTRAJ}; then r²SCAN", "chgnet"),
    "ani-1x": Card("ANI", "MIT", _ANI_1X, "torchani"),
}


def card_of(name: str) -> Card:
    """The card of a model of `cpdjax.models.names()`."""
    if name in CARDS:
        return CARDS[name]
    own = zoo.card(name)
    seen = f"{own['molecules']:,} molecules of {own['dataset']}, {own['target']}"
    return Card(own["architecture"], "Apache-2.0", seen)
