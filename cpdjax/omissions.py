"""Say what is left out, by name and reason, and note it for whoever reports it.

What reads tables, opens models or makes channels leaves things out deep inside a sweep. It says so
here, and the sweep, which writes all of it to its results, listens by `noted`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeAlias

from cpdjax.errors import LeftOutWarning

Kind: TypeAlias = Literal["rows", "targets", "channels", "layers", "models"]
#: Reason by name, by kind.
Omissions: TypeAlias = dict[str, dict[str, str]]

_LISTED = 20  # names in one line
_heard: ContextVar[Omissions | None] = ContextVar("heard", default=None)


@contextmanager
def noted() -> Iterator[Omissions]:
    """Return what is left out inside the block, as far as it has been said by then.

    >>> with noted() as found:
    ...     note("targets", {"u0": "a test"})
    >>> found
    {'targets': {'u0': 'a test'}}
    """
    found: Omissions = {}
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def note(kind: Kind, left_out: Mapping[str, str]) -> None:
    """Note what is left out for whoever listens, without a warning."""
    found = _heard.get()
    if found is not None and left_out:
        found.setdefault(kind, {}).update(left_out)


def say_left_out(kind: Kind, what: str, left_out: Mapping[str, str], stacklevel: int = 3) -> None:
    """Warn once of all that is left out, by name, with the reasons; and note it.

    Warns:
        LeftOutWarning: if anything is left out.
    """
    note(kind, left_out)
    if left_out:
        text = f"{what}: left out {listed(left_out)}"
        warnings.warn(text, LeftOutWarning, stacklevel=stacklevel)


def listed(left_out: Mapping[str, str], most: int = _LISTED) -> str:
    """Return names by the reasons why they are left out.

    >>> listed({"u0": "known", "u": "known", "date": "text"})
    "'u0', 'u' (known), 'date' (text)"
    """
    shown = list(left_out)[:most]
    reasons = dict.fromkeys(left_out[name] for name in shown)
    parts = [
        f"{', '.join(repr(name) for name in shown if left_out[name] == reason)} ({reason})"
        for reason in reasons
    ]
    more = f" and {len(left_out) - most} more" if len(left_out) > most else ""
    return f"{', '.join(parts)}{more}"
