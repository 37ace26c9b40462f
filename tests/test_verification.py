"""Checksums: any damage to anything is told, and what is whole is called whole."""

import json
import random
import shutil

import numpy as np
import pytest
from helpers import DAMAGES, call

from cpdjax import checksums
from cpdjax.errors import FileError
from cpdjax.verification import verify


@pytest.fixture
def folder(tmp_path):
    """A folder with a file, a file that ends in its own hash, and a store."""
    out = tmp_path / "out"
    (out / "a.zarr" / "c").mkdir(parents=True)
    (out / "a.zarr" / "c" / "0").write_bytes(bytes(range(200)))
    (out / "a.zarr" / "zarr.json").write_text("{}")
    checksums.seal(out / "a.zarr")
    (out / "note.txt").write_text("note")
    checksums.add(out, [out / "note.txt", out / "a.zarr"])
    np.savez(out / "unit.npz", x=np.arange(20))
    checksums.seal(out / "unit.npz")
    return out


def verdicts(path):
    return {str(item.path.relative_to(path)): item.verdict for item in verify(path)}


def test_whole_things_are_called_whole(folder):
    assert verdicts(folder) == {"note.txt": "ok", "a.zarr": "ok", "unit.npz": "ok"}
    with np.load(folder / "unit.npz") as stored:
        np.testing.assert_array_equal(stored["x"], np.arange(20))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_told(folder, damage):
    whole = folder.rename(folder.with_name("whole"))
    for name in sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file()):
        shutil.copytree(whole, folder)
        damage(folder / name)
        status, printed, errors = call("verify", folder)
        removed_own_record = (
            name.name in ("unit.npz", checksums.RECORD) and not (folder / name).exists()
        )
        if name.parts[0] != "a.zarr" and removed_own_record:
            assert "Traceback" not in errors  # nothing says that it was there
        else:
            assert status == 2, (name, printed)
            assert "damaged" in printed
        shutil.rmtree(folder)


def test_every_bit_of_a_sealed_file_and_of_a_record_counts(folder):
    draw = random.Random(0)
    for path in (folder / "unit.npz", folder / "a.zarr" / checksums.RECORD):
        content = path.read_bytes()
        for _ in range(100):
            flipped = bytearray(content)
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            assert "damaged" in verdicts(folder).values()
        path.write_bytes(content)


def test_more_in_a_store_is_damage_but_not_the_notes_of_finder(folder):
    (folder / "a.zarr" / ".DS_Store").write_text("")
    assert verdicts(folder)["a.zarr"] == "ok"
    (folder / "a.zarr" / "c" / "1").write_text("")
    with pytest.raises(FileError, match="c/1"):
        checksums.check(folder / "a.zarr")


def test_what_has_no_record_is_unknown_unless_it_cannot_be_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(9))
    (tmp_path / "b.txt").write_text("note")
    (tmp_path / "c.json").write_text("{")
    found = verdicts(tmp_path)
    assert found == {"a.npz": "ok", "b.txt": "unknown", "c.json": "damaged"}
    status, printed, _ = call("verify", tmp_path / "b.txt")
    assert (status, printed.split()[0]) == (0, "unknown")
    assert call("verify", tmp_path / "none")[0] == 2


def test_the_record_is_one_that_sha256sum_reads(folder):
    from subprocess import run

    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    run(["sha256sum", "--strict", "-c", checksums.RECORD], cwd=folder, check=True)


def test_what_is_damaged_has_a_line_and_the_rest_is_counted(tmp_path):
    units = tmp_path / "run" / "units"
    units.mkdir(parents=True)
    for i in range(300):
        (units / f"{i}.npz").write_bytes(b"")
        (units / f"{i}.bin").write_bytes(bytes([i % 7]))
    checksums.add(units, sorted(units.glob("*.npz")))
    (tmp_path / "run" / "note.txt").write_text("note")
    shown = call("verify", tmp_path)[1].splitlines()
    assert sorted(shown) == [
        f"ok       {units}/*.npz: 300 files",
        f"unknown  {tmp_path / 'run' / 'note.txt'}: no checksum",
        f"unknown  {units}/*.bin: 300 files, no checksum",
    ]
    (units / "7.npz").write_bytes(b"0")
    (units / "9.npz").unlink()
    status, printed, _ = call("verify", tmp_path)
    first, second, *rest = printed.splitlines()
    assert status == 2
    assert first.startswith(f"damaged  {units / '7.npz'}: ")
    assert second.startswith(f"damaged  {units / '9.npz'}: ")
    assert f"ok       {units}/*.npz: 298 files" in rest
    assert len(rest) == 3
    everything = call("verify", tmp_path, "-v")[1].splitlines()
    assert len(everything) == 601
    assert f"ok       {units / '8.npz'}" in everything
    status, printed, _ = call("verify", tmp_path, "--json")
    files = json.loads(printed)["files"]
    assert status == 2
    assert len(files) == 601
    assert {"path": str(units / "8.npz"), "verdict": "ok", "reason": ""} in files
