"""Folders and archives of NeuroChem: small ones made here, against plain NumPy; damage refused."""

import bz2
import io
import json
import shutil
import tarfile
from dataclasses import astuple
from itertools import combinations

import jax
import numpy as np
import pytest
from examples import common
from helpers import GOLDENS, call, one_line

from cpdjax import Structures, models
from cpdjax.errors import FileError, InputError
from cpdjax.models.architectures import ani
from cpdjax.models.cards import card_of
from cpdjax.models.interface import Card
from cpdjax.models.weights import neurochem

LAYER = "layer [\nnodes={};\nactivation={};\nl2valu=0.000001;\n]\n"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "ani_2x_seeded.npz") as file:
        return dict(file)


def write(folder, golden):
    """The weights of a golden as NeuroChem writes them, in float32; as they were rounded."""
    state, config = common.state_of(golden), json.loads(str(golden["config"]))
    symbols = config["species"]
    constants = {key: state[f"aev_computer.{key}"].ravel() for key in neurochem._CONSTANTS}
    lines = ["TM = 1", f"Rcr = {config['Rcr']}", f"Rca = {config['Rca']}"]
    lines += [f"{k} = [{','.join(f'{x:.7e}' for x in v)}]" for k, v in constants.items()]
    folder.mkdir(parents=True)
    (folder / "small.params").write_text("\n".join([*lines, f"Atyp = [{','.join(symbols)}]"]))
    energies = list(enumerate(zip(symbols, state["energy_shifter.self_energies"], strict=True)))
    shuffled = reversed(energies)  # they go by their names, not by their order
    (folder / "sae_linfit.dat").write_text(
        "\n".join(f"{s},{i}={float(e)!r}" for i, (s, e) in shuffled)
    )
    for member in range(2):
        networks = folder / f"train{member}" / "networks"
        networks.mkdir(parents=True)
        for symbol in symbols:
            text, stem = "", networks / f"ANN-{symbol}.nnf"
            for i in range(3):
                name = f"neural_networks.{member}.{symbol}.{2 * i}"
                bias = state[f"{name}.bias"]
                text += LAYER.format(len(bias), 9 if i < 2 else 6)
                for key, kind in (("weight", "wparam"), ("bias", "bparam")):
                    raw = state[f"{name}.{key}"].astype("<f4").tobytes()
                    (networks / f"{stem.name}-l{i + 1}.{kind}").write_bytes(raw)
            stem.write_bytes(b"%d=\n" % len(text) + bz2.compress(text.encode()))
    return folder


@pytest.fixture
def folder(tmp_path, golden):
    return write(tmp_path / "small-ani", golden)


def packed(folder, path):
    with tarfile.open(path, "w:xz") as archive:
        archive.add(folder, f"ani_models/{folder.name}")
    return path


def structures(golden):
    return Structures("s", *(golden[key] for key in ("numbers", "positions", "offsets")))


def environment(numbers, positions, elements):
    """The 1,008 numbers of ANI-2x for every atom, by loops over atoms and pairs of neighbours."""
    radial = np.float32(0.8 + (5.1 - 0.8) / 16 * np.arange(16)).astype(float)
    angular = np.float32(0.8 + (3.5 - 0.8) / 8 * np.arange(8)).astype(float)
    sections = np.float32((np.arange(4) + 0.5) * np.pi / 4).astype(float)
    eta_r, eta_a, zeta = (float(np.float32(x)) for x in (19.7, 12.5, 14.1))
    kind = [elements.index(z) for z in numbers]
    pairs = {pair: i for i, pair in enumerate((a, b) for a in range(7) for b in range(a, 7))}
    out = np.zeros((len(numbers), 1008))
    for i, here in enumerate(positions):
        apart = positions - here
        r = np.linalg.norm(apart, axis=1)
        near = [j for j in range(len(numbers)) if j != i]
        for j in near:
            if r[j] < 5.1:
                wave = 0.5 * np.cos(np.pi * r[j] / 5.1) + 0.5
                part = 0.25 * np.exp(-eta_r * (r[j] - radial) ** 2) * wave
                out[i, 16 * kind[j] : 16 * kind[j] + 16] += part
        for j, k in combinations([j for j in near if r[j] < 3.5], 2):
            waves = [0.5 * np.cos(np.pi * r[n] / 3.5) + 0.5 for n in (j, k)]
            angle = np.arccos(0.95 * apart[j] @ apart[k] / r[j] / r[k])
            bump = ((1 + np.cos(angle - sections)) / 2) ** zeta
            shell = np.exp(-eta_a * ((r[j] + r[k]) / 2 - angular) ** 2)
            at = 112 + 32 * pairs[tuple(sorted((kind[j], kind[k])))]
            out[i, at : at + 32] += (2 * np.outer(shell, bump) * waves[0] * waves[1]).ravel()
    return out


def energies(state, symbols, structures):
    """What the networks say, atom by atom, member by member; the last hidden layers beside it."""
    elements = [{"H": 1, "C": 6, "N": 7, "O": 8, "S": 16, "F": 9, "Cl": 17}[s] for s in symbols]
    depth = sum(key.startswith(f"neural_networks.0.{symbols[0]}.") for key in state) // 2
    members = len({key.split(".")[1] for key in state if key.startswith("neural_networks.")})
    own = dict(zip(elements, state["energy_shifter.self_energies"], strict=True))
    totals = []
    for i in range(len(structures)):
        atoms = structures.atoms(i)
        rows = environment(atoms.numbers, atoms.positions, elements)
        total = sum(own[z] for z in atoms.numbers)
        for z, row in zip(atoms.numbers, rows, strict=True):
            for member in range(members):
                x, name = row, f"neural_networks.{member}.{symbols[elements.index(z)]}"
                for layer in range(depth):
                    weight, bias = (
                        state[f"{name}.{2 * layer}.{kind}"].astype(float)
                        for kind in ("weight", "bias")
                    )
                    x = weight @ x + bias
                    if layer < depth - 1:
                        x = np.where(x > 0, x, 0.1 * np.expm1(x / 0.1))
                total += x[0] / members
        totals.append(total)
    return np.array(totals)


def test_a_folder_gives_what_plain_numpy_gives(folder, golden, tmp_path):
    encoder = models.convert(folder, tmp_path / "small")
    config, state = neurochem.read(folder)
    found = structures(golden)
    expected = energies(state, config["species"], found)
    np.testing.assert_allclose(encoder.predict(found), expected, rtol=0, atol=1e-10)
    assert encoder.target == "energy"
    assert encoder.unit == "hartree"
    # The golden's weights are those of the files before they were rounded to float32.
    np.testing.assert_allclose(expected, golden["output"], rtol=1e-6)


def test_the_constants_are_those_of_the_descriptor(folder, tmp_path):
    encoder = models.convert(folder, tmp_path / "small")
    descriptor = models.load("ani-2x-aev")
    assert encoder.elements == descriptor.elements
    for part in ("radial", "angular"):
        constants = [astuple(getattr(m, part)) for m in (encoder.architecture, descriptor)]
        np.testing.assert_array_equal(*map(np.float32, constants))
    assert encoder.irreps["embedding"] == descriptor.irreps["aev"]


def test_an_archive_is_the_folder_and_saved_it_is_loaded_again(folder, tmp_path):
    archive = packed(folder, tmp_path / "small.tar.xz")
    made = models.convert(folder, tmp_path / "a")
    read = models.convert(archive, tmp_path / "b")
    again = models.load(tmp_path / "b")
    for other in (read, again):
        jax.tree.map(np.testing.assert_array_equal, made.variables, other.variables)
        assert other.architecture == made.architecture
    assert (again.name, again.target, again.unit) == ("b", "energy", "hartree")


def test_the_command_says_what_it_saved(folder, tmp_path):
    status, out, _ = call("models", "convert", folder, "--out", tmp_path / "made")
    assert status == 0
    assert "embedding  1008x0e" in out
    status, _, errors = call("models", "convert", folder, "--out", tmp_path / "x", "--head", "a")
    assert status != 0
    assert "has no head to choose" in errors


def test_the_card_says_what_is_known_of_the_published_networks_alone(folder, tmp_path, monkeypatch):
    unknown = Card("ANI", "unknown", "unknown")
    models.convert(folder, tmp_path / "other")
    assert card_of(tmp_path / "other") == unknown
    first, second = ani._hashes(neurochem.read(folder)[1])
    assert first != second
    monkeypatch.setattr(ani, "_OF_ANI_2X", (first,))
    models.convert(folder, tmp_path / "one-of-two")
    assert card_of(tmp_path / "one-of-two") == unknown
    monkeypatch.setattr(ani, "_OF_ANI_2X", ("0" * 64, second, first))
    models.convert(folder, tmp_path / "both")
    card = card_of(tmp_path / "both")
    assert (card.family, card.licence, card.data.partition(":")[0]) == ("ANI", "MIT", "ANI-2x")


def test_members_are_the_ensemble_one_by_one(folder, golden, tmp_path):
    whole = models.convert(folder, tmp_path / "small")
    second = models.load(tmp_path / "small", member=1)
    assert second.name == "small-member1"
    assert second.irreps["readout"].dim == whole.irreps["readout"].dim // 2
    state = neurochem.read(folder)[1]
    alone = {k: v for k, v in state.items() if not k.startswith("neural_networks.0.")}
    alone = {k.replace("networks.1.", "networks.0."): v for k, v in alone.items()}
    found, symbols = structures(golden).select([1]), neurochem.read(folder)[0]["species"]
    np.testing.assert_allclose(second.predict(found), energies(alone, symbols, found), atol=1e-10)
    for wrong in (2, -1, "0"):
        with pytest.raises(InputError) as caught:
            models.load(tmp_path / "small", member=wrong)
        one_line(caught, "members 0 to 1")


def test_ani_1x_by_member():
    try:
        whole = models.load("ani-1x")
    except FileError as absent:
        pytest.skip(str(absent))
    third = models.load("ani-1x-member3")
    assert third.name == models.load("ani-1x", member=3).name == "ani-1x-member3"
    for ours, all_of_them in zip(
        jax.tree.leaves(third.variables["params"]),
        jax.tree.leaves(whole.variables["params"]),
        strict=True,
    ):
        np.testing.assert_array_equal(ours[0], all_of_them[3])
    assert "ani-1x-member3" not in models.names()
    for name, option in (("ani-1x-member3", 2), ("ani-1x", 8)):
        with pytest.raises(InputError):
            models.load(name, member=option)
    status, out, _ = call("models", "show", "ani-1x-member3")
    assert status == 0
    assert "ωB97X" in out


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def other_activation(path):
    text = (LAYER.format(4, 5) + LAYER.format(1, 6)).encode()
    path.write_bytes(b"%d=\n" % len(text) + bz2.compress(text))


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("small.params", lambda path: path.unlink(), "NAME.params"),
        ("small.params", lambda path: path.write_text("Rcr = 5.1\n"), "Atyp"),
        ("sae_linfit.dat", lambda path: path.write_text("H,0=-0.6\n"), "C is missing"),
        ("train1/networks/ANN-S.nnf-l2.wparam", lambda path: path.unlink(), "l2.wparam"),
        ("train1/networks/ANN-S.nnf-l2.wparam", cut, "buffer"),
        ("train0/networks/ANN-H.nnf", cut, "cut short"),
        ("train0/networks/ANN-H.nnf", other_activation, "activations"),
        ("train0/networks/ANN-H.nnf", lambda path: path.unlink(), "ANN-H.nnf"),
    ],
)
def test_what_is_missing_or_damaged_is_named_in_one_line(folder, tmp_path, file, damage, said):
    damage(folder / file)
    with pytest.raises(FileError) as caught:
        models.convert(folder, tmp_path / "made")
    one_line(caught, said)
    assert not (tmp_path / "made").exists()


def test_two_models_and_bursting_archives_are_refused(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "both" / "a")
    shutil.copytree(folder, tmp_path / "both" / "b")
    with pytest.raises(FileError) as caught:
        models.convert(tmp_path / "both", tmp_path / "made")
    one_line(caught, "2 folders")
    archive = packed(folder, tmp_path / "small.tar.xz")
    with monkeypatch.context() as patch:
        patch.setattr(neurochem, "_MOST_BYTES", 10_000)
        with pytest.raises(FileError) as caught:
            neurochem.read(archive)
    one_line(caught, "10,000 bytes")
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(FileError):
        neurochem.read(archive)


def test_links_and_paths_out_of_an_archive_are_never_followed(folder, tmp_path):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder, "m")
        archive.getmembers()
        link = tarfile.TarInfo("m/train0/networks/ANN-H.nnf-l9.wparam")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        outside = tarfile.TarInfo("../outside.params")
        outside.size = 4
        archive.addfile(outside, io.BytesIO(b"oops"))
    assert not neurochem.recognises(tmp_path / "nothing.tar")
    encoder = models.convert(path, tmp_path / "made")
    assert encoder.architecture.members == 2
    assert not (tmp_path / "outside.params").exists()
