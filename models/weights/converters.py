"""Formats of other programs that `cpdjax models convert` reads, one line each.

A file is known by its content, not by its name. Every reader refuses in one line what it does not
know, runs nothing, and writes folders that `cpdjax.models.load` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpdjax.errors import FileError, InputError
from cpdjax.models import registry
from cpdjax.models.encoder import Encoder
from cpdjax.models.weights import archives, neurochem, saved_models


@dataclass(frozen=True)
class Converter:
    """Say which files are of a format, and how their models are saved."""

    name: str
    """What such a file is, as messages say it."""
    recognises: Callable[[Path], bool]
    """Returns whether a file or folder that exists is of this format."""
    convert: Callable[..., list[Encoder]]
    """Takes the path, the folder to write and the format's own options; returns the models."""


def convert(path: str | Path, out: str | Path, **options: Any) -> list[Encoder]:
    """Save the models of a file or folder in `out`, or in folders below it where they are several.

    Raises:
        FileError: it cannot be read, is of no known format, or damaged; or `out` is taken.
        InputError: it has an option or a layer that is not supported; or the format does not take
            one of `options`.
    """
    path = Path(path)
    try:
        path.stat()
        found = next((c for c in CONVERTERS if c.recognises(path)), None)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    if found is None:
        listed = ", no ".join(converter.name for converter in CONVERTERS)
        raise FileError(f"{path} is no {listed}: nothing else can be converted")
    return found.convert(path, Path(out), **options)


def begins(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with these bytes.

    Raises:
        OSError: the file cannot be read.
    """
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def none_of(name: str, options: Mapping[str, object]) -> None:
    """Refuse options of another format.

    Raises:
        InputError: one of them is given.
    """
    given = [option for option, value in options.items() if value is not None]
    if given:
        raise InputError(f"a {name} has no {given[0]} to choose; leave out {given[0]}")


def _mace(path: Path, out: Path, head: str | None = None) -> list[Encoder]:
    from cpdjax.models.weights import mace_files

    config, state = mace_files.read(path)
    made = registry.file_of("mace").from_state_dict({**config, "head": head}, state)
    return [saved_models.written(out, made, {"file": path.name, "head": head})]


def _megnet(path: Path, out: Path, **options: object) -> list[Encoder]:
    from cpdjax.models.weights import megnet_networks

    none_of("Keras file of megnet", options)
    return megnet_networks.convert_file(path, out)


def _megnet_archive(path: Path, out: Path, **options: object) -> list[Encoder]:
    from cpdjax.models.weights import megnet_networks

    none_of("source distribution of megnet", options)
    return megnet_networks.convert_archive(path, out)


def _is_megnet_archive(path: Path) -> bool:
    """Return whether a file is a compressed archive whose first file is of megnet."""
    if not begins(path, b"\x1f\x8b"):
        return False
    try:
        return next(archives.names(path), "").startswith("megnet-")
    except (*archives.UNREADABLE, FileError):
        return False


def _nequix(path: Path, out: Path, **options: object) -> list[Encoder]:
    none_of("file of nequix", options)
    converted: list[Encoder] = registry.file_of("nequix").convert(path, out)
    return converted


def _neurochem(path: Path, out: Path, **options: object) -> list[Encoder]:
    none_of("folder of NeuroChem (ANI)", options)
    converted: list[Encoder] = registry.file_of("ani").convert(path, out)
    return converted


CONVERTERS: tuple[Converter, ...] = (
    Converter("file of torch.save (mace-torch)", lambda path: begins(path, b"PK"), _mace),
    Converter("Keras file of megnet", lambda path: begins(path, b"\x89HDF\r\n\x1a\n"), _megnet),
    Converter("source distribution of megnet", _is_megnet_archive, _megnet_archive),
    Converter("file of nequix (NAME.nqx)", lambda path: begins(path, b"{"), _nequix),
    Converter("folder or archive of NeuroChem (ANI)", neurochem.recognises, _neurochem),
)
