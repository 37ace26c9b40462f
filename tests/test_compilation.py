"""Compiled programs on disk: where they are kept, what bounds them, and what is wrong with them."""

import os
import subprocess
import sys
import warnings

import jax
import pytest
from filelock import FileLock
from helpers import call, without_progress
from jax._src.lib import xla_client

import cpdjax.models
from cpdjax import compilation

DIR = "jax_compilation_cache_dir"
SIZE = "jax_compilation_cache_max_size"
SECONDS = "jax_persistent_cache_min_compile_time_secs"
NAMES = [n for n in os.environ if n.startswith("JAX_")]
PROGRAM = """
import sys
from cpdjax import compilation
compilation.LEAST_SECONDS, compilation.MOST_BYTES = 0, int(sys.argv[1])
compilation.keep()
import jax
import jax.numpy as jnp
loaded = []
note = lambda event, **_: loaded.append(event.endswith("/cache_hits"))
jax.monitoring.register_event_listener(note)
print([float(jax.jit(lambda x, k=k: jnp.sin(x).sum() + k)(jnp.ones(9))) for k in range(8)])
print(sum(loaded))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs are kept by default; JAX has been told nothing."""
    for name in NAMES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CPDJAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


def shell(*arguments):
    """Exit status and lines of standard error of the command line in a process of its own."""
    command = [sys.executable, "-m", "cpdjax.cli", *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    return done.returncode, without_progress(done.stderr).splitlines()


def test_programs_are_kept_beside_the_data_and_the_folder_is_bounded_and_private(folder):
    found = compilation.settings()
    assert found == {DIR: str(folder), SIZE: 2**28, SECONDS: 0.1}
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in found:  # JAX knows them all
        assert hasattr(jax.config, name)


def test_a_folder_of_the_users_is_the_users_to_bound(folder, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    assert compilation.settings() == {SECONDS: 0.1}
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "3")
    assert compilation.settings() == {}
    assert not folder.exists()


def test_other_variables_of_the_user_hold(folder, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000")
    assert compilation.settings() == {DIR: str(folder), SECONDS: 0.1}


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, folder, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPDJAX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="compiled anew each time.*set CPDJAX_CACHE") as said:
        assert compilation.settings() == {}
    assert len(said) == 1


def test_a_folder_of_somebody_else_is_not_trusted(folder, monkeypatch):
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.warns(UserWarning, match="belongs to another user"):
        assert compilation.settings() == {}


def test_programs_that_were_cut_off_are_removed_unless_somebody_is_writing(folder):
    folder.mkdir(parents=True)
    whole, time, cut = (folder / name for name in ("a-cache", "a-atime", "b-cache"))
    for path in (whole, time, cut):
        path.touch()
    with FileLock(folder / ".lockfile"):
        compilation.settings()
        assert cut.exists()
    compilation.settings()
    assert whole.exists()
    assert not cut.exists()


@pytest.mark.slow
def test_two_processes_at_once_and_a_third_that_loads_what_they_have_compiled(folder):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(2**28)], stdout=-1, stderr=-1, encoding="utf-8"
        )

    said = [process.communicate(timeout=120) for process in (start(), start())]
    said.append(start().communicate(timeout=120))
    values = [out.splitlines()[0] for out, _ in said]
    assert values[0] == values[1] == values[2]
    assert [err for _, err in said] == ["", "", ""]
    assert int(said[2][0].splitlines()[1]) >= 8
    assert len(list(folder.glob("*-cache"))) == len(list(folder.glob("*-atime"))) >= 8


def test_the_folder_stays_within_its_bound(folder):
    command = [sys.executable, "-c", PROGRAM, "20000"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    kept = [path.stat().st_size for path in folder.glob("*-cache")]
    assert 0 < len(kept) < 8
    assert sum(kept) <= 20_000


def test_a_folder_that_jax_has_already_stays(folder):
    before = jax.config.jax_compilation_cache_dir
    assert before  # of the tests
    compilation.keep()
    assert jax.config.jax_compilation_cache_dir == before
    assert not folder.exists()


def test_instructions_of_the_processor_are_part_of_a_programs_name():
    """JAX hashes the fingerprint of the devices, so that machines of one home folder may differ."""
    code = (
        "import jax; from jax._src.lib import xla_client;"
        "print(xla_client.get_topology_for_devices(jax.devices('cpu')[:1]).fingerprint())"
    )
    ours = xla_client.get_topology_for_devices(jax.devices("cpu")[:1]).fingerprint()
    older = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True,
        env=os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "JAX_PLATFORMS": "cpu"},
    ).stdout  # fmt: skip
    assert str(ours) != older.strip()


def test_the_command_line_keeps_programs_unless_it_is_told_not_to(folder, monkeypatch):
    missing = ["cpdjax: cannot read none.toml: No such file or directory"]
    assert shell("--no-compilation-cache", "sweep", "none.toml") == (2, missing)
    assert not folder.exists()
    with monkeypatch.context() as patch:
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
        assert shell("sweep", "none.toml") == (2, missing)
    assert not folder.exists()
    assert shell("sweep", "none.toml") == (2, missing)
    assert folder.exists()


def test_a_cache_that_cannot_be_written_is_one_line_of_the_command_line(
    tmp_path, folder, monkeypatch
):
    (tmp_path / "cache").touch()
    status, [warned, failed] = shell("sweep", "none.toml")
    assert (status, failed) == (2, "cpdjax: cannot read none.toml: No such file or directory")
    assert warned.startswith(
        f"cpdjax: warning: programs are compiled anew each time, because {folder}"
    )
    assert shell("models")[1] == []  # nothing is compiled for it


def test_what_jax_says_of_single_programs_is_not_repeated(monkeypatch):
    def names():
        warnings.warn("Error writing persistent compilation cache entry for 'jit_f'", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return ()

    monkeypatch.setattr(cpdjax.models, "names", names)
    assert call("models")[2] == "cpdjax: warning: something else\n"
