"""One reader of tables: numbers are read exactly, and nothing is left out without its name."""

import datetime
import gzip
import warnings
from decimal import Decimal

import ase.io
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import molecule
from helpers import one_line
from hypothesis import given, settings
from hypothesis import strategies as st

from cpdjax import Structures, datasets
from cpdjax.data.tables.table import read_table
from cpdjax.errors import FileError, InputError, LeftOutWarning, UnknownNameError
from cpdjax.real_arrays import labels_rows
from cpdjax.sweeps.targets import Targets


def csv(folder, content):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# CSV


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2.5\n3,4\n",
        b"\xef\xbb\xbfa,b\n1,2.5\n3,4\n",
        "a,b\r\n1,2.5\r\n3,4\r\n",
        "a,b\r1,2.5\r3,4\r",
        "\na,b\n\n1,2.5\n\n3,4",
        " a , b \n 1 ,\t2.5\n+3., 4\n",
        'a,"b"\n"1","2.5"\n"3","4"\n',
        "a,b\n1e0,25E-1\n3,.4e1\n",
    ],
    ids=["plain", "mark", "crlf", "mac", "blank", "spaces", "quotes", "exponents"],
)
def test_a_csv_file_is_read(content, tmp_path):
    numbers = read_table(csv(tmp_path, content)).numbers
    assert {name: values.tolist() for name, values in numbers.items()} == {
        "a": [1, 3],
        "b": [2.5, 4],
    }


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_every_float_survives_a_csv_file(values, tmp_path_factory):
    path = csv(tmp_path_factory.mktemp("csv"), "x\n" + "".join(f"{v!r}\n" for v in values))
    np.testing.assert_array_equal(read_table(path).numbers["x"], values)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2,\n", "Expected 2 columns, got 3"),
        ("a,b,c\n1,2\n", "Expected 3 columns, got 2"),
        ("a,a\n1,2\n", "2 columns 'a'"),
        ("a, a\n1,2\n", "2 columns 'a'"),
        ("formula,Formula,gap\nCH4,H2O,1\n", "both give the formula"),
        ("0.5,1.5\n2.5,3.5\n", "the number 0.5; expected the names"),
        ("CH4,10.5\nH2O,8.5\n", "the number 10.5; expected the names"),
        ("a;b\n1;2\n", "expected commas between columns"),
        ("a;b\n1,5;2,5\n", "expected commas between columns"),
        ("a\tb\n1\t2\n", "expected commas between columns"),
        ("a b\n1 2\n", "expected commas between columns"),
        ("a;b,c\n1,2\n", "expected commas between columns"),
        ('a\n"1,5"\n"2,5"\n', "expected a number, got '1,5'"),
        ('a\n"1,234"\n"2,345"\n', "expected a number, got '1,234'"),
        ("a\n1 234\n", "expected a number, got '1 234'"),
        ("a\n0x1F\n0x2A\n", "expected a number, got '0x1F'"),
        ("a\n1.0D+00\n", "expected a number, got '1.0D+00'"),
        ("a\n12%\n", "expected a number, got '12%'"),
        ("a\n1.5±0.1\n", "expected a number, got '1.5±0.1'"),
        ("a\neV\n1\n2\n", "row 0: expected a number, got 'eV'"),
        ("a\n1\n-\n-\n-\n-\n", "row 1: expected a number, got '-'"),
        ("a\n?\n?\n?\n1\n", "row 0: expected a number, got '?'"),
        ("a\nTrue\n2\n", "row 0: expected a number, got 'True'"),
        (b"a,b\n1,\0\n", "NUL"),
        ("a,b\n1,2\n".encode("utf-16"), "no UTF-8 text"),
        ("µ,b\n1,2\n".encode("latin-1"), "no UTF-8 text"),
        (b"a,b\n1,2\n" * 9 + b"\xb5,2\n", "no UTF-8 text"),
        (gzip.compress(b"a,b\n1,\xb5\n", mtime=0), "no UTF-8 text"),
        ("", "it is empty"),
        ('a,b\n1,"2\n', "never closed"),
    ],
)
def test_a_csv_file_that_could_be_misread_is_refused(content, words, tmp_path):
    with pytest.raises(InputError) as caught:
        read_table(csv(tmp_path, content))
    one_line(caught, words)


def test_columns_may_be_called_by_their_place(tmp_path):
    for header in ("0,1,2", "1,2,3", "id,0,1"):
        table = read_table(csv(tmp_path, f"{header}\n7,8,9\n"))
        assert len(table.numbers) + len(table.texts) == 3


@pytest.mark.parametrize("word", ["", "NA", "NaN", "nan", "null", "None", "n/a", "<NA>"])
def test_what_is_missing_is_nan(word, tmp_path):
    values = read_table(csv(tmp_path, f"a,b\n1,2\n3,{word}\n")).numbers["b"]
    np.testing.assert_array_equal(values, [2, np.nan])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["2024-01-01", "2024-02-01"], "text"),
        (["1+2j", "3-1j"], "text"),
        (["[1 2]", "[3 4]"], "text"),
        (["-", "-"], "text"),
        (["NA", ""], "no value"),
    ],
)
def test_columns_of_other_things_are_left_out_by_name(values, why, tmp_path):
    path = csv(tmp_path, "formula,gap,other\n" + "".join(f"CH4,1,{v}\n" for v in values))
    with pytest.warns(LeftOutWarning, match=rf"'other' \({why}\)"):
        assert list(Targets.from_table(path).by_name) == ["gap"]


# Who the rows are


@pytest.mark.parametrize(
    "name",
    [
        *("Unnamed: 0", "Unnamed: 0.1", "", "#", "ID", "Id", "index", "Index", "idx", "row"),
        *("mol_id", "molecule_id", "MolIdx", "sample_id", "row_number", "No.", "level_0"),
        "__index_level_0__",
    ],
)
def test_row_numbers_are_no_numbers_to_fit(name, tmp_path):
    assert labels_rows(name)
    path = csv(tmp_path, f'"{name}",formula,gap\n0,CH4,1.5\n1,H2O,2.5\n')
    with pytest.warns(LeftOutWarning, match="numbers or names the rows"):
        assert list(Targets.from_table(path).by_name) == ["gap"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of what nobody asked for nothing is said
        assert list(Targets.from_table(path, ["gap"]).by_name) == ["gap"]
    if name.lower() != "id":
        with pytest.raises(InputError) as caught:
            Targets.from_table(path, [name])
        one_line(caught, "numbers or names the rows", "rename")


def test_an_index_is_no_number_to_fit(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 3])
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (frame, tmp_path / "t.parquet", frame.rename_axis("number")):
        assert list(read_table(source).numbers) == ["a"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "frame", "index", "mapping"])
def test_nan_is_sodium_nitride(kind, tmp_path):
    frame = pd.DataFrame({"formula": ["NaCl", "NaN"], "gap": [1.0, 2.0]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    sources = {"frame": frame, "index": frame.set_index("formula"), "mapping": dict(frame)}
    found = Targets.from_table(sources.get(kind, tmp_path / f"t.{kind}"))
    assert found.formulas.tolist() == ["ClNa", "NNa"]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", "  "])
def test_a_missing_formula_is_refused_by_its_row(missing):
    with pytest.raises(InputError) as caught:
        Targets.from_table({"formula": ["CH4", missing], "gap": [1, 2]})
    one_line(caught, "column 'formula', row 1")


def test_a_column_that_counts_is_told():
    with pytest.warns(UserWarning, match="'number' counts the rows"):
        read_table({"number": range(1, 31)})


def test_unknown_and_impossible_targets():
    table = {"formula": ["CH4"], "gap": [1.0], "note": ["new"]}
    with pytest.raises(UnknownNameError) as caught:
        read_table(table, ["gab"])
    one_line(caught, "did you mean gap")
    for name, why in (("note", "text"), ("formula", "what the molecules are")):
        with pytest.raises(InputError) as caught:
            read_table(table, [name])
        one_line(caught, name, why)


# Columns of DataFrames, Parquet files and mappings

NUMBERS = {
    "nullable": (pd.array([1, None, 3], dtype="Int64"), [1, np.nan, 3]),
    "flags": (pd.array([True, None, False], dtype="boolean"), [1, np.nan, 0]),
    "arrow": (pd.array([1.5, None, 3], dtype=pd.ArrowDtype(pa.float64())), [1.5, np.nan, 3]),
    "decimal": ([Decimal("1.5"), None, Decimal(3)], [1.5, np.nan, 3]),
    "text": (["1.5", "NA", "3"], [1.5, np.nan, 3]),
    "half": (np.array([1, 2, 3], np.float16), [1, 2, 3]),
    "wide": (np.array([2**63, 2, 3], np.uint64), [2.0**63, 2, 3]),
    "categories": (pd.Categorical([1.5, 2, 1.5]), [1.5, 2, 1.5]),
}
OTHERS = {
    "times": (pd.date_range("2024", periods=3), "dates or durations"),
    "zones": (pd.date_range("2024", periods=3, tz="UTC"), "dates or durations"),
    "durations": (pd.to_timedelta([1, 2, 3], "s"), "dates or durations"),
    "days": ([datetime.date(2024, 1, 1)] * 3, "dates or durations"),
    "periods": (pd.period_range("2024", periods=3, freq="M"), "of type pandas.period"),
    "intervals": (pd.interval_range(0, 3), "of type pandas.interval"),
    "categories": (pd.Categorical(["a", "b", "a"]), "categories"),
    "words": (["a", None, "b"], "text"),
    "nothing": ([None] * 3, "no value"),
    "bytes": ([b"1"] * 3, "bytes"),
    "lists": (pd.Series([[1], [1, 2], [3]]), "a list in each row"),
    "records": (pd.Series([{"a": 1}] * 3), "a list in each row"),
    "complex": (np.array([1j, 2, 3]), "complex numbers"),
}


def every_container(values, folder):
    frame = pd.DataFrame({"x": values})
    yield frame
    yield {"x": values}
    if frame["x"].dtype.kind != "c":
        frame.to_parquet(folder / "t.parquet")
        yield folder / "t.parquet"


@pytest.mark.parametrize("kind", NUMBERS)
def test_columns_of_numbers(kind, tmp_path):
    values, expected = NUMBERS[kind]
    for source in every_container(values, tmp_path):
        np.testing.assert_array_equal(read_table(source).numbers["x"], expected)


@pytest.mark.parametrize("kind", OTHERS)
def test_columns_that_are_no_numbers(kind, tmp_path):
    values, why = OTHERS[kind]
    for source in every_container(values, tmp_path):
        table = read_table(source)
        assert (table.numbers, table.left_out) == ({}, {"x": why})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=["f", "f"]), "2 columns 'f'"),
        (pd.DataFrame([[1, 2]], columns=[0, "0"]), "2 columns '0'"),
        (
            {"x": pd.Series([1, [2]], dtype=object)},
            "got one of type list",
        ),
        ({"x": [1, "two"]}, "row 1: expected a number, got 'two'"),
        ({"x": np.ma.array([1, 2], mask=[False, True])}, "holds masked values"),
        ({"x": [[1, 2], [3]]}, "different lengths"),
        ({"x": [1, 2], "y": [1]}, "make no table"),
        ({"x": 1}, "make no table"),
        ({}, "make no table"),
        ({"x": pd.Series([1, 2]), "y": pd.Series([1, 2], [1, 0])}, "different labels"),
        ([1, 2], "got list"),
    ],
)
def test_what_makes_no_table_is_refused(source, words):
    with pytest.raises(InputError) as caught:
        read_table(source)
    one_line(caught, words)


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="2 columns 'a'"):
        read_table(tmp_path / "t.parquet")


# Beside structures


def frames(*ids):
    found = [molecule("H2O") for _ in ids]
    for frame, name in zip(found, ids, strict=True):
        frame.info["id"] = name
    return found


@pytest.mark.parametrize("key", ["id", "ID", "ids", "Mol_ID", "molecule_id"])
def test_structures_and_tables_are_joined_by_id(key, tmp_path):
    table = pd.DataFrame({key: ["b", "c", "a"], "gap": [2.0, 3.0, 1.0]})
    ase.io.write(tmp_path / "s.extxyz", frames("a", "b"))
    with pytest.warns(LeftOutWarning, match=r"'c' \(no such molecule\)"):
        found = Structures.from_atoms(frames("a", "b"), targets=table)
    with pytest.warns(LeftOutWarning):
        read = datasets.read(tmp_path / "s.extxyz", targets=dict(table))
    for structures in (found, read):
        assert structures.target("gap").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("ids", "words"),
    [(["a", "a"], "'a' more than once"), (["a", None], "row 1"), (["a", "x"], "no row for 1 of 2")],
)
def test_missing_and_double_ids_are_refused(ids, words):
    with pytest.raises(InputError) as caught:
        Structures.from_atoms(frames("a", "b"), targets={"id": ids, "gap": [1.0, 2.0]})
    one_line(caught, words)


def test_no_table_is_a_folder_or_a_device(tmp_path):
    for path in (tmp_path, tmp_path / "none.csv", "/dev/zero"):
        with pytest.raises(FileError) as caught:
            read_table(path)
        one_line(caught, "as a table", "no")
