"""What cpdjax asks of a model, an encoder of an architecture, and the registry of its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, Protocol

from e3nn_jax import Irreps, IrrepsArray

if TYPE_CHECKING:
    from cpdjax.data.batch import Batch


Layers = dict[str, IrrepsArray]


class Model(Protocol):
    """What `cpdjax.extract` needs of a model.

    A model is a JAX pytree, because it is passed through `jax.jit`: its weights are leaves and
    everything else is static (`jax.tree_util.register_static` where there are no weights).
    """

    @property
    def name(self) -> str:
        """The name in results and files."""
        ...

    @property
    def level(self) -> Literal["atom", "molecule"]:
        """Whether features have a row per atom (to be pooled) or already one per molecule."""
        ...

    @property
    def elements(self) -> tuple[int, ...] | None:
        """Atomic numbers that the model knows; None for any."""
        ...

    @property
    def periodic(self) -> bool:
        """Whether the model knows cells."""
        ...

    @property
    def max_atoms(self) -> int | None:
        """Atoms of the largest molecule it takes; None for any."""
        ...

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """The irreps of every layer, in the order of the data's path."""
        ...

    @property
    def parity(self) -> bool:
        """Whether the irreps' parities are true; False: labels hold for rotations only."""
        ...

    @property
    def cutoff(self) -> float | None:
        """Å, of the neighbour list that `features` reads; None where it reads none."""
        ...

    def memory(self, atoms: int, neighbours: int) -> int:
        """About how many numbers the features of one molecule of `atoms` atoms keep at once."""
        ...

    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Every layer, (molecule, atom, irreps.dim), or (molecule, irreps.dim) at level "molecule".

        Pure and traceable. Rows of padding hold finite numbers without meaning. Under `jit`,
        layers that the caller drops cost nothing: XLA removes what no output needs.
        """
        ...


class Architecture(Protocol):
    """What an encoder asks of a Flax module; its fields are the model's hyperparameters."""

    @property
    def cutoff(self) -> float:
        """Å, of the neighbour list (the longest, if the model has several)."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the weights know."""
        ...

    @property
    def periodic(self) -> bool:
        """Whether the model knows cells."""
        ...

    @property
    def parity(self) -> bool:
        """Whether the irreps' parities are true; False: labels hold for rotations only."""
        ...

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Irreps of every layer, in the order of the data's path."""
        ...

    def memory(self, atoms: int, neighbours: int) -> int:
        """About how many numbers one structure keeps at once."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Flax's: of variables and a `Graph`, the layers, (atom, irreps.dim), and every atom's
        part of the output, (atom,)."""
        ...


@dataclass(frozen=True)
class Card:
    """State facts about a model, for `cpdjax models` and for reports."""

    family: str
    licence: str
    data: str
    """The data that the model was trained on."""
    distribution: str | None = None
    """The Python package that carries the weights; None: nothing has to be installed."""

    @property
    def installed(self) -> bool:
        """Return whether the weights are installed."""
        if self.distribution is None:
            return True
        try:
            version(self.distribution)
        except PackageNotFoundError:
            return False
        return True


@dataclass(frozen=True)
class Training:
    """Say how `cpdjax train` trains an architecture unless a recipe says otherwise."""

    sizes: Mapping[str, Any]
    """Fields of the Flax module that differ from its own defaults."""
    learning_rate: float
    """Peak learning rate."""


MPTRAJ = "MPTraj: relaxations of inorganic crystals, PBE(+U)"
"""The training data of several models, for their cards."""
