"""What cpdjax asks of a model, an encoder of an architecture, and the registry of its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from e3nn_jax import Irreps, IrrepsArray
    from jaxtyping import Float

    from cpdjax.data.batch import Batch
    from cpdjax.data.structures import Structures


Layers: TypeAlias = "dict[str, IrrepsArray]"


class Model(Protocol):
    """Describe what `cpdjax.extract` needs of a model.

    A model is a JAX pytree, because it is passed through `jax.jit`: its weights are leaves and
    everything else is static (`jax.tree_util.register_static` where there are no weights).

    A model of more than atoms, such as bonds, has a further method of structures: see `Reader`.
    """

    @property
    def name(self) -> str:
        """Return the name in results and files."""
        ...

    @property
    def level(self) -> Literal["atom", "molecule"]:
        """Return whether features have a row per atom (to be pooled) or one per molecule."""
        ...

    @property
    def elements(self) -> tuple[int, ...] | None:
        """Return the atomic numbers that the model knows; None for any."""
        ...

    @property
    def periodic(self) -> bool:
        """Return whether the model knows periodic cells."""
        ...

    @property
    def max_atoms(self) -> int | None:
        """Return the number of atoms of the largest molecule that it takes; None for any."""
        ...

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer, in the order of the data's path."""
        ...

    @property
    def parity(self) -> bool:
        """Return whether the irreps' parities are true; False: irreps hold for rotations only."""
        ...

    @property
    def cutoff(self) -> float | None:
        """Return the cutoff (Å) of the neighbour list that `features` reads; None if none."""
        ...

    def memory(self, atoms: int, neighbours: int) -> int:
        """Return about how many numbers the features of one molecule keep in memory at once."""
        ...

    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Return every layer: (molecule, atom, irreps.dim), or (molecule, irreps.dim).

        The function is pure and JAX can trace it; only level "atom" has an axis of atoms. Rows of
        padding hold finite numbers without meaning. Under `jit`, layers that the caller drops cost
        nothing: XLA removes what no output needs.
        """
        ...


@runtime_checkable
class Reader(Protocol):
    """Describe a model that reads of structures what a `Batch` does not hold, such as SMILES."""

    def read(self, structures: Structures) -> Float[np.ndarray, "molecule column"]:
        """Return numbers of every molecule, which `features` finds as `batch.read`.

        Raises:
            InputError: the structures lack what is read.
        """
        ...


class Architecture(Protocol):
    """Describe what an encoder needs of a Flax module, whose fields are the hyperparameters."""

    @property
    def cutoff(self) -> float:
        """Return the cutoff (Å) of the neighbour list: the longest, if the model has several."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Return the atomic numbers that the weights know."""
        ...

    @property
    def periodic(self) -> bool:
        """Return whether the model knows periodic cells."""
        ...

    @property
    def parity(self) -> bool:
        """Return whether the irreps' parities are true; False: irreps hold for rotations only."""
        ...

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer, in the order of the data's path."""
        ...

    def memory(self, atoms: int, neighbours: int) -> int:
        """Return about how many numbers one structure keeps in memory at once."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Return Flax's function of variables and a `Graph`.

        It returns the layers, (atom, irreps.dim), and every atom's part of the output, (atom,).
        """
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
