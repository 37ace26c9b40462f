"""Feature stores: what comes back is what was computed, whenever the writing was interrupted."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from ase.build import molecule
from helpers import DAMAGES, Toy, random_structures

from cpdjax import checksums, models, provenance
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError
from cpdjax.features import store
from cpdjax.features.extraction import extract
from cpdjax.features.sources import collect
from cpdjax.features.store import extract_to, read_features

SIZES = np.random.default_rng(3).integers(1, 9, 50)


@pytest.fixture
def structures():
    return random_structures(SIZES)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(store, "PART", 16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": "sum"},
        {"pool": "atom"},
        {"invariants": "pool-then-norm"},
        {"invariants": "norm-then-pool"},
        {"invariants": "power-spectrum", "layers": ["position"]},
        {"dtype": "float32"},
    ],
)
def test_store_holds_what_extract_returns(tmp_path, structures, options):
    expected = extract(Toy(), structures, **options)
    found = read_features(extract_to(tmp_path / "f.zarr", Toy(), structures, **options))
    assert list(found) == list(expected)
    assert (found.pool, found.origins) == (expected.pool, expected.origins)
    for layer in expected:
        assert found[layer].irreps == expected[layer].irreps
        np.testing.assert_array_equal(found[layer].array, expected[layer].array)
    assert [p.name for p in tmp_path.iterdir()] == ["f.zarr"]


class Killed(BaseException):
    pass


def interrupted(path, structures, monkeypatch, after, pool="mean"):
    """The folder in which an extraction that was killed keeps its parts."""
    rows = store.Extraction.rows

    def killed(self, indices, advance):
        if after in indices:
            raise Killed
        return rows(self, indices, advance)

    with monkeypatch.context() as patch:
        patch.setattr(store.Extraction, "rows", killed)
        with pytest.raises(Killed):
            extract_to(path, Toy(), structures, pool=pool, batch_size=4)
    return path.with_name(f".{path.stem}-unfinished.zarr")


@pytest.mark.parametrize("after", [0, 17, 40])
def test_interrupted_and_resumed_is_bit_identical(tmp_path, structures, monkeypatch, after):
    whole = extract_to(tmp_path / "whole.zarr", Toy(), structures, batch_size=4)
    path, rows = tmp_path / "f.zarr", store.Extraction.rows
    seen = []
    interrupted(path, structures, monkeypatch, after)
    assert not path.exists()

    def counted(self, indices, advance):
        seen.extend(indices)
        return rows(self, indices, advance)

    monkeypatch.setattr(store.Extraction, "rows", counted)
    extract_to(path, Toy(), structures, batch_size=4)
    assert min(seen) == after // 16 * 16  # finished parts are not computed again
    for layer in ("number", "position"):
        first, second = (read_features(p)[layer].array for p in (whole, path))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("killed_at", ["create_array", "create_group"])
def test_killed_while_the_store_is_created(tmp_path, structures, monkeypatch, killed_at):
    """A second call starts anew; nothing had been computed."""
    path = tmp_path / "f.zarr"
    with monkeypatch.context() as patch:
        owner = zarr if killed_at == "create_group" else zarr.Group

        def killed(*_, **__):
            raise Killed

        patch.setattr(owner, killed_at, killed)
        with pytest.raises(Killed):
            extract_to(path, Toy(), structures)
    assert [p.name for p in tmp_path.iterdir()] == [".f-unfinished.zarr"]
    assert list(read_features(extract_to(path, Toy(), structures))) == ["number", "position"]
    assert [p.name for p in tmp_path.iterdir()] == ["f.zarr"]


def test_a_finished_store_is_left_alone_and_another_configuration_refused(tmp_path, structures):
    path = extract_to(tmp_path / "f.zarr", Toy(), structures)
    before = (path / "zarr.json").stat().st_mtime_ns
    assert extract_to(path, Toy(), structures) == path
    assert (path / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(FileError, match=r"another configuration \(different: pool\)"):
        extract_to(path, Toy(), structures, pool="sum")
    with pytest.raises(FileError, match=r"NAME\.zarr"):
        extract_to(tmp_path / "f.npz", Toy(), structures)


@pytest.mark.parametrize("finished", [True, False])
def test_of_the_software_only_versions_are_compared(tmp_path, structures, monkeypatch, finished):
    path, real = tmp_path / "f.zarr", provenance.version
    monkeypatch.setattr(provenance.platform, "node", lambda: "first")
    if finished:
        extract_to(path, Toy(), structures, batch_size=4)
    else:
        interrupted(path, structures, monkeypatch, 40)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "version", lambda n: "99" if n == "jaxlib" else real(n))
        with pytest.raises(FileError, match=r"\(different: packages\.jaxlib\)"):
            extract_to(path, Toy(), structures, batch_size=4)
    for name in ("node", "platform", "python_version"):
        value = f"{provenance.platform.python_version()}9"
        monkeypatch.setattr(provenance.platform, name, lambda value=value: value)
    extract_to(path, Toy(), structures, batch_size=4)
    assert zarr.open_group(path, mode="r").attrs["hostname"] == "first"


def test_attributes_say_what_it_is(tmp_path, structures):
    path = extract_to(tmp_path / "f.zarr", "coulomb-spectrum", structures)
    facts = zarr.open_group(path, mode="r").attrs.asdict()
    assert facts["model"] == "coulomb-spectrum"
    assert facts["structures_hash"] == structures.geometry_hash
    assert facts["irreps"] == {"spectrum": "29x0e"}
    assert len(facts["weights_hash"]) == 64
    assert {"pool", "dtype", "dataset", "cpdjax", "parity", "invariants"} <= facts.keys()


HASHES = """
from cpdjax import models
from cpdjax.features.store import weights_hash
for name in models.names():
    print(name, weights_hash(models.load(name)))
"""


@pytest.mark.slow
def test_the_hash_of_a_model_is_the_same_in_another_process():
    processes = [
        subprocess.Popen([sys.executable, "-c", HASHES], stdout=subprocess.PIPE, text=True,
                         env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]  # fmt: skip
    first, second = (process.communicate()[0].splitlines() for process in processes)
    assert [line.split()[0] for line in first] == list(models.names())
    assert first == second


def without_record(path):
    """Take the record away, as in stores of version 0.1.0."""
    (path / checksums.RECORD).unlink()


def test_unfinished_or_damaged_stores_are_one_line(tmp_path, structures):
    path = extract_to(tmp_path / "f.zarr", Toy(), structures)
    record = json.loads((path / "zarr.json").read_text())
    record["attributes"]["molecules_done"] = 32
    (path / "zarr.json").write_text(json.dumps(record))
    with pytest.raises(FileError, match=r"is damaged: zarr\.json"):
        read_features(path)
    without_record(path)
    with pytest.raises(FileError, match="holds 32 of 50 molecules"):
        read_features(path)
    (path / "zarr.json").write_text("{")
    with pytest.raises(FileError, match="cannot read"):
        read_features(path)
    with pytest.raises(FileError, match="remove it"):
        extract_to(path, Toy(), structures)


def test_a_store_without_a_record_is_read_with_a_warning(tmp_path, structures):
    path = extract_to(tmp_path / "f.zarr", Toy(), structures)
    expected = read_features(path)
    without_record(path)
    with pytest.warns(UserWarning, match="has no checksums"):
        assert read_features(path) == expected


def chunks(path):
    return sorted(p for p in path.rglob("c/*/*/*") if p.is_file())


@pytest.mark.parametrize("pool", ["mean", "atom"])
def test_damage_to_any_file_of_a_store_is_told(tmp_path, structures, pool):
    whole = extract_to(tmp_path / "f.zarr", Toy(), structures, pool=pool)
    assert len(chunks(whole)) == 2 * -(-(len(structures.numbers) if pool == "atom" else 50) // 16)
    for name in sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file()):
        for damage in DAMAGES:
            path = shutil.copytree(whole, tmp_path / "copy")
            damage(path / name)
            with (
                pytest.raises(FileError, match="copy")
                if (path / checksums.RECORD).exists()
                else (pytest.warns(UserWarning, match="no checksums"))
            ):
                read_features(path)
            shutil.rmtree(path)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["mean", "atom"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_while_interrupted_is_mended(tmp_path, structures, monkeypatch, pool, damage):
    whole = extract_to(tmp_path / "whole.zarr", Toy(), structures, pool=pool, batch_size=4)
    growing = interrupted(tmp_path / "f.zarr", structures, monkeypatch, 40, pool)
    found = chunks(growing)
    assert len(found) >= 4
    for chunk in found:
        content = chunk.read_bytes()
        damage(chunk)
        path = extract_to(tmp_path / "f.zarr", Toy(), structures, pool=pool, batch_size=4)
        assert read_features(path) == read_features(whole)
        path.rename(growing)  # as unfinished as one can be
        assert chunk.read_bytes() == content or chunk == found[-1]


def test_what_others_made_is_left_alone(tmp_path, structures):
    mine = tmp_path / ".f-unfinished.zarr"
    mine.mkdir()
    (mine / "note").write_text("mine")
    with pytest.raises(FileError, match="rename it"):
        extract_to(tmp_path / "f.zarr", Toy(), structures)
    assert (mine / "note").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]


def test_another_zarr_group_is_refused(tmp_path, structures):
    zarr.create_group(tmp_path / "f.zarr")
    with pytest.raises(FileError, match=r"another configuration \(different: cpdjax"):
        extract_to(tmp_path / "f.zarr", Toy(), structures)


def test_a_second_writer_is_told(tmp_path, structures, monkeypatch):
    rows = store.Extraction.rows

    def second(*arguments):
        with pytest.raises(FileError, match="another process is writing"):
            extract_to(tmp_path / "f.zarr", Toy(), structures)
        return rows(*arguments)

    monkeypatch.setattr(store.Extraction, "rows", second)
    extract_to(tmp_path / "f.zarr", Toy(), structures)
    assert [p.name for p in tmp_path.iterdir()] == ["f.zarr"]


def test_a_link_stays(tmp_path, structures):
    (tmp_path / "big").mkdir()
    (tmp_path / "f.zarr").symlink_to(tmp_path / "big" / "g.zarr")
    extract_to(tmp_path / "f.zarr", Toy(), structures)
    assert (tmp_path / "f.zarr").is_symlink()
    assert read_features(tmp_path / "big" / "g.zarr") == read_features(tmp_path / "f.zarr")


def test_a_sweep_takes_a_store(tmp_path, structures):
    path = extract_to(tmp_path / "mine.zarr", Toy(), structures, invariants="norm-then-pool")
    [features] = collect(path, None)
    assert features.model == "mine"
    assert features.irreps_of("position") == ("1o",)
    assert features.scalars("position", "1o", "norm-then-pool").shape == (50, 1)


def test_molecules_in_a_row_of_parts_keep_their_order(tmp_path):
    frames = [molecule(name) for name in ("H2O", "C6H6", "H", "CH4") * 9]
    structures = Structures.from_atoms(frames)
    found = read_features(extract_to(tmp_path / "f.zarr", "coulomb-spectrum", structures))
    expected = extract("coulomb-spectrum", structures)
    np.testing.assert_allclose(found["spectrum"].array, expected["spectrum"].array, atol=1e-12)
