"""Say where a page comes from: version, date, command, settings, data, and what was left out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import xarray as xr

from cpdjax.sweeps import left_out

#: Attributes of results that a page shows; the machine's name stays with the results.
_FACTS = (
    *("settings", "dataset_hash", "elements", "pool", "invariants", "rotations_only"),
    *("packages", "python", "platform", "device"),
)


@dataclass(frozen=True)
class Imprint:
    """Hold where a page comes from, ready to be shown."""

    summary: str
    """One line: version, date, data."""
    facts: list[tuple[str, str]]
    """Everything else by name: the command, settings, hashes, versions."""
    left_out: list[str]
    """What the numbers leave out, a line for each kind."""
    hints: list[str] = field(default_factory=list)
    """What makes numbers unreliable, and what to do, a line each."""


def of_run(
    dataset: str,
    molecules: int,
    command: str = "",
    facts: Mapping[str, str] | None = None,
    without: list[str] | None = None,
) -> Imprint:
    """Return the imprint of a page that is made now."""
    told = {"command": command or "none: from Python", **(facts or {})}
    summary = f"cpdjax {version('cpdjax')} · {_today()} · {dataset}, {molecules:,} molecules"
    return Imprint(summary, [(k, v) for k, v in told.items() if v], without or [])


def of_table(table: xr.Dataset, command: str = "") -> Imprint:
    """Return the imprint of a page about results of a sweep."""
    known = {name: _read(value) for name, value in table.attrs.items()}
    facts = {name.replace("_", " "): _said(known[name]) for name in _FACTS if name in known}
    if isinstance(known.get("features"), Mapping):
        short = {label: str(sha256)[:12] for label, sha256 in known["features"].items()}
        facts["SHA-256 of features"] = _said(short)
    molecules = int(known["molecules"] if "molecules" in known else table["size"].values[-1])
    dataset = str(known.get("dataset", "results"))
    return of_run(dataset, molecules, command, facts, left_out.lines(table))


def _today() -> str:
    """Return the minute, or the one that SOURCE_DATE_EPOCH fixes for reproducible builds."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)
    return f"{now:%Y-%m-%d %H:%M} UTC"


def _read(value: Any) -> Any:
    """Return an attribute of results, which holds lists and mappings as JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _said(value: Any) -> str:
    """Return a mapping, a list or a single value in one line.

    >>> _said({"alphas": [1.0], "layers": None, "seed": 0})
    'alphas 1.0, seed 0'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_said(v)}" for k, v in value.items() if v is not None)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
