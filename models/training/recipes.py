"""What to train, on what, how long: the settings of a training run, and the zoo's own."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from flax import linen as nn
from pydantic import BaseModel, ConfigDict, Field

from cpdjax.configuration import checked, read_toml
from cpdjax.data.qm9 import TARGETS
from cpdjax.errors import FileError, UnknownNameError
from cpdjax.models.zoo import PROBE

#: architecture: its Flax module, the sizes of the zoo's model, its learning rate. Our choice: what
#: trains on a core of a laptop in minutes; rates near the published ones, higher for short runs.
NETWORKS: dict[str, tuple[str, dict[str, Any], float]] = {
    "schnet": (
        "cpdjax.models.architectures.schnet.SchNet",
        {
            "hidden_channels": 96,
            "num_filters": 96,
            "num_interactions": 4,
            "num_gaussians": 32,
            "cutoff": 5.0,
        },
        2e-3,
    ),
    "dimenet++": (
        "cpdjax.models.architectures.dimenet.DimeNetPlusPlus",
        {
            "hidden_channels": 48,
            "num_blocks": 2,
            "int_emb_size": 24,
            "out_emb_channels": 64,
            "num_spherical": 4,
            "num_output_layers": 1,
            "cutoff": 4.5,
        },
        2e-3,
    ),
    "painn": (
        "cpdjax.models.architectures.painn.PaiNN",
        {"n_atom_basis": 48, "n_interactions": 3, "n_embeddings": 10, "cutoff": 5.0},
        2e-3,
    ),
    "visnet": (
        "cpdjax.models.architectures.visnet.ViSNet",
        {
            "hidden_channels": 40,
            "num_heads": 4,
            "num_layers": 3,
            "num_rbf": 20,
            "max_z": 10,
            "cutoff": 5.0,
        },
        1e-3,
    ),
    "mace": (
        "cpdjax.models.architectures.mace.MACE",
        {
            "hidden": ("24x0e + 24x1o + 24x2e", "24x0e"),
            "interactions": (
                "RealAgnosticInteractionBlock",
                "RealAgnosticResidualInteractionBlock",
            ),
            "correlation": (2, 2),
            "lmax": 2,
            "radial_hidden": (32, 32),
            "average_neighbours": 14.0,
            "cutoff": 5.0,
        },
        1e-2,
    ),
}

_FOREIGN = ("split",)  # what a run's config.json holds beside its recipe
_ALIASES = {"energy": "u0_atom"}
_EXTENSIVE = {target.name for target in TARGETS if target.extensive}


class Recipe(BaseModel):
    """Settings of a training run; with the data, all that decides its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    """One of `NETWORKS`."""
    target: str
    """A scalar target of the data."""
    readout: Literal["mean", "sum"]
    """Of the atoms' parts: "mean" for intensive targets, "sum" for extensive ones."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of the architecture that differ from the zoo's."""
    train: Annotated[int, Field(ge=1)] = 20_000
    """Molecules."""
    validation: Annotated[int, Field(ge=1)] = 2_000
    probe: Annotated[int, Field(ge=1)] = PROBE
    split_seed: Annotated[int, Field(ge=0)] = 0
    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)]
    """At its highest."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    clip: Annotated[float, Field(gt=0)] = 10.0
    """Largest norm of a step's gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of weights."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the first weights and the order of molecules."""
    dataset: str = "qm9"

    @property
    def name(self) -> str:
        """Architecture, data, target: "painn-qm9-gap"."""
        aliases = {full: short for short, full in _ALIASES.items()}
        return f"{self.architecture}-{self.dataset}-{aliases.get(self.target, self.target)}"

    def network(self, elements: tuple[int, ...]) -> nn.Module:
        """The architecture's Flax module.

        Raises:
            UnknownNameError: an option that it does not have.
        """
        path, sizes, _ = NETWORKS[self.architecture]
        module, _, name = path.rpartition(".")
        made = getattr(import_module(module), name)
        fields = set(made.__dataclass_fields__) - {"parent", "name"}
        for option in self.options:
            if option not in fields:
                raise UnknownNameError(f"option of {name}", option, fields)
        own = {"elements": elements} if "elements" in fields else {}
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in self.options.items()}
        return made(**{**sizes, **own, **options})


def recipe(**values: Any) -> Recipe:
    """A recipe, its gaps filled: "energy" is U0's atomization energy, the readout as it must be.

    Raises:
        UnknownNameError: no such setting or architecture.
        InputError: a value that does not fit.

    >>> recipe(architecture="painn", target="energy").readout
    'sum'
    """
    architecture = values.get("architecture")
    if architecture not in NETWORKS:
        raise UnknownNameError("architecture to train", str(architecture), NETWORKS)
    target = _ALIASES.get(values.get("target", ""), values.get("target"))
    own = {
        "readout": "sum" if target in _EXTENSIVE else "mean",
        "learning_rate": NETWORKS[architecture][2],
    }
    return checked(Recipe, {**own, **values, "target": target})


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML file, or in the `config.json` of a run.

    Raises:
        FileError: it cannot be read.
    """
    path = Path(path)
    if path.suffix != ".json":
        return read_toml(path)
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {error}") from None
    return {name: value for name, value in values.items() if name not in _FOREIGN}
