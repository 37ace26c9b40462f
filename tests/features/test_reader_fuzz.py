"""Random tables and damaged files under a cap on memory: read right, or refused in one line."""

import csv
import io
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpdjax.data.tables.table import read_table
from cpdjax.errors import InputError
from cpdjax.features.sources import collect

MISSING = {"", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "#N/A"}
TRUTHS = {"true": 1.0, "false": 0.0}
NAMES = st.sampled_from(
    [
        *("a", "b", "gap", "formula", "Formula", "id", "ID", "index", "Unnamed: 0", "", "0", "1"),
        *("1.5", "smiles", "name", "x;y", "µ", "NaN", "Infinity", '"', "a.1"),
    ]
)
CELLS = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.sampled_from(
        [
            *(*MISSING, "-", "?", ".", "CH4", "1,5", "0x1F", "1_0", "1e400", "2024-01-01", "True"),
            *("inf", "1+2j", "[1, 2]", "1.0D+00", "12%", "١", "\ufeff1", "1\u00a0", "=1", '"'),
            *("a\nb", "#"),
        ]
    ),
    st.text(max_size=4),
)
FEW = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def read_or_refused(call):
    """What is read, or None where it is refused in one line."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return call()
    except InputError as error:
        if "\n" in str(error):
            raise


def meant(cell):
    """The number that a cell stands for."""
    text = cell.strip()
    if text in MISSING:
        return np.nan
    return TRUTHS.get(text.lower()) if text.lower() in TRUTHS else float(text)


@FEW
@given(data=st.data(), columns=st.integers(1, 4), rows=st.integers(0, 5), ends=st.booleans())
def fuzz_tables(data, columns, rows, ends):
    names = data.draw(st.lists(NAMES, min_size=columns, max_size=columns))
    cells = [data.draw(st.lists(CELLS, min_size=columns, max_size=columns)) for _ in range(rows)]
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n" if ends else "\n").writerows([names, *cells])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(file.getvalue(), encoding="utf-8", errors="replace", newline="")
        table = read_or_refused(lambda: read_table(path))
    if table is None:
        return
    names = [name.strip() for name in names]
    for name, values in table.numbers.items():
        column = [row[names.index(name)] for row in cells]
        np.testing.assert_array_equal(values, [meant(cell) for cell in column])
    known = {*table.numbers, *table.left_out, "id", "smiles", "name", "formula", "Formula"}
    assert set(names) <= known


def files():
    x = np.arange(12.0).reshape(4, 3)
    plain, packed, parquet, text = (io.BytesIO() for _ in range(4))
    np.save(plain, x)
    np.savez_compressed(packed, a=x, ids=np.arange(4))
    pd.DataFrame(x, columns=list("abc")).to_parquet(parquet)
    pd.DataFrame(x, columns=list("abc")).to_csv(text)
    zarr = io.BytesIO()
    with zipfile.ZipFile(zarr, "w") as archive:
        archive.writestr("zarr.json", '{"zarr_format": 3, "node_type": "group", "attributes": {}}')
        archive.writestr(
            "x/zarr.json",
            '{"zarr_format": 3, "node_type": "array", "shape": [4, 3], "data_type": "float64", '
            '"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 3]}}, '
            '"chunk_key_encoding": {"name": "default"}, "fill_value": 0, "attributes": {}, '
            '"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}',
        )
        archive.writestr("x/c/0/0", x.tobytes())
    return {".npy": plain, ".npz": packed, ".parquet": parquet, ".csv": text, ".zarr.zip": zarr}


FILES = {suffix: file.getvalue() for suffix, file in files().items()}


@FEW
@given(
    suffix=st.sampled_from(sorted(FILES)),
    cut=st.none() | st.integers(0, 3000),
    changes=st.lists(
        st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=9)), max_size=4
    ),
)
def fuzz_damage(suffix, cut, changes):
    content = bytearray(FILES[suffix])
    for place, new in changes:
        place %= len(content)
        content[place : place + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(content[:cut])
        found = read_or_refused(lambda: collect(path, None))
    if found is not None:
        for array in found[0].values():
            assert array.array.dtype == np.float64
            assert array.ndim == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
@pytest.mark.parametrize("name", ["fuzz_tables", "fuzz_damage"])
def test_nothing_is_misread_and_nothing_breaks(name):
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    import resource

    for content in FILES.values():  # what is imported late must be there before the cap
        assert content
    with tempfile.TemporaryDirectory() as home:
        for suffix, content in FILES.items():
            (Path(home) / f"x{suffix}").write_bytes(content)
            read_or_refused(lambda p=Path(home) / f"x{suffix}": collect(p, None))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**29,) * 2)
    globals()[sys.argv[1]]()
