"""Training on tiny budgets: splits, baselines, resume, what is written."""

import csv
import json
import shutil

import jax
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from cpdjax import models
from cpdjax.data import datasets, splits
from cpdjax.data.composition import composition
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.models.training import batches, standardized
from cpdjax.models.training import run as training
from cpdjax.models.training.baselines import baselines
from cpdjax.models.training.recipes import recipe, trainable

SMALL = {
    "schnet": {"hidden_channels": 8, "num_filters": 8, "num_interactions": 1, "num_gaussians": 8},
    "painn": {"n_atom_basis": 8, "n_interactions": 1},
}


@pytest.fixture(scope="module")
def molecules():
    return datasets.qm9(120, seed=3)


def tiny(**changes):
    values = {"architecture": "schnet", "target": "gap", "options": SMALL["schnet"], "epochs": 2}
    sizes = {"train": 61, "validation": 16, "held_out": 40, "batch_size": 8}  # not full batches
    return recipe(**{**values, **sizes, **changes})


@pytest.fixture(scope="module")
def finished(molecules, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "schnet"
    return folder, training.train(tiny(), molecules, folder)


def rows(folder):
    with (folder / "log.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_splits_are_disjoint_and_the_held_out_molecules_are_a_draw_of_qm9():
    split = splits.Split.draw(datasets.qm9(), 20_000, 2_000, 10_000)
    sets = [set(getattr(split, part)) for part in ("train", "validation", "held_out")]
    assert [len(s) for s in sets] == [20_000, 2_000, 10_000]
    assert len(set.union(*sets)) == 32_000
    assert set(datasets.qm9(2000, seed=0).ids) <= sets[2]


def test_a_split_survives_the_disk_and_finds_its_molecules(molecules, tmp_path):
    split = splits.Split.draw(molecules, 60, 20, 30, seed=1)
    split.save(tmp_path / "split.npz")
    again = splits.Split.load(tmp_path / "split.npz")
    assert again.hash == split.hash
    np.testing.assert_array_equal(again.of(molecules, "train").ids, split.train)
    with pytest.raises(InputError, match="need 130 molecules"):
        splits.Split.draw(molecules, 100, 20, 10)
    with pytest.raises(InputError, match="was trained on 60 of these 60"):
        split.check_unseen("mine", split.of(molecules, "train"))
    with pytest.raises(FileError):
        splits.Split.load(tmp_path / "none.npz")


def test_what_version_0_1_0_called_probe_is_read(finished, molecules, tmp_path):
    """In a split's file, in a recipe, and in the folder of a run."""
    split = splits.Split.draw(molecules, 60, 20, 30, seed=1)
    np.savez(tmp_path / "split.npz", dataset=split.dataset, train=split.train,
             validation=split.validation, probe=split.held_out)  # fmt: skip
    assert splits.Split.load(tmp_path / "split.npz").hash == split.hash
    old = {"architecture": "schnet", "target": "gap", "probe": 40}
    with pytest.warns(UserWarning, match="'probe' is now called 'held_out'"):
        assert recipe(**old).held_out == 40
    with pytest.warns(UserWarning, match="held_out"):
        assert recipe(**old, held_out=30).held_out == 30
    folder = shutil.copytree(finished[0], tmp_path / "run")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"held_out"', '"probe"'))
    with pytest.warns(UserWarning, match="held_out"):
        training.train(tiny(), molecules, folder)


def test_references_are_least_squares_on_training_rows(molecules):
    y = molecules.target("u0_atom")
    constants, spread = standardized.fit(molecules, y, "sum")
    counts = composition(molecules)
    fit = LinearRegression(fit_intercept=False).fit(counts, y)
    np.testing.assert_allclose(constants["references"], fit.coef_, rtol=1e-8)
    assert spread == pytest.approx(np.std(y - fit.predict(counts)))


def test_baselines_are_those_of_scikit_learn(molecules):
    train, test = molecules.select(np.arange(80)), molecules.select(np.arange(80, 120))
    expected = Ridge(1.0).fit(composition(train), train.target("gap"))
    error = np.abs(expected.predict(composition(test)) - test.target("gap")).mean()
    assert baselines(train, test, "gap")["composition_mae"] == pytest.approx(error)


@pytest.fixture(scope="module")
def buckets():
    return batches.Batches.of(datasets.qm9(800, seed=5), np.arange(800.0), cutoff=4.0)


@pytest.mark.parametrize("size", [7, 64, 256, 800, 1000])
def test_every_epoch_holds_every_molecule_once(buckets, size):
    assert len(buckets.buckets) > 1
    for seed in ((0, 0), (0, 1)):
        drawn = list(buckets.shuffled(size, seed))
        assert len(drawn) == buckets.steps(size) == -(-800 // size)
        assert {len(b.values) for b in drawn} == {size}
        seen = np.concatenate([b.values[b.weights == 1] for b in drawn])
        assert sorted(seen) == list(range(800))
        padded = [b for b in drawn if not b.weights.all()]
        assert len(padded) == (800 % size > 0)
        assert all(set(np.unique(b.weights)) <= {0, 1} for b in drawn)
    every = np.concatenate([b.values[b.weights == 1] for b in buckets.all(size)])
    assert sorted(every) == list(range(800))


def test_epochs_are_other_draws_of_few_shapes(buckets):
    orders, shapes = [], set()
    for epoch in range(3):
        drawn = list(buckets.shuffled(64, (0, epoch)))
        orders.append(np.concatenate([b.values for b in drawn]).tolist())
        shapes |= {str(jax.tree.map(np.shape, b)) for b in drawn}
    assert orders[0] != orders[1] != orders[2]
    assert len(shapes) <= len(buckets.buckets)
    again = np.concatenate([b.values for b in buckets.shuffled(64, (0, 2))]).tolist()
    assert again == orders[2]


@pytest.mark.slow
def test_a_molecule_that_goes_on_to_a_larger_bucket_has_the_same_output(buckets):
    run = training.Run.of(tiny(options=SMALL["schnet"] | {"cutoff": 4.0}), buckets.structures)
    outputs = np.full((2, 800), np.nan)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        encoder = run.encoder(run.first().params)
        for labelled in buckets.all(300):
            outputs[0, labelled.values.astype(int)] = encoder.output(labelled.batch)
        for bucket in buckets.buckets:
            outputs[1, bucket.molecules] = encoder.output(bucket.padded.batch)
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4)


def test_padding_changes_no_gradient(molecules):
    """The loss is a mean over real molecules: a padded batch moves weights as an unpadded one."""
    run = training.Run.of(tiny(train=21), molecules)
    *_, last = run.train.all(8)
    assert last.weights.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    alone = jax.tree.map(lambda a: a[:5], last)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        params, fixed = run.first().params, run.fixed
        differentiated = jax.jit(jax.value_and_grad(run.loss))
        padded, expected = (differentiated(params, fixed, b) for b in (last, alone))
    for a, b in zip(jax.tree.leaves(padded), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1])) > 1e-2


@pytest.mark.slow
def test_fewer_molecules_than_two_batches(tmp_path):
    """All are seen, in two steps an epoch, and the schedule is as long as the steps."""
    some = datasets.qm9(420, seed=3)
    wanted = tiny(train=300, validation=20, held_out=20, batch_size=256)
    run = training.Run.of(wanted, some)
    assert run.steps == 4
    assert float(run.schedule(4)) == pytest.approx(wanted.learning_rate / 100)
    training.train(wanted, some, tmp_path / "run")
    assert [row["molecules"] for row in rows(tmp_path / "run")] == ["300", "600"]
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["molecules_seen"] == 600


def test_a_run_that_an_earlier_version_began_is_refused(finished, molecules, tmp_path):
    """Its batches were others, and the rest of it would silently differ. A finished one is read."""
    folder = shutil.copytree(finished[0], tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("format") == json.loads((folder / "card.json").read_text())["format"]
    (folder / "config.json").write_text(json.dumps(config))
    training.train(tiny(), molecules, folder)
    (folder / "card.json").unlink()
    with pytest.raises(FileError, match="another version of cpdjax, which draws other batches"):
        training.train(tiny(), molecules, folder)


def test_a_few_steps_lower_the_loss(finished):
    first, last = rows(finished[0])
    assert float(last["train_loss"]) < float(first["train_loss"])


def test_the_folder_holds_the_model_and_what_is_to_know(finished, molecules):
    folder, encoder = finished
    loaded = models.load(folder)
    batch = next(batches.Batches.of(molecules, np.zeros(120), 5.0).all(8)).batch
    with jax.enable_x64(False):
        np.testing.assert_array_equal(loaded.output(batch), encoder.output(batch))
    card = json.loads((folder / "card.json").read_text())
    assert card["molecules_seen"] == 2 * 61
    assert 0 < card["test_mae"] < 10
    assert (folder / "loss.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 8])  # within an epoch, and after it
def test_a_killed_run_resumes_to_the_same_losses(finished, molecules, tmp_path, monkeypatch, stop):
    folder, encoder = finished
    take, count = training.Run.step, 0

    def killed(run, state, labelled):
        nonlocal count
        count += 1
        if count > stop:
            raise KeyboardInterrupt
        return take(run, state, labelled)

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            training.train(tiny(), molecules, tmp_path / "run", checkpoint_seconds=0)
    again = training.train(tiny(), molecules, tmp_path / "run")
    assert rows(tmp_path / "run") == rows(folder)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(encoder), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_run_in_the_folder_is_refused(finished, molecules, tmp_path):
    with pytest.raises(FileError, match="epochs"):
        training.train(tiny(epochs=3), molecules, finished[0])
    (tmp_path / "note").write_text("mine")
    with pytest.raises(FileError, match="something else"):
        training.train(tiny(), molecules, tmp_path)


def test_bad_recipes_get_one_line(molecules, tmp_path):
    with pytest.raises(UnknownNameError, match="painn"):
        recipe(architecture="pain", target="gap")
    with pytest.raises(UnknownNameError, match="hidden_channels"):
        training.train(tiny(options={"hidden_chanels": 3}), molecules, tmp_path / "a")
    with pytest.raises(InputError, match="epochs"):
        tiny(epochs=0)
    with pytest.raises(UnknownNameError, match="gap"):
        training.train(tiny(target="gapp"), molecules, tmp_path / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", trainable())
@pytest.mark.parametrize("target", ["gap", "energy"])
def test_every_architecture_takes_a_step(architecture, target, molecules):
    run = training.Run.of(tiny(architecture=architecture, target=target, options={}), molecules)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        state = run.first()
        for labelled in list(run.train.shuffled(8, (0, 0)))[:2]:
            state = run.step(state, labelled)
        leaves = jax.tree.leaves(state.params)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    jax.clear_caches()
