"""Models by name: what every model offers, and the one place where they are registered.

A model's file is imported only when that model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol

from cpdjax.errors import UnknownNameError

if TYPE_CHECKING:
    from e3nn_jax import Irreps, IrrepsArray

    from cpdjax.structures import Batch

__all__ = ["Model", "load", "names"]

# name: (module, attribute holding the model)
_REGISTRY = {
    "ani-2x-aev": ("cpdjax.models.aev", "ANI_2X"),
    "coulomb-spectrum": ("cpdjax.models.coulomb", "SPECTRUM"),
}


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

    def memory(self, atoms: int) -> int:
        """About how many numbers the features of one molecule of `atoms` atoms keep at once."""
        ...

    def features(self, batch: Batch) -> dict[str, IrrepsArray]:
        """Every layer, (molecule, atom, irreps.dim), or (molecule, irreps.dim) at level "molecule".

        Pure and traceable. Rows of padding hold finite numbers without meaning. Under `jit`,
        layers that the caller drops cost nothing: XLA removes what no output needs.
        """
        ...


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> names()
    ('ani-2x-aev', 'coulomb-spectrum')
    """
    return tuple(_REGISTRY)


def load(name: str) -> Model:
    """The model called `name`.

    Raises:
        UnknownNameError: no such model.

    >>> load("ani-2x-aev").irreps["aev"]
    1008x0e
    """
    if name not in _REGISTRY:
        raise UnknownNameError("model", name, _REGISTRY)
    module, attribute = _REGISTRY[name]
    return getattr(import_module(module), attribute)
