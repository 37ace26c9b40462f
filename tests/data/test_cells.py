"""Tables with a column of CIF text: structures against ASE's own, and what is refused by row."""

import gzip

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.io import read as ase_read
from helpers import call, one_line

from cpdjax import sweep
from cpdjax.data import datasets
from cpdjax.data.composition import composition, formulas
from cpdjax.data.tables import cells
from cpdjax.errors import FileError, InputError, LeftOutWarning
from cpdjax.sweeps import results

HEAD = """data_{name}
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
_symmetry_Int_Tables_number 1
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def cif(*sites, a=4.0, name="x"):
    return HEAD.format(a=a, name=name) + "\n".join(sites) + "\n"


def salt(cation="Na", anion="Cl", a=4.0):
    return cif(f"A {cation} 0 0 0 1", f"B {anion} 0.5 0.5 0.5 1", a=a)


def table(**more):
    texts = [salt("Na", "Cl", 3.5), salt("Cs", "Cl", 4.1), salt("Cs", "I", 4.5)]
    return pd.DataFrame({"material_id": ["mp-1", "mp-2", "mp-3"], "cif": texts, **more})


@pytest.fixture
def path(tmp_path):
    """A compressed CSV with a duplicated index, as pandas writes it."""
    path = tmp_path / "salts.csv.gz"
    table(formula=["NaCl", "CsCl", "CsI"], gap=[8.5, np.nan, 6.2], heat=[-4.3, -4.6, -3.6]).to_csv(
        path
    )
    return path


def test_structures_equal_those_that_ase_reads_from_files_of_their_own(path, tmp_path):
    with pytest.warns(LeftOutWarning, match="'', 'material_id'"):
        found = datasets.read(path)
    assert found.name == "salts"
    assert found.ids.tolist() == ["mp-1", "mp-2", "mp-3"]
    assert formulas(found).tolist() == ["ClNa", "ClCs", "CsI"]
    assert set(found.targets) == {"gap", "heat"}
    np.testing.assert_array_equal(found.target("heat"), [-4.3, -4.6, -3.6])
    for i, text in enumerate(table()["cif"]):
        (tmp_path / "one.cif").write_text(text)
        frame = ase_read(tmp_path / "one.cif")
        np.testing.assert_array_equal(found.atoms(i).positions, frame.positions)
        np.testing.assert_array_equal(found.atoms(i).cell.array, frame.cell.array)
        assert found.atoms(i).pbc.all()


def test_a_missing_target_is_refused_where_it_is_asked_for(path):
    with pytest.warns(LeftOutWarning):
        found = datasets.read(path)
    with pytest.raises(InputError) as caught:
        found.target("gap")
    one_line(caught, "gap", "mp-2")


def test_rows_are_chosen_and_a_dataframe_tells_the_same(path):
    with pytest.warns(LeftOutWarning):
        part = datasets.read(f"{path}@1:")
    with pytest.warns(LeftOutWarning, match="material_id"):
        whole = datasets.read(table(heat=[-4.3, -4.6, -3.6]))
    assert part.ids.tolist() == ["mp-2", "mp-3"]
    np.testing.assert_array_equal(part.positions, whole.select([1, 2]).positions)


def test_symmetry_fills_the_cell():
    text = (
        salt(a=5.64).replace("'P 1'", "'F m -3 m'").replace("Tables_number 1", "Tables_number 225")
    )
    found = datasets.read(pd.DataFrame({"cif": [text], "gap": [8.5]}))
    np.testing.assert_array_equal(composition(found), [[4, 4]])
    rock = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    distances = [frame.get_all_distances(mic=True) for frame in (found.atoms(0), rock)]
    np.testing.assert_allclose(*(np.sort(d, axis=None) for d in distances), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a crystal", "it is 'a crystal'"),
        (salt() + salt(), "expected a cell with its atoms"),
        (salt().partition("loop_")[0], "expected a cell with its atoms"),
        (salt()[: salt().index("0.5 0.5 1")], "incomplete row"),
        (salt().replace("_cell_length_a 4.0\n", ""), "expected a cell with its atoms"),
        (salt("Xx"), "Xx"),
        ("#" * (2**20 + 1), "at most 1,048,576"),
    ],
    ids=["words", "two", "no atoms", "cut", "no cell", "no element", "long"],
)
def test_a_broken_cif_is_named_by_its_row_in_one_line(text, said):
    broken = table()
    broken.loc[1, "cif"] = text
    with pytest.warns(LeftOutWarning), pytest.raises(FileError) as caught:
        datasets.read(broken)
    one_line(caught, "row 1, mp-2", said)


def test_a_cell_whose_symmetry_makes_too_many_atoms_is_refused(monkeypatch):
    monkeypatch.setattr(cells, "_MOST_IMAGES", 100)
    named = salt().replace("P 1'", "P n -3 n'").replace("Tables_number 1", "Tables_number 222")
    with pytest.raises(FileError) as caught:
        datasets.read(pd.DataFrame({"cif": [named]}))
    one_line(caught, "row 0", "384 atoms")


@pytest.mark.parametrize(
    "sites",
    [
        ("A Mg 0 0 0 0.6", "B Fe 0 0 0 0.4", "C O 0.5 0.5 0.5 1"),
        ("A Li 0 0 0 0.25", "B Co 0.5 0.5 0 1", "C O 0.5 0.5 0.5 1"),
    ],
    ids=["shared", "vacancy"],
)
def test_partly_occupied_sites_are_refused_by_row(sites):
    frame = table()
    frame.loc[2, "cif"] = cif(*sites)
    with pytest.warns(LeftOutWarning), pytest.raises(InputError) as caught:
        datasets.read(frame)
    one_line(caught, "row 2, mp-3", "partly occupied")


def test_a_table_without_a_cif_says_what_it_has(tmp_path):
    (tmp_path / "gaps.csv").write_text("formula,gap\nNaCl,8.5\n")
    with pytest.raises(FileError) as caught:
        datasets.read(tmp_path / "gaps.csv")
    one_line(caught, "column 'cif'", "formula", "gap")
    (tmp_path / "cells.csv").write_text("CIF,gap\n,8.5\n")
    with pytest.raises(InputError) as caught:
        datasets.read(tmp_path / "cells.csv")
    one_line(caught, "row 0")


def test_damaged_and_bursting_archives_are_refused(path, tmp_path, monkeypatch):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError) as caught:
        datasets.read(path)
    one_line(caught, "salts.csv.gz")
    bomb = tmp_path / "bomb.csv.gz"
    bomb.write_bytes(gzip.compress(b"cif,gap\n" + b" " * 2**22))
    monkeypatch.setattr("cpdjax.bounds.SMALL", 2**20)
    monkeypatch.setattr("cpdjax.data.tables.files._LINE", 2**16)
    with pytest.raises(FileError) as caught:
        datasets.read(bomb)
    one_line(caught, "bomb.csv.gz")


def test_a_sweep_takes_them_by_the_command_line_and_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lengths, kinds = rng.uniform(3.5, 4.5, 40), rng.choice(["Na", "K", "Cs"], 40)
    texts = [salt(kind, "Cl", a) for kind, a in zip(kinds, lengths, strict=True)]
    frame = pd.DataFrame({"cif": texts, "heat": lengths, "other": rng.normal(size=40)})
    frame.to_csv("salts.csv.gz", index=False)
    np.save("x.npy", np.column_stack([lengths, rng.normal(size=40)]))
    settings = ("--targets", "heat", "--sizes", "40", "--repeats", "1", "--alphas", "1")
    status, _, errors = call(
        "sweep", "--features", "x.npy", "--dataset", "salts.csv.gz", *settings, "--out", "out"
    )
    assert status == 0, errors
    table = results.load(tmp_path / "out")
    assert table.target.values.tolist() == ["heat"]
    in_python = sweep(
        {"x": np.load("x.npy")}, dataset=frame, targets=["heat"], sizes=[40], repeats=1, alphas=1.0
    )
    np.testing.assert_allclose(in_python.r2_geom, table.r2_geom)
    assert float(table.r2_geom.median()) > 0.9
