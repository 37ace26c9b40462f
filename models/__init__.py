"""Models by name: what every model offers, and the one place where they are registered.

A model's file is imported only when that model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import zoo
from cpdjax.models.encoder import Encoder
from cpdjax.models.interface import Model
from cpdjax.models.weights import saved_models

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
    "ani-1x": "cpdjax.models.architectures.ani",
    "ani-2x-aev": "cpdjax.models.descriptors.aev",
    "chgnet-0.3.0": "cpdjax.models.architectures.chgnet",
    "chgnet-0.2.0": "cpdjax.models.architectures.chgnet",
    "chgnet-r2scan": "cpdjax.models.architectures.chgnet",
    "coulomb-spectrum": "cpdjax.models.descriptors.coulomb",
    "so3lr": "cpdjax.models.architectures.so3krates",
    "sevennet-0": "cpdjax.models.architectures.nequip",
    "sevennet-0-22may2024": "cpdjax.models.architectures.nequip",
    "sevennet-l3i5": "cpdjax.models.architectures.nequip",
}

# architecture: the module whose `from_state_dict(config, state)` makes module and variables and,
# where the output is not the sum of the atoms' parts, says what it is
_ARCHITECTURES: dict[str, str] = {
    "ani": "cpdjax.models.architectures.ani",
    "chgnet": "cpdjax.models.architectures.chgnet",
    "dimenet++": "cpdjax.models.architectures.dimenet",
    "schnet": "cpdjax.models.architectures.schnet",
    "painn": "cpdjax.models.architectures.painn",
    "mace": "cpdjax.models.architectures.mace",
    "nequip": "cpdjax.models.architectures.nequip",
    "so3krates": "cpdjax.models.architectures.so3krates",
    "visnet": "cpdjax.models.architectures.visnet",
}


def names() -> tuple[str, ...]:
    """The names that `load` knows.

    >>> "sevennet-0" in names()
    True
    """
    return (*_REGISTRY, *zoo.names())


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
    run = zoo.folder(name)
    if run is not None:
        return saved_models.load(run / zoo.MODEL)
    if saved_models.is_saved(name):
        return saved_models.load(name)
    if Path(name).is_file():
        raise InputError(
            f"{name} is a file: `cpdjax models convert {name} --out FOLDER` makes a folder of it "
            "that can be loaded, if it is a model of mace-torch"
        )
    raise UnknownNameError("model", str(name), names())


def is_saved(path: str | Path) -> bool:
    """Whether `path` is a folder that `load` takes."""
    return saved_models.is_saved(path) or zoo.folder(path) is not None


save = saved_models.save


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
    from cpdjax.models.weights import mace_files

    config, state = mace_files.read(path)
    encoder = from_state_dict("mace", {**config, "head": head}, state, name=Path(out).name)
    saved_models.save(out, encoder, {"file": Path(path).name, "head": head})
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
