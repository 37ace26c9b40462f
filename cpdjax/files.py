"""Write files and folders whole or not at all, and remove what is left of killed processes."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from cpdjax import locks
from cpdjax.characters import for_csv

#: Start of the names of temporary folders. Each holds a file that its process keeps locked, by
#: which the temporary folders of dead processes are known.
PREFIX = ".cpdjax-"
_LOCK, _OLD = "lock", "old"

#: Files that a process removes when it is ended by a signal.
passing: set[Path] = set()

# Held while a temporary folder is made and while its content is put in place. A process that ends
# by a signal takes it for ever, so that its other threads do neither any more.
_changing = threading.Lock()


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return the cache folder: the argument, else `$CPDJAX_CACHE`, else the user's cache folder."""
    return Path(cache or os.environ.get("CPDJAX_CACHE") or platformdirs.user_cache_dir("cpdjax"))


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which replaces it when the block ends without error.

    The block may write a file or a folder there. A reader of `path` sees the old content or the new
    content, and never a part, also after a power failure. After an error the old content stays.
    Where `path` is a link, what it points to is replaced.

    Raises:
        OSError: the content cannot be written; the error names `path`.

    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("whole", encoding="utf-8")
    >>> target.read_text(encoding="utf-8"), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    clean(target.parent)
    with _room(target) as room:
        temporary = room / target.name  # the suffix stays: writers choose their format by it
        try:
            yield temporary
            flush(temporary)
            with _changing:
                _put_in_place(temporary, target)
            _flush_one(target.parent)
        except OSError as error:
            inside = error.filename is None or str(error.filename).startswith(str(room))
            if error.errno is not None and inside:
                error.filename = str(path)
            raise


def write_figure(figure: Any, path: str | Path) -> Path:
    """Write a Matplotlib figure, whole or not at all, and return its path."""
    engine = figure.get_layout_engine()
    if engine is not None:  # `savefig` would draw the figure once more to lay it out
        engine.execute(figure)
        figure.set_layout_engine("none")
    with atomic(path) as temporary:
        figure.savefig(temporary)
    if engine is not None:
        figure.set_layout_engine(engine)
    return Path(path)


def write_csv(table: Any, path: str | Path) -> Path:
    """Write a pandas table as CSV, whole or not at all, and return its path."""
    texts = table.select_dtypes(exclude="number")
    with atomic(path) as temporary:
        table.assign(**texts.map(for_csv)).to_csv(temporary, index=False, encoding="utf-8")
    return Path(path)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def clean(folder: Path) -> None:
    """Remove what killed processes left in a folder, and put back what they had set aside."""
    for room in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # of another user, or just being removed by another process
            if not (room / _LOCK).exists():
                room.rmdir()  # only an empty one can be ours
            elif locks.take(room / _LOCK, certain=True):
                for old in (room / _OLD).glob("*"):
                    if not (folder / old.name).exists():
                        os.rename(old, folder / old.name)
                # Under the lock: whoever is about to take it would write here.
                shutil.rmtree(room, ignore_errors=True)
                locks.release(room / _LOCK)
                shutil.rmtree(room, ignore_errors=True)  # Windows removes no file that is open


def abandon() -> None:
    """Remove the temporary folders and the locks of this process, which is about to end.

    No other thread begins or ends a temporary folder from now on.
    """
    _changing.acquire(timeout=1)
    for path in list(passing):
        with suppress(OSError):
            remove(path)
    for lock in list(locks.held):
        is_room = lock.parent.name.startswith(PREFIX)
        for _ in range(3):  # a thread that still writes can make files under our hands
            with suppress(OSError):
                remove(lock.parent if is_room else lock)


def flush(path: Path) -> None:
    """Bring a file, or a folder with all its content, from the system's memory to the disk."""
    inside = path.rglob("*") if path.is_dir() else ()
    for each in (*inside, path):
        _flush_one(each)


@contextmanager
def _room(target: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `target`, which is removed in the end."""
    with _changing:
        room = _made(target)
    try:
        yield room
    finally:
        locks.release(room / _LOCK)
        shutil.rmtree(room, ignore_errors=True)


def _made(target: Path) -> Path:
    """Make a temporary folder, and its lock."""
    while True:
        try:
            room = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
        except OSError as error:
            error.filename = str(target)
            raise
        with suppress(FileNotFoundError):  # another process took it for a dead one's
            if locks.take(room / _LOCK):
                return room


def _put_in_place(new: Path, target: Path) -> None:
    """Replace `target`, so that a kill at any moment loses neither the old nor the new content."""
    if not (new.is_dir() and target.is_dir()):
        os.replace(new, target)
    elif not _exchange(new, target):
        # A folder cannot be replaced in one step. Between the two steps only `clean` finds it.
        old = new.parent / _OLD
        old.mkdir()
        os.rename(target, old / target.name)
        os.rename(new, target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    paths = os.fsencode(first), os.fsencode(second)
    return rename is not None and rename(here, paths[0], here, paths[1], exchange) == 0


def _flush_one(path: Path) -> None:
    windows = os.name == "nt"
    if windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(descriptor)
