"""Structure files: which frames are meant, what a file claims, and names that are no elements."""

import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from helpers import one_line

from cpdjax.data import datasets
from cpdjax.data.composition import formulas
from cpdjax.data.frames import located
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.sources import collect

ATOMS = "Properties=species:S:1:pos:R:3"
WATER = ["O 0 0 0", "H 0 0 0.96", "H 0.93 0 -0.24"]


def xyz(path, rows=WATER, header=ATOMS, count=None):
    path.write_text("\n".join([str(len(rows) if count is None else count), header, *rows, ""]))
    return path


@pytest.fixture
def trajectory(tmp_path):
    frames = []
    for step in range(6):
        frame = molecule("H2O")
        frame.info = {"step": step}
        frame.set_array("mine", np.full((3, 2), float(step)))
        frames.append(frame)
    write(tmp_path / "traj.extxyz", frames)
    return tmp_path / "traj.extxyz"


def steps(path, **options):
    return datasets.read(path, **options).target("step").astype(int).tolist()


# Which frames are meant


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("@::2", [0, 2, 4]),
        ("@0", [0]),
        ("@-1", [5]),
        ("@-2:", [4, 5]),
        ("@1:5:2", [1, 3]),
        ("@::-1", [5, 4, 3, 2, 1, 0]),
        ("@:", [0, 1, 2, 3, 4, 5]),
        ("", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_frames_after_the_at_sign(trajectory, suffix, expected):
    assert steps(f"{trajectory}{suffix}") == expected
    assert datasets.read(f"{trajectory}{suffix}").name == "traj"


def test_features_of_named_frames(trajectory):
    [features] = collect(f"{trajectory}@::2", None)
    np.testing.assert_array_equal(features["mine"].array, [[0, 0], [2, 2], [4, 4]])
    with pytest.raises(UnknownNameError):
        collect(f"{trajectory.with_name('other.extxyz')}@::2", None)


def test_a_file_with_an_at_sign_in_its_name_wins(trajectory):
    for name in ("md@300K.extxyz", "md@2", "a::b.extxyz"):
        frames = datasets.read(trajectory, index="1:3")
        write(trajectory.with_name(name), [frames.atoms(0), frames.atoms(1)], format="extxyz")
    write(trajectory.with_name("md"), molecule("CH4"), format="extxyz")
    for name in ("md@300K.extxyz", "md@2", "a::b.extxyz"):
        assert steps(trajectory.with_name(name)) == [1, 2]
    assert steps(f"{trajectory.with_name('md@300K.extxyz')}@1") == [2]
    assert located(trajectory.with_name("at@home") / "x.xyz")[1] == ":"


def test_frames_that_are_not_there_or_named_twice(trajectory):
    for wrong in ("@6", "@7:", "@::0", "@end", "@1-3"):
        with pytest.raises(FileError) as caught:
            datasets.read(f"{trajectory}{wrong}")
        one_line(caught, "traj.extxyz")
    with pytest.raises(InputError, match="give one"):
        datasets.read(f"{trajectory}@0", index=1)


# What a file claims


HOSTILE = {
    "atoms.extxyz": f"1000000000000\n{ATOMS}\nH 0 0 0\n",
    "digits.xyz": f"{'9' * 5000}\n\nH 0 0 0\n",
    "columns.extxyz": f"1\n{ATOMS}:x:R:100000000\nH 0 0 0 1\n",
    "quoted.extxyz": f'1\nProperties="{ATOMS[11:]}:x:R:100000000"\nH 0 0 0 1\n',
    "more.extxyz": f"1\n{ATOMS}\nH 0 0 0 1\n",
    "none.extxyz": f"1\n{ATOMS}:x:R:0\nH 0 0 0\n",
    "negative.extxyz": f"-5\n{ATOMS}\nH 0 0 0\n",
    "minus.extxyz": f"1\n{ATOMS}:x:R:-3\nH 0 0 0\n",
    "half.xyz": "3\n\nO 0 0 0\nH 0 0 1\n",
    "second.xyz": "1\n\nO 0 0 0\n2\n\nH 0 0 0\n",
    "gap.xyz": "1\n\nO 0 0 0\n\n1\n\nH 0 0 0\n",
    "empty.xyz": "",
    "colon.extxyz": f"1\n{ATOMS}:mtt::aux::q:R:1\nH 0 0 0 1\n",
    "json.extxyz": f'1\n{ATOMS} x="_JSON {"[" * 50_000}"\nH 0 0 0\n',
    "POSCAR": "x\n1\n5 0 0\n0 5 0\n0 0 5\nH\n1000000000\nDirect\n0 0 0\n",
    "minus.vasp": "x\n1\n5 0 0\n0 5 0\n0 0 5\nH\n-3\nDirect\n0 0 0\n",
    "a.lammps-data": "x\n1000000000000 atoms\n1 atom types\n0 1 xlo xhi\n\nAtoms\n\n1 1 0 0 0\n",
    "a.lammpstrj": "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1000000000000\nITEM: BOX BOUNDS pp\n",
    "a.gen": "1000000000000 C\n H\n1 1 0 0 0\n",
    "deep.json": "[" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_cannot_hold_is_refused_at_once(name, tmp_path):
    path = tmp_path / name
    path.write_text(HOSTILE[name])
    start = time.perf_counter()
    with pytest.raises(FileError) as caught:
        datasets.read(path)
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 400
    one_line(caught, name)


def test_columns_without_names_are_left_out_with_a_word(tmp_path):
    path = xyz(tmp_path / "plain.xyz", [f"{row} 0.5" for row in WATER], header="")
    with pytest.warns(UserWarning, match="no Properties=… names them"):
        assert not datasets.read(path).atom_targets


def test_lone_atoms_are_structures(tmp_path):
    path = tmp_path / "lone.xyz"
    path.write_text("1\n\nH 0 0 0\n1\n\nHe 0 0 0\n")
    assert list(formulas(datasets.read(path))) == ["H", "He"]


# Species and sites


@pytest.mark.parametrize(
    ("species", "words"),
    [
        ("D", "isotope of hydrogen; write H"),
        ("T", "isotope of hydrogen; write H"),
        ("Bq", "leave out ghost and dummy atoms"),
        ("X", "leave out ghost and dummy atoms"),
        ("H1", "a label; write the element's symbol, H"),
        ("1", "a number; write H"),
    ],
)
def test_species_that_are_no_elements(species, words, tmp_path):
    path = xyz(tmp_path / "odd.extxyz", [*WATER[:2], f"{species} 0.93 0 -0.24"])
    with pytest.raises(InputError) as caught:
        datasets.read(path)
    one_line(caught, "odd", words)


def test_numbers_and_any_case_are_elements(tmp_path):
    rows = ["8 0 0 0", "1 0 0 0.96"]
    assert (
        formulas(datasets.read(xyz(tmp_path / "z.xyz", rows, "Properties=Z:I:1:pos:R:3"))) == "HO"
    )
    assert formulas(datasets.read(xyz(tmp_path / "c.xyz", ["CL 0 0 0", "h 0 0 1.3"]))) == "ClH"


CIF = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma {gamma}
_symmetry_Int_Tables_number {group}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


def cif(path, group, sites, a=4.3, c=4.3, gamma=90):
    head = CIF.format(a=a, c=c, gamma=gamma, group=group)
    path.write_text(head + "\n".join(sites) + "\n")
    return path


@pytest.mark.parametrize(
    "sites",
    [
        ["Mg1 Mg 0 0 0 0.6", "Fe1 Fe 0 0 0 0.4", "O1 O 0.5 0.5 0.5 1"],
        ["Li1 Li 0 0 0 0.25", "Co1 Co 0.5 0.5 0 1.0", "O1 O 0.5 0.5 0.5 1.0"],
        ["O1 O 0 0 0 1.0", "H1 H 0.22 0 0 0.5", "H2 H 0.25 0.05 0 0.5"],
    ],
)
def test_partial_occupancy_is_refused(sites, tmp_path):
    with pytest.raises(InputError) as caught:
        datasets.read(cif(tmp_path / "partial.cif", 1, sites))
    one_line(caught, "'partial_0'", "partly occupied")
    whole = cif(tmp_path / "whole.cif", 1, ["Mg1 Mg 0 0 0 1.0", "O1 O 0.5 0.5 0.5 1"])
    assert formulas(datasets.read(whole)) == "MgO"


def test_deuterium_of_a_cif_is_hydrogen_with_a_word(tmp_path):
    path = cif(tmp_path / "ice.cif", 1, ["O1 O 0 0 0 1", "D1 D 0.22 0 0 1", "D2 D 0 0.22 0 1"])
    with pytest.warns(UserWarning, match="'ice_0', is taken as hydrogen"):
        assert formulas(datasets.read(path)) == "H2O"


@pytest.mark.parametrize(("third", "expected"), [("0.33333", "Mo2S4"), ("0.333", None)])
def test_rounded_special_positions_do_not_pass_as_more_atoms(third, expected, tmp_path):
    two_thirds = f"{2 * float(third):.5f}"
    sites = [f"Mo1 Mo {third} {two_thirds} 0.25 1", f"S1 S {third} {two_thirds} 0.621 1"]
    path = cif(tmp_path / "mos2.cif", 194, sites, a=3.16, c=12.29, gamma=120)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = formulas(datasets.read(path))
    said = [str(warning.message) for warning in seen]
    if expected:
        assert (found.tolist(), said) == ([expected], [])
    else:
        assert any("'mos2_0'" in line and "write more digits" in line for line in said)


# Any text at all

FUZZ = """
    import resource, sys, tempfile, time, warnings
    from pathlib import Path
    from hypothesis import HealthCheck, given, settings, strategies as st
    from cpdjax.data import datasets
    from cpdjax.data.composition import from_formulas, from_smiles
    from cpdjax.errors import InputError

    warnings.simplefilter("ignore")
    here = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (here + 2**29,) * 2)
    folder = Path(tempfile.mkdtemp())
    SEEDS = {seeds}

    @st.composite
    def damaged(draw, text):
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, len(text)))
            end = draw(st.integers(at, min(at + 30, len(text))))
            put = st.sampled_from(["", "-", "9" * 12, "nan", "\\n", '"', ":", "1e308", "[" * 200])
            text = text[:at] + draw(st.one_of(put, st.text(max_size=5))) + text[end:]
        return text

    def tried(read, *arguments):
        start = time.perf_counter()
        try:
            read(*arguments)
        except InputError as error:
            assert "\\n" not in str(error) and len(str(error)) < 2000, str(error)
        assert time.perf_counter() - start < 10, arguments

    quiet = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))

    for name, seed in SEEDS.items():
        @settings(max_examples=150, **quiet)
        @given(damaged(seed))
        def fuzz(text):
            path = folder / name
            path.write_text(text, encoding="utf-8", errors="replace")
            tried(datasets.read, path)
        fuzz()

    formula, smiles = "[Cu(NH3)4]SO4·5H2O^{2+}", "C[C@H](N)C(=O)[O-]"
    for read, seed in ((from_formulas, formula), (from_smiles, smiles)):
        @settings(max_examples=400, **quiet)
        @given(st.one_of(damaged(seed), st.text(max_size=40)))
        def fuzz(text):
            tried(read, [text])
        fuzz()
    print("done")
"""


@pytest.mark.slow
def test_readers_of_structures_refuse_any_damage_in_one_line_within_bounds(tmp_path):
    pytest.importorskip("rdkit")
    sites = ["Mg1 Mg 0 0 0 1.0", "O1 O 0.5 0.5 0.5 1"]
    header = f'{ATOMS}:q:R:1 charge=1 energy=-3.5 Lattice="5 0 0 0 5 0 0 0 5" pbc="T T F"'
    seeds = {
        "a.extxyz": xyz(tmp_path / "a", [f"{row} 0.5" for row in WATER], header).read_text() * 2,
        "a.xyz": xyz(tmp_path / "b", header="water").read_text(),
        "a.cif": cif(tmp_path / "c", 225, sites).read_text(),
        "POSCAR": "salt\n1\n4 0 0\n0 4 0\n0 0 4\nNa Cl\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n",
    }
    code = textwrap.dedent(FUZZ).replace("{seeds}", repr(seeds))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.stdout.endswith("done\n"), done.stderr[-3000:]
