"""Random damage to torch files, MACE files and model folders: read, or one line, within bounds."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import GOLDENS

ROUNDS = 300

#: Runs in a process of its own, whose memory ends 400 MB above what importing needs.
PROGRAM = r"""
import faulthandler, io, json, lzma, pickletools, random, resource, shutil, signal, struct, sys
import warnings, zipfile
from pathlib import Path

import numpy as np

from cpdjax import models
from cpdjax.errors import InputError
from cpdjax import checksums
from cpdjax.hashing import hash_file
from cpdjax.models.naming import ZOO
from cpdjax.models.weights import mace_files, torch_files

folder, goldens, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
warnings.simplefilter("ignore")
rng = random.Random(0)
raw = lzma.decompress((goldens / "mace_tiny.model.xz").read_bytes())
with zipfile.ZipFile(io.BytesIO(raw)) as archive:
    entries = {name: archive.read(name) for name in archive.namelist()}
index = next(name for name in entries if name.endswith("data.pkl"))
pickled = entries[index]
starts = [at for _, _, at in pickletools.genops(pickled)]
numbers = [b"K\xff", b"J\xff\xff\xff\x7f", b"J\x00\x00\x00\x80", b"\x8a\x08" + b"\x7f" * 8,
           b"G\x7f\xf0" + bytes(6), b"N", b"]", b")", b"}", b"\x88", b"X\x03\x00\x00\x00abc"]


def damaged_bytes(content):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 40))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content[: rng.choice((len(content),) * 4 + (rng.randrange(len(content)),))])


def damaged_pickle():
    "Opcodes removed, doubled, moved, or a number in place of another."
    parts = [pickled[a:b] for a, b in zip(starts, [*starts[1:], len(pickled)])]
    for _ in range(rng.choice((1, 2, 8))):
        k = rng.randrange(len(parts) - 1)
        how = rng.randrange(4)
        if how == 0:
            del parts[k]
        elif how == 1:
            parts.insert(k, parts[rng.randrange(len(parts) - 1)])
        elif how == 2:
            parts[k : k + 1] = parts[k : k + 1] * rng.choice((2, 1000, 100_000))
        else:
            parts[k] = rng.choice(numbers)
    return b"".join(parts)


def torch_file(path):
    changed = dict(entries)
    if rng.random() < 0.8:
        changed[index] = damaged_pickle() if rng.random() < 0.7 else damaged_bytes(pickled)
    kind = rng.choice((zipfile.ZIP_STORED,) * 5 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in changed.items():
            archive.writestr(name, content)
    if rng.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes()))


VALUES = (0, -1, 1.5, 1e300, 10**6, 10**18, True, None, "", "x", "9" * 50, [], {}, [[1]],
          [10**6] * 3, "4000x0e", "1x9e", "1x0e+" * 50, {"module": "painn", "fields": {}})


def replaced(values):
    "A record with one value somewhere in it replaced."
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = rng.choice(keys)
    if isinstance(values[key], dict | list) and values[key] and rng.random() < 0.9:
        replaced(values[key])
    elif rng.random() < 0.1 and isinstance(values, dict):
        del values[key]
    else:
        values[key] = rng.choice(VALUES)


def saved(path):
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(rng.choice(kept) / "model", path)
    record = json.loads((path / "model.json").read_text())
    replaced(record)
    (path / "model.json").write_text(json.dumps(record))
    if rng.random() < 0.3:
        (path / "weights.npz").write_bytes(damaged_bytes((path / "weights.npz").read_bytes()))
        record["sha256"] = hash_file(path / "weights.npz")
        (path / "model.json").write_text(json.dumps(record))
    if rng.random() < 0.9:  # whoever damages the record may well write its hash anew
        checksums.write(path, {name: path / name for name in ("model.json", "weights.npz")})


def both(path):
    torch_files.read(path, ("torch", "mace", "e3nn"))
    config, state = mace_files.read(path)
    models.from_state_dict("mace", {**config, "head": "second"}, state)


kept = [run.parent for run in ZOO.glob("*/card.json")]
for run in kept:  # everything is imported and compiled before memory is counted
    models.load(run)
(folder / "whole.model").write_bytes(raw)
both(folder / "whole.model")
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 2**20, -1))
faulthandler.enable()
ended = {"read": 0, "refused": 0}
for number in range(rounds):
    make, read, name = rng.choice(((torch_file, both, "m.model"), (saved, models.load, "saved")))
    make(folder / name)
    signal.alarm(60)  # ends the process
    try:
        read(folder / name)
        ended["read"] += 1
    except InputError as error:
        ended["refused"] += 1
        text = str(error)
        assert "\n" not in text and len(text) < 1500, (number, text[:3000])
    signal.alarm(0)
print(json.dumps(ended))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is counted as on Linux")
def test_damaged_files_are_read_or_refused_within_bounds(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(GOLDENS), str(ROUNDS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    print(run.stdout)
