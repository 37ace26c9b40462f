"""The exceptions and warnings a user of cpdjax can meet.

Every message is one line: what was expected, what was got, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """An argument, array or file that the computation cannot honestly use."""


class FileError(InputError):
    """A file that is missing, unreadable, truncated or of another configuration."""


class UnknownNameError(InputError):
    """A target, layer, model, irrep or option that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        names = sorted(str(k) for k in known)
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class ConstantTargetWarning(UserWarning):
    """A target without variance, whose R² is undefined and returned as NaN."""
