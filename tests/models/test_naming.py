"""What a model's name or path stands for: a folder of one's own is never taken for another's."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import call

from cpdjax import models
from cpdjax.data import datasets
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.sources import collect
from cpdjax.hashing import hash_file
from cpdjax.models import naming, zoo
from cpdjax.models.cards import card_of
from cpdjax.models.training import run as training
from cpdjax.models.training.recipes import read_config, recipe

SHIPPED = "painn-qm9-gap"
SIZES = {"hidden_channels": 4, "num_filters": 4, "num_interactions": 1, "num_gaussians": 4}


@pytest.fixture(scope="module")
def molecules():
    return datasets.qm9(60, seed=5)


@pytest.fixture(scope="module")
def trained(molecules, tmp_path_factory):
    """A run of one's own that bears the name of a model of the zoo."""
    mine = recipe(architecture="schnet", target="gap", options=SIZES, epochs=1, train=24,
                  validation=8, held_out=16, batch_size=8)  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / SHIPPED
    training.train(mine, molecules, folder)
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """A working folder with a copy of the run."""
    shutil.copytree(trained, tmp_path / SHIPPED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_mine(model):
    return type(model.architecture.network).__name__ == "SchNet"


def test_a_path_is_a_folder_and_a_plain_name_is_refused(here):
    for path in (f"./{SHIPPED}", Path(SHIPPED), here / SHIPPED, str(here / SHIPPED), f"{SHIPPED}/"):
        assert is_mine(models.load(path))
        assert card_of(path).family == "schnet"
        assert zoo.card(path)["architecture"] == "schnet"
        assert len(zoo.split(path).train) == 24
        assert models.is_saved(path)
    for function in (models.load, card_of, zoo.card, zoo.split, models.is_saved, naming.find):
        with pytest.raises(InputError, match=rf"'\./{SHIPPED}'.*'cpdjax:{SHIPPED}'") as caught:
            function(SHIPPED)
        assert "\n" not in str(caught.value)
    shipped = f"cpdjax:{SHIPPED}"
    assert not is_mine(models.load(shipped))
    assert (card_of(shipped).family, len(zoo.split(shipped).train)) == ("painn", 20_000)


def test_without_such_a_folder_a_plain_name_is_the_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED).mkdir()  # a folder that is no model
    (tmp_path / "so3lr").write_text("a file")
    assert naming.find(SHIPPED).folder == naming.ZOO / SHIPPED
    assert naming.find("so3lr").folder is None
    assert naming.find(f"./{SHIPPED}") is None
    for path in (f"./{SHIPPED}", Path(SHIPPED), "./so3lr-2", "x" * 5000, "a\0b"):
        with pytest.raises(UnknownNameError):
            models.load(path)
    with pytest.raises(UnknownNameError, match="did you mean so3lr"):
        models.load("cpdjax:so3l")


def test_saved_models_and_unfinished_runs_are_folders_too(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models.save("so3lr", models.load(trained))
    with pytest.raises(InputError, match="'cpdjax:so3lr'"):
        models.load("so3lr")
    assert is_mine(models.load("./so3lr"))
    begun = tmp_path / SHIPPED
    begun.mkdir()
    for name in ("config.json", "split.npz"):
        shutil.copy(trained / name, begun / name)
    with pytest.raises(InputError, match=f"'cpdjax:{SHIPPED}'"):
        models.load(SHIPPED)
    with pytest.raises(FileError, match=f"not finished: go on with `cpdjax train {SHIPPED}/config"):
        models.load(Path(SHIPPED))


def test_features_come_from_the_model_that_is_meant(here, molecules):
    split = zoo.split(Path(SHIPPED))
    unseen = split.of(molecules)
    with pytest.raises(InputError, match=f"'cpdjax:{SHIPPED}'"):
        collect([SHIPPED], unseen)
    [mine] = collect([f"./{SHIPPED}"], unseen, layers=["embedding"])
    assert (mine.model, mine.layers["embedding"].array.shape[1]) == (SHIPPED, 4)
    with pytest.raises(InputError, match="was trained on 24 of these 24"):
        collect([f"./{SHIPPED}"], split.of(molecules, "train"))
    [shipped] = collect([f"cpdjax:{SHIPPED}"], unseen.select([0]), layers=["embedding"])
    assert (shipped.model, shipped.layers["embedding"].array.shape[1]) == (SHIPPED, 48)


def test_the_list_of_models_is_that_of_the_shipped_ones(here):
    status, printed, errors = call("models")
    assert (status, SHIPPED in printed) == (0, True), errors


def test_names_of_runs_differ_from_the_shipped_ones():
    for architecture in ("painn", "schnet", "visnet", "mace", "dimenet++"):
        for target in ("gap", "energy"):
            assert recipe(architecture=architecture, target=target).name not in models.names()
    elsewhere = recipe(architecture="painn", target="a/b", dataset="/data/some.xyz")
    assert elsewhere.name == "my-painn-some-a-b"


@pytest.mark.parametrize(
    ("name", "model", "run"),
    [
        ("painn-qm9-gap", "painn-qm9-gap", 0),
        ("painn-qm9-gap-run2", "painn-qm9-gap", 2),
        ("painn-qm9-gap-run12", "painn-qm9-gap", 12),
        ("painn-untrained-run3", "painn-untrained", 3),
        ("ani-1x-member0", "ani-1x-member", 0),
        ("ani-1x-member3", "ani-1x-member", 3),
        ("sevennet-0", "sevennet-0", 0),
        ("mine-run", "mine-run", 0),
        ("mine-run0", "mine-run0", 0),
        ("-run1", "-run1", 0),
        ("", "", 0),
    ],
)
def test_a_name_says_which_run_is_meant(name, model, run):
    assert naming.run_of(name) == (model, run)


def test_further_runs_are_asked_for():
    every, first = naming.trained(runs=True), naming.trained()
    assert all(naming.run_of(name) == (name, 0) for name in first)
    assert {naming.run_of(name)[0] for name in every} == set(first)
    assert naming.runs_of(SHIPPED) == (SHIPPED, *(f"{SHIPPED}-run{k}" for k in range(1, 5)))
    assert set(naming.shipped(runs=True)) - set(naming.shipped()) == set(every) - set(first)
    assert naming.find(f"{SHIPPED}-run1").folder == naming.ZOO / f"{SHIPPED}-run1"


def test_a_folder_that_is_called_like_a_run_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, f"{SHIPPED}-run1")
    with pytest.raises(InputError, match=f"'cpdjax:{SHIPPED}-run1'"):
        models.load(f"{SHIPPED}-run1")
    assert is_mine(models.load(f"./{SHIPPED}-run1"))


def test_pretrained_models_take_the_options_of_their_own():
    with pytest.raises(UnknownNameError, match="unknown option of coulomb-spectrum 'cutoff'"):
        models.load("coulomb-spectrum", cutoff=3.0)
    with pytest.raises(InputError, match="takes no options"):
        models.load(SHIPPED, cutoff=3.0)


# -- what a run's folder holds -------------------------------------------------------------------


def rewritten(path, **changes):
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


def test_the_hashes_are_those_that_other_tools_read(trained):
    for folder in (trained, trained / "model"):
        for line in (folder / "SHA256SUMS").read_text().splitlines():
            digest, name = line.split("  ")
            assert digest == hash_file(folder / name)


@pytest.mark.parametrize("change", ["removed", "of another run", "cut", "empty"])
def test_a_split_that_is_not_the_runs_is_refused(change, here):
    path = here / SHIPPED / "split.npz"
    if change == "removed":
        path.unlink()
    elif change == "of another run":
        shutil.copy(naming.ZOO / "split.npz", path)
    else:
        path.write_bytes(path.read_bytes()[:-100] if change == "cut" else b"")
    with pytest.raises(FileError, match="split") as caught:
        zoo.split(f"./{SHIPPED}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"test_mae": 0.001},
        {"test_mae": "small"},
        {"test_mae": -1},
        {"split": "0" * 64},
        {"molecules": None},
        {"name": "x" * 10_000},
        {"format": 99},
        {"format": "three"},
        {"mine": 1},
    ],
)
def test_a_changed_card_is_refused(changes, here):
    rewritten(here / SHIPPED / "card.json", **changes)
    for function in (models.load, card_of, zoo.card, zoo.split):
        with pytest.raises(FileError, match=r"card\.json") as caught:
            function(f"./{SHIPPED}")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * 2_000_000]
)
@pytest.mark.parametrize("name", ["card.json", "config.json", "model/model.json"])
def test_damaged_records_are_one_line(name, content, here, molecules):
    (here / SHIPPED / name).write_bytes(content)
    reads = {"card.json": zoo.card, "model/model.json": models.load}
    read = reads.get(name, lambda path: read_config(Path(path) / "config.json"))
    with pytest.raises(FileError, match=Path(name).name) as caught:
        read(f"./{SHIPPED}")
    assert "\n" not in str(caught.value)


def test_changed_settings_and_models_are_refused(here):
    rewritten(here / SHIPPED / "config.json", seed=7)
    with pytest.raises(FileError, match=r"config\.json is not the file"):
        read_config(here / SHIPPED / "config.json")
    record = here / SHIPPED / "model" / "model.json"
    values = json.loads(record.read_text())
    values["fields"]["network"]["fields"]["cutoff"] = 4.0
    record.write_text(json.dumps(values))
    with pytest.raises(FileError, match=r"model\.json is not the file"):
        models.load(f"./{SHIPPED}")


def test_the_model_of_another_run_is_refused(here):
    shutil.rmtree(here / SHIPPED / "model")
    shutil.copytree(naming.ZOO / SHIPPED / "model", here / SHIPPED / "model")
    with pytest.raises(FileError, match="model/SHA256SUMS is not the file"):
        models.load(f"./{SHIPPED}")


def test_lost_hashes_are_missed(here):
    for name in ("SHA256SUMS", "model/SHA256SUMS"):
        (here / SHIPPED / name).unlink()
        with pytest.raises(FileError, match="SHA256SUMS"):
            models.load(f"./{SHIPPED}")


@pytest.mark.parametrize(
    "content", ["", "epoch,step\n0,3\n", "nothing\n", "epoch,step,seconds\n0,x,1\n", "\0", '"']
)
def test_a_damaged_log_is_one_line(content, tmp_path):
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(FileError, match=r"log\.csv is no log of a run") as caught:
        training.Log(tmp_path / "log.csv", 3)
    assert "\n" not in str(caught.value)


def test_settings_of_another_type_or_out_of_bounds():
    for changes in (
        {"options": {"n_atom_basis": "wide"}},
        {"options": {"n_interactions": 100_000}},
        {"options": {"cutoff": float("inf")}},
        {"options": {"activation": 3}},
        {"options": {"cutoff": [5.0]}},
    ):
        with pytest.raises(InputError, match=next(iter(changes["options"]))) as caught:
            recipe(architecture="painn", target="gap", **changes).network((1, 6))
        assert "\n" not in str(caught.value)
    for setting, value in (
        *(("target", ["gap"]), ("seed", 2**70), ("epochs", True), ("clip", np.inf)),
        *(("options", 3), ("train", "many"), ("learning_rate", 1e999)),
    ):
        with pytest.raises(InputError, match=setting) as caught:
            recipe(**{"architecture": "painn", "target": "gap", setting: value})
        assert "\n" not in str(caught.value)
