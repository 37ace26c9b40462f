"""Conformers: distortions against analytic values, and a set that is made, kept and made on."""

import importlib.util
import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from conformer_data import NAMES, references, use_springs
from helpers import DAMAGES, one_line
from scipy.spatial.transform import Rotation

import cpdjax
from cpdjax.data.conformers import xtb
from cpdjax.data.conformers.distortions import (
    SOFTEST,
    aligned,
    intact,
    rotatable,
    thermal_root,
    turned,
)
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, LeftOutWarning

with_tblite = pytest.mark.skipif(
    importlib.util.find_spec("tblite") is None, reason="tblite is not installed"
)


def make(folder, molecules=None, **changes):
    given = {"per": 4, "temperatures": [300, 600], "seed": 3} | changes
    molecules = references() if molecules is None else molecules
    return cpdjax.datasets.conformers(molecules=molecules, cache=folder, **given)


@pytest.fixture
def springs(monkeypatch):
    return use_springs(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_springs(patch)
        return make(tmp_path_factory.mktemp("cache"))


def test_a_stiff_bond_spreads_as_its_spring_says_and_a_soft_one_as_the_softest():
    along = np.array([0, 0, -1, 0, 0, 1.0])
    rod = Atoms("HCl", [[0, 0, 0], [0, 0, 1.3]])
    reduced = np.prod(rod.get_masses()) / rod.get_masses().sum()
    least = (SOFTEST * units.invcm / (units._hbar * 1e10 / np.sqrt(units._e * units._amu))) ** 2
    for spring, expected in ((40.0, 40.0), (-40.0, 40.0), (0.01, least * reduced)):
        root = thermal_root(rod.numbers, rod.positions, spring * np.outer(along, along))
        assert np.isclose(((along @ root) ** 2).sum(), units.kB / expected)


def test_thermal_displacements_neither_move_nor_turn_a_molecule():
    frame = molecule("CH3OH")
    noise = np.random.default_rng(0).normal(size=(18, 18))
    root = thermal_root(frame.numbers, frame.positions, noise @ noise.T).reshape(6, 3, 18)
    weighted = frame.get_masses()[:, None, None] * root
    assert np.abs(weighted.sum(0)).max() < 1e-9
    about = frame.positions - frame.get_center_of_mass()
    assert np.abs(np.cross(about[:, :, None], weighted, axis=1).sum(0)).max() < 1e-9


def test_a_bond_is_turned_by_its_angle_and_no_length_changes():
    frame = molecule("trans-butane")
    [bond] = rotatable("CCCC", frame.numbers, frame.positions)
    found = frame.copy()
    found.positions = turned(frame.positions, [bond], np.array([1.0]))
    i, j, part = bond
    first, last = (next(k for k in np.flatnonzero(frame.numbers == 6)
                        if k not in (i, j) and frame.get_distance(k, end) < 1.7)
                   for end in (i, j))  # fmt: skip
    change = found.get_dihedral(first, i, j, last) - frame.get_dihedral(first, i, j, last)
    assert np.isclose(np.cos(np.radians(change)), np.cos(1.0))
    for side in (part, ~part):
        assert np.allclose(found[side].get_all_distances(), frame[side].get_all_distances())
    assert np.isclose(found.get_distance(i, j), frame.get_distance(i, j))
    assert rotatable("CCCO", frame.numbers, frame.positions) == []
    assert rotatable("CC(C)C", frame.numbers, frame.positions) == []


def test_a_moved_molecule_comes_back_into_its_frame():
    frame = molecule("CH3OH")
    moved = Rotation.random(random_state=1).apply(frame.positions) + 7
    assert np.allclose(aligned(frame.numbers, moved, frame.positions), frame.positions)


def test_bonds_that_break_and_atoms_that_collapse_are_seen():
    frame = molecule("C2H6")
    reference = frame.positions
    assert intact(frame.numbers, reference * 1.05, reference)
    assert not intact(frame.numbers, reference * 1.6, reference)
    near = reference.copy()
    near[2] = reference[5] + [0, 0, 0.3]
    assert not intact(frame.numbers, near, reference)


def test_geometries_of_a_molecule_differ_in_nothing_but_positions(made):
    assert np.unique(made.group).tolist() == sorted(NAMES)
    first = np.unique(made.group, return_index=True)[1]
    group = np.unique(made.group, return_inverse=True)[1]
    counts = cpdjax.composition(made)
    assert np.array_equal(counts, counts[first][group])
    assert np.array_equal(made.smiles, made.smiles[first][group])
    assert len(np.unique(made.positions.round(9), axis=0)) == len(made.positions)
    assert len(set(made.ids)) == len(made)
    assert any(name.endswith("_600K") for name in made.ids)


def test_labels_are_those_of_the_method_in_the_projects_units(made):
    charges = made.atom_targets["charges"]
    dipole = np.add.reduceat(charges[:, None] * made.positions, made.offsets[:-1])
    assert np.allclose(made.targets["dipole"], dipole)
    assert np.allclose(made.targets["mu"], np.linalg.norm(dipole, axis=1) * 4.803204712570263)
    # The third level of the stand-in is its energy, and the second lies at -0.5 hartree.
    assert np.allclose(made.targets["gap"], made.targets["energy"] + 0.5 * units.Hartree)
    assert made.units["charges"] == "e"
    assert np.abs(np.add.reduceat(made.atom_targets["forces"], made.offsets[:-1])).max() < 1e-9


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same(made, tmp_path, monkeypatch):
    used = use_springs(monkeypatch)

    def killed(calls):
        if calls > 150:
            raise KeyboardInterrupt
        return False

    used.kind.fails = staticmethod(killed)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path)
    before, used = used.calls(), use_springs(monkeypatch)
    again = make(tmp_path)
    assert again.hash == made.hash
    assert np.array_equal(again.ids, made.ids)
    whole = use_springs(monkeypatch)
    make(tmp_path / "other")
    assert used.calls() < whole.calls() < used.calls() + before


def test_what_is_kept_needs_no_tblite_and_what_is_damaged_is_made_anew(springs, tmp_path):
    few = references().select([0, 1])
    first = make(tmp_path, few)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    calls = springs.calls()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xtb, "_calculator", None)
        assert make(tmp_path, few).hash == first.hash
        assert len(make(tmp_path, few.select([1]))) == 4
    for damage in DAMAGES:
        damage(files[0])
        assert make(tmp_path, few).hash == first.hash
        assert springs.calls() > calls
        calls = springs.calls()
    make(tmp_path, few, seed=4)
    assert springs.calls() > calls


def test_what_is_rejected_is_counted_by_its_reason(tmp_path, monkeypatch):
    few = references().select([0, 1])
    calls = 2 * 9 + 1  # the first geometry after the Hessian of water
    use_springs(monkeypatch, fails=staticmethod(lambda n: n == calls))
    with pytest.warns(LeftOutWarning, match=r"'1 of 8 geometries' \(the SCF did not converge\)"):
        assert len(make(tmp_path, few)) == 7
    use_springs(monkeypatch, fails=staticmethod(lambda n: n == 1))
    with pytest.warns(LeftOutWarning, match="'H2O' .*fewer than two"):
        found = make(tmp_path / "other", few)
    assert set(found.group) == {"CH4"}
    use_springs(monkeypatch)
    with pytest.warns(LeftOutWarning, match="a bond broke or atoms collapsed"):
        make(tmp_path / "hot", few, temperatures=[300, 90_000])


def test_without_tblite_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.interface", None)
    with pytest.raises(InputError) as caught:
        make(tmp_path)
    one_line(caught, "tblite", "LGPL-3.0", 'pip install "cpdjax[xtb]"')


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"per": 1}, "per must be"),
        ({"temperatures": [0]}, "must be positive"),
        ({"n": 3}, "n draws molecules from QM9"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        make(tmp_path, **changes)


def test_ions_are_refused(tmp_path):
    ion = Structures.from_atoms([Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": -1})])
    with pytest.raises(InputError, match="neutral, closed-shell"):
        make(tmp_path, ion)


def test_groups_go_through_files_and_selections(made):
    frames = [made.atoms(i) for i in range(6)]
    again = Structures.from_atoms(frames)
    assert np.array_equal(again.group, made.group[:6])
    assert np.array_equal(made.select([5, 0]).group, made.group[[5, 0]])
    assert "group" not in again.targets


@with_tblite
def test_tblite_gives_forces_of_its_energy_and_a_dipole_that_turns():
    frame = molecule("H2O")
    method = xtb.Molecule(frame.numbers)
    label = method.label(frame.positions)
    assert np.isclose(label.energy / units.Hartree, -5.0704, atol=2e-3)  # GFN2-xTB's minimum
    assert abs(label.charges.sum()) < 1e-6
    moved = [frame.positions + h * (np.arange(9) == 8).reshape(3, 3) for h in (1e-3, -1e-3)]
    ends = [method.label(p).energy for p in moved]
    assert np.isclose(-(ends[0] - ends[1]) / 2e-3, label.forces[2, 2], atol=1e-3)
    turn = Rotation.random(random_state=2)
    assert np.allclose(
        method.label(turn.apply(frame.positions)).dipole, turn.apply(label.dipole), atol=1e-5
    )
    assert np.isclose(np.linalg.norm(label.dipole) * 4.8032, 2.2, atol=0.4)  # debye


@with_tblite
def test_tblite_makes_a_molecule_from_end_to_end(tmp_path):
    found = make(tmp_path, references().select([0]), per=3)
    assert len(found) == 3
    assert found.targets["gap"].std() > 0


@pytest.mark.slow
def test_default_molecules_are_those_that_the_zoo_has_not_seen():
    from cpdjax.models.zoo import qm9_probe

    assert np.array_equal(cpdjax.datasets.qm9(10_000, 0).ids, qm9_probe().ids)
