"""Models by name: what every model offers, and the one place where they are registered.

A model's file is imported only when that model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import saved, trained
from cpdjax.models.encoder import Encoder

if TYPE_CHECKING:
    from e3nn_jax import Irreps, IrrepsArray

    from cpdjax.batch import Batch

__all__ = [
    "Encoder",
    "Model",
    "architectures",
    "convert",
    "from_state_dict",
    "is_saved",
    "load",
    "names",
    "save",
]

# name: the module whose `load(name)` makes it
_REGISTRY = {
    "ani-1x": "cpdjax.models.ani",
    "ani-2x-aev": "cpdjax.models.aev",
    "chgnet-0.3.0": "cpdjax.models.chgnet",
    "chgnet-0.2.0": "cpdjax.models.chgnet",
    "chgnet-r2scan": "cpdjax.models.chgnet",
    "coulomb-spectrum": "cpdjax.models.coulomb",
    "so3lr": "cpdjax.models.so3krates",
    "sevennet-0": "cpdjax.models.nequip",
    "sevennet-0-22may2024": "cpdjax.models.nequip",
    "sevennet-l3i5": "cpdjax.models.nequip",
}

# architecture: the module whose `from_state_dict(config, state)` makes module and variables and,
# where the output is not the sum of the atoms' parts, says what it is
_ARCHITECTURES: dict[str, str] = {
    "ani": "cpdjax.models.ani",
    "chgnet": "cpdjax.models.chgnet",
    "dimenet++": "cpdjax.models.dimenet",
    "schnet": "cpdjax.models.schnet",
    "painn": "cpdjax.models.painn",
    "mace": "cpdjax.models.mace",
    "nequip": "cpdjax.models.nequip",
    "so3krates": "cpdjax.models.so3krates",
    "visnet": "cpdjax.models.visnet",
}

# what a saved model may be made of
_SAVED = {
    *_ARCHITECTURES.values(),
    "cpdjax.models.long_range",
    "cpdjax.models.standardized",
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


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> "sevennet-0" in names()
    True
    """
    return (*_REGISTRY, *trained.zoo())


def load(name: str | Path) -> Model:
    """The model called `name`, or the one in the folder that `save`, `convert` or `train` wrote.

    Raises:
        UnknownNameError: no such model.
        FileError: its weights are not installed, or are not the published or saved ones.

    >>> load("ani-2x-aev").irreps["aev"]
    1008x0e
    """
    if name in _REGISTRY:
        return import_module(_REGISTRY[str(name)]).load(name)
    run = trained.folder(name)
    if run is not None:
        return saved.load(run / trained.MODEL, _SAVED)
    if saved.is_saved(name):
        return saved.load(name, _SAVED)
    if Path(name).is_file():
        raise InputError(
            f"{name} is a file: `cpdjax models convert {name} --out FOLDER` makes a folder of it "
            "that can be loaded, if it is a model of mace-torch"
        )
    raise UnknownNameError("model", str(name), names())


def is_saved(path: str | Path) -> bool:
    """Whether `path` is a folder that `load` takes."""
    return saved.is_saved(path) or trained.folder(path) is not None


save = saved.save


def convert(path: str | Path, out: str | Path, *, head: str | None = None) -> Encoder:
    """Save a model of mace-torch, as `torch.save(model, path)` wrote it, in the folder `out`.

    Nothing in the file is run, and torch is not needed.

    Args:
        path: a MACE or ScaleShiftMACE.
        head: which of several heads to keep.

    Returns:
        The model, which `load(out)` gives from now on.

    Raises:
        FileError: the file cannot be read or holds anything else, or `out` is something else.
        InputError: the model has an option that is not supported.
    """
    from cpdjax.models import mace_files

    config, state = mace_files.read(path)
    encoder = from_state_dict("mace", {**config, "head": head}, state, name=Path(out).name)
    saved.save(out, encoder, {"file": Path(path).name, "head": head})
    return encoder


def architectures() -> tuple[str, ...]:
    """The architectures that `from_state_dict` knows."""
    return tuple(_ARCHITECTURES)


def from_state_dict(
    architecture: str,
    config: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
    *,
    name: str | None = None,
) -> Encoder:
    """A model from a reference's hyperparameters and state dict, its tensors as NumPy arrays.

    Args:
        architecture: one of `architectures()`.
        config: hyperparameters under the reference's own names.
        state: the reference's `state_dict()`; `torch_files.read` reads one without torch.
        name: what to call the model; by default as the architecture.

    Raises:
        UnknownNameError: no such architecture.
        InputError: a name is missing from the state dict or read by nothing, or a wrong shape.
    """
    if architecture not in _ARCHITECTURES:
        raise UnknownNameError("architecture", architecture, _ARCHITECTURES)
    module = import_module(_ARCHITECTURES[architecture])
    return Encoder(name or architecture, *module.from_state_dict(config, state))
