"""Keep compiled programs on disk, so that the next process loads what this one has compiled.

The command line does so without being asked; importing cpdjax changes no setting of JAX. The cache
is JAX's own: JAX bounds its size, locks it, and names each program by a hash of its code and
options, of the version of jaxlib, and of the instructions that the processor has. Machines that
share a home folder therefore never load each other's programs, unless they are of one kind.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from cpdjax.files import cache_folder

MOST_BYTES = 2**28
"""Bound the folder (our choice): JAX looks at all programs in it whenever it adds one."""
LEAST_SECONDS = 0.1
"""Keep programs that took as long to compile (our choice): many take less than a second."""
ENABLED, _FOLDER = "JAX_ENABLE_COMPILATION_CACHE", "JAX_COMPILATION_CACHE_DIR"
"""Variables of JAX: false for no cache at all, and a folder of the user's."""
_NO = ("false", "f", "no", "n", "off", "0")  # as JAX reads them


def keep() -> None:
    """Let JAX keep compiled programs in the user's cache folder, for the rest of this process.

    Where JAX has a folder already, from `JAX_COMPILATION_CACHE_DIR` or its configuration, nothing
    changes.

    Warns:
        UserWarning: the folder cannot be written, which costs only time.
    """
    import jax

    config: Any = jax.config
    if config.jax_compilation_cache_dir is None:
        for name, value in settings().items():
            config.update(name, value)


def settings() -> dict[str, Any]:
    """Return the settings of JAX by which it keeps what it compiles; none if it shall not.

    The folder is made ready. One that the user has named in `JAX_COMPILATION_CACHE_DIR` is the
    user's to bound; of JAX's other variables, those that are set hold as well.

    Warns:
        UserWarning: the folder cannot be written, which costs only time.
    """
    if os.environ.get(ENABLED, "").lower() in _NO:
        return {}
    found: dict[str, Any] = {"jax_persistent_cache_min_compile_time_secs": LEAST_SECONDS}
    if _FOLDER not in os.environ:
        folder = cache_folder() / "compiled"
        try:
            _make_ready(folder)
        except (OSError, NotImplementedError) as error:  # the latter where files cannot be locked
            warnings.warn(
                f"programs are compiled anew each time, because {folder} cannot be written "
                f"({error}); set CPDJAX_CACHE to another folder",
                stacklevel=3,
            )
            return {}
        found |= {
            "jax_compilation_cache_dir": str(folder),
            "jax_compilation_cache_max_size": MOST_BYTES,
        }
    return {name: value for name, value in found.items() if name.upper() not in os.environ}


def _make_ready(folder: Path) -> None:
    """Make the folder, and remove programs that a killed process has not written to the end.

    JAX writes a program, then when it was used last. Without the latter nobody knows whether the
    program is whole, and JAX can no longer bound the folder.

    Raises:
        OSError: the folder cannot be written, or is somebody else's, who could put any program
            there.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    try:
        with FileLock(folder / ".lockfile", timeout=0):  # which JAX holds while it writes
            for program in folder.glob("*-cache"):
                if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
                    program.unlink()
    except Timeout:  # another process is at work here
        pass
