"""Files of settings: read within bounds, or refused in one line that names the file."""

import tracemalloc
from contextlib import suppress

import pytest
from helpers import one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpdjax.configuration import read_toml
from cpdjax.errors import FileError

DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"sizes = " + b"[" * DEEP + b"]" * DEEP, ["nested too deeply"]),
        (b"a = " + b"{b = " * DEEP + b"1" + b"}" * DEEP, ["nested too deeply"]),
        (b"x = " + b"9" * 5000, ["no valid TOML"]),
        (b"a = 1\n" * 2, ["no valid TOML"]),
        (b"a = \xff", ["no valid TOML", "utf-8"]),
        ("a = 'é'".encode("latin-1"), ["no valid TOML", "utf-8"]),
        (b"\0", ["no valid TOML"]),
        (b"#" * 2**21, ["larger than 1 MiB"]),
    ],
)
def test_what_is_no_settings_is_refused_in_bounds(content, words, tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(FileError) as caught:
        read_toml(path)
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    one_line(caught, "x.toml", *words)


@pytest.mark.parametrize("name", ["none.toml", ".", "a\0b"])
def test_what_is_no_file_is_refused(name, tmp_path):
    with pytest.raises(FileError, match="cannot read"):
        read_toml(tmp_path / name)


def test_windows_files_are_read(tmp_path):
    (tmp_path / "x.toml").write_bytes("\ufefftargets = 'α'\r\nfolds = 3\r\n".encode())
    assert read_toml(tmp_path / "x.toml") == {"targets": "α", "folds": 3}


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(st.binary(max_size=60), st.text('ab01.-"[]{}=#\n, \\', max_size=40).map(str.encode))
)
def test_any_content_is_read_or_refused(tmp_path, content):
    (tmp_path / "x.toml").write_bytes(content)
    with suppress(FileError):
        assert isinstance(read_toml(tmp_path / "x.toml"), dict)
