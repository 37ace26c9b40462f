"""Whatever ends a command is one line and a status: 2 where a user can mend it, 1 where we must."""

import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import jax
import pytest

from cpdjax.cli.failures import status_of
from cpdjax.errors import FileError, InputError


def said(error, capsys):
    """The status and the one line that an error ends in."""

    def command():
        raise error

    status = status_of(command)
    printed, errors = capsys.readouterr()
    [line] = errors.splitlines()
    assert printed == ""
    assert line.isprintable()
    assert line.startswith("cpdjax: ")
    return status, line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("no target 'a\nb'"), r"no target 'a\nb'"),
        (FileError("x.npz is cut"), "x.npz is cut"),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x.npz"),
            "x.npz: No such file",
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left"),
        (OSError("of a library"), "of a library"),
        (MemoryError(), "smaller --batch-size"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 GiB"), "smaller --batch-size"),
        (zipfile.BadZipFile("bad magic"), "a file is damaged"),
        (EOFError("no more"), "a file is damaged"),
        (UnicodeEncodeError("ascii", "α.npz", 0, 1, "no"), "set LC_ALL=C.UTF-8"),
    ],
)
def test_what_a_user_can_mend(error, words, capsys):
    status, line = said(error, capsys)
    assert status == 2
    assert words in line


@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError(), RuntimeError("a\n\x1b[2Jb"), RecursionError("r")]
)
def test_a_fault_of_ours_says_where_to_report_it(error, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    status, line = said(error, capsys)
    assert status == 1
    assert "this is a fault of cpdjax" in line
    assert line.endswith("/issues")
    [kept] = tmp_path.iterdir()
    assert str(kept) in line
    text = kept.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert type(error).__name__ in text


def test_a_fault_is_said_where_nothing_can_be_written(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert said(KeyError("x"), capsys)[0] == 1


def test_a_platform_that_is_not_there_is_named(capsys, monkeypatch):
    before = jax.config.jax_platforms
    real = jax.devices

    def devices():
        if jax.config.jax_platforms == "cuda":
            raise RuntimeError("no cuda")
        return real()

    monkeypatch.setattr(jax, "devices", devices)
    jax.config.update("jax_platforms", "cuda")
    try:
        status, line = said(AssertionError(), capsys)
    finally:
        jax.config.update("jax_platforms", before)
    assert status == 2
    assert "JAX_PLATFORMS=cuda" in line
    assert "cpu" in line


def test_a_status_is_passed_on():
    assert status_of(lambda: 7) == 7


SCRIPT = """
import sys
from cpdjax.cli.failures import status_of
from cpdjax.cli.terminal import put, show_all_characters
show_all_characters()
def command():
    for _ in range(20000):
        put("R² of α in Å │ 分")
    return 0
sys.exit(status_of(command))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "lines"),
    [
        ("| head -1", 0, 0),
        ("> /dev/full", 2, 1),
        (">&-", 0, 0),
        ("2>&- | head -1", 0, 0),
    ],
)
def test_an_output_that_ends_early(shell, status, lines, tmp_path):
    if "full" in shell and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "x.py").write_text(SCRIPT, encoding="utf-8")
    command = f"set +o pipefail; {sys.executable} x.py {shell}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, encoding="utf8", timeout=100,
        env=os.environ | {"PYTHONIOENCODING": "utf8"},
    )  # fmt: skip
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == lines, done.stderr
