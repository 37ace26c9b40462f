"""Define the exceptions and warnings that a user of cpdjax can meet.

Every message is one line: it says what was expected, what was got, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from cpdjax.characters import printable

_LISTED = 40  # known names in a message


class InputError(ValueError):
    r"""Say that an argument, array or file cannot honestly be used in the computation.

    The message is one line whatever the names in it hold.

    >>> print(InputError("no target 'gap\x1b[2J'"))
    no target 'gap\x1b[2J'
    """

    def __init__(self, message: object = ""):
        super().__init__(printable(message))


class FileError(InputError):
    """Say that a file is missing, unreadable, truncated or of another configuration."""


class UnknownNameError(InputError):
    """Say that a target, layer, model, irrep or option does not exist, and which names are near."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        names = sorted(str(k) for k in known)
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4)
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        listed = ", ".join(names[:_LISTED]) + more
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {listed or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class ConstantTargetWarning(UserWarning):
    """Warn that a target has no variance, so that its R² is undefined and returned as NaN."""


class LeftOutWarning(UserWarning):
    """Warn that columns, rows or arrays were left out; the message names them and says why."""
