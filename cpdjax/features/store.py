"""Write features to a Zarr store part by part, continue after an interruption, and read them.

Groups `layer/irrep` hold (molecule, channel, 2l+1), or (molecule, column) where scalars were made,
chunked by molecule; per atom, the first axis is `atom`. The attributes of the store say which
model, structures and options the features come from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import zarr
from e3nn_jax import Irreps, IrrepsArray

from cpdjax.data.composition import formulas
from cpdjax.data.structures import Structures
from cpdjax.errors import FileError
from cpdjax.features.extraction import Extraction
from cpdjax.features.features import Features
from cpdjax.files import remove
from cpdjax.hashing import hash_arrays
from cpdjax.irreps import Blocks
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
    are complete, and a second call continues where the first was interrupted. A finished store of
    the same configuration is left as it is. The arguments are those of `extract`.

    Raises:
        FileError: if `path` does not end in .zarr, or holds features of another configuration.
        UnknownNameError, InputError: if `extract` raises them.
    """
    path = Path(path)
    if path.suffix != ".zarr":
        raise FileError(f"a feature store is a folder NAME.zarr, got {path.name!r}")
    run = Extraction.of(model, structures, layers, pool, invariants, batch_size, dtype)
    facts = _facts(run)
    if path.exists():
        _check_same(path, facts)
        return path
    growing = path.with_name(f".{path.stem}-unfinished.zarr")
    if is_store(growing):
        _check_same(growing, facts)
    else:
        remove(growing)  # what is left if a run was killed while it created the store
        _create(growing, run, facts)
    root = zarr.open_group(growing, mode="r+")
    with progress_bar(progress) as shown:
        done = int(root.attrs["molecules_done"])  # type: ignore[arg-type]
        task = shown.add_task(run.model.name, total=len(structures), completed=done)
        while done < len(structures):
            part = np.arange(done, min(done + PART, len(structures)))
            _write(root, run, part, run.rows(part, lambda n: shown.advance(task, n)))
            done += len(part)
            root.attrs["molecules_done"] = done
    os.replace(growing, path)
    return path


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
    """Refuse a store that cannot be read or has other attributes."""
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


def _create(path: Path, run: Extraction, facts: dict[str, Any]) -> None:
    """Create an empty store for all results of a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structures = run.structures
    rows = len(structures.numbers) if run.per_atom else len(structures)
    try:
        root = zarr.create_group(path, attributes=facts)
        for name, texts in (("ids", structures.ids), ("formulas", formulas(structures))):
            root.create_array(name, data=_as_bytes(texts))
        if run.per_atom:
            root.create_array("offsets", data=structures.offsets)
        for layer in run.layers:
            for kind, shape in _shapes(run, layer).items():
                root.create_array(
                    f"{layer}/{kind}",
                    shape=(rows, *shape),
                    chunks=(min(PART, rows), *shape),
                    dtype=run.dtype,
                )
        root.attrs["molecules_done"] = 0  # comes last, because it marks a store
    except BaseException:
        remove(path)
        raise


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
    offsets = run.structures.offsets
    first, last = part[0], part[-1] + 1
    rows = slice(offsets[first], offsets[last]) if run.per_atom else slice(first, last)
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
        FileError: if there is no such store, or its extraction was interrupted.
    """
    path = Path(path)
    try:
        root: Any = zarr.open_group(path, mode="r")
        facts = root.attrs.asdict()
        done, molecules = facts["molecules_done"], facts["molecules"]
        if done != molecules:
            raise FileError(f"{path} holds {done} of {molecules} molecules: extract it again")
        layers = {
            layer: _read_layer(root[layer], irreps) for layer, irreps in facts["irreps"].items()
        }
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
