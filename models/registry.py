"""Register every architecture, descriptor and part of a saved model: one name, one line.

A line says where a class is. All else that is known of it stands in the file of the class, under
agreed names; this file is imported when it is needed, never to list names:

    from_state_dict   Return module and variables of a reference's configuration and state dict,
                      and "mean" where the output is the mean of the atoms' parts, not their sum.
    TRAINING          The sizes of the network and the peak learning rate for `cpdjax train`
                      (`interface.Training`); an architecture without it cannot be trained.
    load, CARDS       For pretrained weights: the function that returns the model of a name, and
                      the facts about each (`interface.Card`), by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

from cpdjax.errors import InputError, UnknownNameError

Kind = Literal["architecture", "descriptor", "part"]


@dataclass(frozen=True)
class Entry:
    """Say where a registered class is, and which models its file offers."""

    path: str
    """The module that defines the class, and the class: "package.module:Class"."""
    pretrained: tuple[str, ...] = ()
    """Names of the models that `load` of the same file returns."""
    kind: Kind = "architecture"
    """A "descriptor" has no weights; a "part" is a Flax module inside or around architectures."""


_ARCHITECTURES, _DESCRIPTORS = "cpdjax.models.architectures", "cpdjax.models.descriptors"
_CHGNET = ("chgnet-0.3.0", "chgnet-0.2.0", "chgnet-r2scan")
_SEVENNET = ("sevennet-0", "sevennet-0-22may2024", "sevennet-l3i5")

ENTRIES: dict[str, Entry] = {
    "ani": Entry(f"{_ARCHITECTURES}.ani:ANI", ("ani-1x",)),
    "aev": Entry(f"{_DESCRIPTORS}.aev:AEV", ("ani-2x-aev",), "descriptor"),
    "chgnet": Entry(f"{_ARCHITECTURES}.chgnet:CHGNet", _CHGNET),
    "coulomb": Entry(
        f"{_DESCRIPTORS}.coulomb:CoulombSpectrum", ("coulomb-spectrum",), "descriptor"
    ),
    "composition-only": Entry(
        f"{_DESCRIPTORS}.graph:CompositionOnly", ("composition-only",), "descriptor"
    ),
    "bond-graph": Entry(f"{_DESCRIPTORS}.graph:BondGraph", ("bond-graph",), "descriptor"),
    "so3krates": Entry(f"{_ARCHITECTURES}.so3krates:So3krates", ("so3lr",)),
    "nequip": Entry(f"{_ARCHITECTURES}.nequip:NequIP", _SEVENNET),
    "schnet": Entry(f"{_ARCHITECTURES}.schnet:SchNet"),
    "dimenet++": Entry(f"{_ARCHITECTURES}.dimenet:DimeNetPlusPlus"),
    "painn": Entry(f"{_ARCHITECTURES}.painn:PaiNN"),
    "visnet": Entry(f"{_ARCHITECTURES}.visnet:ViSNet"),
    "mace": Entry(f"{_ARCHITECTURES}.mace:MACE"),
    "long-range": Entry("cpdjax.models.blocks.long_range:LongRange", kind="part"),
    "standardized": Entry("cpdjax.models.training.standardized:Standardized", kind="part"),
}


def register(
    name: str, path: str, *, pretrained: Iterable[str] = (), kind: Kind = "architecture"
) -> None:
    """Add an architecture, a descriptor or a part of your own for the rest of this process.

    From now on `cpdjax.models` knows the name like its own. A saved model records this name, and
    can be loaded in every process that has registered it.

    Args:
        name: the name in saved models and in recipes, and of `from_state_dict`.
        path: the module that defines the class, and the class: "package.module:Class".
        pretrained: names of the models that `load` of that module returns.
        kind: "architecture", "descriptor" (no weights), or "part" (a Flax module that an
            architecture holds).

    Raises:
        InputError: the name, or one of `pretrained`, belongs to another class already; `path` has
            another form.
    """
    entry = Entry(path, tuple(pretrained), kind)
    module, _, found = path.partition(":")
    if not module or not found.isidentifier():
        raise InputError(f"expected the path of a class, 'package.module:Class', got {path!r}")
    others = {known: its for known, its in ENTRIES.items() if (known, its.path) != (name, path)}
    taken = {*others, *(model for its in others.values() for model in its.pretrained)}
    for new in (name, *entry.pretrained):
        if new in taken:
            raise InputError(f"the name {new!r} is registered already: choose another one")
    ENTRIES[name] = entry


def names(*kinds: Kind) -> tuple[str, ...]:
    """Return the registered names of these kinds.

    >>> "painn" in names("architecture")
    True
    """
    return tuple(name for name, entry in ENTRIES.items() if entry.kind in kinds)


def pretrained() -> dict[str, str]:
    """Return the registered name of every model that has weights, or that needs none, by model.

    >>> pretrained()["so3lr"]
    'so3krates'
    """
    return {model: name for name, entry in ENTRIES.items() for model in entry.pretrained}


def name_of(found: type) -> str | None:
    """Return the registered name of a class, or None."""
    path = f"{found.__module__}:{found.__qualname__}"
    return next((name for name, entry in ENTRIES.items() if entry.path == path), None)


def file_of(name: str) -> ModuleType:
    """Import the file of a registered class.

    Raises:
        UnknownNameError: the name is not registered.
        InputError: the file cannot be imported.
    """
    if name not in ENTRIES:
        raise UnknownNameError("architecture", name, names("architecture"))
    path = ENTRIES[name].path.partition(":")[0]
    try:
        return import_module(path)
    except ImportError as error:
        raise InputError(f"cannot import {path}, the file of {name!r}: {error}") from None


def class_of(name: str) -> type:
    """Return a registered class.

    Raises:
        UnknownNameError: the name is not registered.
        InputError: there is no such class.
    """
    module, wanted = file_of(name), ENTRIES[name].path.partition(":")[2]
    found = getattr(module, wanted, None)
    if not isinstance(found, type):
        raise InputError(f"{name!r} is registered as {wanted} of {module.__name__}: no such class")
    return found
