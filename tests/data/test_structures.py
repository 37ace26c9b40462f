"""Flat storage of structures: gathers and padding against plain loops, and honest refusals."""

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list
from helpers import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from cpdjax.data.arrays import CLOSEST, closest_atoms
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError


@st.composite
def structures(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    atoms, molecules = sum(sizes), len(sizes)
    return Structures(
        "random",
        rng.integers(1, 119, atoms),
        100 * rng.normal(size=(atoms, 3)),
        np.cumsum([0, *sizes]),
        targets={"y": rng.normal(size=molecules), "v": rng.normal(size=(molecules, 3))},
        atom_targets={"q": rng.normal(size=atoms)},
    )


def water_and_methane(**info):
    frames = [molecule("H2O"), molecule("CH4")]
    for key, values in info.items():
        for frame, value in zip(frames, values, strict=True):
            if value is not None:
                frame.info[key] = value
    return frames


@settings(max_examples=60, deadline=None)
@given(structures(), st.data())
def test_select_gathers_each_molecule_whole(ds, data):
    index = data.draw(st.lists(st.integers(-len(ds), len(ds) - 1), min_size=1, max_size=12))
    picked = ds.select(index)
    assert len(picked) == len(index)
    for new, old in enumerate(index):
        old %= len(ds)
        here = slice(picked.offsets[new], picked.offsets[new + 1])
        there = slice(ds.offsets[old], ds.offsets[old + 1])
        np.testing.assert_array_equal(picked.numbers[here], ds.numbers[there])
        np.testing.assert_array_equal(picked.positions[here], ds.positions[there])
        np.testing.assert_array_equal(picked.atom_targets["q"][here], ds.atom_targets["q"][there])
        np.testing.assert_array_equal(picked.targets["v"][new], ds.targets["v"][old])
        assert picked.ids[new] == ds.ids[old]


@settings(max_examples=60, deadline=None)
@given(structures(), st.integers(0, 3))
def test_pad_holds_every_atom_once_and_zeros_elsewhere(ds, extra):
    width = int(ds.sizes.max()) + extra
    batch = ds.pad(np.arange(len(ds)), width)
    assert batch.numbers.shape == batch.mask.shape == (len(ds), width)
    assert batch.numbers.dtype == np.int32
    np.testing.assert_array_equal(batch.mask.sum(axis=1), ds.sizes)
    np.testing.assert_array_equal(batch.numbers[batch.mask], ds.numbers)
    np.testing.assert_array_equal(batch.positions[batch.mask], ds.positions)
    assert not batch.numbers[~batch.mask].any()
    assert not batch.positions[~batch.mask].any()


@settings(max_examples=30, deadline=None)
@given(structures())
def test_atoms_round_trip(ds):
    again = Structures.from_atoms([ds.atoms(i) for i in range(len(ds))])
    assert again.hash == ds.hash
    assert ds.atoms(-1) == ds.atoms(len(ds) - 1)
    with pytest.raises(InputError, match="cannot select"):
        ds.atoms(len(ds))
    np.testing.assert_array_equal(again.ids, ds.ids)
    np.testing.assert_array_equal(again.atom_targets["q"], ds.atom_targets["q"])


@pytest.mark.parametrize("indices", [slice(1, None), [False, True, True], np.array([1, 2])])
def test_select_takes_slices_masks_and_arrays(indices):
    ds = Structures.from_atoms([molecule(n) for n in ("H2O", "CH4", "NH3")])
    np.testing.assert_array_equal(ds.select(indices).ids, ds.ids[1:])


def test_hash_follows_content_only():
    frames = water_and_methane(a=[1.0, 2.0], b=[3.0, 4.0])
    first = Structures.from_atoms(frames, name="one")
    for frame in frames:
        frame.info = dict(reversed(frame.info.items()))
    assert Structures.from_atoms(frames, name="two", units={"a": "eV"}).hash == first.hash
    frames[0].positions[0, 0] += 1e-12
    assert Structures.from_atoms(frames).hash != first.hash
    assert first.select([1, 0]).hash != first.hash


def test_hash_is_the_same_everywhere():
    ds = Structures("h", np.array([1]), np.zeros((1, 3)), np.array([0, 1]))
    assert ds.hash == "0072c8b4e5842d20f666783cbc5eedb062454862b8d55329a9b3bdedb7e2d687"


def test_arrays_are_read_only_but_the_callers_are_not():
    positions = np.zeros((1, 3))
    ds = Structures("h", np.array([1]), positions, np.array([0, 1]))
    with pytest.raises(ValueError, match="read-only"):
        ds.positions[0] = 1
    positions[0] = 0.0


def test_info_entries_become_targets_where_all_have_them():
    frames = water_and_methane(
        gap=[1.0, 2], vector=[[1, 2, 3], [4, 5, 6]], word=["a", "b"], some=[1.0, None],
        ragged=[[1, 2], [1, 2, 3]], id=["w", "m"], smiles=["O", "C"],
    )  # fmt: skip
    left_out = r"'some' \(missing from 1 of 2\), 'ragged' \(of several shapes or types\)$"
    with pytest.warns(UserWarning, match=left_out):
        ds = Structures.from_atoms(frames, units={"gap": "eV"})
    assert set(ds.targets) == {"gap", "vector"}
    np.testing.assert_array_equal(ds.target("gap"), [1.0, 2.0])
    assert ds.target("vector").shape == (2, 3)
    assert ds.units == {"gap": "eV", "vector": ""}
    assert (list(ds.ids), list(ds.smiles)) == (["w", "m"], ["O", "C"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("some", "missing from 1 of 2 structures, the first number 1"),
        ("word", "not a number"),
        ("gapp", "did you mean gap"),
    ],
)
def test_info_entries_asked_for_by_name(name, message):
    frames = water_and_methane(gap=[1.0, 2.0], some=[1.0, None], word=["a", "b"])
    assert set(Structures.from_atoms(frames, targets=["gap"]).targets) == {"gap"}
    with pytest.raises(InputError, match=message) as caught:
        Structures.from_atoms(frames, targets=[name])
    assert "\n" not in str(caught.value)


def test_targets_from_mapping_and_frame_agree():
    frames = water_and_methane()
    columns = {"y": [1.0, 2.0], "z": [3, 4]}
    one = Structures.from_atoms(frames, targets=columns)
    two = Structures.from_atoms(frames, targets=pd.DataFrame(columns))
    assert one.hash == two.hash
    np.testing.assert_array_equal(one.target("z"), [3.0, 4.0])
    assert set(Structures.from_atoms(water_and_methane(gap=[1, 2]), targets={}).targets) == {"gap"}


def test_single_point_results_are_kept_with_their_units():
    frames = water_and_methane()
    for i, frame in enumerate(frames):
        frame.calc = SinglePointCalculator(
            frame, energy=-float(i), forces=np.full((len(frame), 3), i), dipole=np.ones(3)
        )
    ds = Structures.from_atoms(frames)
    np.testing.assert_array_equal(ds.target("energy"), [0, -1])
    assert ds.target("dipole").shape == (2, 3)
    assert ds.atom_targets["forces"].shape == (8, 3)
    assert ds.units == {"energy": "eV", "dipole": "e·Å", "forces": "eV/Å"}
    own = Structures.from_atoms(frames, targets={"energy": [5.0, 6.0]})
    assert own.units["energy"] == ""


def test_periodic_cells_are_kept_beside_molecules():
    salt = bulk("NaCl", "rocksalt", 5.64)
    ds = Structures.from_atoms([salt, molecule("H2O")])
    assert ds.cells is not None
    assert ds.pbc is not None
    np.testing.assert_allclose(abs(np.linalg.det(ds.cells[0])), 5.64**3 / 4)
    np.testing.assert_array_equal(ds.pbc, [[True] * 3, [False] * 3])
    assert ds.atoms(0).cell.volume == pytest.approx(salt.cell.volume)
    assert ds.select([1]).cells is not None
    assert Structures.from_atoms([molecule("H2O")]).cells is None


def h2(**changes):
    fields = {
        "name": "h2",
        "numbers": np.array([1, 1]),
        "positions": np.eye(2, 3),
        "offsets": np.array([0, 2]),
    }
    return Structures(**(fields | changes))


CELL = {"cells": np.eye(3)[None], "pbc": np.ones((1, 3), bool)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.full((2, 3), np.nan)}, "'h2_0' has a NaN or Inf position"),
        ({"positions": np.full((2, 3), np.inf)}, "'h2_0' has a NaN or Inf position"),
        ({"positions": np.zeros((3, 3))}, r"positions: expected shape \(2, 3\), got \(3, 3\)"),
        ({"positions": [["a", 1, 2]] * 2}, "positions: expected an array of float64"),
        ({"numbers": np.array([1, 0])}, "atomic number 0"),
        ({"numbers": np.array([1, 119])}, "atomic number 119"),
        ({"numbers": np.array([1.5, 1])}, "numbers: expected an array of int32"),
        ({"numbers": np.array([1])}, "numbers: expected shape"),
        ({"offsets": np.array([0])}, "holds no molecules"),
        ({"offsets": np.array([1, 2])}, "start at 1; expected 0"),
        ({"offsets": np.array([0, 0, 2])}, "molecule 0 of 'h2' has no atoms"),
        ({"ids": np.array(["a", "b"])}, "ids: expected shape"),
        ({"targets": {"y": np.zeros(2)}}, r"y: expected shape \(1,\) or \(1, any\), got \(2,\)"),
        ({"targets": {"y": np.array(["a"])}}, "y: expected an array of float64"),
        ({"atom_targets": {"q": np.zeros(1)}}, "q: expected shape"),
        ({"cells": np.eye(3)[None]}, "cells and pbc come together"),
        (CELL | {"cells": np.zeros((1, 3, 3))}, "'h2_0' is periodic, but its cell"),
        (CELL | {"cells": np.ones((1, 3, 3))}, "'h2_0' is periodic, but its cell"),
        (CELL | {"cells": np.full((1, 3, 3), np.nan)}, "'h2_0' is periodic, but its cell"),
    ],
)
def test_bad_structures_get_one_clear_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        h2(**changes)
    assert "\n" not in str(caught.value)


def test_slab_needs_only_its_periodic_vectors():
    cells = np.diag([3.0, 3.0, 0.0])[None]
    assert h2(cells=cells, pbc=np.array([[True, True, False]])).cells is not None


@pytest.mark.parametrize("indices", [[5], [[0]], [0.5], [True, False]])
def test_bad_indices_get_one_clear_line(indices):
    with pytest.raises(InputError) as caught:
        h2().select(indices)
    assert "\n" not in str(caught.value)


def test_nothing_selected_nothing_given_nothing_inside():
    with pytest.raises(InputError, match="holds no molecules"):
        h2().select([])
    with pytest.raises(InputError, match="no structures were given"):
        Structures.from_atoms([])
    with pytest.raises(InputError, match="molecule 1 of 'set' has no atoms"):
        Structures.from_atoms([molecule("H2O"), Atoms()], name="set")


def test_padding_too_narrow_names_the_molecule():
    with pytest.raises(InputError, match="'h2_0' has 2 atoms; cannot pad to 1"):
        h2().pad([0], atoms=1)


def test_targets_are_checked_when_asked_for():
    ds = h2(targets={"gap": np.array([np.nan])})  # a gap in a column nobody probes is no error
    with pytest.raises(
        InputError, match="'gap' is NaN or Inf for 1 of 1 molecules, the first 'h2_0'"
    ):
        ds.target("gap")
    with pytest.raises(UnknownNameError, match="did you mean gap"):
        ds.target("gpa")


# What entries say of the electrons


@pytest.mark.parametrize(
    ("entries", "charge", "unpaired"),
    [
        ([{"charge": 1}, {"charge": 0}], [1, 0], None),
        ([{"total_charge": -1.0}, {"Charge": "+2"}], [-1, 2], None),
        ([{"q": "2-"}, {"net charge": np.array([1])}], [-2, 1], None),
        ([{"charge": 1, "total_charge": 1}, {"charge": 0, "q": 0}], [1, 0], None),
        ([{"multiplicity": 3}, {"spin_multiplicity": 1}], None, [2, 0]),
        ([{"uhf": 1}, {"nupdown": 2.0}], None, [1, 2]),
        ([{"spin": 0.5}, {"total_spin": 0}], None, [1, 0]),
        ([{"spin": 1, "multiplicity": 3}, {"spin": 2, "unpaired": 2}], None, [2, 2]),
        ([{"charge": 1, "spin_multiplicity": 2}, {"charge": 0, "uhf": 0}], [1, 0], [1, 0]),
    ],
)
def test_electrons_are_read_under_every_usual_name(entries, charge, unpaired):
    frames = water_and_methane()
    for frame, entry in zip(frames, entries, strict=True):
        frame.info = {"gap": 1.0, **entry}
    ds = Structures.from_atoms(frames)
    assert set(ds.targets) == {"gap"}
    for found, expected in ((ds.charge, charge), (ds.unpaired, unpaired)):
        assert (None if found is None else found.tolist()) == expected
    assert Structures.from_atoms([ds.atoms(0), ds.atoms(1)]).hash == ds.hash


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"charge": 0.5}, "charge=0.5; expected a whole number"),
        ({"total_charge": np.nan}, "total_charge=nan; expected a whole number"),
        ({"charge": "cation"}, "charge=cation; expected a whole number"),
        ({"charge": True}, "charge=True; expected a whole number"),
        ({"charge": 1e30}, "expected a whole number"),
        ({"charge": 1, "q": -1}, "charge=1 and q=-1, which contradict"),
        ({"multiplicity": 0}, "multiplicity=0; expected a whole number"),
        ({"uhf": -1}, "uhf=-1; expected a whole number"),
        ({"spin": 1, "uhf": 5}, "spin=1 and uhf=5, which contradict"),
        ({"multiplicity": 2, "unpaired": 2}, "which contradict"),
    ],
)
def test_electrons_that_cannot_be_are_refused(entry, words):
    frames = water_and_methane()
    frames[1].info = entry
    with pytest.raises(InputError, match=words) as caught:
        Structures.from_atoms(frames)
    one_line(caught, "'structures_1'")


def test_structures_without_a_charge_beside_ions_are_neutral_and_named():
    frames = water_and_methane(charge=[1, None], uhf=[None, 2])
    with pytest.warns(UserWarning, match="taken as") as caught:
        ds = Structures.from_atoms(frames)
    assert (ds.charge.tolist(), ds.unpaired.tolist()) == ([1, 0], [0, 2])
    said = [str(warning.message) for warning in caught]
    assert any("'structures_1': they are taken as neutral" in line for line in said)
    assert any("'structures_0': they are taken as closed-shell" in line for line in said)


def test_a_spin_that_can_mean_two_things_is_left_out_by_name():
    with pytest.warns(UserWarning, match=r"'structures_0' can mean S, 2S or 2S \+ 1"):
        ds = Structures.from_atoms(water_and_methane(spin=[1, 2]))
    assert ds.unpaired is None
    assert ds.target("spin").tolist() == [1, 2]


def test_charges_in_a_table_of_targets_reach_models_too():
    ds = Structures.from_atoms(water_and_methane(), targets={"charge": [1, 0], "y": [0.5, 1]})
    assert ds.charge.tolist() == [1, 0]
    assert Structures.from_atoms(water_and_methane(), targets={"q": [0.5, 0]}).charge is None
    with pytest.raises(InputError, match="contradict"):
        Structures.from_atoms(water_and_methane(charge=[1, 0]), targets={"charge": [0, 0]})


def test_a_charge_that_is_asked_for_is_a_target():
    ds = Structures.from_atoms(water_and_methane(charge=[1, 0], gap=[1, 2]), targets=["charge"])
    assert set(ds.targets) == {"charge"}
    assert ds.charge.tolist() == [1, 0]


def test_initial_charges_are_no_total_charge():
    frames = water_and_methane()
    frames[0].set_initial_charges([1, 0, 0])
    with pytest.warns(UserWarning, match="'structures_0' add up to \\+1"):
        assert Structures.from_atoms(frames).charge is None


def test_columns_of_atoms_that_some_lack_are_named():
    frames = water_and_methane()
    frames[0].set_array("q", np.zeros(3))
    frames[0].set_tags(1)
    with pytest.warns(UserWarning, match=r"columns of atoms .* 'q' \(missing from 1 of 2\)$"):
        assert not Structures.from_atoms(frames).atom_targets


# Sites and distances


@pytest.mark.parametrize(
    "sites",
    [{"0": {"Mg": 0.6, "Fe": 0.4}}, {"0": {"O": 1.0}, "1": {"Li": 0.25}}, {"0": {"O": "0.5"}}],
)
def test_sites_that_are_partly_occupied_are_refused(sites):
    frame = bulk("MgO", "rocksalt", 4.2)
    frame.info["occupancy"] = sites
    with pytest.raises(InputError, match="partly occupied") as caught:
        Structures.from_atoms([molecule("H2O"), frame])
    one_line(caught, "'structures_1'")
    frame.info["occupancy"] = {"0": {"Mg": 1.0}, "1": {"O": 1}}
    assert not Structures.from_atoms([frame]).targets
    frame.set_array("occupancy", np.array([1.0, 0.5]))
    with pytest.raises(InputError, match=r"partly occupied \(occupancy 0.5\)"):
        Structures.from_atoms([frame])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]))
def test_close_atoms_are_found_as_ase_finds_them(seed, pbc):
    rng = np.random.default_rng(seed)
    frames = []
    for atoms in rng.integers(1, 7, 3):
        cell = rng.normal(size=(3, 3)) + 2 * np.eye(3)
        if np.linalg.det(cell) > 0.5:
            frames.append(Atoms(f"H{atoms}", rng.normal(0, 1.2, (atoms, 3)), cell=cell, pbc=pbc))
    if not frames:
        return
    close = [neighbor_list("ijd", frame, CLOSEST) for frame in frames]
    offsets = np.cumsum([0, *map(len, frames)])
    positions = np.concatenate([frame.positions for frame in frames])
    cells = np.array([frame.cell.array for frame in frames])
    found = closest_atoms(positions, offsets, cells, np.tile(np.array(pbc, bool), (len(frames), 1)))
    assert (found is None) == (not any(len(i) for i, _, _ in close))
    if found is not None:
        frame, first, second, distance = found
        i, j, d = close[frame]
        pairs = {(int(a), int(b), round(float(x), 6)) for a, b, x in zip(i, j, d, strict=True)}
        assert (first, second, round(distance, 6)) in pairs


def test_a_site_that_a_file_gives_twice_is_named():
    salt = bulk("NaCl", "rocksalt", 5.64)
    twice = salt + Atoms("Na", salt.positions[:1] + salt.cell.array[0] + 0.01)
    with pytest.warns(UserWarning, match="'structures_1' has atoms 0 and 2 at 0.017 Å") as caught:
        Structures.from_atoms([salt, twice])
    assert "write more digits" in str(caught[0].message)
    assert Structures.from_atoms([salt, molecule("H2")]).overlap is None


def test_names_that_some_structures_lack_are_named_when_left_out():
    frames = [molecule("H2O"), molecule("CH4")]
    frames[0].info["id"] = "water"
    with pytest.warns(UserWarning, match="'id' \\(missing from 1 of 2\\)"):
        made = Structures.from_atoms(frames)
    assert made.ids.tolist() == ["structures_0", "structures_1"]
