"""Catch whatever ends a command: it becomes one line on standard error, and an exit status.

What the user can mend ends with status 2. Anything else is a fault of cpdjax: it ends with status
1, and its traceback goes to a file that the line names.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import sys
import tempfile
import traceback
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import metadata, version
from typing import Any

import typer

from cpdjax.characters import printable, shortened
from cpdjax.cli.terminal import say
from cpdjax.errors import InputError

USERS, OURS = 2, 1
INTERRUPTED, TERMINATED = 130, 143  # by a signal: 128 and its number, as shells count
_NOBODY_READS = 141  # as of a program that a closed pipe ends

STATUSES = {
    0: "done",
    OURS: "a check failed, or a fault of cpdjax",
    USERS: "something that you can correct",
    INTERRUPTED: "interrupted (Ctrl-C)",
    _NOBODY_READS: "nobody read the output to its end",
    TERMINATED: "terminated",
}
"""What the exit status of a command says."""

#: The command line cannot be parsed; typer keeps its copy of click, and this name, to itself.
_UsageError: Any = typer.BadParameter.__base__
#: What the readers of libraries raise where a file is damaged.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(UnicodeDecodeError, json.JSONDecodeError),
)


def status_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; where it fails, say why in one line."""
    try:
        status = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # the last chance to say that a disk is full
        return status
    except BrokenPipeError:  # `cpdjax models | head -1`
        _write_no_more()
        return _NOBODY_READS
    except Exception as error:
        said = _cure(error)
        say(_fault(error) if said is None else said)
        _write_no_more()
        return OURS if said is None else USERS


def _cure(error: Exception) -> str | None:
    """Return what the user can mend, or None where it is nothing that we know of."""
    if isinstance(error, _UsageError):
        said: str = error.format_message()
        return said
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return (
            "the memory of this machine is too small for this: take a smaller --batch-size, fewer "
            "molecules, --permutations or --bootstrap, or fewer features at a time "
            f"({_reason(error)})"
        )
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else "cannot read or write"
        return f"{name}: {error.strerror}" if error.strerror else _reason(error)
    if isinstance(error, UnicodeEncodeError):
        return (
            f"the locale of this terminal ({error.encoding}) cannot write the name "
            f"{error.object!r}: set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        )
    if isinstance(error, _DAMAGED):
        return f"a file is damaged or of another kind than its name says: {_reason(error)}"
    return _missing_platform()


def _missing_platform() -> str | None:
    """Return a complaint where JAX is told to use a platform that this machine does not have."""
    import jax

    config: Any = jax.config
    asked = config.jax_platforms
    try:
        jax.devices()
        return None
    except Exception:  # of any kind: each plugin of JAX has its own
        config.update("jax_platforms", "")
    there = "cpu"
    with suppress(Exception):
        there = ", ".join(sorted({there, *(device.platform for device in jax.devices())}))
    return (
        f"JAX_PLATFORMS={asked} asks for a platform that this machine does not have; there is "
        f"{there}: unset JAX_PLATFORMS, or name one of these"
    )


def _fault(error: Exception) -> str:
    """Return where to report an error that is ours, and keep its traceback in a file."""
    links = (link.split(", ", 1) for link in metadata("cpdjax").get_all("Project-URL") or ())
    facts = f"cpdjax {version('cpdjax')}, Python {sys.version}, {platform.platform()}\n{sys.argv}\n"
    kept = ""
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", prefix="cpdjax-fault-", suffix=".txt", delete=False,
            encoding="utf-8", errors="backslashreplace",
        ) as file,
    ):  # fmt: skip
        file.write(facts + "".join(traceback.format_exception(error)))
        kept = f" with the file {file.name}"
    return (
        f"this is a fault of cpdjax, not yours ({_reason(error)}); please report it{kept} at "
        f"{dict(links)['Issues']}"
    )


def _reason(error: Exception) -> str:
    text = shortened(printable(" ".join(str(error).split())), 300)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _write_no_more() -> None:
    """Let Python's own flush at exit fail no more where standard output is closed or full."""
    with suppress(OSError, ValueError, AttributeError):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
