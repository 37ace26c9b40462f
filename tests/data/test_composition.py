"""Counts and formulas against each other, against hand counts and against RDKit."""

import contextlib
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import bulk, molecule
from helpers import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from cpdjax.data.composition import (
    composition,
    elements,
    formulas,
    from_formulas,
    from_smiles,
    hill,
)
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError, UnknownNameError

DS = Structures.from_atoms([molecule("CH3CH2OH"), molecule("H2O"), bulk("NaCl", "rocksalt", 5.64)])

counted = st.lists(
    st.dictionaries(
        st.sampled_from(["H", "C", "N", "O", "F", "Cl", "Na", "Fe", "U"]),
        st.integers(1, 40),
        min_size=1,
    ),
    min_size=1,
    max_size=8,
)


def test_counts_by_hand():
    assert elements(DS) == ("H", "C", "O", "Na", "Cl")
    expected = [[6, 2, 1, 0, 0], [2, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
    np.testing.assert_array_equal(composition(DS), expected)
    assert composition(DS).dtype == np.float64
    assert list(formulas(DS)) == ["C2H6O", "H2O", "ClNa"]


def test_fractions_sum_to_one():
    fractions = composition(DS, fractions=True)
    np.testing.assert_allclose(fractions.sum(axis=1), 1)
    np.testing.assert_allclose(fractions[1], [2 / 3, 0, 1 / 3, 0, 0])


def test_columns_as_asked():
    wanted = ("C", "H", "O", "N", "Na", "Cl")
    counts = composition(DS, elements=wanted)
    np.testing.assert_array_equal(counts[0], [2, 6, 1, 0, 0, 0])
    with pytest.raises(InputError, match="molecule 2 holds Na, which is not among"):
        composition(DS, elements=("H", "C", "O"))
    with pytest.raises(UnknownNameError, match="unknown element 'Cx'"):
        composition(DS, elements=("Cx",))


@settings(max_examples=60, deadline=None)
@given(counted)
def test_formulas_and_counts_round_trip(rows):
    texts = ["".join(f"{symbol}{n}" for symbol, n in row.items()) for row in rows]
    counts, symbols = from_formulas(texts)
    for row, got in zip(rows, counts, strict=True):
        assert {s: n for s, n in zip(symbols, got, strict=True) if n} == row
    named = formulas(texts)
    again, same = from_formulas(named)
    assert same == symbols
    np.testing.assert_array_equal(again, counts)
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert (named[i] == named[j]) == (one == other)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="CHONaeX()[]0123456789+-.·*^_{}²⁺⁻₂ ", max_size=12))
def test_any_text_is_read_or_refused_as_bad_input(text):
    with contextlib.suppress(InputError):
        counts, _ = from_formulas([text])
        assert (counts > 0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(CH3)2CO", {"H": 6, "C": 3, "O": 1}),
        ("Al2(SO4)3", {"Al": 2, "S": 3, "O": 12}),
        ("CuSO4·5H2O", {"H": 10, "O": 9, "S": 1, "Cu": 1}),
        (" C60 ", {"C": 60}),
        ("NaN", {"N": 1, "Na": 1}),
        ("2CaSO4·H2O", {"H": 2, "O": 9, "S": 2, "Ca": 2}),
        ("K4[Fe(CN)6]·3H2O", {"H": 6, "C": 6, "N": 6, "O": 3, "K": 4, "Fe": 1}),
        ("H₂O", {"H": 2, "O": 1}),
        ("C_{10}H_8", {"H": 8, "C": 10}),
        ("D2O", {"H": 2, "O": 1}),
        ("¹³CH₄", {"H": 4, "C": 1}),
    ],
)
def test_groups_and_hydrates(text, expected):
    counts, symbols = from_formulas([text])
    assert dict(zip(symbols, counts[0], strict=True)) == expected


IONS = {
    **dict.fromkeys(("Ca2+", "Ca+2", "Ca++", "Ca^2+", "Ca^{2+}", "Ca[2+]", "Ca²⁺", "Ca 2+"), "Ca"),
    **dict.fromkeys(("Na+", "Na1+", "Na⁺"), "Na"),
    **dict.fromkeys(("Ca2^+", "Ca₂⁺", "Ca_2+"), "Ca2"),
    **dict.fromkeys(("SO42-", "SO4 2-", "SO4-2", "SO₄²⁻", "SO_4^{2-}", "$SO_4^{2-}$"), "O4S"),
    **dict.fromkeys(("NH4+", "NH₄⁺", "NH4 +"), "H4N"),
    **dict.fromkeys(("UO22+", "UO2+2", "UO₂²⁺"), "O2U"),
    **dict.fromkeys(("Cu(NH3)42+", "[Cu(NH3)4]2+", "Cu(NH3)4(2+)"), "CuH12N4"),
    **dict.fromkeys(("[Fe(CN)6]4-", "[Fe(CN)6]3-"), "C6FeN6"),
    **{"PF6-": "F6P", "MnO4-": "MnO4", "Cr2O72-": "Cr2O7", "C60-": "C60", "O^2-": "O"},
    **{"O2^-": "O2", "Al(OH)4-": "AlH4O4", "Hg2 2+": "Hg2", "Cl-": "Cl", "OH−": "HO"},
}


@pytest.mark.parametrize("ion", IONS)
def test_a_charge_is_no_atom(ion):
    assert formulas([ion]) == [IONS[ion]]


@pytest.mark.parametrize(
    ("text", "meanings"),
    [
        ("O2-", ("O^2-", "O2^-")),
        ("N3-", ("N^3-", "N3^-")),
        ("Na2+", ("Na^2+", "Na2^+")),
        ("VO2+", ("VO^2+", "VO2^+")),
        ("FeCl2+", ("FeCl^2+", "FeCl2^+")),
        ("Hg22+", ("Hg2^2+", "Hg22^+")),
        ("C10H22+", ("C10H2^2+", "C10H22^+")),
        ("Ca2+SO42-", ("write ·",)),
        ("Fe(III)", ("(III)", "leave it out")),
        ("13CH4", ("¹³C", "C13")),
        ("(13C)H4", ("¹³C",)),
    ],
)
def test_what_can_mean_two_things_is_refused_with_the_way_to_write_it(text, meanings):
    with pytest.raises(InputError) as caught:
        from_formulas([text])
    one_line(caught, text, *meanings)


@pytest.mark.parametrize(
    "text", ["(" * 10**5, "C" * 10**8, "(" * 99 + "C" + ")" * 99, "C" + 30 * "9"]
)
@pytest.mark.parametrize("read", [from_formulas, from_smiles])
def test_texts_too_long_or_too_deep_are_refused_at_once(text, read):
    if read is from_smiles:
        pytest.importorskip("rdkit")
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        read([text])
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("bad", ["", "Xx2", "X", "c2h6", "H2O)", "Li0.5CoO2", "nan", "+", "H2O·"])
def test_bad_formulas_are_named_by_row(bad):
    with pytest.raises(InputError, match="row 2: ") as caught:
        from_formulas(["CH4", "H2O", bad])
    assert "\n" not in str(caught.value)


def test_one_string_is_not_a_list_of_formulas():
    with pytest.raises(InputError, match="got the one string 'CH4'"):
        composition("CH4")


def test_hill_wants_whole_counts():
    assert list(hill(np.array([[1.0, 0, 3], [0, 0, 1]]), ("C", "H", "Br"))) == ["CBr3", "Br"]
    with pytest.raises(InputError, match="whole counts"):
        hill(np.array([[0.5]]), ("C",))


def test_smiles_count_implicit_hydrogens():
    pytest.importorskip("rdkit")
    counts, symbols = from_smiles(["CCO", "c1ccccc1", "[NH4+]", "[H][H]", "O=C=O"])
    assert list(hill(counts, symbols)) == ["C2H6O", "C6H6", "H4N", "H2", "CO2"]


@pytest.mark.parametrize("bad", ["", "c1ccccc", "C(C)(C)(C)(C)C", "C*", "nan"])
def test_bad_smiles_are_named_by_row_without_rdkits_log(bad, capfd):
    pytest.importorskip("rdkit")
    with pytest.raises(InputError, match="row 1: "):
        from_smiles(["CCO", bad])
    assert capfd.readouterr().err == ""


def test_smiles_without_rdkit_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(InputError, match=r'pip install "cpdjax\[smiles\]"'):
        from_smiles(["C"])


def test_the_module_needs_no_rdkit_to_import():
    code = "import sys, cpdjax.data.composition; assert 'rdkit' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
