"""Models by name: make, load, convert and save them.

What a name or a path stands for is said in `naming.py`; the file of a model is imported when that
model is loaded, and JAX and Flax not before: names are asked for by programs that only list them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

# Before the function of the same name is defined: importing the folder later would replace it.
import cpdjax.models.architectures  # noqa: F401
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import naming, objects, registry
from cpdjax.models.interface import Model
from cpdjax.models.registry import register

if TYPE_CHECKING:
    import numpy as np

    from cpdjax.models.encoder import Encoder
    from cpdjax.models.graph import Graph
    from cpdjax.models.weights.saved_models import save
    from cpdjax.models.wrapped import wrap

__getattr__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "encoder": ["Encoder"],
        "graph": ["Graph"],
        "weights.saved_models": ["save"],
        "wrapped": ["wrap"],
    },
)[0]

__all__ = [
    "Encoder",
    "Graph",
    "Model",
    "architectures",
    "convert",
    "from_state_dict",
    "is_saved",
    "load",
    "names",
    "register",
    "save",
    "wrap",
]


def names() -> tuple[str, ...]:
    """Return the names of the models that come with cpdjax or with a wheel.

    Further training runs of one model, such as "painn-qm9-gap-run1", are not among them:
    `naming.trained(runs=True)` has their names.

    >>> "sevennet-0" in names()
    True
    """
    return naming.shipped()


def load(name: str | Path, **options: Any) -> Model:
    """Return the model of this name, of a folder that `save` or `train` wrote, or of your own code.

    A path, that is a `Path` or a text with a separator, is always a folder. A name without one is a
    model of `names()` or a folder where the program runs; where it is both, it is refused: write
    "./NAME" for the folder and "cpdjax:NAME" for the model of cpdjax.

    "package.module:object" imports a model of your own, or calls what makes one without arguments.
    That runs the code of the module, which is looked for in the folder where the program runs, too.

    Args:
        options: choices of a pretrained model that its own code leaves to the caller. SO3LR has
            `long_range_cutoff` (Å): None, the default here, sums electrostatics and dispersion over
            all pairs of a molecule; 12.0 is what the calculator of SO3LR does by default.
            "painn-untrained" and its like have `seed`, that of their random weights; the model is
            then called "painn-untrained-run3", a name that loads as well. An ensemble of ANI has
            `member`: the number of one of its networks, from 0, which is called "ani-1x-member3"
            and loads by this name as well.

    Raises:
        UnknownNameError: there is no model of this name, or it has no such option.
        InputError: the name is both that of a model of cpdjax and that of a folder here; or the
            object of your own cannot be imported or is no model.
        FileError: the weights are not installed, or they are not the published or saved ones.

    >>> load("ani-2x-aev").irreps["aev"]
    1008x0e
    """
    if objects.is_place(name):
        if options:
            raise InputError(f"{name} takes no options, got {', '.join(options)}")
        return objects.load(str(name))
    found = naming.find(name)
    if found is None:
        raise _nothing(name)
    if found.folder is None:
        made: Model = _loader(found.name, options)(found.name, **options)
        return made
    member = options.pop("member", None)
    if options:
        raise InputError(f"{name} takes no options, got {', '.join(options)}")
    from cpdjax.models import runs
    from cpdjax.models.weights import saved_models

    if found.run:
        runs.check_model(found.run)
    encoder = saved_models.load(found.weights())
    if member is not None:
        encoder = registry.file_of("ani").member_of(encoder, member)
    if not found.run:
        return encoder
    card = runs.card(found.run)
    return replace(encoder, target=card.target, unit=card.unit)


def _loader(name: str, options: Mapping[str, Any]) -> Callable[..., Model]:
    """Return the function that loads a pretrained model and takes these options."""
    load: Callable[..., Model]
    if naming.untrained(name):
        from cpdjax.models import untrained

        load = untrained.load
    else:
        load = registry.file_of(registry.pretrained()[name]).load
    known = [option for option in inspect.signature(load).parameters if option != "name"]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known)
    return load


def _nothing(name: str | Path) -> InputError:
    """Return what to say where there is no model."""
    if os.path.isfile(name):  # False for what cannot be a path
        return InputError(
            f"{name} is a file: `cpdjax models convert {name} --out FOLDER` makes a folder of it "
            "that can be loaded, if it is of mace-torch, megnet or nequix, or an archive of ANI"
        )
    return UnknownNameError("model", str(name), naming.shipped(runs=True))


def is_saved(path: str | Path) -> bool:
    """Return whether `path` is a folder that `load` takes, or a name of the zoo.

    Raises:
        InputError: the name is both that of a model of cpdjax and that of a folder here.
    """
    found = naming.find(path)
    return found is not None and found.folder is not None


def convert(
    path: str | Path, out: str | Path, *, head: str | None = None
) -> Encoder | list[Encoder]:
    """Save the model of another program's file in the folder `out`, which `load` takes.

    Nothing in the file is run, and the program that wrote it is not needed. What it is follows from
    its content:

    - a model of mace-torch, as `torch.save(model, path)` wrote it;
    - a network of megnet, NAME.hdf5, beside which NAME.hdf5.json lies;
    - the source distribution of megnet 1.3.2, `megnet-1.3.2.tar.gz`: its 22 networks become folders
      below `out`, such as "megnet-qm9-gap" and "megnet-mp-formation-energy";
    - a model of nequix, NAME.nqx;
    - networks of ANI as NeuroChem wrote them (ANI-2x): a folder, or a tar archive, of `.params`,
      `.nnf`, `.wparam` and `.bparam` files.

    Args:
        path: the file or the folder.
        head: the head to keep, where a model of mace-torch has several.

    Returns:
        The model, or the models of a file that holds several.

    Raises:
        FileError: the file cannot be read or holds anything else, or `out` exists and is no saved
            model.
        InputError: the model has an option that is not supported.
    """
    from cpdjax.models.weights import converters

    found = converters.convert(path, out, head=head)
    return found[0] if len(found) == 1 else found


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
    from cpdjax.models.encoder import Encoder

    if architecture not in architectures():
        raise UnknownNameError("architecture", architecture, architectures())
    made = registry.file_of(architecture).from_state_dict(config, state)
    return Encoder(name or architecture, *made)
