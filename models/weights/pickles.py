"""Read pickles of plain data within bounds: nothing is run, and little cannot claim much.

`Reader` is Python's own unpickler in Python, without the instructions that `torch.save` never
writes. Its subclass says which functions may be called. Every instruction and every copy is paid
for out of a `Room`, so that a small file cannot ask for much memory or time.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from cpdjax.errors import FileError

_STEP = 64  # bytes that an instruction is reckoned to need
_DEEPEST = 500  # containers inside each other
_PLAIN = (
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT",
    "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT",
    "EMPTY_SET", "LIST", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "GLOBAL", "STACK_GLOBAL", "BINGET",
    "LONG_BINGET", "MEMOIZE", "BINPERSID",
)  # fmt: skip


def shown(value: Any) -> str:
    """Return a short text of a value from a file: never its content, which may have no end.

    >>> shown("torch.float32"), shown([[1]])
    ('torch.float32', 'a list')
    """
    if isinstance(value, type) or callable(value):
        value = getattr(value, "path", None) or getattr(value, "__name__", None)
    if isinstance(value, str) and value.isprintable() and len(value) < 200:
        return value
    return repr(value) if isinstance(value, float | bool | None) else f"a {type(value).__name__}"


class Room:
    """Hold how many bytes reading may still use."""

    def __init__(self, size: int) -> None:
        self.left = size

    def use(self, size: int) -> None:
        """Take so many bytes of it.

        Raises:
            FileError: there are no more.
        """
        self.left -= size
        if self.left < 0:
            raise FileError("what it describes is far larger than the file itself")


class Reader(pickle._Unpickler):
    """Read one pickle within `room`; what is not allowed by a subclass is refused."""

    # What Python's own class has, for type checkers.
    dispatch: ClassVar[dict[int, Callable[[Any], None]]]
    stack: list[Any]
    memo: dict[int, Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Any

    def __init__(self, content: bytes, room: Room) -> None:
        super().__init__(io.BytesIO(content))
        self.room, self._length = room, len(content)

    def may_call(self, function: Any) -> bool:
        """Return whether a pickle may call this object."""
        return False

    def may_make(self, kind: Any) -> bool:
        """Return whether a pickle may make an object of this class without calling it."""
        return False

    def may_build(self, made: Any) -> bool:
        """Return whether a pickle may give this object a state, by its `__setstate__`."""
        return False

    def load(self) -> Any:
        """Return the object.

        Raises:
            FileError: it is larger or more nested than the file's size allows, or not plain.
        """
        found = super().load()
        _check_depth(found)
        return found

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not (isinstance(arguments, tuple) and self.may_call(function)):
            raise FileError(f"it calls {shown(function)}, which is no function of plain data")
        self.room.use(sum(_size(argument) for argument in arguments))
        if function is set:
            _check_keys(*arguments)
        made = function(*arguments)
        self.stack[-1] = made

    def load_newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self._make(kind, arguments, {})

    def load_newobj_ex(self) -> None:
        named, arguments, kind = (self.stack.pop() for _ in range(3))
        self._make(kind, arguments, named)

    def _make(self, kind: Any, arguments: Any, named: Any) -> None:
        if not self.may_make(kind):
            raise FileError(f"it makes {shown(kind)}, which is no plain data")
        self.room.use(_size(arguments))
        self.append(kind.__new__(kind, *arguments, **named))

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if not self.may_build(made):
            raise FileError(f"it changes {shown(type(made))}, which is complete")
        if isinstance(state, tuple):
            self.room.use(sum(_size(part) for part in state))
        if hasattr(made, "__setstate__"):  # what else an ordered dictionary carries is not read
            made.__setstate__(state)

    def load_binput(self) -> None:
        self._keep(self.read(1)[0])

    def load_long_binput(self) -> None:
        self._keep(int.from_bytes(self.read(4), "little"))

    def _keep(self, place: int) -> None:
        if place > self._length:
            raise FileError(f"it counts {place:,} objects in a pickle of {self._length:,} bytes")
        self.memo[place] = self.stack[-1]

    def load_append(self) -> None:
        value = self.stack.pop()
        self._of_kind(list).append(value)

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._of_kind(list).extend(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _check_keys([key])
        self._of_kind(dict)[key] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        _check_keys(items[::2])
        self._of_kind(dict).update(zip(items[::2], items[1::2], strict=True))

    def load_additems(self) -> None:
        items = self.pop_mark()
        _check_keys(items)
        self._of_kind(set).update(items)

    def _of_kind(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise FileError(f"it fills {shown(type(self.stack[-1]))} as if it were a {kind}")
        return self.stack[-1]


def _paid(instruction: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(reader: Reader) -> None:
        reader.room.use(_STEP)
        instruction(reader)

    return run


def _instructions() -> dict[int, Callable[[Any], None]]:
    """Return what each allowed instruction does: Python's own, or that of `Reader`."""
    own = {
        "REDUCE": Reader.load_reduce,
        "NEWOBJ": Reader.load_newobj,
        "NEWOBJ_EX": Reader.load_newobj_ex,
        "BUILD": Reader.load_build,
        "BINPUT": Reader.load_binput,
        "LONG_BINPUT": Reader.load_long_binput,
        "APPEND": Reader.load_append,
        "APPENDS": Reader.load_appends,
        "SETITEM": Reader.load_setitem,
        "SETITEMS": Reader.load_setitems,
        "ADDITEMS": Reader.load_additems,
    }
    codes = {name: getattr(pickle, name)[0] for name in (*_PLAIN, *own)}
    plain = {codes[name]: pickle._Unpickler.dispatch[codes[name]] for name in _PLAIN}
    found = plain | {codes[name]: method for name, method in own.items()}
    return {code: _paid(method) for code, method in found.items()}


Reader.dispatch = _instructions()


def _size(value: Any) -> int:
    """Return about how many bytes a copy of a value takes; what it contains is not copied."""
    if isinstance(value, np.ndarray):
        return 0  # tensors are reckoned where their own size is known
    if isinstance(value, str | bytes):
        return len(value)
    return 8 * len(value) if isinstance(value, list | tuple | dict | set) else 0


def _check_keys(keys: Iterable[Any]) -> None:
    """Refuse keys whose hash may take long or collide on purpose: nested tuples, huge integers."""
    for key in keys:
        plain = key is None or isinstance(key, str | bytes)
        if not (plain or (isinstance(key, int) and abs(key) < 2**60) or _by_identity(key)):
            raise FileError(f"it has a key that is no name or number: {shown(key)}")


def _by_identity(key: Any) -> bool:
    return type(key).__hash__ is object.__hash__


def _check_depth(root: Any) -> None:
    """Refuse containers that are nested deeper than any model's."""
    waiting, seen = [(root, 0)], set()
    while waiting:
        value, depth = waiting.pop()
        if id(value) in seen or not isinstance(value, list | tuple | dict):
            continue
        if depth > _DEEPEST:
            raise FileError(f"its containers are nested more than {_DEEPEST} deep")
        seen.add(id(value))
        parts = value.values() if isinstance(value, dict) else value
        waiting += [(part, depth + 1) for part in parts]
