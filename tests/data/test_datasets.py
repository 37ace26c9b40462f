"""QM9 and files: numbers against the paper's own rows and independent constants; damage refused."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk, molecule
from helpers import one_line
from scipy.spatial.transform import Rotation

from cpdjax.data import datasets, qm9, qm9_files
from cpdjax.data.cache import load as load_cached
from cpdjax.data.composition import composition, elements, formulas, from_smiles
from cpdjax.data.multipoles import anisotropy, point_dipole
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, InputError

PART, ROWS = qm9_files.PARTS[0], 30  # the rows of each part in the small source folder


@pytest.fixture(scope="session")
def wheel():
    return qm9_files.wheel_folder()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("qm9-cache")


@pytest.fixture(scope="session")
def full(cache):
    """All of QM9, parsed once; every later load in this session is a cached one."""
    return datasets.qm9(cache=cache)


@pytest.fixture(scope="session")
def head(wheel, tmp_path_factory):
    """A folder like the wheel's, with the first rows of each part."""
    folder = tmp_path_factory.mktemp("qm9-head")
    names = set()
    for part in qm9_files.PARTS:
        with (wheel / part).open() as file:
            lines = list(islice(file, ROWS + 1))
        (folder / part).write_text("".join(lines))
        names |= {line.split(",")[0] for line in lines}
    with (wheel / qm9_files.POLARIZABILITY).open() as file:
        kept = [line for line in file if line.split(",")[0] in names]
    (folder / qm9_files.POLARIZABILITY).write_text("".join(kept))
    return folder


@pytest.fixture
def source(head, tmp_path):
    """A copy of the small folder that a test may damage."""
    return Path(shutil.copytree(head, tmp_path / "source"))


# QM9's numbers


def test_the_whole_set_is_there_and_finite(full):
    assert len(full) == 130_831
    assert len(np.unique(full.ids)) == len(full)
    assert elements(full) == ("H", "C", "N", "O", "F")
    assert full.sizes.min() == 3
    assert full.sizes.max() == 29
    assert set(full.targets) == {t.name for t in qm9.TARGETS}
    for target in qm9.TARGETS:
        assert np.isfinite(full.target(target.name)).all()
        assert full.units[target.name] == target.unit
    assert np.isfinite(full.atom_targets["mulliken_charge"]).all()
    assert set(datasets.SCALAR_TARGETS) < set(full.targets)
    assert all(full.target(name).ndim == 1 for name in datasets.SCALAR_TARGETS)


def test_methane_is_the_first_row(full):
    methane = full.select([0])
    assert (methane.ids[0], methane.smiles[0], formulas(methane)[0]) == ("gdb_1", "C", "CH4")
    np.testing.assert_array_equal(methane.numbers, [6, 1, 1, 1, 1])
    np.testing.assert_array_equal(
        methane.positions[:2],
        [[-0.0126981359, 1.0858041578, 0.0080009958], [0.002150416, -0.0060313176, 0.0019761204]],
    )
    hartree = ase.units.Hartree  # ASE's own constant (CODATA 2014), so only to 1e-8
    assert methane.target("gap")[0] == pytest.approx(0.5048 * hartree, rel=1e-7)
    assert methane.target("u0")[0] == pytest.approx(-40.47893 * hartree, rel=1e-7)
    assert methane.target("cv")[0] == 6.469
    # The paper's table: methane is bound by 395.999 kcal/mol at 0 K.
    kcal = ase.units.kcal / ase.units.mol
    assert methane.target("u0_atom")[0] == pytest.approx(-395.999 * kcal, rel=1e-5)


def test_rows_equal_a_plain_reading_of_the_csv(full, wheel):
    """The csv module, json and float() on a few rows, against the vectorised parse of all."""
    with (wheel / qm9_files.PARTS[1]).open(newline="") as file:
        rows = list(islice(csv.DictReader(file), 0, 2000, 97))
    at = {name: i for i, name in enumerate(full.ids)}
    for row in rows:
        one = full.select([at[f"gdb_{row['Index']}"]])
        positions = json.loads(re.sub(r"\.(?=[,\]E])", ".0", row["XYZ_Ang"]))
        np.testing.assert_array_equal(one.positions, positions)
        charges = json.loads(re.sub(r"\.(?=[,\]E])", ".0", row["Mulliken_pop"]))
        np.testing.assert_array_equal(one.atom_targets["mulliken_charge"], charges)
        symbols = re.findall("[A-Z]", row["Elements"])
        assert one.atoms(0).get_chemical_symbols() == symbols
        assert one.target("r2")[0] == float(row["R2_bohr2"])
        assert one.target("homo")[0] == float(row["HOMO_au"]) * 27.211386245988


def test_every_number_notation_of_the_file_is_read(full):
    """The file writes 2.1997E-6 and 1.E-6; both kinds end up small, not lost."""
    charges = full.atom_targets["mulliken_charge"]
    assert ((np.abs(charges) < 1e-5) & (charges != 0)).sum() >= 19
    assert np.abs(full.positions).max() < 15
    step = np.linalg.norm(np.diff(full.positions, axis=0), axis=1)
    step[full.offsets[1:-1] - 1] = np.inf  # from one molecule to the next
    assert step.min() > 0.9  # no atom closer to the one before it than a bond to hydrogen


def test_targets_agree_among_themselves(full):
    get = full.target
    rounding = 1.01e-4 * qm9.HARTREE
    np.testing.assert_allclose(get("gap"), get("lumo") - get("homo"), atol=rounding)
    np.testing.assert_allclose(get("alpha_mean"), get("alpha"), atol=0.0055)
    assert (get("u0") < get("u298")).all()
    assert (get("u298") < get("h298")).all()
    kt = ase.units.kB * 298.15  # enthalpy is energy plus kT of an ideal gas
    np.testing.assert_allclose(get("h298") - get("u298"), kt, atol=2e-4)
    assert (get("u0_atom") < 0).all()
    assert get("u0_atom").mean() == pytest.approx(-76.116, abs=1e-3)  # as MoleculeNet's QM9 has it


def test_atomization_subtracts_the_free_atoms(full):
    """On every molecule: U0 - U0_atom is linear in composition with the atoms' energies."""
    free = (full.target("u0") - full.target("u0_atom")) / qm9.HARTREE
    expected = composition(full) @ [-0.500273, -37.846772, -54.583861, -75.064579, -99.718730]
    np.testing.assert_allclose(free, expected, rtol=1e-12)


def test_point_dipole_follows_the_dft_dipole_and_the_charges_are_neutral(full):
    total = np.add.reduceat(full.atom_targets["mulliken_charge"], full.offsets[:-1])
    assert np.abs(total).max() < 1e-5
    assert np.corrcoef(full.target("mu"), full.target("mu_point"))[0, 1] > 0.9
    norm = np.linalg.norm(full.target("dipole_point"), axis=1) / ase.units.Debye
    np.testing.assert_allclose(full.target("mu_point"), norm, rtol=1e-6, atol=1e-9)


def test_point_dipole_turns_with_the_molecule_and_ignores_where_it_is(full):
    ds = full.select(slice(1000, 1050))
    charges = ds.atom_targets["mulliken_charge"] + 0.01  # even a charged one: centroid as origin
    turn = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    dipole = point_dipole(charges, ds.positions, ds.offsets)
    moved = point_dipole(charges, ds.positions @ turn.T + [3.0, -2.0, 9.0], ds.offsets)
    np.testing.assert_allclose(moved, dipole @ turn.T, atol=1e-12)


def test_anisotropy_is_an_invariant():
    rng = np.random.default_rng(0)
    tensor = rng.normal(size=(20, 3, 3))
    tensor += tensor.transpose(0, 2, 1)
    turn = Rotation.random(rng=rng).as_matrix()
    np.testing.assert_allclose(anisotropy(turn @ tensor @ turn.T), anisotropy(tensor))
    a, b, c = np.linalg.eigvalsh(tensor).T  # the textbook form, on principal values
    textbook = np.sqrt(((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2) / 2)
    np.testing.assert_allclose(anisotropy(tensor), textbook)


def test_smiles_name_the_same_composition_as_the_coordinates(full):
    pytest.importorskip("rdkit")
    sample = full.select(slice(0, None, 400))
    counts, symbols = from_smiles(sample.smiles)
    np.testing.assert_array_equal(counts, composition(sample, elements=symbols))


# Draws and the cache


def test_draws_are_nested_reproducible_and_without_replacement(head, cache):
    big = datasets.qm9(50, seed=3, source=head, cache=cache)
    small = datasets.qm9(20, seed=3, source=head, cache=cache)
    np.testing.assert_array_equal(small.ids, big.ids[:20])
    assert len(np.unique(big.ids)) == 50
    assert datasets.qm9(20, seed=3, source=head, cache=cache).hash == small.hash
    assert datasets.qm9(20, seed=4, source=head, cache=cache).hash != small.hash
    assert list(datasets.qm9(source=head, cache=cache).ids[:2]) == ["gdb_1", "gdb_2"]


@pytest.mark.parametrize("n", [0, -1, 91, 2.5, "all"])
def test_impossible_draws(n, head, cache):
    with pytest.raises(InputError) as caught:
        datasets.qm9(n, source=head, cache=cache)
    one_line(caught, "n: expected")


def test_the_cached_set_loads_in_two_seconds_and_is_equal(full, cache):
    start = time.perf_counter()
    again = datasets.qm9(cache=cache)
    assert time.perf_counter() - start < 2
    assert again.hash == full.hash
    assert again.units == full.units
    np.testing.assert_array_equal(again.ids, full.ids)
    np.testing.assert_array_equal(again.smiles, full.smiles)
    for key, value in full.atom_targets.items():
        np.testing.assert_array_equal(again.atom_targets[key], value)


def test_qm9pack_is_never_imported():
    code = (
        "import sys; from cpdjax.data import qm9_files; qm9_files.wheel_folder();"
        "assert 'qm9pack' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_environment_names_the_cache_folder(source, tmp_path, monkeypatch):
    monkeypatch.setenv("CPDJAX_CACHE", str(tmp_path / "from-env"))
    datasets.qm9(source=source)
    assert len(list((tmp_path / "from-env").glob("qm9-*.npz"))) == 1
    datasets.qm9(source=source, cache=tmp_path / "from-arg")
    assert len(list((tmp_path / "from-arg").glob("qm9-*.npz"))) == 1


def test_a_second_call_parses_nothing_and_a_changed_source_does(source, tmp_path, monkeypatch):
    first = datasets.qm9(source=source, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "parse_qm9", lambda folder: pytest.fail("parsed again"))
        assert datasets.qm9(source=source, cache=tmp_path).hash == first.hash
    part = source / PART
    part.write_text(part.read_text().replace(",13.21,", ",13.22,", 1))
    changed = datasets.qm9(source=source, cache=tmp_path)
    assert (first.target("alpha")[0], changed.target("alpha")[0]) == (13.21, 13.22)


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text"])
def test_a_damaged_cache_is_rebuilt(damage, source, tmp_path):
    good = datasets.qm9(source=source, cache=tmp_path)
    (path,) = tmp_path.glob("qm9-*.npz")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"positions.npy") + 1000] ^= 1
    path.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "flipped": flipped, "text": b"no"}[damage]
    )
    assert load_cached(path, "qm9") is None
    assert datasets.qm9(source=source, cache=tmp_path).hash == good.hash
    assert load_cached(path, "qm9") is not None


def test_an_interrupted_write_leaves_nothing(source, tmp_path, monkeypatch):
    def interrupted(path, **arrays):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.qm9(source=source, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_only_a_warning(source, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(UserWarning, match="set CPDJAX_CACHE"):
        assert len(datasets.qm9(source=source, cache=blocked)) == 3 * ROWS


def test_racing_writers_leave_one_whole_file(source, tmp_path):
    found = []
    threads = [
        threading.Thread(
            target=lambda: found.append(datasets.qm9(source=source, cache=tmp_path / "c").hash)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    (path,) = (tmp_path / "c").iterdir()
    assert load_cached(path, "qm9") is not None


# Damaged sources


@pytest.mark.parametrize("cut", [0, 100, 2_000, -1, -3, -200])
def test_a_truncated_part_gets_one_line(cut, source, tmp_path):
    part = source / PART
    part.write_bytes(part.read_bytes()[:cut])
    with pytest.raises(FileError) as caught:
        datasets.qm9(source=source, cache=tmp_path)
    one_line(caught, PART, "qm9pack")
    assert not list(tmp_path.glob("*.npz"))


def test_a_part_cut_between_rows_is_noticed_too(source, tmp_path):
    part = source / PART
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FileError) as caught:
        datasets.qm9(source=source, cache=tmp_path)
    one_line(caught, "lists 90 molecules, not the 89")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"[-0.535689,', '"[', "row 0, column Mulliken_pop: expected 5 entries, got 4"),
        ("-0.535689", "oops", "column Mulliken_pop: could not convert"),
        ("['C','H','H'", "['C','S','H'", "row 0, column Elements: expected 5 entries, got 4"),
        ("13.21,", "big,", "column Polarizability_bohr3: could not convert"),
        ("13.21,", ",", "incomplete at data row 0"),
        ("XYZ_Ang", "XYZ", "XYZ_Ang"),
    ],
)
def test_a_garbled_part_gets_one_line(old, new, words, source, tmp_path):
    part = source / PART
    part.write_text(part.read_text().replace(old, new, 1))
    with pytest.raises(FileError) as caught:
        datasets.qm9(source=source, cache=tmp_path)
    one_line(caught, words)


def test_absent_data_says_what_to_install(tmp_path, monkeypatch):
    with pytest.raises(FileError) as caught:
        datasets.qm9(source=tmp_path)
    one_line(caught, PART, 'pip install "cpdjax[qm9]"')
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileError) as caught:
        datasets.qm9()
    one_line(caught, 'pip install "cpdjax[qm9]"')


# Any other file


@pytest.fixture
def frames():
    found = [molecule("H2O"), molecule("CH4"), bulk("NaCl", "rocksalt", 5.64)]
    for i, frame in enumerate(found):
        frame.info |= {"id": f"m{i}", "gap": float(i), "tensor": np.arange(3.0) + i}
        frame.set_array("q", np.full(len(frame), 0.5 * i))
    return found


@pytest.fixture
def extxyz(frames, tmp_path):
    ase.io.write(tmp_path / "set.extxyz", frames)
    return tmp_path / "set.extxyz"


def test_extxyz_round_trip_with_cells(extxyz, frames):
    ds = datasets.read(extxyz, units={"gap": "eV"})
    assert (ds.name, list(ds.ids), ds.units["gap"]) == ("set", ["m0", "m1", "m2"], "eV")
    np.testing.assert_array_equal(ds.target("gap"), [0, 1, 2])
    assert ds.target("tensor").shape == (3, 3)
    np.testing.assert_array_equal(ds.atom_targets["q"], [0] * 3 + [0.5] * 5 + [1] * 2)
    assert ds.cells is not None
    np.testing.assert_allclose(ds.cells[2], frames[2].cell.array)
    assert ds.atoms(2).pbc.all()
    assert not ds.atoms(0).pbc.any()
    ase.io.write(extxyz, [ds.atoms(i) for i in range(3)])
    assert datasets.read(extxyz).hash == ds.hash
    assert Structures.from_atoms(frames).target("gap").tolist() == ds.target("gap").tolist()


def test_index_and_names_select(extxyz):
    assert len(datasets.read(extxyz, index="1:")) == 2
    assert len(datasets.read(extxyz, index=-1, name="last")) == 1
    assert set(datasets.read(extxyz, targets=["gap"]).targets) == {"gap"}
    with pytest.raises(FileError) as caught:
        datasets.read(extxyz, index="7:")
    one_line(caught, "holds no structures")


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame"])
def test_tables_join_on_id_in_any_order(kind, extxyz, tmp_path):
    table = pd.DataFrame(
        {"id": ["m2", "other", "m0", "m1"], "y": [2.0, 9.0, 0.0, 1.0], "note": list("abcd")}
    )
    path = tmp_path / f"targets.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "parquet":
        table.to_parquet(path)
    ds = datasets.read(extxyz, targets=table if kind == "frame" else path, units={"y": "eV"})
    np.testing.assert_array_equal(ds.target("y"), [0, 1, 2])
    assert set(ds.targets) == {"y", "gap", "tensor"}
    assert ds.units["y"] == "eV"


def test_tables_without_ids_go_by_order(frames, tmp_path):
    for frame in frames:
        del frame.info["id"]
    ase.io.write(tmp_path / "set.extxyz", frames)
    (tmp_path / "t.csv").write_text("id,smiles,y\na,O,1\nb,C,\nc,[Na]Cl,3\n")
    ds = datasets.read(tmp_path / "set.extxyz", targets=tmp_path / "t.csv")
    assert (list(ds.ids), list(ds.smiles)) == (["a", "b", "c"], ["O", "C", "[Na]Cl"])
    with pytest.raises(InputError) as caught:
        ds.target("y")
    one_line(caught, "'y' is NaN or Inf for 1 of 3 molecules, the first 'b'")


def test_arrays_as_targets(extxyz):
    ds = datasets.read(extxyz, targets={"y": np.arange(6.0).reshape(3, 2)})
    assert ds.target("y").shape == (3, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("y\n1\n2\n", "has 2 rows for 3 structures"),
        ("id,y\nm0,1\nm1,2\n", "no row for 1 of 3 molecules, the first 'm2'"),
        ("id,y\nm0,1\nm1,2\nm1,2\nm2,3\n", "id 'm1' more than once"),
        ("id,y\nm0,1\nm1,1.5eV\nm2,3\n", "column 'y', row 1: expected a number, got '1.5eV'"),
        ("", "as a table"),
        ('y\n1\n"2\n3', "as a table"),
    ],
)
def test_bad_tables_get_one_line(text, words, extxyz, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        datasets.read(extxyz, targets=path)
    one_line(caught, words)


def test_a_truncated_parquet_gets_one_line(extxyz, tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"y": np.arange(3.0)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileError) as caught:
        datasets.read(extxyz, targets=path)
    one_line(caught, "as a table")


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "noise"])
def test_bad_structure_files_get_one_line(damage, extxyz):
    whole = extxyz.read_bytes()
    if damage == "absent":
        extxyz.unlink()
    else:
        extxyz.write_bytes({"empty": b"", "cut": whole[:-60], "noise": bytes(range(256))}[damage])
    with pytest.raises(FileError) as caught:
        datasets.read(extxyz)
    one_line(caught, "set.extxyz")
