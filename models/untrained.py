"""Networks of the zoo before training: what random weights already tell of a molecule.

A control. They have the sizes, the elements and the random weights with which the training of the
zoo begins, so that what a trained model tells beyond them is what training gave it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import jax

from cpdjax.bounds import MOST_SEED
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.models.encoder import Encoder
from cpdjax.models.naming import untrained
from cpdjax.models.training.recipes import recipe
from cpdjax.models.training.standardized import Standardized
from cpdjax.models.weights.translate import example

ELEMENTS = (1, 6, 7, 8, 9)
"""The elements of QM9, which the zoo is trained on."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["variables"],
    meta_fields=["name", "architecture", "aggregate", "target", "unit"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Untrained(Encoder):
    """Hold an architecture with random weights, which has features and predicts nothing."""

    def predict(self, structures: Structures, **options: Any) -> NoReturn:
        """Refuse to predict.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{self.name} was never trained, so it predicts nothing: probe its features with "
            "cpdjax.sweep"
        )


def load(name: str, seed: int | None = None) -> Untrained:
    """Return the network of a name such as "painn-untrained", or "painn-untrained-run3" of seed 3.

    Args:
        name: a name that says architecture and seed.
        seed: the random seed of the weights, where the name says none.

    Raises:
        UnknownNameError: the architecture cannot be trained.
        InputError: the seed is no whole number from 0, or the name says another one.
    """
    architecture, named = untrained(name) or (name, 0)
    chosen = named if seed is None else seed
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen <= MOST_SEED:
        raise InputError(f"seed must be a whole number from 0 to {MOST_SEED:,}, got {seed!r}")
    if named not in (0, chosen):
        raise InputError(f"{name} has seed {named}, and seed={chosen} is asked for: give one")
    network = recipe(architecture=architecture, target="gap").network(ELEMENTS)
    module = Standardized(network, ELEMENTS)
    # As in training, so that the weights are those that training begins with.
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        variables = dict(module.init(jax.random.key(chosen), example()))
    full = f"{architecture}-untrained" + (f"-run{chosen}" if chosen else "")
    return Untrained(full, module, variables)
