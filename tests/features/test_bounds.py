"""What a file claims is refused before memory or time is given to it."""

import gzip
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr
from helpers import one_line

from cpdjax.bounds import COLUMNS, EXPANSION, SMALL
from cpdjax.errors import FileError
from cpdjax.features.sources import collect

#: Reads a file with 100 MB more than what importing takes, and prints the seconds and the error.
CAPPED = """
import resource, sys, time
from cpdjax.features.sources import collect
import numpy as np, pyarrow.csv, pyarrow.parquet
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 100_000_000,) * 2)
start = time.process_time()
try:
    collect(sys.argv[1], None)
except ValueError as error:
    print(round(time.process_time() - start, 3), error)
"""


def header(shape, descr="<f8"):
    file = io.BytesIO()
    facts = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def wide_csv(path, columns=10**6):
    names = ",".join(f"c{i}" for i in range(columns))
    path.write_text(f"{names}\n{','.join('1' * columns)}\n")


def endless_line(path):
    path.write_bytes(b"a" * (2**24 + 1))


def large_npy(path):
    path.write_bytes(header((10**9, 10**6)) + bytes(100))


def large_npz(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header((10**9, 10**6)) + bytes(100))


def bomb_npz(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as entry,
    ):
        entry.write(header((2**17 + 1, 2**10)))
        for _ in range(2**7 + 1):
            entry.write(bytes(2**23))


def bomb_parquet(path):
    zeros = pa.array(np.zeros(10**6))
    pq.write_table(pa.table({f"c{i}": zeros for i in range(140)}), path)


def large_zarr(path, **options):
    options = {"shape": (10**7, 10**6), "chunks": (1000, 1000)} | options
    zarr.create_group(path).create_array("x", dtype="f8", **options)


def large_chunks(path):
    large_zarr(path, shape=(10, 3), chunks=(10**6, 10**6))


def bomb_chunk(path):
    large_zarr(path, shape=(10, 3), chunks=(10, 3), compressors=zarr.codecs.GzipCodec())
    (path / "x" / "c" / "0").mkdir(parents=True)
    (path / "x" / "c" / "0" / "0").write_bytes(gzip.compress(bytes(2**28), 1))


def deep_zarr(path):
    path.mkdir()
    (path / "zarr.json").write_text("[" * 10**5)


def deep_attributes(path):
    path.mkdir()
    nested = '{"a":' * 10**5 + "1" + "}" * 10**5
    facts = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": 0})
    (path / "zarr.json").write_text(facts.replace(" 0}", f"{nested}}}"))


def zipped_zarr(path):
    folder = path.with_suffix("")
    large_zarr(folder)
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder))


CLAIMS = {
    "a.csv": (wide_csv, "1,000,000 columns"),
    "b.csv": (endless_line, "longer than 16 MiB"),
    "a.npy": (large_npy, "claims an array of shape"),
    "a.npz": (large_npz, "claims shape"),
    "b.npz": (bomb_npz, "claims to hold"),
    "a.parquet": (bomb_parquet, "claims to hold"),
    "a.zarr": (large_zarr, "claims to hold"),
    "b.zarr": (large_chunks, "claims to hold"),
    "c.zarr": (bomb_chunk, "more than the"),
    "d.zarr": (deep_zarr, "cannot read features"),
    "e.zarr": (deep_attributes, "cannot read features"),
    "f.zarr.zip": (zipped_zarr, "claims to hold"),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in CLAIMS.items():
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", CLAIMS)
def test_large_claims_are_refused(name, hostile):
    with pytest.raises(FileError) as caught:
        collect(hostile / name, None)
    one_line(caught, CLAIMS[name][1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
@pytest.mark.parametrize("name", CLAIMS)
def test_large_claims_take_neither_time_nor_memory(name, hostile):
    command = [sys.executable, "-c", CAPPED, str(hostile / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr, done.stderr
    seconds, _, message = done.stdout.partition(" ")
    assert float(seconds) < 1
    assert CLAIMS[name][1] in message


def test_what_is_small_or_compresses_honestly_is_read(tmp_path):
    rng = np.random.default_rng(0)
    sparse = (rng.random((200, 2048)) < 0.01).astype(np.uint8)  # fingerprints
    np.savez_compressed(tmp_path / "x.npz", features=sparse)
    xr.Dataset({"features": (("molecule", "feature"), 0 * sparse)}).to_zarr(tmp_path / "x.zarr")
    assert collect(tmp_path / "x.npz", None)[0]["features"].shape == sparse.shape
    assert collect(tmp_path / "x.zarr", None)[0]["features"].shape == sparse.shape
    assert (SMALL, EXPANSION, COLUMNS) == (2**30, 100, 100_000)
