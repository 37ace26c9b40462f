"""The zoo: what every entry must hold, and features that stay what they were."""

import importlib.util

import jax
import numpy as np
import pytest
from helpers import GOLDENS

import cpdjax
from cpdjax import models
from cpdjax.data.qm9 import HELD_OUT
from cpdjax.errors import InputError
from cpdjax.models import naming, runs, zoo
from cpdjax.models.training.recipes import read_config, trainable

NAMES = zoo.names()
FIRST = "painn-qm9-gap"  # the others take a compilation each


def test_five_architectures_by_two_objectives():
    assert set(NAMES) == {f"{a}-qm9-{t}" for a in trainable() for t in ("gap", "energy")}


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_has_learned_on_the_common_budget(name):
    folder, card = zoo.folder(name), zoo.card(name)
    assert card["test_mae"] < card["composition_mae"] / 3 < card["mean_mae"]
    assert (card["molecules"], card["molecules_seen"], card["seed"]) == (20_000, 99_680, 0)
    assert {"config.json", "log.csv", "loss.png"} <= {path.name for path in folder.iterdir()}
    assert read_config(folder / "config.json")["architecture"] == card["architecture"]
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= 4 * 2**20


@pytest.mark.parametrize("name", sorted(set(naming.trained(runs=True)) - set(NAMES)))
def test_a_further_run_differs_in_its_seed_alone(name):
    model, run = naming.run_of(name)
    folder, card = zoo.folder(name), zoo.card(name)
    runs.check_config(folder)
    runs.check_model(folder)
    assert (card["name"], card["seed"], card["molecules_seen"]) == (name, run, 100_000)
    own, first = (read_config(place / "config.json") for place in (folder, zoo.folder(model)))
    assert {**own, "seed": 0} == first
    assert (folder / "log.csv").read_text().splitlines()[-1].startswith("4,3125,100000,")
    assert 0.9 < card["test_mae"] / zoo.card(model)["test_mae"] < 1.2
    assert zoo.split(name).hash == zoo.split(FIRST).hash


def test_runs_have_weights_of_their_own():
    first, run = (models.load(name) for name in (FIRST, f"{FIRST}-run1"))
    assert (run.name, run.target, run.unit) == (f"{FIRST}-run1", "gap", "eV")
    pairs = zip(*(jax.tree.leaves(one.variables["params"]) for one in (first, run)), strict=True)
    assert all(a.shape == b.shape and not np.array_equal(a, b) for a, b in pairs)
    water = cpdjax.datasets.qm9(3, seed=1)
    assert not np.allclose(first.predict(water), run.predict(water), atol=1e-4)


def test_the_whole_zoo_is_small():
    assert sum(p.stat().st_size for p in naming.ZOO.rglob("*") if p.is_file()) < 25e6


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_holds_out_the_molecules_that_are_drawn_as_held_out(name):
    assert read_config(zoo.folder(name) / "config.json")["held_out"] == HELD_OUT
    assert len(zoo.split(name).held_out) == HELD_OUT
    drawn = cpdjax.datasets.qm9(HELD_OUT, 0).ids
    np.testing.assert_array_equal(zoo.split(name).held_out, drawn)


def test_the_zoo_is_not_probed_on_what_it_has_seen():
    seen = zoo.split(FIRST)
    with pytest.raises(InputError, match="qm9-probe"):
        seen.check_unseen(FIRST, seen.of(cpdjax.datasets.qm9(), "validation"))
    seen.check_unseen(FIRST, zoo.qm9_probe(50, seed=4))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == FIRST else pytest.mark.slow) for n in NAMES]
)
def test_stored_features_are_those_computed_now(name):
    spec = importlib.util.spec_from_file_location("make_zoo", GOLDENS / "make_zoo.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    fresh = dict(made.arrays([name]))
    with np.load(GOLDENS / "zoo.npz") as stored:
        layers = [key for key in stored.files if key.startswith(f"{name}/")]
        assert set(layers) == set(fresh)
        for layer in layers:
            scale = np.abs(stored[layer]).max()
            np.testing.assert_allclose(fresh[layer], stored[layer], rtol=0, atol=1e-9 * scale)
