"""Write features to a Zarr store part by part, continue after an interruption, and read them.

Groups `layer/irrep` hold (molecule, channel, 2l+1), or (molecule, column) where scalars were made,
chunked by molecule; per atom, the first axis is `atom`. The attributes of the store say which
model, structures and options the features come from.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import zarr
from e3nn_jax import Irreps, IrrepsArray
from zarr.codecs import ZstdCodec

from cpdjax import checksums
from cpdjax.data.composition import formulas
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError
from cpdjax.features.extraction import Extraction
from cpdjax.features.features import Features
from cpdjax.files import clean, flush, remove
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import Blocks
from cpdjax.locks import sole_writer
from cpdjax.models.interface import Model
from cpdjax.progress import progress_bar

PART = 4096
"""Limit the molecules that are computed before they are written: memory holds them all, and an
interruption loses them."""


def extract_to(
    path: str | Path,
    model: str | Model,
    structures: Structures,
    *,
    layers: Sequence[str] | None = None,
    pool: str = "mean",
    invariants: str | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    progress: bool = False,
) -> Path:
    """Write the features that `extract` returns to a Zarr store, and return its path.

    The memory does not grow with the number of molecules. Parts are kept beside `path` until all
    are complete, and a second call continues where the first was interrupted; parts that were
    damaged meanwhile are computed again. A finished store of the same configuration is left as it
    is. The arguments are those of `extract`.

    Raises:
        FileError: if `path` does not end in .zarr, holds features of another configuration, is
            damaged, or another process is writing it.
        UnknownNameError, InputError: if `extract` raises them.
    """
    path = Path(path)
    if path.suffix != ".zarr":
        raise FileError(f"a feature store is a folder NAME.zarr, got {path.name!r}")
    run = Extraction.of(model, structures, layers, pool, invariants, batch_size, dtype)
    _extract(path, run, progress)
    return path


def kept_features(folder: Path, run: Extraction, progress: bool) -> Features:
    """Return the features of a run from a store in `folder`, which is written where there is none.

    A store is named after all that decides its content. A damaged one is made anew.

    Raises:
        InputError: as `extract_to`.
    """
    facts = json.dumps(_facts(run), sort_keys=True)
    path = folder / f"{hash_arrays((), facts=facts)[:16]}.zarr"
    try:
        _extract(path, run, progress)
        return read_features(path)
    except FileError as error:
        if not path.exists():
            raise
        warnings.warn(f"{error}; its features are computed again", stacklevel=2)
        remove(path)
        _extract(path, run, progress)
        return read_features(path)


def _extract(path: Path, run: Extraction, progress: bool) -> None:
    """Write the features of a run, or the rest of them, unless they are there."""
    path = Path(os.path.realpath(path))  # a link stays
    facts = _facts(run)
    growing = path.with_name(f".{path.stem}-unfinished.zarr")
    with sole_writer(path, growing.with_name(f"{growing.name}.lock")):
        if path.exists():
            _check_same(path, facts)
            return
        done = _prepare(growing, run, facts)
        root = zarr.open_group(growing, mode="r+")
        with progress_bar(progress) as shown:
            task = shown.add_task(run.model.name, total=len(run.structures), completed=done)
            for first in range(done, len(run.structures), PART):
                part = np.arange(first, min(first + PART, len(run.structures)))
                _write(root, run, part, run.rows(part, lambda n: shown.advance(task, n)))
                checksums.add(growing, _chunks(growing, run, part))
        _finish(growing, root)
        os.replace(growing, path)


def weights_hash(model: Model) -> str:
    """Return the SHA-256 (hex) of a model's weights and of everything static in it."""
    leaves, structure = jax.tree_util.tree_flatten(model)
    return hash_arrays((("", leaf) for leaf in leaves), facts=str(structure))


def _facts(run: Extraction) -> dict[str, Any]:
    """Return the attributes of a store: what its features are and how they were computed."""
    return {
        "model": run.model.name,
        "weights_hash": weights_hash(run.model),
        "irreps": {layer: str(run.model.irreps[layer]) for layer in run.layers},
        "parity": run.model.parity,
        "pool": run.pool if run.model.level == "atom" else "none",
        "invariants": run.how or "",
        "dtype": run.dtype.name,
        "dataset": run.structures.name,
        "structures_hash": run.structures.geometry_hash,
        "molecules": len(run.structures),
        "cpdjax": version("cpdjax"),
    }


def _check_same(path: Path, facts: dict[str, Any]) -> None:
    """Refuse a store that is damaged or holds other features."""
    checksums.check(path)
    _check_facts(path, facts)


def _check_facts(path: Path, facts: dict[str, Any]) -> None:
    try:
        known = zarr.open_group(path, mode="r").attrs.asdict()
    except Exception:  # a damaged store can raise nearly anything
        raise FileError(f"cannot read {path}: remove it to start anew") from None
    changed = [k for k, v in facts.items() if known.get(k) != json.loads(json.dumps(v))]
    if changed:
        raise FileError(
            f"{path} holds features of another configuration (different: {', '.join(changed)}): "
            "choose another name or remove it"
        )


def _prepare(growing: Path, run: Extraction, facts: dict[str, Any]) -> int:
    """Create the store of a run, or find it unfinished; return how many molecules are done."""
    if not growing.exists():
        _create(growing, run, facts)
        return 0
    clean(growing)
    hashes = checksums.recorded(growing)
    if hashes is None and any(growing.iterdir()):
        raise FileError(f"{growing} is in the way, and not of this program's making: rename it")
    whole = {n for n, known in (hashes or {}).items() if not checksums.differs(growing / n, known)}
    lost = (hashes or {}).keys() - whole
    if not whole or any(not _is_chunk(name) for name in lost):
        remove(growing)  # it was killed while it was created, or cannot be read
        _create(growing, run, facts)
        return 0
    _check_facts(growing, facts)
    for name in lost:
        remove(growing / name)  # Zarr would read a chunk before it writes a part of it
    return _whole_parts(growing, run, whole)


def _is_chunk(name: str) -> bool:
    """Return whether a file in a store holds results, which can be computed again."""
    return "/c/" in name and not name.startswith("offsets/")


def _whole_parts(growing: Path, run: Extraction, whole: set[str]) -> int:
    """Return how many molecules are in parts of which every chunk is whole."""
    for first in range(0, len(run.structures), PART):
        part = np.arange(first, min(first + PART, len(run.structures)))
        if {p.relative_to(growing).as_posix() for p in _chunks(growing, run, part)} - whole:
            return first
    return len(run.structures)


def _create(path: Path, run: Extraction, facts: dict[str, Any]) -> None:
    """Create an empty store for all results of a run; its record says whose it is from the start.

    Chunks are written even where all their numbers are zero: a chunk that is not there is lost.
    """
    path.mkdir(parents=True, exist_ok=True)
    checksums.add(path, [])
    structures = run.structures
    root = zarr.create_group(path, attributes={**facts, "molecules_done": 0})
    for name, texts in (("ids", structures.ids), ("formulas", formulas(structures))):
        root.create_array(name, data=_as_bytes(texts))
    if run.per_atom:
        root.create_array("offsets", data=structures.offsets)
    for layer in run.layers:
        for kind, shape in _shapes(run, layer).items():
            root.create_array(
                f"{layer}/{kind}",
                shape=(_row(run, len(structures)), *shape),
                chunks=(_rows_of_chunk(run), *shape),
                dtype=run.dtype,
                compressors=ZstdCodec(level=0, checksum=True),
                config={"write_empty_chunks": True},
            )
    checksums.add(path, checksums.files_of(path))


def _finish(growing: Path, root: Any) -> None:
    """Say in the store that it is whole, and bring it to the disk."""
    root.attrs["molecules_done"] = root.attrs["molecules"]
    with warnings.catch_warnings():
        # Zarr warns of files of other people's making, such as our record, wherever it lists the
        # content of a folder, which consolidated metadata spare it.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(growing)
    checksums.add(growing, growing.rglob("zarr.json"))
    known = checksums.recorded(growing) or {}
    for file in checksums.files_of(growing):
        if file.relative_to(growing).as_posix() not in known:
            file.unlink()  # what a killed process had half written
    flush(growing)


def _rows_of_chunk(run: Extraction) -> int:
    return min(PART, _row(run, len(run.structures)))


def _row(run: Extraction, molecule: int) -> int:
    """Return the row at which a molecule begins."""
    return int(run.structures.offsets[molecule]) if run.per_atom else molecule


def _chunks(path: Path, run: Extraction, part: np.ndarray) -> list[Path]:
    """Return the files of the chunks that hold the molecules `part`, which follow each other."""
    rows = _rows_of_chunk(run)
    first, last = _row(run, int(part[0])), _row(run, int(part[-1]) + 1)
    return [
        path.joinpath(layer, kind, "c", str(chunk), *["0"] * len(shape))
        for layer in run.layers
        for kind, shape in _shapes(run, layer).items()
        for chunk in range(first // rows, (last - 1) // rows + 1)
    ]


def _as_bytes(texts: np.ndarray) -> np.ndarray:
    """Return texts as the bytes of JSON, because format 3 of Zarr specifies no strings yet."""
    return np.frombuffer(json.dumps(texts.tolist()).encode(), np.uint8)


def _texts(root: Any, name: str) -> np.ndarray | None:
    """Return texts that `_as_bytes` wrote, or None in a store of before 0.2, which has none."""
    return np.array(json.loads(root[name][...].tobytes()), str) if name in root else None


def _shapes(run: Extraction, layer: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of one row's features, by irrep."""
    if run.how is not None:
        return {kind: (columns,) for kind, columns in run.origins[layer]}
    counts: dict[str, tuple[int, ...]] = {}
    for mul, ir in run.model.irreps[layer]:
        before = counts.get(str(ir), (0,))[0]
        counts[str(ir)] = (before + mul, ir.dim)
    return counts


def _write(root: Any, run: Extraction, part: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Write the results of the molecules `part`, which follow each other, to the store."""
    rows = slice(_row(run, int(part[0])), _row(run, int(part[-1]) + 1))
    for layer, array in arrays.items():
        for kind, values in _by_irrep(run, layer, array).items():
            root[f"{layer}/{kind}"][rows] = values


def _by_irrep(run: Extraction, layer: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Return the results of a layer split by irrep, in the shapes of the store."""
    if run.how is not None:
        kinds, columns = zip(*run.origins[layer], strict=True)
        return dict(zip(kinds, np.split(array, np.cumsum(columns)[:-1], axis=1), strict=True))
    features = IrrepsArray(run.model.irreps[layer], array)
    found: dict[str, list[np.ndarray]] = {}
    for (mul, ir), columns in zip(features.irreps, features.irreps.slices(), strict=True):
        found.setdefault(str(ir), []).append(array[:, columns].reshape(len(array), mul, ir.dim))
    return {kind: np.concatenate(blocks, axis=1) for kind, blocks in found.items()}


def read_features(path: str | Path) -> Features:
    """Return all features in a store that `extract_to` wrote.

    Raises:
        FileError: if there is no such store, it is damaged, or its extraction was interrupted.

    Warns:
        UserWarning: if it holds no checksums, as those of version 0.1.0.
    """
    path = Path(path)
    try:
        recorded = checksums.check(path)
        root: Any = zarr.open_group(path, mode="r")
        facts = root.attrs.asdict()
        done, molecules = facts["molecules_done"], facts["molecules"]
        if done != molecules:
            raise FileError(f"{path} holds {done} of {molecules} molecules: extract it again")
        layers = {
            layer: _read_layer(root[layer], irreps) for layer, irreps in facts["irreps"].items()
        }
        if not recorded:
            checksums.warn_unrecorded(path)
        return Features(
            {layer: array for layer, (array, _) in layers.items()},
            model=facts["model"],
            pool=facts["pool"],
            structures_hash=facts["structures_hash"],
            origins={layer: origin for layer, (_, origin) in layers.items() if origin},
            parity=facts["parity"],
            invariants=facts["invariants"],
            ids=_texts(root, "ids"),
            formulas=_texts(root, "formulas"),
        )
    except FileError:
        raise
    except Exception as error:  # a damaged store can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"cannot read features from {path}: {reason}") from None


def is_store(path: Path) -> bool:
    """Return whether a folder is a store of `extract_to`, and no other Zarr group."""
    try:
        return "molecules_done" in zarr.open_group(path, mode="r").attrs
    except Exception:  # whoever reads the folder reports the damage
        return False


def _read_layer(group: Any, irreps: str) -> tuple[IrrepsArray, Blocks]:
    """Return one layer, and the irreps of its columns if they are scalars."""
    kinds = list(dict.fromkeys(str(ir) for _, ir in Irreps(irreps)))
    arrays = {kind: np.asarray(group[kind][...]) for kind in kinds}
    flat = np.concatenate([a.reshape(len(a), -1) for a in arrays.values()], axis=1)
    if arrays[kinds[0]].ndim == 2:
        return IrrepsArray(f"{flat.shape[1]}x0e", flat), tuple(
            (kind, a.shape[1]) for kind, a in arrays.items()
        )
    tag = "+".join(f"{a.shape[1]}x{kind}" for kind, a in arrays.items())
    return IrrepsArray(tag, flat), ()
