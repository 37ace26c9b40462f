"""Write features to a Zarr store part by part, continue after an interruption, and read them.

Groups `layer/irrep` hold (molecule, channel, 2l+1), or (molecule, column) where scalars were made,
chunked by molecule; per atom, the first axis is `atom`. The attributes of the store say which
model, structures and options the features come from.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

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
from cpdjax.features.parts import Parts, shapes
from cpdjax.files import clean, flush, remove
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import Blocks
from cpdjax.locks import sole_writer
from cpdjax.models.interface import Model, Reader
from cpdjax.processes import ALONE, Team
from cpdjax.progress import count, shown, stage
from cpdjax.provenance import decisive, differences, listed, software

_log = logging.getLogger(__name__)
PART = 4096
"""Limit the molecules that are computed before they are written, and about so where rows are atoms:
memory holds them all, and an interruption loses them."""


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
    processes: Team = ALONE,
) -> Path:
    """Write the features that `extract` returns to a Zarr store, and return its path.

    The memory does not grow with the number of molecules. Parts are kept beside `path` until all
    are complete, and a second call continues where the first was interrupted; parts that were
    damaged meanwhile are computed again. A finished store of the same configuration is left as it
    is. The other arguments are those of `extract`.

    Args:
        processes: what `cpdjax.processes.meet` returns, where several processes call this with the
            same arguments: each computes a share of the parts.

    Raises:
        FileError: if `path` does not end in .zarr, holds features of another configuration, is
            damaged, or another process is writing it.
        UnknownNameError, InputError: if `extract` raises them.
    """
    path = Path(path)
    if path.suffix != ".zarr":
        raise FileError(f"a feature store is a folder NAME.zarr, got {path.name!r}")
    run = Extraction.of(model, structures, layers, pool, invariants, batch_size, dtype).stamped()
    place = _Place.of(path)
    writing = processes.writing(place.path, place.lock)
    with writing, shown(progress), stage(f"features of {run.model.name}"):
        _extract(place, run, processes)
    return path


def kept_features(folder: Path, run: Extraction, processes: Team = ALONE) -> Features:
    """Return the features of a run from a store in `folder`, which is written where there is none.

    A store is named after all that decides its content. A damaged one is made anew.

    Raises:
        InputError: as `extract_to`.
    """
    run = run.stamped()
    facts = json.dumps(decisive(_facts(run)), sort_keys=True)
    place = _Place.of(folder / f"{hash_arrays((), facts=facts)[:16]}.zarr")
    alone = sole_writer(place.path, place.lock) if processes.leads else nullcontext()
    with alone:
        if processes.leads and place.path.exists():
            _discard_damaged(place.path)
        _extract(place, run, processes)
        return read_features(place.path)


class _Place(NamedTuple):
    """Say where a store is, where it grows, and which file locks it."""

    path: Path
    growing: Path
    lock: Path

    @classmethod
    def of(cls, path: Path) -> _Place:
        path = Path(os.path.realpath(path))  # a link stays
        growing = path.with_name(f".{path.stem}-unfinished.zarr")
        return cls(path, growing, growing.with_name(f"{growing.name}.lock"))


def _extract(place: _Place, run: Extraction, processes: Team) -> None:
    """Write the features of a run, or the rest of them, unless they are there."""
    facts = _facts(run)
    path, growing, _ = place
    with processes.leader_first():
        if processes.leads:
            _prepare(path, growing, run, facts)
    if path.exists():
        _log.info("features of %s are there from an earlier run: %s", run.model.name, path)
        return
    _check_facts(growing, facts)  # of every process
    _write_parts(growing, run, processes)
    processes.wait_for_all()
    with processes.leader_first():
        if processes.leads:
            _finish(growing)
            os.replace(growing, path)


def _write_parts(growing: Path, run: Extraction, processes: Team) -> None:
    """Write the parts that are left to this process."""
    root: Any = zarr.open_group(growing, mode="r+")
    parts = Parts(run, PART)
    left = processes.share(_parts_left(growing, parts))
    computed = count(sum(len(parts.molecules(i)) for i in left))
    for part in left:
        arrays = run.rows(parts.molecules(part), computed.advance)
        for layer, array in arrays.items():
            for kind, values in _by_irrep(run, layer, array[parts.own(part)]).items():
                root[f"{layer}/{kind}"][parts.rows(part)] = values
        checksums.add(growing, parts.chunks(growing, part), processes.rank)


def weights_hash(model: Model) -> str:
    """Return the SHA-256 (hex) of a model's weights and of everything static in it."""
    leaves, structure = jax.tree_util.tree_flatten(model)
    return hash_arrays((("", leaf) for leaf in leaves), facts=str(structure))


def _facts(run: Extraction) -> dict[str, Any]:
    """Return the attributes of a store: what its features are and how they were computed."""
    return {
        "model": run.model.name,
        "weights_hash": weights_hash(run.model),
        **({"program": run.stamp} if run.stamp else {}),
        "irreps": {layer: str(run.model.irreps[layer]) for layer in run.layers},
        "parity": run.model.parity,
        "pool": run.pool if run.model.level == "atom" else "none",
        "invariants": run.how or "",
        "dtype": run.dtype.name,
        "dataset": run.structures.name,
        "structures_hash": run.structures.geometry_hash,
        **_read(run),
        "molecules": len(run.structures),
        "cpdjax": version("cpdjax"),
        **software(),
    }


def _read(run: Extraction) -> dict[str, str]:
    """Return the hash of what a model reads of structures beside their atoms, if it does."""
    if not isinstance(run.model, Reader) or run.structures.smiles is None:
        return {}
    return {"smiles_hash": hash_arrays((), facts="\n".join(run.structures.smiles.tolist()))}


def _check_facts(path: Path, facts: dict[str, Any]) -> None:
    """Refuse a store of other features."""
    try:
        attributes = zarr.open_group(path, mode="r").attrs.asdict()
    except Exception:  # a damaged store can raise nearly anything
        raise FileError(f"cannot read {path}: remove it to start anew") from None
    told = software()  # stores of version 0.1.0 say less of it
    known = {name: attributes.get(name, told.get(name)) for name in facts}
    changed = differences(facts, known)
    if changed:
        raise FileError(
            f"{path} holds features of another configuration (different: {listed(changed)}): "
            "choose another name or remove it"
        )


def _discard_damaged(path: Path) -> None:
    """Remove a store that cannot be read, with a warning."""
    try:
        read_features(path)
    except FileError as error:
        warnings.warn(f"{error}; its features are computed again", stacklevel=3)
        remove(path)


def _prepare(path: Path, growing: Path, run: Extraction, facts: dict[str, Any]) -> None:
    """Check a finished store, or create an unfinished one, or mend what is there of it."""
    if path.exists():
        checksums.check(path)
        _check_facts(path, facts)
    elif growing.exists():
        _mend(growing, run, facts)
    else:
        _create(growing, run, facts)


def _mend(growing: Path, run: Extraction, facts: dict[str, Any]) -> None:
    """Leave in an unfinished store, and in its record, what is whole; create it anew otherwise."""
    clean(growing)
    checksums.gather(growing)
    hashes = checksums.recorded(growing)
    if hashes is None and any(growing.iterdir()):
        raise FileError(f"{growing} is in the way, and not of this program's making: rename it")
    whole = {n: h for n, h in (hashes or {}).items() if not checksums.differs(growing / n, h)}
    lost = (hashes or {}).keys() - whole.keys()
    if not whole or any(not _is_chunk(name) for name in lost):
        remove(growing)  # it was killed while it was created, or cannot be read
        _create(growing, run, facts)
        return
    _check_facts(growing, facts)
    for name in lost:
        remove(growing / name)  # Zarr would read a chunk before it writes a part of it
    checksums.write(growing, {}, whole)


def _is_chunk(name: str) -> bool:
    """Return whether a file in a store holds results, which can be computed again."""
    return "/c/" in name and not name.startswith("offsets/")


def _parts_left(growing: Path, parts: Parts) -> list[int]:
    """Return the parts of which the record lacks a chunk; it is the same for all processes."""
    whole = checksums.recorded(growing) or {}
    return [
        part
        for part in range(len(parts))
        if {p.relative_to(growing).as_posix() for p in parts.chunks(growing, part)} - whole.keys()
    ]


def _create(path: Path, run: Extraction, facts: dict[str, Any]) -> None:
    """Create an empty store for all results of a run; its record says whose it is from the start.

    Chunks are written even where all their numbers are zero: a chunk that is not there is lost.
    """
    path.mkdir(parents=True, exist_ok=True)
    checksums.add(path, [])
    structures, parts = run.structures, Parts(run, PART)
    root = zarr.create_group(path, attributes={**facts, "molecules_done": 0})
    for name, texts in (("ids", structures.ids), ("formulas", formulas(structures))):
        root.create_array(name, data=_as_bytes(texts))
    if run.per_atom:
        root.create_array("offsets", data=structures.offsets)
    for layer in run.layers:
        for kind, shape in shapes(run, layer).items():
            root.create_array(
                f"{layer}/{kind}",
                shape=(parts.total, *shape),
                chunks=(parts.chunk, *shape),
                dtype=run.dtype,
                compressors=ZstdCodec(level=0, checksum=True),
                config={"write_empty_chunks": True},
            )
    checksums.add(path, checksums.files_of(path))


def _finish(growing: Path) -> None:
    """Say in the store that it is whole, and bring it to the disk."""
    checksums.gather(growing)
    root = zarr.open_group(growing, mode="r+")
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


def _as_bytes(texts: np.ndarray) -> np.ndarray:
    """Return texts as the bytes of JSON, because format 3 of Zarr specifies no strings yet."""
    return np.frombuffer(json.dumps(texts.tolist()).encode(), np.uint8)


def _texts(root: Any, name: str) -> np.ndarray | None:
    """Return texts that `_as_bytes` wrote, or None in a store of before 0.2, which has none."""
    return np.array(json.loads(root[name][...].tobytes()), str) if name in root else None


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
