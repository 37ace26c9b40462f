"""Say what an object lacks to be a model, each time with the line that adds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cpdjax.errors import InputError
from cpdjax.models.interface import Model

_CURES = {
    "name": 'name = "my-model"',
    "level": 'level = "atom"',
    "elements": "elements = None  # or atomic numbers, such as (1, 6, 7, 8, 9)",
    "periodic": "periodic = False",
    "max_atoms": "max_atoms = None",
    "irreps": 'irreps = {"layer": e3nn_jax.Irreps("8x0e + 4x1o")}',
    "parity": "parity = True",
    "cutoff": "cutoff = None  # or that of its neighbour list in Å, such as 5.0",
    "memory": "def memory(self, atoms, neighbours): return 100 * atoms * (1 + neighbours)",
    "features": 'def features(self, batch): return {"layer": e3nn_jax.IrrepsArray(...)}',
}


def is_model(value: Any) -> bool:
    """Return whether an object has what tells a model from arrays, tables and functions."""
    if isinstance(value, type) or hasattr(value, "__array__"):
        return False
    return callable(getattr(value, "features", None)) or isinstance(
        getattr(value, "irreps", None), Mapping
    )


def check_model(model: Any, *, compiled: bool = True) -> Model:
    """Return a model, or refuse an object that lacks something of `interface.Model`.

    Args:
        compiled: whether it is passed through `jax.jit`, in batches that suit its memory.

    Raises:
        InputError: an attribute is missing or of another kind, or the object is no pytree of JAX;
            the error gives the line that adds it.
    """
    what = f"the model {getattr(model, 'name', type(model).__name__)!r}"
    needed = [name for name in _CURES if compiled or name != "memory"]
    missing = [name for name in needed if not hasattr(model, name)]
    if missing:
        more = f", nor {', '.join(missing[1:])}" if missing[1:] else ""
        raise InputError(
            f"{what} has no {missing[0]}{more}: add `{_CURES[missing[0]]}`, or make the model with "
            "cpdjax.models.wrap, which has a default for all but the irreps"
        )
    for name in ("memory", "features"):
        if name in needed and not callable(getattr(model, name)):
            raise InputError(f"{what}: {name} must be a method: `{_CURES[name]}`")
    if model.level not in ("atom", "molecule"):
        raise InputError(f'{what}: level must be "atom" or "molecule", got {model.level!r}')
    _check_irreps(what, model.irreps)
    if compiled:
        _check_pytree(what, model)
    checked: Model = model
    return checked


def _check_irreps(what: str, irreps: Any) -> None:
    """Refuse irreps of layers that are texts, or none."""
    from e3nn_jax import Irreps  # and JAX, which names and lists do without

    if not isinstance(irreps, Mapping) or not irreps:
        raise InputError(f"{what}: irreps must say them by layer: `{_CURES['irreps']}`")
    for layer, found in irreps.items():
        if not isinstance(found, Irreps):
            raise InputError(
                f"{what}: the irreps of layer {layer!r} must be e3nn_jax.Irreps, got {found!r}: "
                f"write e3nn_jax.Irreps({str(found)!r})"
            )


def _check_pytree(what: str, model: Any) -> None:
    """Refuse an object that JAX takes for an array."""
    import jax

    if any(leaf is model for leaf in jax.tree.leaves(model)):
        raise InputError(
            f"{what} is no pytree of JAX: put @jax.tree_util.register_static above its class where "
            "it has no weights, or register_dataclass where fields hold them"
        )
