"""The registry: one file and one line add an architecture, and everything knows it."""

import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from examples import every_architecture, random_model
from helpers import call

from cpdjax import assert_equivariant, models
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import registry
from cpdjax.models.training.recipes import trainable

#: A whole architecture: an element's embedding, weighed by the sum of its neighbours' distances.
TOY = """
import jax.numpy as jnp
from e3nn_jax import Irreps, IrrepsArray
from flax import linen as nn

from cpdjax.models import Encoder
from cpdjax.models.interface import Card, Training
from cpdjax.models.weights.translate import options, translate


class Toy(nn.Module):
    width: int = 2
    cutoff: float = 3.0
    elements = tuple(range(1, 10))
    periodic = True
    parity = True

    @property
    def irreps(self):
        return {"embedding": Irreps(f"{self.width}x0e")}

    def memory(self, atoms, neighbours):
        return atoms * neighbours

    @nn.compact
    def __call__(self, graph):
        x = nn.Embed(10, self.width, name="element")(graph.numbers).astype(graph.dtype)
        near = jnp.where(graph.edge_mask, graph.distances, 0).sum(1)
        return {"embedding": IrrepsArray(self.irreps["embedding"], x)}, x.sum(1) * near


def from_state_dict(config, state):
    module = Toy(**options(Toy, config))
    return module, translate(module, state, {"params/element/embedding": "weight"})


TRAINING = Training({"width": 3}, learning_rate=1e-2)
CARDS = {"toy-1": Card("toy", "MIT", "nothing at all")}


def load(name):
    module = Toy()
    variables = {"params": {"element": {"embedding": jnp.ones((10, 2))}}}
    return Encoder(name, module, variables)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Register a toy architecture whose file lies in a folder of its own."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "toy_architecture.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setattr(registry, "ENTRIES", dict(registry.ENTRIES))
    models.register("toy", "toy_architecture:Toy", pretrained=["toy-1"])
    yield
    sys.modules.pop("toy_architecture", None)


@pytest.mark.usefixtures("toy")
def test_a_registered_architecture_is_known_everywhere(tmp_path):
    assert "toy" in models.architectures()
    assert "toy" in trainable()
    assert "toy-1" in models.names()
    made = models.from_state_dict("toy", {"width": 2}, {"weight": np.ones((10, 2))})
    models.save(tmp_path / "saved", made)
    assert models.load(tmp_path / "saved").architecture == made.architecture
    assert models.load("toy-1").architecture == made.architecture
    status, printed, errors = call("models")
    assert (status, "toy-1" in printed, "nothing at all" in printed) == (0, True, True), errors


@pytest.mark.usefixtures("toy")
def test_a_registered_architecture_is_tested_for_equivariance():
    assert "toy" in [name for case in every_architecture() for name in case.values]
    assert_equivariant(*random_model("toy"), dtype="float64")


@pytest.mark.usefixtures("toy")
def test_a_registered_architecture_is_trained(tmp_path):
    frames = [molecule(name) for name in ("CH4", "H2O", "NH3", "C2H2", "CO2", "HCN") * 6]
    for i, frame in enumerate(frames):
        frame.info |= {"id": f"molecule-{i}", "gap": float(len(frame))}
    write(tmp_path / "some.xyz", frames)
    (tmp_path / "recipe.toml").write_text(
        "validation = 6\nheld_out = 6\nbatch_size = 2\nepochs = 1\n"
    )
    status, _, errors = call("train", tmp_path / "recipe.toml", "--model", "toy", "--target", "gap",
                             "--dataset", tmp_path / "some.xyz", "--train", "24",
                             "--out", tmp_path / "run")  # fmt: skip
    assert status == 0, errors
    assert type(models.load(tmp_path / "run").architecture.network).__name__ == "Toy"


def _models_of_its_file(entry):
    """Every model that some line says this line's file loads."""
    file = entry.path.partition(":")[0]
    return {
        model
        for other in registry.ENTRIES.values()
        if other.path.partition(":")[0] == file
        for model in (*other.pretrained, *other.parts)
    }


def test_every_entry_is_true():
    """Every class is where its line says, and every file offers what its line promises."""
    for name, entry in registry.ENTRIES.items():
        assert registry.name_of(registry.class_of(name)) == name
        offered = vars(registry.file_of(name))
        if entry.kind != "part":  # the rest of its file is of another line
            assert set(offered.get("CARDS", {})) == _models_of_its_file(entry)
            assert ("load" in offered) == bool(entry.pretrained)
        assert ("from_state_dict" in offered) == (entry.kind == "architecture")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("painn", "mine:PaiNN"), "'painn' is registered already"),
        (("mine", "mine:Mine", ["so3lr"]), "'so3lr' is registered already"),
        (("mine", "mine.Mine"), "expected the path of a class"),
    ],
)
def test_names_of_others_and_other_paths_are_refused(arguments, match):
    name, path, *more = arguments
    before = dict(registry.ENTRIES)
    with pytest.raises(InputError, match=match):
        models.register(name, path, pretrained=more[0] if more else ())
    assert before == registry.ENTRIES


def test_files_and_classes_that_are_not_there(monkeypatch):
    monkeypatch.setattr(registry, "ENTRIES", dict(registry.ENTRIES))
    models.register("absent", "no_such_module:Absent")
    models.register("empty", "json:Absent")
    with pytest.raises(InputError, match="cannot import no_such_module"):
        models.from_state_dict("absent", {}, {})
    with pytest.raises(InputError, match="no such class"):
        registry.class_of("empty")
    with pytest.raises(UnknownNameError, match="did you mean painn"):
        registry.file_of("pain")


def test_names_are_listed_without_importing_an_architecture():
    code = (
        "import sys; from cpdjax.models import names, architectures; names(); architectures();"
        "assert not [m for m in sys.modules if m.startswith('cpdjax.models.architectures.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
