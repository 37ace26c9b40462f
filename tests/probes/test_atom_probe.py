"""Probes of atoms: the kernel with element identity for composition, molecules kept whole."""

from functools import cache

import numpy as np
import oracle
import pytest
from ase import Atoms
from ase.io import write
from atom_data import ATOMS, NUMBERS, OFFSETS, OWNER, SETTINGS, STRUCTURES, X, Y

import cpdjax
from cpdjax import InputError, atom_cpd
from cpdjax.cli.app import app
from cpdjax.configuration import checked
from cpdjax.probes.atoms import one_hot
from cpdjax.probes.folds import kfold, nested, of_atoms
from cpdjax.sweeps import sweep as sweep_module
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import Settings

RNG = np.random.default_rng(1)
IDS = kfold(40, 5)


@cache  # not a fixture of the module, which would run outside the settings of a test
def probed():
    return atom_cpd(X, NUMBERS, Y, OWNER, alphas=[0.01, 1.0], predictions=True)


def test_is_cpd_with_elements_for_composition():
    found = probed()
    expected = oracle.cpd(X, one_hot(NUMBERS), Y[:, None], IDS[OWNER], [0.01, 1.0])
    for name in ("r2_geom", "r2_full", "r2_comp", "composition_share", "prediction"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-9)


def test_composition_is_the_mean_of_every_element():
    found = probed()
    train, test = IDS[OWNER] != 0, IDS[OWNER] == 0
    means = {z: Y[train & (z == NUMBERS)].mean() for z in (1, 6, 8)}
    error = Y[test] - np.array([means[z] for z in NUMBERS[test]])
    r2 = 1 - (error**2).sum() / ((Y[test] - Y[test].mean()) ** 2).sum()
    assert found.r2_comp[0, 0] == pytest.approx(r2, abs=1e-9)


def test_atoms_may_come_in_any_order_under_any_labels():
    found = probed()
    order = RNG.permutation(ATOMS)
    labels = np.array([f"m{i:03d}" for i in OWNER])
    options = {"folds": IDS, "alphas": [0.01, 1.0], "predictions": True}
    again = atom_cpd(X[order], NUMBERS[order], Y[order], labels[order], **options)
    np.testing.assert_allclose(again.r2_geom, found.r2_geom, atol=1e-9)
    np.testing.assert_allclose(again.prediction, found.prediction[:, order], atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"numbers": NUMBERS[1:]}, "numbers must have one entry for each of"),
        ({"molecule": OWNER[:, None]}, "molecule must have one entry for each of"),
        ({"folds": np.zeros(ATOMS, int)}, "for each of 40 molecules"),
        ({"folds": 41}, "41 folds need at least as many molecules"),
    ],
)
def test_bad_input(changes, words):
    given = {"X": X, "numbers": NUMBERS, "Y": Y, "molecule": OWNER} | changes
    with pytest.raises(InputError, match=words) as caught:
        atom_cpd(**given)
    assert "\n" not in str(caught.value)


def test_layout_of_atoms():
    layout = nested(40, [20, 40], 2, 3, seed=4)
    atoms = of_atoms(layout, OFFSETS)
    for repeat in range(2):
        for size in (20, 40):
            molecules, fold = layout.subset(repeat, size), layout.fold_ids(repeat, size)
            rows = atoms.subset(repeat, size)
            assert sorted(rows) == sorted(np.flatnonzero(np.isin(OWNER, molecules)))
            of = dict(zip(molecules, fold, strict=True))
            assert [of[OWNER[row]] for row in rows] == list(atoms.fold_ids(repeat, size))


@cache
def swept():
    return cpdjax.sweep({"mine": X}, dataset=STRUCTURES, probe="atom", **SETTINGS)


@pytest.mark.slow
def test_sweep_is_the_probe_on_every_subset():
    table = swept()
    assert list(table["size"].values) == [20, 40]
    assert list(table.target.values) == ["mulliken_charge"]
    assert list(table.unit.values) == ["e"]
    assert (table.attrs["molecules"], table.attrs["rows"]) == (40, ATOMS)
    layout = of_atoms(nested(40, [20, 40], 2, 3, seed=4), OFFSETS)
    for repeat, size in ((0, 20), (1, 20), (1, 40)):
        rows, ids = layout.subset(repeat, size), layout.fold_ids(repeat, size)
        # One-hot columns of the whole set: those without an atom in the subset change nothing.
        expected = oracle.cpd(X[rows], one_hot(NUMBERS)[rows], Y[rows, None], ids, [0.1, 3.0])
        one = table.sel(repeat=repeat, size=size).squeeze()
        np.testing.assert_allclose(one.r2_geom, expected.r2_geom[..., 0], atol=1e-9)
        np.testing.assert_allclose(one.r2_comp, expected.r2_comp[..., 0], atol=1e-9)


@pytest.mark.slow
def test_formulas_are_not_shared_between_folds():
    rows = KINDS["atom"].targets(STRUCTURES)
    chosen = checked(Settings, SETTINGS | {"probe": "atom", "group_by": "formula"})
    layout = sweep_module._layout(chosen, rows, None)
    atoms, folds = layout.subset(0, 40), layout.fold_ids(0, 40)
    for formula in set(rows.formulas):
        mine = rows.formulas[OWNER[atoms]] == formula
        assert len(set(folds[mine].tolist())) == 1


@pytest.mark.slow
def test_from_the_shell(tmp_path):
    frames = []
    for i in range(40):
        rows = slice(OFFSETS[i], OFFSETS[i + 1])
        frame = Atoms(NUMBERS[rows], STRUCTURES.positions[rows])
        frame.set_array("mulliken_charge", Y[rows])
        frames.append(frame)
    write(tmp_path / "few.extxyz", frames)
    np.save(tmp_path / "mine.npy", X)
    arguments = [
        "sweep", "--probe", "atom", "--dataset", tmp_path / "few.extxyz",
        "--features", tmp_path / "mine.npy", "--sizes", "20,40", "--repeats", "2",
        "--folds", "3", "--alphas", "0.1,3", "--seed", "4", "--out", tmp_path / "out",
    ]  # fmt: skip
    app([str(a) for a in arguments], standalone_mode=False)
    found = cpdjax.sweeps.results.load(tmp_path / "out")
    # Written to eight digits.
    np.testing.assert_allclose(found.r2_geom, swept().r2_geom, atol=1e-5)
