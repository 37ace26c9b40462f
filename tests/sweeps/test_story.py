"""The sweep that needs no argument: its models, molecules, layers; folders told apart."""

import json
import shutil
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from e3nn_jax import IrrepsArray
from helpers import Toy, one_line

import cpdjax
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, LeftOutWarning, UnknownNameError
from cpdjax.features import extraction, sources
from cpdjax.features.layer_names import LAST, last_interaction
from cpdjax.models import zoo
from cpdjax.sweeps import inputs, sweep
from cpdjax.sweeps.left_out import left_out_of
from cpdjax.sweeps.settings import DEFAULT_FEATURES, DESCRIPTORS, Settings
from cpdjax.sweeps.table import along_path

N = 30
RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"formula": ["CH4", "C2H6", "H2O"] * 10, "gap": RNG.normal(size=N)})
X = RNG.normal(size=(N, 4))
TAGGED = IrrepsArray("2x0e + 2x1o", RNG.normal(size=(N, 8)))
QUICK = {"folds": 2, "repeats": 1, "sizes": [N]}


def few(names=("CH4", "C2H6", "H2O")):
    frames = [molecule(name) for name in names * (N // len(names))]
    return Structures.from_atoms(frames, "few", targets={"gap": RNG.normal(size=len(frames))})


# What is probed without arguments


def test_the_default_features_are_five_architectures_by_two_objectives_and_descriptors():
    assert set(DEFAULT_FEATURES) == {
        *(f"{a}-qm9-{t}" for a in ("dimenet++", "mace", "painn", "schnet", "visnet")
          for t in ("gap", "energy")),
        *DESCRIPTORS,
    }  # fmt: skip
    assert len(DEFAULT_FEATURES) == 12


@pytest.fixture
def asked(monkeypatch):
    """What a sweep asks for, which is not computed."""
    said = {}

    def load(dataset, targets, n, settings, known):
        said.update(dataset=dataset, settings=settings)
        raise FileError("that was all")

    monkeypatch.setattr(inputs, "load", load)

    def ask(*features, **arguments):
        with pytest.raises(FileError, match="that was all"):
            cpdjax.sweep(*features, **arguments)
        return said["dataset"], said["settings"].layers, said["settings"].irreps

    return ask


@pytest.mark.slow
def test_what_is_given_replaces_the_default(asked):
    assert asked() == ("qm9-probe", (LAST,), ("all",))
    assert asked(layers=["interaction_0"]) == ("qm9-probe", ("interaction_0",), ("all",))
    assert asked(dataset="qm9", irreps=["0e"]) == ("qm9", (LAST,), ("0e",))
    assert asked(probe="equivariant") == ("qm9-probe", (LAST,), None)
    assert asked("coulomb-spectrum") == (None, None, None)
    assert asked(targets=TABLE) == (None, (LAST,), ("all",))


def test_default_models_that_cannot_take_the_molecules_are_left_out(monkeypatch):
    monkeypatch.setattr(sweep, "DEFAULT_FEATURES", (Toy("any"), Toy("no_o", elements=(1, 6))))
    structures = few()
    with pytest.warns(LeftOutWarning, match="no_o knows H, C: 10 of 30 molecules hold O"):
        table = cpdjax.sweep(dataset=structures, targets=["gap"], **QUICK)
    assert list(table.model.values) == ["any"]
    assert list(left_out_of(table)["models"]) == ["no_o"]
    whole = cpdjax.sweep(dataset=structures, targets=["gap"], skip_unknown=True,
                         **QUICK | {"sizes": [20]})  # fmt: skip
    assert list(whole.model.values) == ["any", "no_o"]
    assert whole.attrs["molecules"] == 20


def test_a_draw_is_filled_up_with_molecules_that_all_models_know(monkeypatch):
    structures = few(("CH4", "H2O", "C2H6"))
    monkeypatch.setitem(inputs._QM9, "qm9", lambda n, seed=0: structures if n is None else None)
    with pytest.warns(LeftOutWarning, match="with O"):
        drawn = inputs.molecules("qm9", 12, 3, known={"m": (1, 6), "any": None})
    order = np.random.default_rng(3).permutation(N)
    expected = [i for i in order if i % 3 != 1][:12]
    assert drawn.ids.tolist() == structures.ids[expected].tolist()


# The last interaction layer


def test_last_is_the_last_interaction_layer_of_each_source():
    features = {
        "deep": {"embedding": X, "interaction_0": X, "interaction_1": TAGGED, "readout": X},
        "flat": {"radial": X, "all_of_it": X**2},
        "named": {"last": X, "other": X},
    }
    table = cpdjax.sweep(features, targets=TABLE, layers=LAST, irreps="all", **QUICK)
    assert set(json.loads(table.attrs["features"])) == {
        "deep / interaction_1 / all", "flat / all_of_it / 0e", "named / last / 0e",
    }  # fmt: skip
    assert left_out_of(table) == {}
    assert last_interaction(["a", "b"]) == "b"
    with pytest.raises(UnknownNameError, match="unknown layer 'lsat'"):
        cpdjax.sweep(features, targets=TABLE, layers="lsat", **QUICK)


def test_only_the_last_layer_of_a_model_is_extracted():
    toy = Toy()
    found = cpdjax.extract(toy, few(), layers=["last"])
    assert list(found) == ["position"]


@jax.tree_util.register_pytree_node_class
@dataclass(eq=False)
class Weighted(Toy):
    """A toy with a weight, and a name that no number depends on."""

    weight: float = 1.0

    @property
    def nameless(self):
        return Weighted("", weight=self.weight)

    def features(self, batch):
        Weighted.traced += 1
        found = Toy.features(self, batch)
        return {layer: array * self.weight for layer, array in found.items()}

    def tree_flatten(self):
        return (self.weight,), self.name

    @classmethod
    def tree_unflatten(cls, name, leaves):
        return cls(name, weight=leaves[0])


def test_models_that_differ_in_weights_share_a_program():
    Weighted.traced = 0
    structures = few()
    one, two = (
        extraction.extract(Weighted(name, weight=w), structures, layers=["number"])
        for name, w in (("one", 1.0), ("two", 2.0))
    )
    assert (one.model, two.model) == ("one", "two")
    np.testing.assert_array_equal(two["number"].array, 2 * one["number"].array)
    assert Weighted.traced == 1
    gap, energy = (cpdjax.models.load(f"painn-qm9-{t}").nameless for t in ("gap", "energy"))
    assert jax.tree.structure(gap) == jax.tree.structure(energy)


# The order of layers


@pytest.mark.parametrize(
    ("paths", "order"),
    [
        ([["e", "i_0", "r"], ["e", "i_0", "i_1", "i_2", "r"]], ["e", "i_0", "i_1", "i_2", "r"]),
        ([["interaction_3"], ["interaction_1"]], ["interaction_1", "interaction_3"]),
        ([["interaction_10"], ["interaction_9"]], ["interaction_9", "interaction_10"]),
        ([["a"], ["embedding", "readout"], ["b"]], ["embedding", "a", "b", "readout"]),
        ([["readout", "x"]], ["readout", "x"]),
        ([["b", "a"], ["c"]], ["b", "a", "c"]),
        ([["a", "b"], ["b", "a"]], ["a", "b"]),
        ([], []),
    ],
)
def test_layers_of_several_models_make_one_path(paths, order):
    assert along_path(paths) == order


def test_the_axis_of_layers_follows_the_path_where_depths_differ():
    shallow = {"embedding": X, "interaction_0": X, "readout": X}
    deep = {"embedding": X, "interaction_0": X, "interaction_1": X, "readout": X}
    table = cpdjax.sweep({"s": shallow, "d": deep}, targets=TABLE, **QUICK)
    path = ["embedding", "interaction_0", "interaction_1", "readout"]
    assert list(table.layer.values) == path
    assert (table.n_features.sel(model="d") > 0).all()
    assert table.n_features.sel(model="s", layer="interaction_1").item() == 0


# Folders


def test_another_sweep_in_a_folder_is_told_before_a_model_runs(tmp_path, monkeypatch):
    structures, out = few(), tmp_path / "out"
    first = {"toy": Toy("toy"), "mine": X}
    common = {"dataset": structures, "targets": ["gap"], "out": out, **QUICK}
    cpdjax.sweep(first, **common)
    monkeypatch.setattr(sources, "kept_features", lambda *_, **__: pytest.fail("a model ran"))
    other = {
        "models.more": {"features": {**first, "more": Toy("more")}},
        "models.toy": {"features": {"mine": X}},
        "settings.seed": {"seed": 1},
        "models.toy, settings.layers": {"layers": ["last"]},
        "dataset_hash": {"dataset": structures.select(slice(None, None, -1))},
    }
    before = sorted(p.name for p in out.iterdir())
    for named, change in other.items():
        with pytest.raises(FileError) as caught:
            cpdjax.sweep(**{"features": first, **common, **change})
        one_line(caught, f"(different: {named}", "choose another folder (--out), or remove it")
    assert sorted(p.name for p in out.iterdir()) == before
    shutil.rmtree(out)
    (out / "units").mkdir(parents=True)
    with pytest.raises(FileError, match=r"units exists, but no sweep\.json"):
        cpdjax.sweep(first, **common)


def test_settings_of_the_story_are_recorded():
    record = Settings().headline.record
    assert (record["layers"], record["irreps"]) == ([LAST], ["all"])
    assert {"elements", "skip_unknown"}.isdisjoint(record)
    assert zoo.names() == DEFAULT_FEATURES[:10]
