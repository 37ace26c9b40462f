"""Read from results what their sweep left out: rows, targets, channels, layers and models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import get_args

import xarray as xr

from cpdjax.omissions import Kind, Omissions

KINDS: tuple[str, ...] = get_args(Kind)
_NAMED = 12  # of one kind, in a line


def left_out_of(table: xr.Dataset) -> Omissions:
    """Return what a sweep left out: the reason by name, by kind; empty where it took everything.

    >>> left_out_of(xr.Dataset(attrs={"left_out": '{"models": {"toy": "has no layer last"}}'}))
    {'models': {'toy': 'has no layer last'}}
    """
    found: Omissions = json.loads(table.attrs.get("left_out", "{}"))
    return found


def lines(table: xr.Dataset) -> list[str]:
    """Say what a sweep left out in one line a kind: names and reasons.

    >>> lines(xr.Dataset(attrs={"left_out": '{"targets": {"u0": "known", "u": "known"}}'}))
    ['targets left out: u0, u (known)']
    """
    found = left_out_of(table)
    return [f"{kind} left out: {_by_reason(found[kind])}" for kind in KINDS if found.get(kind)]


def together(parts: Iterable[Omissions]) -> Omissions:
    """Return what several sweeps left out, taken together."""
    found: Omissions = {}
    for part in parts:
        for kind, reasons in part.items():
            found.setdefault(kind, {}).update(reasons)
    return found


def with_left_out(table: xr.Dataset, more: Omissions) -> xr.Dataset:
    """Return results that say what was left out before their sweep began, too.

    >>> table = with_left_out(xr.Dataset(), {"models": {"toy": "knows no Si"}})
    >>> left_out_of(table)
    {'models': {'toy': 'knows no Si'}}
    """
    known = together([more, left_out_of(table)])
    return table.assign_attrs(left_out=json.dumps(known, sort_keys=True))


def _by_reason(left_out: Mapping[str, str]) -> str:
    """Return names by reason, of many names the first ones and how many there are more."""
    parts = []
    for reason in dict.fromkeys(left_out.values()):
        names = [name for name, why in left_out.items() if why == reason]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        parts.append(f"{', '.join(names[:_NAMED])}{more} ({reason})")
    return "; ".join(parts)
