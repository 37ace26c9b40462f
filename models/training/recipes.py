"""Settings of a training run: what is trained, on which molecules, for how long."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from flax import linen as nn
from pydantic import BaseModel, ConfigDict, Field

from cpdjax.configuration import checked, read_toml
from cpdjax.data.qm9 import HELD_OUT, TARGETS
from cpdjax.errors import UnknownNameError
from cpdjax.models import naming, registry, runs
from cpdjax.models.hyperparameters import make
from cpdjax.models.interface import Training

_MOST_SEED = 2**32 - 1
_FOREIGN = ("split", "format")  # A run's config.json holds these beside its recipe.
_ALIASES = {"energy": "u0_atom"}
_EXTENSIVE = {target.name for target in TARGETS if target.extensive}


class Recipe(BaseModel):
    """Hold the settings of a training run: with the data, they decide its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    architecture: str
    """One of `trainable()`."""
    target: str
    """A scalar target of the data."""
    readout: Literal["mean", "sum"]
    """How atoms' parts make the output: "mean" for intensive targets, "sum" for extensive ones."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of the architecture that differ from its `TRAINING`."""
    train: Annotated[int, Field(ge=1)] = 20_000
    """Number of molecules to train on."""
    validation: Annotated[int, Field(ge=1)] = 2_000
    """Number of molecules that the training is watched on."""
    held_out: Annotated[int, Field(ge=1)] = HELD_OUT
    """Number of molecules that the training never sees: the model is tested and probed on them."""
    split_seed: Annotated[int, Field(ge=0, le=_MOST_SEED)] = 0
    """Random seed of the split."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 5
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Number of molecules in a step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the steps in which the learning rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    clip: Annotated[float, Field(gt=0)] = 10.0
    """Largest norm of a step's gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of weights."""
    seed: Annotated[int, Field(ge=0, le=_MOST_SEED)] = 0
    """Random seed of the first weights and of the order of molecules."""
    dataset: str = "qm9"

    @property
    def name(self) -> str:
        """Return the name of architecture, data and target, such as "my-painn-qm9-gap".

        It begins with "my-", because the zoo's models have the same name without it.
        """
        aliases = {full: short for short, full in _ALIASES.items()}
        target = aliases.get(self.target, self.target)
        parts = ("my", self.architecture, Path(self.dataset).stem, target)
        return "-".join(parts).replace("/", "-").replace("\\", "-")

    def network(self, elements: tuple[int, ...]) -> nn.Module:
        """Return the architecture's Flax module.

        Raises:
            UnknownNameError: the architecture has no such option.
            InputError: an option has another type than it must have, or is out of bounds.
        """
        made: Any = registry.class_of(self.architecture)
        own = {"elements": elements} if "elements" in made.__dataclass_fields__ else {}
        sizes = training_of(self.architecture).sizes
        module: nn.Module = make(made, **{**sizes, **own, **self.options})
        return module


def trainable() -> tuple[str, ...]:
    """Return the architectures that can be trained: those whose file has `TRAINING`.

    >>> "painn" in trainable()
    True
    """
    return tuple(
        name
        for name in registry.names("architecture")
        if hasattr(registry.file_of(name), "TRAINING")
    )


def training_of(architecture: str) -> Training:
    """Return an architecture's sizes and peak learning rate, unless a recipe says otherwise.

    Raises:
        UnknownNameError: there is no such architecture, or it cannot be trained.
    """
    if architecture in registry.names("architecture"):
        found = getattr(registry.file_of(architecture), "TRAINING", None)
        if found is not None:
            return found
    raise UnknownNameError("architecture to train", architecture, trainable())


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under today's names, with a warning about an old one.

    The number of held-out molecules was called "probe" in version 0.1.0.

    >>> renamed({"held_out": 10})
    {'held_out': 10}
    """
    if "probe" not in values:
        return dict(values)
    warnings.warn("the setting 'probe' is now called 'held_out'", stacklevel=3)
    rest = {name: value for name, value in values.items() if name != "probe"}
    return {"held_out": values["probe"], **rest}


def recipe(**values: Any) -> Recipe:
    """Return a recipe, with the readout and the peak learning rate filled in.

    The target "energy" stands for the atomization energy of U0.

    Raises:
        UnknownNameError: there is no such setting or architecture.
        InputError: a value does not fit.

    >>> recipe(architecture="painn", target="energy").readout
    'sum'
    """
    values = renamed(values)
    training = training_of(str(values.get("architecture")))
    target = values.get("target")
    target = _ALIASES.get(target, target) if isinstance(target, str) else target
    own = {
        "readout": "sum" if isinstance(target, str) and target in _EXTENSIVE else "mean",
        "learning_rate": training.learning_rate,
    }
    return checked(Recipe, {**own, **values, "target": target})


def read_config(path: str | Path) -> dict[str, Any]:
    """Read the settings in a TOML file, or in the `config.json` of a run.

    Raises:
        FileError: the file cannot be read, or a finished run's was changed.
    """
    path = Path(path)
    if path.suffix != ".json":
        return read_toml(path)
    if path.name == naming.CONFIG and (path.parent / naming.CARD).exists():
        runs.check_config(path.parent)
    return {name: value for name, value in runs.read_json(path).items() if name not in _FOREIGN}
