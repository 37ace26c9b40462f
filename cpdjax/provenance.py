"""Say which software and machine made numbers, and tell what decides them from what only informs.

Records of both kinds lie beside features and results. When a command goes on in a folder, what
decides is compared: data, settings, and versions that change numbers. What only informs is kept for
the reader.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from cpdjax.errors import FileError

_PACKAGES = ("cpdjax", "jax", "jaxlib", "e3nn-jax", "numpy", "ase")
#: These change no number: hashes say which data and features they are, whatever those are called,
#: whatever was left out before, and whatever models were made for.
_INFORMS = ("dataset", "hostname", "platform", "left_out", "trained_on", "trained_on_unit")
_LISTED = 5  # names in a message


def software() -> dict[str, Any]:
    """Return the versions, the kind of device and the machine that compute."""
    device = jax.local_devices()[0]
    return {
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": platform.node(),
        "device": f"{device.platform}: {device.device_kind}",
    }


def decisive(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that decide numbers; of Python that is the version without the last part.

    >>> decisive({"seed": 0, "hostname": "node7", "python": "3.11.7"})
    {'seed': 0, 'python': '3.11'}
    """
    kept = {name: value for name, value in facts.items() if name not in _INFORMS}
    if isinstance(kept.get("python"), str):
        kept["python"] = ".".join(kept["python"].split(".")[:2])
    return kept


def differences(ours: Mapping[str, Any], known: Any) -> list[str]:
    """Return the names of decisive facts that differ, such as "settings.seed".

    >>> differences({"settings": {"seed": 0}, "rows": 5}, {"settings": {"seed": 1}, "rows": 5})
    ['settings.seed']
    """
    if not isinstance(known, Mapping):
        return ["record"]
    return sorted(_different(json.loads(json.dumps(decisive(ours))), decisive(known)))


def joined(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts of several records that agree in what decides, each other fact once.

    >>> joined([{"seed": 0, "hostname": "node7"}, {"seed": 0, "hostname": "node8"}])
    {'seed': 0, 'hostname': 'node7, node8'}
    """
    informs = {name for name in (*_INFORMS, "python") if name in records[0]}
    told = {name: ", ".join(dict.fromkeys(str(r.get(name)) for r in records)) for name in informs}
    return {name: told.get(name, value) for name, value in records[0].items()}


def listed(names: Iterable[str]) -> str:
    """Return names for a message of one line, no more than it can hold."""
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def read_record(path: Path) -> dict[str, Any]:
    """Return the facts in a file of JSON.

    Raises:
        FileError: the file cannot be read.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = None
    if not isinstance(facts, dict):
        raise FileError(f"cannot read {path}: remove {path.parent} to start anew")
    return facts


def _different(ours: Any, known: Any, name: str = "") -> list[str]:
    if ours == known:
        return []
    if not (isinstance(ours, dict) and isinstance(known, dict)):
        return [name]
    prefix = f"{name}." if name else ""
    return [
        d for k in {*ours, *known} for d in _different(ours.get(k), known.get(k), f"{prefix}{k}")
    ]
