"""megnet's Keras files, NAME.hdf5 and NAME.hdf5.json, read by h5py without TensorFlow.

The first holds the layers, how they are connected, and their weights; the second how structures
become graphs, the scale of the target, and what the network was trained on. Keras numbered the
layers of older files through ("dense_7"), so layers are found by walking back from the output, and
get the names that `make_megnet_model` gives them today.

Nothing in a file is run. What it claims is compared with bounds before arrays are made; links to
other files, and layers or options that the port does not know, are refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cpdjax.errors import FileError, InputError

MAGIC = b"\x89HDF\r\n\x1a\n"
"""What every HDF5 file begins with."""
MOST_BYTES = 20_000_000
"""Limit the files that are read (our choice): the published ones have 0.8 MB."""


@dataclass(frozen=True)
class KerasFile:
    """Hold a network: what `from_state_dict("megnet", …)` takes, and what is said of it."""

    config: dict[str, Any]
    state: dict[str, np.ndarray]
    metadata: dict[str, Any]
    """What the network was trained on: `name`, `unit`, `metric value`, `description`."""


def read(path: str | Path) -> KerasFile:
    """Read a network, and the JSON file beside it.

    Raises:
        FileError: a file is missing, too large, damaged or of another kind.
    """
    path, beside = Path(path), Path(f"{path}.json")
    if not beside.is_file():
        raise FileError(
            f"{beside} is missing: it says how {path.name} makes graphs of structures and scales "
            "its target, and megnet writes both; put it beside"
        )
    return from_bytes(_content(path), _content(beside), str(path))


def from_bytes(content: bytes, beside: bytes, name: str) -> KerasFile:
    """Read a network from the content of its two files.

    Raises:
        FileError: they are damaged or of another kind; the message begins with `name`.
    """
    try:
        said = json.loads(beside.decode())
        with h5py.File(io.BytesIO(content), "r") as file:
            layers, output = _layers(file)
            names, options = _named(layers, output)
            arrays = _arrays(file["model_weights"], names)
        return KerasFile(options | _graphs(said), arrays, dict(said.get("metadata") or {}))
    except InputError as error:
        raise FileError(f"{name}: {error}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"{name} is no file of megnet, or it is damaged: {reason}") from None


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FileError(f"{path} has more than {MOST_BYTES:,} bytes, which no MEGNet needs")
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


@dataclass(frozen=True)
class _Layer:
    """Hold a layer of a Keras model, and the layers that it reads."""

    kind: str
    name: str
    options: Mapping[str, Any]
    reads: tuple[str, ...]


def _layers(file: h5py.File) -> tuple[dict[str, _Layer], str]:
    """Return the layers by name, and the name of the one that is the output."""
    text = file.attrs["model_config"]
    config = json.loads(text.decode() if isinstance(text, bytes) else text)["config"]
    layers = {}
    for given in config["layers"]:
        [*inbound] = given["inbound_nodes"]
        reads = tuple(str(source[0]) for source in inbound[0]) if inbound else ()
        name = str(given["config"]["name"])
        layers[name] = _Layer(str(given["class_name"]), name, given["config"], reads)
    try:
        TopologicalSorter({name: layer.reads for name, layer in layers.items()}).prepare()
    except CycleError:  # a walk back from the output would never end
        raise InputError("layers read each other in a circle: no MEGNet") from None
    (output,) = config["output_layers"]
    return layers, str(output[0])


_KINDS = ("atom", "bond", "state")
_DENSE = {"activation": "softplus2", "use_bias": True}
_BLOCK = {"activation": "softplus2", "use_bias": True, "pool_method": "mean"}
_SET = {
    "activation": "linear", "activation_lstm": "tanh", "recurrent_activation": "hard_sigmoid",
    "use_bias": True,
}  # fmt: skip


class _Walk:
    """Walk back from the output of a network, and note its layers by the reference's names."""

    def __init__(self, layers: Mapping[str, _Layer]):
        self.layers = layers
        self.names: dict[str, str] = {}

    def at(self, name: str) -> _Layer:
        """Return a layer; those that act in training alone are stepped over."""
        layer = self.layers[name]
        while layer.kind == "Dropout":
            layer = self.layers[layer.reads[0]]
        return layer

    def take(self, ours: str, name: str, kind: str, **required: Any) -> _Layer:
        """Return a layer that must be of a kind, and note it where it has a name of ours."""
        layer = self.at(name)
        if layer.kind != kind:
            raise InputError(f"{ours} is a layer {layer.kind}, expected {kind}: no MEGNet")
        for option, value in required.items():
            if layer.options.get(option) != value:
                raise InputError(
                    f"{kind} with {option}={layer.options.get(option)!r} is not ported, only "
                    f"{value!r}"
                )
        if ours:
            self.names[ours] = layer.name
        return layer

    def dense(self, ours: str, name: str) -> str:
        """Note two dense layers, and return what they read."""
        second = self.take(f"{ours}_1", name, "Dense", **_DENSE)
        return self.take(f"{ours}_0", second.reads[0], "Dense", **_DENSE).reads[0]

    def readout(self, output: str) -> tuple[list[str], dict[str, Any]]:
        """Note the layers behind the blocks; return the states they read, and their options."""
        last = self.take("readout_2", output, "Dense", use_bias=True)
        activation = last.options.get("activation")
        if activation not in ("linear", "sigmoid"):
            raise InputError(f"an output with activation {activation!r} is not ported")
        whole = self.take("", self.dense("readout", last.reads[0]), "Concatenate")
        sets = [
            self.take(f"set2set_{kind}", name, "Set2Set", **_SET)
            for kind, name in zip(("atom", "bond"), whole.reads, strict=False)
        ]
        passes = {layer.options.get("T") for layer in sets}
        if len(passes) != 1:
            raise InputError(f"Set2Set of atoms and bonds with different passes, {passes}")
        states = [sets[0].reads[0], sets[1].reads[0], whole.reads[2]]
        return states, {"npass": passes.pop(), "is_classification": activation == "sigmoid"}

    def blocks(self, states: list[str]) -> tuple[list[str], int]:
        """Note all blocks; return the states before the first of them, and their number."""
        found: list[tuple[_Layer, list[str]]] = []  # with the states before each; last first
        while self.at(states[0]).kind == "Add":
            added = [self.take("", name, "Add").reads for name in states]
            block = self.take("", added[0][1], "MEGNetLayer", **_BLOCK)
            if any(self.take("", reads[1], "MEGNetLayer").name != block.name for reads in added):
                raise InputError("a block adds to states of another one: no MEGNet")
            states = [reads[0] for reads in added]
            found.append((block, states))
        for i, (block, before) in enumerate(reversed(found)):
            self.names[f"megnet_{i}"] = block.name
            for kind, inside, state in zip(_KINDS, block.reads, before, strict=False):
                if i and self.dense(f"block_{i}_{kind}_ff", inside) != state:
                    raise InputError(f"block {i} reads another state than it adds to: no MEGNet")
        return states, len(found)

    def start(self, states: list[str]) -> None:
        """Note the layers before the blocks."""
        start = [
            self.dense(f"preblock_{kind}", name) for kind, name in zip(_KINDS, states, strict=True)
        ]
        self.take("atom_embedding", start[0], "Embedding")
        for name, what in zip(start[1:], ("bonds", "state"), strict=True):
            kind = self.at(name).kind
            if kind != "InputLayer":
                raise InputError(
                    f"MEGNet whose {what} begin in a layer {kind} is not ported, only expanded "
                    "distances and two zeros"
                )


def _named(layers: Mapping[str, _Layer], output: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the file's name of every layer by the reference's own, and the network's options."""
    walk = _Walk(layers)
    states, options = walk.readout(output)
    states, blocks = walk.blocks(states)
    walk.start(states)
    return walk.names, {"nblocks": blocks, **options}


def _arrays(weights: h5py.Group, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays of all layers by the reference's names, such as "megnet_0/weight_e_0"."""
    found: dict[str, np.ndarray] = {}
    room = MOST_BYTES
    for ours, theirs in names.items():
        for leaf, array in _datasets(weights, theirs):
            room -= array.nbytes
            if room < 0 or array.dtype.kind != "f" or array.is_virtual or array.external:
                raise InputError(f"{array.name} is no array of weights")
            found[f"{ours}/{leaf}"] = array[()]
    return found


def _datasets(group: h5py.Group, name: str, depth: int = 0) -> list[tuple[str, h5py.Dataset]]:
    """Return the arrays below a name of a group, by the last part of their names."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink) or depth > 6:
        raise InputError(f"{group.name}/{name} is missing, or it is no array of weights")
    item = group[name]
    if isinstance(item, h5py.Dataset):
        return [(name.partition(":")[0], item)]
    return [found for below in item for found in _datasets(item, below, depth + 1)]


def _graphs(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return how structures become graphs, and the scale of the target."""
    graphs = said["graph_converter"]
    atoms, bonds = graphs["atom_converter"], graphs["bond_converter"]
    for converter, known in ((atoms, _ATOMS), (bonds, ("GaussianDistance",))):
        if converter["@class"] not in known:
            raise InputError(f"a converter {converter['@class']} is not ported, only {known}")
    config = {
        "graph_converter": graphs["@class"],
        "centers": bonds["centers"]["data"],
        "width": bonds["width"],
    }
    if "cutoff" in graphs:
        config["cutoff"] = graphs["cutoff"]
    if "mapping" in atoms:
        config["mapping"] = atoms["mapping"]
    scaler = said.get("target_scaler") or {"@class": "DummyScaler"}
    if scaler["@class"] not in ("StandardScaler", "DummyScaler"):
        raise InputError(f"a scaler {scaler['@class']} is not ported")
    scale = {name: scaler.get(name, default) for name, default in _NO_SCALER.items()}
    return config | scale


_NO_SCALER = {"mean": 0.0, "std": 1.0, "is_intensive": True}
_ATOMS = ("AtomNumberToTypeConverter", "DummyConverter")
