"""Say what the name or the path of a model stands for: one rule for every function and command.

A path, that is a `Path` or a text with a separator, is a folder and never anything else. A text
without one is the name of a model that comes with cpdjax or a wheel, or of a folder where the
program runs. A name that is both is refused: `./NAME` is the folder, `cpdjax:NAME` the model.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.models import registry

SHIPPED = "cpdjax:"
"""Stands before the name of a model that comes with cpdjax where a folder has the same name."""
ZOO = Path(__file__).parent / "zoo"
CARD, CONFIG, SPLIT, MODEL, RECORD = "card.json", "config.json", "split.npz", "model", "model.json"
"""What a training run keeps in its folder, and what is in the folder of a saved model."""
_RUN = re.compile(r"(?P<model>.+)-run(?P<run>[1-9][0-9]*)|(?P<members>.+-member)(?P<member>[0-9]+)")


TRAINED_HERE = ("schnet", "dimenet++", "painn", "visnet", "mace")
"""Name the architectures of the zoo: those that `cpdjax train` knows."""
_UNTRAINED = re.compile(r"(?P<architecture>.+)-untrained(-run(?P<seed>[1-9][0-9]{0,9}))?")
CONTROLS = ("composition-only", "bond-graph", *(f"{name}-untrained" for name in TRAINED_HERE))
"""Name the controls: what no geometry, and what no training, would score."""


def untrained(name: str) -> tuple[str, int] | None:
    """Return the architecture and the random seed of an untrained model, or None for any other.

    >>> untrained("painn-untrained"), untrained("painn-untrained-run3"), untrained("so3lr")
    (('painn', 0), ('painn', 3), None)
    """
    found = _UNTRAINED.fullmatch(name)
    if found is None or found["architecture"] not in registry.names("architecture"):
        return None
    return found["architecture"], int(found["seed"] or 0)


@dataclass(frozen=True)
class Named:
    """Say which model is meant: one of a wheel or of code by its name, or that of a folder."""

    name: str
    """What results call it."""
    folder: Path | None
    """The folder of a training run or of a saved model; None: a wheel or code has the weights, or a
    random seed makes them."""

    @property
    def run(self) -> Path | None:
        """Return the folder of a finished training run, or None."""
        return self.folder if self.folder and (self.folder / CARD).is_file() else None

    def weights(self) -> Path:
        """Return the folder of the saved model.

        Raises:
            FileError: the training run has not finished.
        """
        if self.folder is None:
            raise FileError(f"{self.name} has no folder: its weights come with a wheel")
        if not self.run and not (self.folder / RECORD).is_file():
            raise FileError(
                f"{self.folder} is a training run that has not finished: go on with "
                f"`cpdjax train {self.folder / CONFIG} --out {self.folder}`"
            )
        return self.folder / MODEL if self.run else self.folder


def run_of(name: str) -> tuple[str, int]:
    """Return which model a name means, and which of its training runs: 0 is the first.

    Runs of one model have the same data and settings, and differ in the random seed alone.

    >>> run_of("painn-qm9-gap"), run_of("painn-qm9-gap-run2"), run_of("ani-1x-member3")
    (('painn-qm9-gap', 0), ('painn-qm9-gap', 2), ('ani-1x-member', 3))
    """
    found = _RUN.fullmatch(name)
    if found is None:
        return name, 0
    return found["model"] or found["members"], int(found["run"] or found["member"])


def shipped(*, runs: bool = False) -> tuple[str, ...]:
    """Return the names of all models that come with cpdjax or with a wheel.

    Of the untrained ones these are the first, of random seed 0.

    Args:
        runs: whether further training runs of these models are among them.
    """
    random = (name for name in CONTROLS if untrained(name))
    return (*registry.pretrained(), *trained(runs=runs), *random)


def trained(*, runs: bool = False) -> tuple[str, ...]:
    """Return the names of the models of `models/zoo`.

    Args:
        runs: whether their further training runs are among them, such as "painn-qm9-gap-run1".
    """
    names = sorted(path.parent.name for path in ZOO.glob(f"*/{CARD}"))
    return tuple(name for name in names if runs or run_of(name)[1] == 0)


def runs_of(name: str) -> tuple[str, ...]:
    """Return the training runs of a model of `models/zoo` that come with cpdjax, the first first.

    >>> runs_of("so3lr")
    ()
    """
    return tuple(sorted((n for n in trained(runs=True) if run_of(n)[0] == name), key=run_of))


def find(model: str | Path) -> Named | None:
    """Return what the name or the path of a model stands for, or None if there is no such model.

    Raises:
        UnknownNameError: no model of the name behind `cpdjax:` comes with cpdjax.
        InputError: the name is both that of such a model and that of a folder here.

    >>> find("painn-qm9-gap").folder.name, find("./painn-qm9-gap"), find("cpdjax:so3lr").name
    ('painn-qm9-gap', None, 'so3lr')
    """
    if is_path(model):
        return _folder(Path(model))
    text = str(model)
    name = text.removeprefix(SHIPPED)
    known = name in shipped(runs=True) or untrained(name) is not None
    here = None if text != name else _folder(Path(name))
    if text != name and not known:
        raise UnknownNameError("model of cpdjax", name, shipped(runs=True))
    if known and here:
        raise InputError(
            f"{name!r} is a model that comes with cpdjax and a folder of yours: write "
            f"'.{os.sep}{name}' for the folder, '{SHIPPED}{name}' for the model of cpdjax"
        )
    if known:
        return Named(name, ZOO / name if name in trained(runs=True) else None)
    return here


def is_path(model: str | Path) -> bool:
    """Return whether this can only be a path, and not a name.

    >>> is_path("so3lr"), is_path("./so3lr"), is_path(Path("so3lr"))
    (False, True, True)
    """
    return isinstance(model, Path) or any(sep and sep in model for sep in (os.sep, os.altsep))


def _folder(path: Path) -> Named | None:
    """Return the model of a folder, or None where it is neither a run's nor a saved model."""
    try:
        finished = (path / CARD).is_file() or (path / RECORD).is_file()
        begun = (path / CONFIG).is_file() and (path / SPLIT).is_file()
    except OSError:  # a name that is too long for a path, or a folder that may not be looked into
        return None
    return Named(path.resolve().name, path) if finished or begun else None
