"""Files of torch.save: read without torch, and nothing in them is run."""

import os
import pickle
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from cpdjax.errors import FileError
from cpdjax.models import torch_files


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
