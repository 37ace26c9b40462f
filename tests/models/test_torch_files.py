"""Files of torch.save: read without torch, and nothing in them is run."""

import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from cpdjax.errors import FileError
from cpdjax.models.weights import torch_files


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def write(path, payload, storages=()):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/byteorder", "little")
        for key, values in dict(storages).items():
            archive.writestr(f"archive/data/{key}", np.asarray(values).tobytes())
    return path


def tensor_pickle(size, stride, offset=0, numel=6, function=b"ctorch._utils\n_rebuild_tensor_v2\n"):
    """The opcodes of one tensor, as torch.save (protocol 2) writes them."""
    storage = (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
        b"X\x03\x00\x00\x00cpuK" + bytes([numel]) + b"tQ"
    )
    numbers = b"".join(b"(" + b"".join(b"K" + bytes([n]) for n in t) + b"t" for t in (size, stride))
    return b"\x80\x02" + function + b"(" + storage + b"K" + bytes([offset]) + numbers + b"\x89NtR."


def test_tensors_with_strides(tmp_path):
    values = np.arange(6, dtype=np.float32)
    path = write(tmp_path / "a.pth", tensor_pickle((2, 3), (3, 1)), {"0": values})
    np.testing.assert_array_equal(torch_files.read(path), values.reshape(2, 3))
    path = write(tmp_path / "b.pth", tensor_pickle((3, 2), (1, 3)), {"0": values})
    np.testing.assert_array_equal(torch_files.read(path), values.reshape(2, 3).T)


def test_containers(tmp_path):
    content = {"config": OrderedDict(cutoff=5.0, names=["a", ("b", None)]), "epoch": 3}
    path = write(tmp_path / "a.pth", pickle.dumps(content, 2))
    assert torch_files.read(path) == content


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    witness = tmp_path / "witness"
    calls = [
        Call(os.system, f"touch {witness}"),
        Call(eval, f"open({str(witness)!r}, 'w')"),
        Call(open, str(witness), "w"),
        Call(getattr, 1.5, "hex"),
    ]
    for call in calls:
        path = write(tmp_path / "evil.pth", pickle.dumps({"model": call}, 2))
        for trusted in ((), ("torch", "mace", "e3nn")):
            with pytest.raises(FileError, match="neither a tensor nor a plain container") as caught:
                torch_files.read(path, trusted)
            assert "\n" not in str(caught.value)
    assert not witness.exists()


def test_numpy_arrays_and_scalars(tmp_path):
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.array([True, False]),
        np.array(2 + 1j),
        np.zeros((0, 3), np.float16),
        np.float32(0.5),
        np.int64(-3),
        np.bool_(True),
    ]
    for protocol in (2, 4):
        path = write(tmp_path / "a.pth", pickle.dumps({"mine": [*arrays, arrays[0]]}, protocol))
        for found, expected in zip(torch_files.read(path)["mine"], arrays, strict=False):
            np.testing.assert_array_equal(found, expected)
            assert (found.shape, found.dtype.kind) == (expected.shape, expected.dtype.kind)


class Built:
    """Pickles as a call of NumPy's `function` whose result is then given `state`."""

    def __init__(self, function, arguments, state):
        self.reduced = function, arguments, state

    def __reduce__(self):
        return self.reduced


DTYPE, RECONSTRUCT = np.dtype, np.empty(0).__reduce__()[0]
EMPTY = (np.ndarray, (0,), b"b")
POINTER = b"\x41" * 8


@pytest.mark.parametrize(
    "payload",
    [
        # an object dtype whose flags deny that it holds references
        Built(RECONSTRUCT, EMPTY, (1, (1,), Built(DTYPE, ("O8", False, True),
              (3, "|", None, None, None, 8, 8, 0)), False, POINTER)),
        Built(RECONSTRUCT, EMPTY, (1, (1,), np.dtype("O"), False, POINTER)),
        Call(np.float64(0).__reduce__()[0], np.dtype("O"), POINTER),
        Call(np.float64(0).__reduce__()[0], np.dtype("f8"), POINTER[:4]),
        Call(np.float64(0).__reduce__()[0], "f8", POINTER),
        np.array([{}, None]),
        np.array(["text"]),
        np.zeros(2, [("a", "f8")]),
        Built(RECONSTRUCT, EMPTY, (1, (2,), np.dtype("f8"), False, POINTER)),
        Built(RECONSTRUCT, EMPTY, (1, (-1,), np.dtype("f8"), False, POINTER)),
        Built(RECONSTRUCT, EMPTY, (1, (np.int64(1),), np.dtype("f8"), False, POINTER)),
        Built(RECONSTRUCT, EMPTY, (1, (1,), np.dtype("f8"), False, [POINTER])),
        Built(RECONSTRUCT, EMPTY, (1, (1,), "f8", False, POINTER)),
        Call(np.ndarray, (4,), "f8"),
    ],
)  # fmt: skip
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, payload):
    path = write(tmp_path / "a.pth", pickle.dumps(payload, 2))
    with pytest.raises(FileError) as caught:
        torch_files.read(path)
    assert "\n" not in str(caught.value)


def test_a_dtype_keeps_its_size_and_flags(tmp_path):
    """What a pickle says of them is not heeded, and NumPy's own dtypes stay what they are."""
    kind = Built(DTYPE, ("f8", False, True), (3, "<", None, None, None, 999, 999, 63))
    payload = Built(RECONSTRUCT, EMPTY, (1, (1,), kind, False, np.float64(2.5).tobytes()))
    found = torch_files.read(write(tmp_path / "a.pth", pickle.dumps(payload, 2)))
    assert found.tolist() == [2.5]
    assert (found.dtype, np.dtype("f8").itemsize) == (np.float64, 8)


def test_the_content_of_tensors_and_arrays_is_not_replaced(tmp_path):
    state = pickle.dumps((1, (1,), np.dtype("f8"), False, POINTER), 2)[2:-1]
    for first in (tensor_pickle((2,), (1,)), pickle.dumps(np.ones(2), 2)):
        path = write(tmp_path / "a.pth", first[:-1] + state + b"b.", {"0": np.ones(6, np.float32)})
        with pytest.raises(FileError):
            torch_files.read(path)


def int64(number):
    """The opcodes of a NumPy scalar."""
    return pickle.dumps(np.int64(number), 2)[2:-1]


@pytest.mark.parametrize("number", [2**62, -1, 3])
def test_counts_are_plain_integers(tmp_path, number):
    whole = tensor_pickle((2, 3), (3, 1))
    for written, changed in (
        (b"(K\x02K\x03t", b"(K\x02" + int64(number) + b"t"),
        (b"(K\x03K\x01t", b"(" + int64(number) + b"K\x01t"),
        (b"QK\x00", b"Q" + int64(number)),
    ):
        assert whole.count(written) == 1
        path = write(tmp_path / "a.pth", whole.replace(written, changed), {"0": np.zeros(6, "f4")})
        with pytest.raises(FileError, match="no count"):
            torch_files.read(path)


def test_a_storage_is_one_row(tmp_path):
    whole, storage = tensor_pickle((2, 3), (3, 1)), tensor_pickle((2,), (1,))
    start, end = storage.index(b"(X\x07"), storage.index(b"Q") + 1
    for other in (np.zeros((2, 3)), [0.0] * 6):
        payload = whole.replace(storage[start:end], pickle.dumps(other, 2)[2:-1])
        with pytest.raises(FileError, match="no storage"):
            torch_files.read(write(tmp_path / "a.pth", payload))


def test_names_of_torch_are_those_of_its_dtypes(tmp_path):
    for name in ("float32", "bfloat16", "int64"):
        path = write(tmp_path / "a.pth", f"\x80\x02ctorch\n{name}\n.".encode("latin1"))
        assert torch_files.read(path) == name
    for name in ("load", "save", "loadStorage", "UntypedStorage"):
        path = write(tmp_path / "a.pth", f"\x80\x02ctorch\n{name}\n.".encode("latin1"))
        with pytest.raises(FileError, match="neither a tensor nor a plain container"):
            torch_files.read(path)


def test_trusted_classes_become_records_and_are_not_imported(tmp_path):
    # An object of class `antigravity.Module`: importing that module would open a browser.
    payload = (
        b"\x80\x02cantigravity\nModule\n)\x81}X\x0b\x00\x00\x00_parameters}X\x06\x00\x00\x00weight"
        + tensor_pickle((2,), (1,))[2:-1]
        + b"ssb."
    )
    path = write(tmp_path / "module.pth", payload, {"0": np.arange(6, dtype=np.float32)})
    with pytest.raises(FileError, match="antigravity"):
        torch_files.read(path)
    module = torch_files.read(path, trusted=("antigravity",))
    assert module.path == "antigravity.Module"
    np.testing.assert_array_equal(torch_files.state_dict(module)["weight"], [0, 1])
    np.testing.assert_array_equal(module.weight, [0, 1])
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b"no zip at all"),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: write(path, b"\x80\x02}"),
        lambda path: write(path, tensor_pickle((2, 3), (3, 1)), {"0": np.zeros(2, np.float32)}),
        lambda path: write(path, tensor_pickle((2, 3), (9, 1)), {"0": np.zeros(6, np.float32)}),
        lambda path: write(path, tensor_pickle((2, 3), (3, 1)), {}),
    ],
)
def test_damaged_files_are_one_line(tmp_path, damage):
    path = write(tmp_path / "a.pth", tensor_pickle((2, 3), (3, 1)), {"0": np.zeros(6, np.float32)})
    damage(path)
    with pytest.raises(FileError) as caught:
        torch_files.read(path)
    assert "\n" not in str(caught.value)
    assert "a.pth" in str(caught.value)
