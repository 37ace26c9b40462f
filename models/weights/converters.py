"""Formats that `cpdjax models convert` reads, and what makes models of them: one line each.

A file's content says what it is; the architecture of a format is imported when it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cpdjax.errors import InputError
from cpdjax.models import registry
from cpdjax.models.weights import mace_files, neurochem, saved_models

if TYPE_CHECKING:
    from cpdjax.models.encoder import Encoder


@dataclass(frozen=True)
class Converter:
    """Say which files are of a format, and how their models are saved."""

    name: str
    recognises: Callable[[Path], bool]
    convert: Callable[..., list[Encoder]]
    """Takes path, folder to write and the format's own options; returns the models."""


def _neurochem(path: Path, out: Path, **options: object) -> list[Encoder]:
    none_of("NeuroChem", options)
    encoder = registry.file_of("ani").of_neurochem(path, out.name)
    saved_models.save(out, encoder, {"file": path.name, "members": encoder.architecture.members})
    return [encoder]


def _mace(path: Path, out: Path, *, head: str | None = None) -> list[Encoder]:
    from cpdjax import models

    config, state = mace_files.read(path)
    encoder = models.from_state_dict("mace", {**config, "head": head}, state, name=out.name)
    saved_models.save(out, encoder, {"file": path.name, "head": head})
    return [encoder]


def none_of(name: str, options: dict[str, object]) -> None:
    """Refuse options of another format."""
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise InputError(f"a file of {name} has no option {given[0]!r}")


CONVERTERS: tuple[Converter, ...] = (
    Converter("NeuroChem", neurochem.recognises, _neurochem),
    Converter("mace", lambda path: True, _mace),
)
