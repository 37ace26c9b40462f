"""Files of `torch.save` without torch: a restricted reader that runs nothing.

It knows tensors, plain containers and NumPy arrays of numbers. Objects of module classes in
`trusted` packages become inert `Module` records, from which `state_dict` collects the tensors;
anything else is refused. The format is that of torch ≥ 1.6: a zip of one pickle and raw storages,
none of them compressed. What the file claims is compared with its size before arrays are made.

No `np.dtype` is within a pickle's reach, since its `__setstate__` takes any size and flags, with
which raw bytes pass for pointers: names and checked stand-ins take its place.
"""

from __future__ import annotations

import math
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from cpdjax.errors import FileError
from cpdjax.models.weights.pickles import Reader, Room, shown

_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_DTYPES = {
    *("float64", "float32", "float16", "bfloat16", "complex128", "complex64"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
}
"""Names of torch's dtypes, as attributes of its module."""
_CODES = {
    *("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"),
    *("f2", "f4", "f8", "c8", "c16"),
}
"""Codes of NumPy's booleans and numbers."""


def read(path: str | Path, trusted: tuple[str, ...] = ()) -> Any:
    """Read the object in a file that `torch.save` wrote, tensors as NumPy arrays.

    Args:
        trusted: packages whose classes may appear, as inert records; their code is not run, nor
            are they imported.

    Raises:
        FileError: the file is missing, truncated or of another format, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = _index(archive, Path(path).stat().st_size)
            folder = index.removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise FileError("it was written on a big-endian machine, which is not read")
            return _TorchReader(archive, folder, trusted).load()
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise FileError(f"{path} is no file of torch.save, or it is damaged: {reason}") from None


def _index(archive: zipfile.ZipFile, size: int) -> str:
    """Return the name of the pickle of an archive whose file has this size.

    Raises:
        FileError: the entries claim more than the file holds, or it is TorchScript.
    """
    claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > size:
        raise FileError(
            f"its entries expand to {claimed:,} bytes, more than the {size:,} of the file; "
            "torch.save compresses nothing: save the model again"
        )
    names = archive.namelist()
    (index,) = (name for name in names if name.endswith("/data.pkl"))
    folder = index.removesuffix("data.pkl")
    if any(name.startswith(f"{folder}code/") for name in names):
        raise FileError(
            "it is TorchScript, as torch.jit.save writes it (for LAMMPS, for example), which holds "
            "compiled code in place of the model: give the file that torch.save(model, FILE) wrote"
        )
    if archive.getinfo(index).file_size > _MOST_PICKLE:
        raise FileError(f"its pickle has more than {_MOST_PICKLE:,} bytes, which no model needs")
    return index


_MOST_PICKLE = 2**26
"""Bytes of the pickle of a model; those of known models have less than 300,000."""
_MOST_MODULES = 100_000


class Module:
    """Hold the class's name and the attributes of an object whose class was not imported."""

    path = ""

    arguments: tuple[Any, ...]
    attributes: dict[str, Any]

    def __new__(cls, *arguments: Any, **_: Any) -> Module:
        made = super().__new__(cls)
        made.arguments, made.attributes = arguments, {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {"state": state}

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__.get("attributes", {})
        for group in ("_parameters", "_buffers", "_modules"):
            if name in attributes.get(group, {}):
                return attributes[group][name]
        if name in attributes:
            return attributes[name]
        raise AttributeError(f"{self.path} has no {name!r}")

    def __repr__(self) -> str:
        return f"Module({self.path!r})"


def state_dict(module: Module) -> dict[str, np.ndarray]:
    """Return parameters and buffers by their dotted names, as torch's method of this name.

    Raises:
        FileError: the modules hold each other so often that they have no end.
    """
    found: dict[str, np.ndarray] = {}
    waiting, seen = [("", module)], 0
    while waiting:
        prefix, module = waiting.pop()
        seen += 1
        if seen > _MOST_MODULES or len(prefix) > _MOST_NAME:
            raise FileError(f"its modules hold each other: there are more than {_MOST_MODULES:,}")
        for group in ("_parameters", "_buffers"):
            for name, array in module.attributes.get(group, {}).items():
                if isinstance(array, np.ndarray):
                    found[f"{prefix}{name}"] = array
        children = module.attributes.get("_modules", {}).items()
        waiting += [(f"{prefix}{k}.", v) for k, v in children if isinstance(v, Module)][::-1]
    return found


_MOST_NAME = 1000


class _TorchReader(Reader):
    """Read the pickle of an archive; tensors see storages, which are read once each."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, trusted: tuple[str, ...]):
        size = sum(entry.file_size for entry in archive.infolist())
        super().__init__(archive.read(f"{folder}data.pkl"), Room(_ROOM + 4 * size))
        self._archive, self._folder, self._trusted = archive, folder, trusted
        self._records: dict[str, type] = {}
        self._storages: dict[str, bytes] = {}
        self._allowed = _ALLOWED | {"torch._utils._rebuild_tensor_v2": self._tensor}

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        if path in self._allowed:
            return self._allowed[path]
        if module == "torch" and (name in _STORAGES or name in _DTYPES):
            return name
        if module.split(".")[0] in self._trusted:
            return self._records.setdefault(path, type(name, (Module,), {"path": path}))
        raise FileError(f"it holds {shown(path)}, which is neither a tensor nor a plain container")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, dtype, key, *_ = pid
        if not (kind == "storage" and isinstance(dtype, str) and dtype in _STORAGES):
            raise FileError(f"it holds an object of kind {shown(kind)}, which is no tensor")
        if not isinstance(key, str):
            raise FileError("a tensor has no storage")
        if key not in self._storages:
            self._storages[key] = self._archive.read(f"{self._folder}data/{key}")
        return np.frombuffer(self._storages[key], _STORAGES[dtype])

    def may_call(self, function: Any) -> bool:
        known = self._is_record(function) or any(function is f for f in self._allowed.values())
        return callable(function) and known

    def may_make(self, kind: Any) -> bool:
        return self._is_record(kind)

    def may_build(self, made: Any) -> bool:
        return isinstance(made, Module | _Dtype | _Array | OrderedDict)

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
        if not (isinstance(storage, np.ndarray) and storage.ndim == 1):
            raise FileError("a tensor has no storage")
        if not _counts(offset, *size, *stride) or len(size) > _MOST_AXES:
            raise FileError("a tensor has an offset, a size or a stride that is no count")
        reach = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
        if 0 not in size and reach > storage.size:
            raise FileError("a tensor reaches beyond the end of its storage")
        self.room.use(math.prod(size) * storage.itemsize)
        strides = [s * storage.itemsize for s in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()

    @staticmethod
    def _is_record(kind: Any) -> bool:
        return isinstance(kind, type) and issubclass(kind, Module)


_MOST_AXES = 32
_ROOM = 2**25
"""Bytes that reading may use beyond four times those of the file."""


class _Dtype:
    """Stand in for `np.dtype`: hold one of `_CODES`, and take only the byte order later."""

    dtype: np.dtype

    def __init__(self, code: str, *_: Any):
        if not (isinstance(code, str) and code in _CODES):
            raise FileError(f"it holds an array of dtype {shown(code)}, which is no plain number")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """Hold an array that takes its content once, and only as bytes of numbers."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        numbers = isinstance(kind, _Dtype) and type(raw) is bytes and len(shape) <= _MOST_AXES
        if self.size or not (numbers and _counts(*shape)):
            raise FileError("it holds an array that is not made of numbers")
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise FileError(f"an array has {len(raw)} bytes, which its shape does not fill")
        checked: Any = (1, shape, kind.dtype, bool(fortran), raw)
        super().__setstate__(checked)


def _array(*_: Any) -> _Array:
    """Return an array that is empty until its `__setstate__`."""
    return _Array(0)


def _scalar(kind: Any, raw: Any) -> Any:
    if not (isinstance(kind, _Dtype) and type(raw) is bytes and len(raw) == kind.dtype.itemsize):
        raise FileError("it holds a NumPy scalar that is no number")
    return np.frombuffer(raw, kind.dtype)[0]


def _counts(*numbers: Any) -> bool:
    """Return whether all are plain integers, which do not overflow, from zero up."""
    return all(type(n) is int and n >= 0 for n in numbers)


def _member(owner: Any, name: str) -> str:
    """Return the name alone for `getattr`, which pickle writes for torch's built-in functions."""
    if not (isinstance(owner, type) and issubclass(owner, Module) and isinstance(name, str)):
        raise FileError(
            "it holds builtins.getattr, which is neither a tensor nor a plain container"
        )
    return name


def _parameter(tensor: np.ndarray, *_: Any) -> np.ndarray:
    return tensor


def _latin1(text: str, encoding: str) -> bytes:
    if not (isinstance(text, str) and encoding == "latin1"):
        raise FileError(f"it encodes text as {shown(encoding)}")
    return text.encode("latin1")


_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.getattr": _member,
    "__builtin__.getattr": _member,
    "builtins.set": set,
    "__builtin__.set": set,
    "builtins.slice": slice,
    "builtins.complex": complex,
    "torch.Size": tuple,
    "torch.device": lambda *name: ":".join(map(str, name)),
    "torch._utils._rebuild_parameter": _parameter,
    "_codecs.encode": _latin1,
    "__builtin__.bytes": lambda: b"",  # Pickle writes only the empty bytes so.
    "numpy.dtype": _Dtype,
    "numpy.ndarray": "numpy.ndarray",  # An argument of the next two, which ignore it.
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}
