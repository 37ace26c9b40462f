"""Read the columns of CSV and Parquet files as they stand there, with bounds before work."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cpdjax.bounds import check_columns, check_size
from cpdjax.errors import FileError

_PARQUET = (".parquet", ".pq")
#: How the names of tables of features and of crystals end; one of targets may have any name.
_SUFFIXES = (".csv", ".csv.gz", *_PARQUET)
_LINE = 2**24  # bytes: no line of a CSV file may be longer
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")

Columns = list[tuple[str, pa.ChunkedArray]]


def read_columns(path: Path) -> Columns:
    """Return the columns of a Parquet file (suffix .parquet or .pq), or else of a CSV file.

    A CSV file is UTF-8 text with commas between columns, and names in its first line; it may be
    compressed by gzip. Its columns are texts, which `columns.numbers_of` reads.

    Raises:
        FileError: if the file cannot be read, is no such text, has rows of other lengths than its
            header, has no header, or claims more than `bounds` allows.
    """
    reader = _read_parquet if path.suffix.lower() in _PARQUET else _read_csv
    try:
        if not path.is_file():
            reason = "it is no file" if path.exists() else "there is no such file"
            raise FileError(f"cannot read {path} as a table: {reason}")
        table = reader(path)
    except (OSError, EOFError, zlib.error, pa.ArrowException, MemoryError, csv.Error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"cannot read {path} as a table: {reason[:300]}") from None
    return list(zip(table.column_names, table.columns, strict=True))


def stem(path: Path) -> str:
    """Return the name of a file without its suffix, and without that of its compression.

    >>> stem(Path("data/perov_5-val.csv.gz"))
    'perov_5-val'
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def is_table(path: Path) -> bool:
    """Return whether the name of a file is that of a table.

    >>> [is_table(Path(name)) for name in ("perovskites.csv.gz", "md.extxyz")]
    [True, False]
    """
    return path.name.lower().endswith(_SUFFIXES)


def _opened(path: Path) -> BinaryIO:
    """Return a file of bytes, expanded where it is compressed by gzip."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _read_parquet(path: Path) -> pa.Table:
    """Return the table in a Parquet file; an index that pandas wrote is a column like others."""
    with pa.parquet.ParquetFile(path) as file:
        facts = file.metadata
        check_columns(path, facts.num_columns)
        groups = range(facts.num_row_groups)
        stated = sum(facts.row_group(i).total_byte_size for i in groups)
        check_size(path, max(stated, 8 * facts.num_rows * facts.num_columns))
        return file.read()


def _read_csv(path: Path) -> pa.Table:
    """Return the table of texts in a CSV file."""
    try:
        width = _width(path)
        _check_text(path)
    except UnicodeDecodeError as error:
        raise FileError(
            f"cannot read {path} as a table: it is no UTF-8 text ({error.reason}); save it as UTF-8"
        ) from None
    texts = {f"f{i}": pa.large_string() for i in range(width)}  # so Arrow names what has no header
    with _opened(path) as file:
        table = pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(block_size=_LINE, autogenerate_column_names=True),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=texts, strings_can_be_null=False),
        )
    names = [column[0].as_py().strip() for column in table.columns]
    _check_header(path, names)
    return table.slice(1).rename_columns(names)


def _width(path: Path) -> int:
    """Return the number of names in the header, which is the first line that is not empty."""
    with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="") as file:
        rows = (row for row in csv.reader(_lines(path, file)) if row)
        header, first = next(rows, []), next(rows, [])
    if not header:
        raise FileError(f"cannot read {path} as a table: it is empty")
    name, words = header[0], header[0].split()
    apart = len(words) > 1 and len(first) == 1 and len(first[0].split()) == len(words)
    if len(header) == 1 and (apart or re.search(r"[;\t|]", name)):
        raise FileError(
            f"cannot read {path} as a table: its header is {name[:60]!r}; expected commas between "
            "columns, and points in numbers"
        )
    return len(header)


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Return the lines of a file; too many columns, or a line without end, are refused."""
    while line := file.readline(_LINE):
        check_columns(path, line.count(",") + 1)
        if len(line) == _LINE:
            raise FileError(f"cannot read {path} as a table: a line is longer than 16 MiB")
        yield line


def _check_text(path: Path) -> None:
    """Refuse a file that is no text, or that ends inside quotes.

    Raises:
        UnicodeDecodeError: if it is no UTF-8.
        FileError: if it holds NUL, or an odd number of quotes, or expands beyond `bounds`.
    """
    decoder, quotes, size = codecs.getincrementaldecoder("utf-8")(), 0, 0
    with _opened(path) as file:
        while part := file.read(_LINE):
            size += len(part)
            check_size(path, size)
            decoder.decode(part)
            quotes += part.count(b'"')
            if b"\0" in part:
                raise FileError(f"cannot read {path} as a table: it holds NUL, which no text does")
    decoder.decode(b"", final=True)
    if quotes % 2:
        raise FileError(f'cannot read {path} as a table: a quote (") is opened and never closed')


def _check_header(path: Path, names: list[str]) -> None:
    """Refuse a first line that holds numbers, and so no names.

    Columns may be called by their place, from 0 or from 1, as pandas calls them.

    Raises:
        FileError: if it does.
    """
    for name in names:
        if "\t" in name or re.search(r"\S;\S", name):
            raise FileError(
                f"cannot read {path} as a table: its header has the name {name[:60]!r}; expected "
                "commas between columns, and nothing else"
            )
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    places = [str(i) for i in range(len(numbers) + 1)]
    if numbers and numbers not in (places[:-1], places[1:]):
        raise FileError(
            f"cannot read {path} as a table: its first line holds the number {numbers[0]}; "
            "expected the names of the columns there"
        )
