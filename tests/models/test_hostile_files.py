"""Files that claim much: refused in one line, by the size they claim, before it is made."""

import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from cpdjax.errors import FileError
from cpdjax.models.weights import torch_files

TRUSTED = ("torch", "mace", "e3nn")


def torch_file(path, payload, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", payload)
        for key, content in dict(storages).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value):
    return pickle.dumps(value, 2)[2:-1]


def tensor(size, stride, offset=0):
    """The opcodes of a tensor of six numbers, as torch.save writes them."""
    storage = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x06tQ"
    )
    numbers = b"".join(b"(" + b"".join(map(integer, n)) + b"t" for n in (size, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + integer(offset) + numbers + b"tR"


def whole(body):
    return b"\x80\x02" + body + b"."


def doubled(start, times, kind=b"\x86"):
    """A container of the same container twice, and so on."""
    steps = b"".join(b"q" + bytes([k]) + b"h" + bytes([k]) + kind for k in range(times))
    return start + steps


MANY = b"(" + b"N" * 20_000 + b"t"
PICKLES = {
    "a memo of four thousand million": whole(b"Nr\xff\xff\xff\xff"),
    "a stride of zero": whole(tensor((10**6, 10**6), (0, 0))),
    "a view with an axis of no step": whole(tensor((3, 10**12), (1, 0))),
    "a view beyond the storage": whole(tensor((2, 3), (10**9, 1))),
    "an offset beyond the storage": whole(tensor((2,), (1,), 10**12)),
    "thousands of axes": whole(tensor((1,) * 5000, (0,) * 5000)),
    "lists inside each other": whole(b"]" * 100_000 + b"a" * 99_999),
    "tuples inside each other": whole(b")" + b"\x85" * 100_000),
    "marks": whole(b"(" * 2_000_000),
    "a key that takes for ever to hash": whole(b"}" + doubled(b")", 60) + b"Ns"),
    "a set of such": whole(b"cbuiltins\nset\n](" + doubled(b")", 60) + b"e\x85R"),
    "a dtype that takes for ever to show": whole(
        b"cnumpy\ndtype\n" + doubled(b")", 60) + b"\x85R"
    ),
    "a storage that takes for ever to show": whole(
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + doubled(b")", 60) + b"tQ"
    ),
    "keys that collide": whole(
        b"}(" + b"".join(integer(k * (2**61 - 1)) + b"N" for k in range(1, 20_000)) + b"u"
    ),
    "copies of a copy": whole(
        b"ctorch\nSize\nq\x00" + MANY + b"q\x01](" + b"h\x00h\x01\x85R" * 40_000 + b"e"
    ),
    "texts encoded again and again": whole(
        b"c_codecs\nencode\nq\x00" + text("a" * 50_000) + b"q\x01" + text("latin1")
        + b"q\x02](" + b"h\x00h\x01h\x02\x86R" * 40_000 + b"e"
    ),
    "millions of containers": whole(b"(" + b"]" * 2_000_000 + b"t"),
    "an attribute of a function": whole(b"ctorch._utils\n_rebuild_parameter\nN}" + text("__code__")
                                        + b"Ns\x86b"),
    "an attribute of a class": whole(b"ctorch.nn\nLinear\nN}" + text("path") + b"Ns\x86b"),
    "an attribute of a container": whole(b"cbuiltins\nset\n)R}" + text("mine") + b"Nsb"),
    "a list filled as a dictionary": whole(b"]" + text("mine") + b"Ns"),
    "a record of methods": whole(b"ctorch.nn\nLinear\n)\x81}" + text("append")
                                 + b"cbuiltins\nset\nsbNa"),
    "extensions": whole(b"\x82\x01"),
    "an old class": whole(b"(itorch.nn\nLinear\n"),
    "a class of containers made bare": whole(b"ccollections\nOrderedDict\n)\x81"),
    "a frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "a text of four thousand million": whole(b"X\xff\xff\xff\xffabc"),
    "bytes of all memory": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fabc.",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PICKLES)
def test_pickles_that_claim_much_are_refused_at_once(name, tmp_path):
    path = torch_file(tmp_path / "m.pth", PICKLES[name], {"0": bytes(24)})
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(FileError) as caught:
        torch_files.read(path, TRUSTED)
    took, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert most < 100e6
    assert took < 15  # Python counts memory here, which makes it slow


def test_entries_that_expand_are_refused(tmp_path):
    storages = {"0": bytes(10**7)}
    path = torch_file(tmp_path / "m.pth", whole(b"N"), storages, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(FileError, match=r"expand to 10,0\d\d,\d+ bytes"):
        torch_files.read(path)


def test_modules_that_hold_each_other(tmp_path):
    """Thirty modules, each with the last one twice, have a thousand million names."""
    body = b"ctorch.nn\nModule\nq\x00)\x81}b"
    for k in range(1, 31):
        body += b"q" + bytes([k]) + b"0h\x00)\x81}" + text("_modules") + b"}("
        body += b"".join(text(name) + b"h" + bytes([k]) for name in "ab") + b"usb"
    module = torch_files.read(torch_file(tmp_path / "m.pth", whole(body)), TRUSTED)
    with pytest.raises(FileError, match="hold each other"):
        torch_files.state_dict(module)


def test_a_tensor_that_others_share_is_read(tmp_path):
    values = np.arange(6, dtype="<f4")
    body = b"](" + tensor((2, 3), (3, 1)) * 3 + tensor((4,), (0,), 5) + b"e"
    found = torch_files.read(torch_file(tmp_path / "m.pth", whole(body), {"0": values.tobytes()}))
    np.testing.assert_array_equal(found[0], values.reshape(2, 3))
    np.testing.assert_array_equal(found[3], [5, 5, 5, 5])


def test_torchscript_is_called_so(tmp_path):
    with zipfile.ZipFile(tmp_path / "lammps.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02c__torch__.mine\nModel\n)\x81}.")
        archive.writestr("m/code/__torch__/mine.py", b"")
        archive.writestr("m/constants.pkl", b"\x80\x02).")
    with pytest.raises(FileError, match=r"TorchScript.*torch\.save\(model, FILE\)"):
        torch_files.read(tmp_path / "lammps.pt", TRUSTED)
