"""Models by name: make, load, convert and save them.

Names come from `registry.py` and the folders of `zoo`; the file of a model is imported when that
model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Before the function of the same name is defined: importing the folder later would replace it.
import cpdjax.models.architectures  # noqa: F401
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import registry, zoo
from cpdjax.models.encoder import Encoder
from cpdjax.models.interface import Model
from cpdjax.models.registry import register
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
    "register",
    "save",
]


def names() -> tuple[str, ...]:
    """Return the names that `load` knows.

    >>> "sevennet-0" in names()
    True
    """
    return (*registry.pretrained(), *zoo.names())


def load(name: str | Path) -> Model:
    """Return the model of this name, or of the folder that `save`, `convert` or `train` wrote.

    Raises:
        UnknownNameError: there is no model of this name.
        FileError: the weights are not installed, or they are not the published or saved ones.

    >>> load("ani-2x-aev").irreps["aev"]
    1008x0e
    """
    registered = registry.pretrained()
    if name in registered:
        return registry.file_of(registered[str(name)]).load(name)
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
    """Return whether `path` is a folder that `load` takes."""
    return saved_models.is_saved(path) or zoo.folder(path) is not None


save = saved_models.save


def convert(path: str | Path, out: str | Path, *, head: str | None = None) -> Encoder:
    """Save a model of mace-torch, as `torch.save(model, path)` wrote it, in the folder `out`.

    Nothing in the file is run, and torch is not needed.

    Args:
        path: the file of a MACE or ScaleShiftMACE.
        head: the head to keep, where the model has several.

    Returns:
        The model, which `load(out)` gives from now on.

    Raises:
        FileError: the file cannot be read or holds anything else, or `out` exists and is no saved
            model.
        InputError: the model has an option that is not supported.
    """
    from cpdjax.models.weights import mace_files

    config, state = mace_files.read(path)
    encoder = from_state_dict("mace", {**config, "head": head}, state, name=Path(out).name)
    saved_models.save(out, encoder, {"file": Path(path).name, "head": head})
    return encoder


def architectures() -> tuple[str, ...]:
    """Return the architectures that `from_state_dict` knows."""
    return registry.names("architecture")


def from_state_dict(
    architecture: str,
    config: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
    *,
    name: str | None = None,
) -> Encoder:
    """Return the model of a reference's hyperparameters and state dict.

    Args:
        architecture: one of `architectures()`.
        config: hyperparameters under the reference's own names.
        state: the reference's `state_dict()`, its tensors as NumPy arrays; `torch_files.read` reads
            one without torch.
        name: the name of the model; by default that of the architecture.

    Raises:
        UnknownNameError: there is no such architecture.
        InputError: the state dict lacks a name, or has one that nothing reads, or an array has
            another shape.
    """
    if architecture not in architectures():
        raise UnknownNameError("architecture", architecture, architectures())
    made = registry.file_of(architecture).from_state_dict(config, state)
    return Encoder(name or architecture, *made)
