"""Writers and locks: whole or not at all, by one process at a time, and nothing left behind."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from cpdjax import files, locks
from cpdjax.errors import FileError
from cpdjax.files import PREFIX, atomic, clean
from cpdjax.locks import sole_writer


def killed(code, folder):
    """Run code in a process that kills itself; the lock of a process ends with it."""
    program = f"import os, signal\nfrom cpdjax import files, locks\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder)
    assert done.returncode == -signal.SIGKILL


def folder_with(path, text):
    path.mkdir()
    (path / "note").write_text(text)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(params=[True, False])
def _exchange(request, monkeypatch):
    """With and without a system that exchanges two folders in one step."""
    if not request.param:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    elif not sys.platform.startswith("linux"):
        pytest.skip("Linux alone")


@pytest.mark.usefixtures("_exchange")
def test_a_folder_replaces_another(tmp_path):
    for text in ("old", "new"):
        with atomic(tmp_path / "f") as temporary:
            folder_with(temporary, text)
        assert (tmp_path / "f" / "note").read_text() == text
        assert names(tmp_path) == ["f"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    killed(
        """
        with files.atomic("mine.txt") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path,
    )
    assert len(names(tmp_path)) == 1
    with atomic(tmp_path / "other.txt") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["other.txt"]


def test_a_kill_between_two_renames_loses_nothing(tmp_path):
    killed(
        """
        files._exchange = lambda *_: False
        rename = os.rename
        def kill_at_second(*paths):
            if os.path.exists("f") is False:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*paths)
        for text in ("old", "new"):
            with files.atomic("f") as temporary:
                temporary.mkdir()
                (temporary / "note").write_text(text)
                os.rename = kill_at_second if text == "new" else rename
        """,
        tmp_path,
    )
    assert "f" not in names(tmp_path)
    clean(tmp_path)
    assert (tmp_path / "f" / "note").read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_nobody_takes_a_room_while_it_is_being_removed(tmp_path, monkeypatch):
    """As a thread might that has just made its folder and not locked it yet."""
    room = tmp_path / f"{PREFIX}new"
    room.mkdir()
    lock = room / files._LOCK
    lock.touch()
    taken = []

    def release(path):
        real(path)
        with contextlib.suppress(FileNotFoundError):
            taken.append(locks.take(path))

    real = locks.release
    monkeypatch.setattr(locks, "release", release)
    clean(tmp_path)
    assert taken == []
    assert not room.exists()


def test_temporary_folders_of_the_living_and_of_others_are_left_alone(tmp_path):
    folder_with(tmp_path / f"{PREFIX}mine", "mine")
    with atomic(tmp_path / "a.txt") as first:
        first.write_text("a")
        with atomic(tmp_path / "b.txt") as second:
            second.write_text("b")
        clean(tmp_path)
        assert first.read_text() == "a"
    assert names(tmp_path) == [f"{PREFIX}mine", "a.txt", "b.txt"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("old")
    (tmp_path / "a.txt").symlink_to("far/a.txt")
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "far" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path, kind):
    target = tmp_path / "results"
    with pytest.raises(OSError, match="results"), atomic(target) as temporary:  # noqa: PT012
        if kind == "file":
            folder_with(target, "mine")
            temporary.write_text("new")
        else:
            target.write_text("mine")
            folder_with(temporary, "new")
    assert names(tmp_path) == ["results"]
    assert (target / "note" if kind == "file" else target).read_text() == "mine"


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"a\.txt") as caught, atomic(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert names(tmp_path) == []


def test_a_place_has_one_writer_at_a_time(tmp_path):
    out, lock = tmp_path / "out", tmp_path / "out" / ".lock"
    with sole_writer(out, lock):
        with pytest.raises(FileError, match="another process is writing"), sole_writer(out, lock):
            pass
        assert lock.exists()
    assert not out.exists()  # nothing came into it
    killed("locks.take(__import__('pathlib').Path('l')); os.kill(os.getpid(), 9)", tmp_path)
    assert names(tmp_path) == ["l"]
    with sole_writer(tmp_path, tmp_path / "l"):
        pass
    assert names(tmp_path) == []


def test_a_file_system_without_locks_has_writers_and_no_cleaning(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks, "_lock", none)
    with atomic(tmp_path / "a.txt") as temporary:
        clean(tmp_path)
        temporary.write_text("whole")
    assert names(tmp_path) == ["a.txt"]
