"""Small models of every registered architecture: those of the goldens, or random weights."""

import importlib.util
import json
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from ase.build import molecule
from helpers import GOLDENS

from cpdjax import Structures, models
from cpdjax.errors import FileError
from cpdjax.models import registry
from cpdjax.models.training.recipes import recipe
from cpdjax.models.weights.translate import example

_spec = importlib.util.spec_from_file_location("goldens_common", GOLDENS / "common.py")
common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(common)


def _is_port(path):
    with np.load(path) as golden:
        return any(name.startswith("layer/") for name in golden.files)


PORTS = sorted(path.stem for path in GOLDENS.glob("*.npz") if _is_port(path))


@cache
def architecture_of(name):
    """Return the registered name of a golden's architecture."""
    with np.load(GOLDENS / f"{name}.npz") as golden:
        model, architecture = str(golden["model"]), str(golden["architecture"])
    return registry.pretrained()[model] if model else architecture


def ports():
    """Return every golden; the slow run takes all but the first of each architecture."""
    seen, marked = set(), []
    for name in PORTS:
        marks = [pytest.mark.slow] if architecture_of(name) in seen else []
        marked.append(pytest.param(name, marks=marks))
        seen.add(architecture_of(name))
    return marked


def every_architecture():
    """Return every golden as `ports`, and the architectures of the registry that have none."""
    known = {architecture_of(name) for name in PORTS}
    return [*ports(), *(pytest.param(a) for a in models.architectures() if a not in known)]


def small_model(name):
    """Return the model and the structures of a golden, or of an architecture without one."""
    return load(name)[1:] if name in PORTS else random_model(name)


def random_model(architecture):
    """Return a model of the sizes and elements that training takes, with random weights."""
    structures = Structures.from_atoms([molecule(name) for name in ("CH4", "H2O", "CH3OH")])
    module = recipe(architecture=architecture, target="gap").network((1, 6, 8))
    variables = jax.jit(module.init)(jax.random.key(0), example())
    return models.Encoder(architecture, module, variables), structures


@cache
def load(name):
    """Return a golden's arrays, its model and its structures."""
    with np.load(GOLDENS / f"{name}.npz", allow_pickle=False) as stored:
        golden = {key: stored[key] for key in stored.files}
    if str(golden["model"]):
        try:
            encoder = models.load(str(golden["model"]))
        except FileError as absent:
            pytest.skip(str(absent))
    else:
        config = json.loads(str(golden["config"]))
        state = common.state_of(golden)
        encoder = models.from_state_dict(str(golden["architecture"]), config, state)
    # Equal architectures of other weights share what was compiled if they share a name.
    encoder = replace(encoder, name=encoder.name.split("-")[0])
    more = {k: golden[k] for k in ("cells", "pbc", "charge", "unpaired") if k in golden}
    arrays = (golden[k] for k in ("numbers", "positions", "offsets"))
    return golden, encoder, Structures(name, *arrays, **more)
