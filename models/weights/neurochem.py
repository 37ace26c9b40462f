"""Folders and archives of NeuroChem, in which the ANI potentials were published; nothing is run.

NAME.params                         constants of the environment vector, and the elements' order
sae_linfit.dat                      the energy of each element's atom alone, in Hartree
trainK/networks/ANN-H.nnf           the layers of a network, as a text compressed by bzip2
trainK/networks/ANN-H.nnf-l1.wparam its weights and biases (.bparam), raw float32 numbers

Sources: github isayev/ASE_ANI (`ani_models/`); torchani 2.2.4 (`torchani.neurochem`), whose names
the state dict has.
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cpdjax.errors import FileError
from cpdjax.models.weights import archives

_WANTED = (".params", ".nnf", ".wparam", ".bparam", "sae_linfit.dat")
_MOST_BYTES = 2**29
"""Limit what the files of one model hold together; the eight networks of ANI-2x hold 55 MB."""
_MOST_FILES = 10_000
_MOST_TEXT = 2**20  # bytes of the text in a .nnf file
_NETWORK = re.compile(r"ANN-([A-Z][a-z]?)\.nnf")
_CELU, _LINEAR = "9", "6"  # NeuroChem's numbers of activations
_CONSTANTS = ("EtaR", "ShfR", "EtaA", "Zeta", "ShfA", "ShfZ")


def recognises(path: Path) -> bool:
    """Return whether a folder or a tar archive holds networks of NeuroChem."""
    try:
        names = _names_in_folder(path) if path.is_dir() else archives.names(path, _is_wanted)
        return any(_NETWORK.fullmatch(PurePosixPath(name).name) for name in names)
    except (*archives.UNREADABLE, FileError):
        return False


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return torchani's constants and state dict of all networks in a folder or a tar archive.

    The members of an ensemble are numbered from 0 in the order of the numbers in their folders'
    names.

    Raises:
        FileError: a file is missing, damaged or too large, or the networks are of several models or
            of another kind.
    """
    if path.is_dir():
        return read_files(path, _folder(path))
    return read_files(path, archives.contents(path, _is_wanted, _MOST_BYTES))


def read_files(
    path: Path, files: Mapping[str, bytes]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `read` returns, from the content of the files by their names."""
    try:
        root, folders = _folders(files)
        values = _values(_only(files, rf"{re.escape(root)}[^/]+\.params"))
        symbols = values["Atyp"]
        state = {f"aev_computer.{key}": np.array(values[key], np.float32) for key in _CONSTANTS}
        state["energy_shifter.self_energies"] = _self_energies(
            files[f"{root}sae_linfit.dat"], symbols
        )
        for member, folder in enumerate(folders):
            for symbol in symbols:
                layers = _network(files, f"{folder}ANN-{symbol}.nnf")
                names = (f"neural_networks.{member}.{symbol}.{2 * i}" for i in range(len(layers)))
                for name, (weight, bias) in zip(names, layers, strict=True):
                    state |= {f"{name}.weight": weight, f"{name}.bias": bias}
        return {"species": symbols, "Rcr": values["Rcr"][0], "Rca": values["Rca"][0]}, state
    except KeyError as missing:
        raise FileError(
            f"{path} holds no whole ANI of NeuroChem: {missing.args[0]} is missing"
        ) from None
    except (ValueError, IndexError, OSError, EOFError, UnicodeDecodeError) as error:
        raise FileError(f"{path} holds no ANI of NeuroChem, or a damaged one: {error}") from None


def _folders(files: Mapping[str, bytes]) -> tuple[str, list[str]]:
    """Return the folder of the model, and those of its networks, one for each member."""
    found: dict[tuple[str, int], str] = {}
    for name in files:
        *parents, last = PurePosixPath(name).parts
        if _NETWORK.fullmatch(last) and parents[-1:] == ["networks"]:
            train = re.fullmatch(r"train(\d{1,4})", parents[-2] if len(parents) > 1 else "")
            root = "".join(f"{part}/" for part in parents[: -2 if train else -1])
            found[root, int(train[1]) if train else 0] = "".join(f"{part}/" for part in parents)
    roots = {root for root, _ in found}
    if len(roots) != 1:
        raise ValueError(f"expected the networks of one model, got {len(roots)} folders of models")
    return roots.pop(), [found[key] for key in sorted(found)]


def _only(files: Mapping[str, bytes], pattern: str) -> str:
    """Return the text of the one file whose name matches."""
    found = [content for name, content in files.items() if re.fullmatch(pattern, name)]
    if len(found) != 1:
        raise ValueError(f"expected one file of constants NAME.params, got {len(found)}")
    return found[0].decode("utf-8")


def _values(text: str) -> dict[str, list[str]]:
    """Return the entries of a file of constants, such as "EtaR = [1.97e+01]"."""
    lines = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip(" []").split(",") for key, value in lines}


def _self_energies(content: bytes, symbols: list[str]) -> np.ndarray:
    """Return the energies of lines such as "Cl,6=-460.2" in the order of the elements."""
    lines = (line.split("=") for line in content.decode("utf-8").split())
    energies = {key.split(",")[0]: float(value) for key, value in lines}
    return np.array([energies[symbol] for symbol in symbols])


def _network(files: Mapping[str, bytes], name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases of a network's layers, whose text must say that they are CELUs."""
    text = _text(files[name])
    sizes = [int(size) for size in re.findall(r"\bnodes=(\d{1,6});", text)]
    activations = re.findall(r"\bactivation=(\d+);", text)
    if not sizes or activations != [_CELU] * (len(sizes) - 1) + [_LINEAR]:
        raise ValueError(f"{name} has activations {activations}; expected CELUs and a linear layer")
    layers = []
    for i, size in enumerate(sizes):
        weight, bias = (
            np.frombuffer(files[f"{name}-l{i + 1}.{kind}"], "<f4") for kind in ("wparam", "bparam")
        )
        if len(bias) != size or not len(weight) or len(weight) % size:
            raise ValueError(f"{name}-l{i + 1} has {len(weight)} weights of {size} channels")
        layers.append((weight.reshape(size, -1), bias))
    return layers


def _text(content: bytes) -> str:
    """Return the text of a .nnf file: a line with its length, then the text by bzip2."""
    expander = bz2.BZ2Decompressor()
    text = expander.decompress(content.partition(b"=\n")[2], _MOST_TEXT)
    if not expander.eof:
        raise ValueError("a .nnf file is cut short, or longer than any network's text")
    return text.decode("utf-8")


def _is_wanted(name: str) -> bool:
    return name.endswith(_WANTED)


def _names_in_folder(path: Path) -> Iterator[str]:
    """Yield the names of the files that are wanted, below a folder."""
    for i, file in enumerate(path.rglob("*")):
        if i >= _MOST_FILES:
            raise FileError(
                f"{path} holds more than {_MOST_FILES:,} files: name the model's folder"
            )
        if _is_wanted(file.name) and file.is_file():
            yield file.relative_to(path).as_posix()


def _folder(path: Path) -> dict[str, bytes]:
    """Return the content of the files that are wanted, by name."""
    names = list(_names_in_folder(path))
    if sum((path / name).stat().st_size for name in names) > _MOST_BYTES:
        raise FileError(f"{path} holds more than an ANI: {_MOST_BYTES:,} bytes at most")
    return {name: (path / name).read_bytes() for name in names}
