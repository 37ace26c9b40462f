"""Let one process at a time write to a place, by a lock that ends with its process."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cpdjax.errors import FileError

#: The locks that this process holds, by the paths of their files.
held: dict[Path, int] = {}

# Some network file systems have no locks at all.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def take(path: Path, *, certain: bool = False) -> bool:
    """Take the lock in the file `path`, and return whether nobody else holds it.

    Args:
        path: the file, which is made where it does not exist.
        certain: what to answer where the file system has no locks: by default that it is taken.

    Raises:
        OSError: the file cannot be made.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _lock(descriptor)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            free = not certain
        if free and _is_at(path, descriptor):
            held[path] = descriptor
            return True
        os.close(descriptor)
        if not free:
            return False


def release(path: Path) -> None:
    """Give back the lock in the file `path`, and remove the file."""
    descriptor = held.pop(path)
    with suppress(PermissionError):  # Windows removes no open file
        path.unlink(missing_ok=True)
    os.close(descriptor)


@contextmanager
def sole_writer(path: Path, lock: Path) -> Iterator[None]:
    """Hold `path` for this process alone, by a lock in the file `lock`, while the block runs.

    The folder of the lock is made where it does not exist, and removed again where nothing came
    into it.

    Raises:
        FileError: another process is writing to `path`.
    """
    made = not lock.parent.exists()
    lock.parent.mkdir(parents=True, exist_ok=True)
    if not take(lock):
        raise FileError(f"another process is writing {path}: wait for it, or choose another name")
    try:
        yield
    finally:
        release(lock)
        if made:
            with suppress(OSError):
                lock.parent.rmdir()


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one at `path`: who held the lock removes it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
