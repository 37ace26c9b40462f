"""Check the arrays that `Structures` is made of, and refuse wrong ones with errors of one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cpdjax.errors import InputError

CLOSEST = 0.4
"""Limit (Å) the distance of atoms from below: the shortest bond, H–H, has 0.74 Å (our choice)."""
_ASKEW = np.array([0.802, 0.447, 0.397])  # no plane of a molecule or crystal is likely to face it


def read_only(name: str, value: Any, dtype: Any) -> np.ndarray:
    """Return a read-only view of numbers or strings, copied only if the dtype changes.

    Raises:
        InputError: if `value` cannot be converted without loss to integers, or to `dtype` at all.
    """
    try:
        array = np.asarray(value)
        if dtype is np.int32 or dtype is np.int64:
            array = array.astype(dtype, casting="same_kind", copy=False)
        array = np.ascontiguousarray(array, dtype).view()
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: expected an array of {np.dtype(dtype).name}; {error}") from error
    array.flags.writeable = False
    return array


def check_shape(name: str, array: np.ndarray, *shapes: tuple[int | None, ...]) -> None:
    """Refuse an array that has none of `shapes`, where None allows any length.

    Raises:
        InputError: if the array has another shape.
    """
    for shape in shapes:
        if array.ndim == len(shape) and all(
            n in (None, m) for n, m in zip(shape, array.shape, strict=True)
        ):
            return
    expected = " or ".join(str(s).replace("None", "any") for s in shapes)
    raise InputError(f"{name}: expected shape {expected}, got {array.shape}")


def check_offsets(name: str, offsets: Int[np.ndarray, " offset"]) -> None:
    """Refuse offsets that do not divide atoms into molecules of at least one atom.

    Raises:
        InputError: if there is no molecule, a molecule without atoms, or a first offset but 0.
    """
    if len(offsets) < 2:
        raise InputError(f"{name!r} holds no molecules; expected at least one")
    if offsets[0] != 0:
        raise InputError(f"offsets of {name!r} start at {offsets[0]}; expected 0")
    sizes = np.diff(offsets)
    if (sizes < 1).any():
        raise InputError(f"molecule {np.argmax(sizes < 1)} of {name!r} has no atoms; leave it out")


def check_atoms(
    numbers: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    offsets: Int[np.ndarray, " offset"],
    ids: np.ndarray,
) -> None:
    """Refuse atoms that are no element or have no position.

    Raises:
        InputError: if an atomic number is outside 1 to 118, or a position is NaN or infinite; the
            error names the molecule.
    """
    bad = (numbers < 1) | (numbers > 118)
    if bad.any():
        atom = np.argmax(bad)
        raise InputError(
            f"molecule '{owner(atom, offsets, ids)}' has atomic number {numbers[atom]}; "
            "expected 1 to 118; leave out ghost and dummy atoms"
        )
    bad = ~np.isfinite(positions).all(axis=1)
    if bad.any():
        raise InputError(
            f"molecule '{owner(np.argmax(bad), offsets, ids)}' has a NaN or Inf position; "
            "repair it or leave it out"
        )


def check_cells(
    cells: Float[np.ndarray, "molecule 3 3"], pbc: Bool[np.ndarray, "molecule 3"], ids: np.ndarray
) -> None:
    """Refuse cells whose periodic vectors span no space.

    Raises:
        InputError: if a cell is not finite, or a periodic vector is zero or depends linearly on the
            others; the error names the molecule.
    """
    vectors = np.where(pbc[:, :, None] & np.isfinite(cells), cells, 0)
    bad = np.linalg.matrix_rank(vectors) < pbc.sum(axis=1)
    bad |= ~np.isfinite(cells).all(axis=(1, 2))
    if bad.any():
        raise InputError(
            f"molecule '{ids[np.argmax(bad)]}' is periodic, but its cell vectors are "
            "NaN, zero or linearly dependent; set the cell or turn pbc off"
        )


def closest_atoms(
    positions: Float[np.ndarray, "atom 3"],
    offsets: Int[np.ndarray, " offset"],
    cells: Float[np.ndarray, "molecule 3 3"] | None,
    pbc: Bool[np.ndarray, "molecule 3"] | None,
) -> tuple[int, int, int, float] | None:
    """Return a molecule with two atoms closer than `CLOSEST`, these atoms and their distance (Å).

    Periodic images count. None is returned where there are no such atoms. Atoms are sorted along
    one line and compared with those after them, in all molecules at once.

    >>> closest_atoms(np.array([[0, 0, 0], [0, 0, 0.74]]), np.array([0, 2]), None, None)
    """
    molecule = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    atom = np.arange(len(positions)) - offsets[molecule]
    if cells is not None and pbc is not None:
        molecule, atom, positions = _with_images(molecule, atom, positions, cells, pbc)
    line = positions @ _ASKEW
    order = np.lexsort((line, molecule))
    molecule, atom, positions, line = (x[order] for x in (molecule, atom, positions, line))
    here, step = np.arange(len(order)), 1
    while len(here):
        here = here[here + step < len(order)]
        near = line[here + step] - line[here] < CLOSEST
        here = here[near & (molecule[here + step] == molecule[here])]
        distance = np.linalg.norm(positions[here + step] - positions[here], axis=1)
        if (distance < CLOSEST).any():
            k = int(np.argmax(distance < CLOSEST))
            first, second = sorted((int(atom[here[k]]), int(atom[here[k] + step])))
            return int(molecule[here[k]]), first, second, float(distance[k])
        step += 1
    return None


def _with_images(
    molecule: Int[np.ndarray, " atom"],
    atom: Int[np.ndarray, " atom"],
    positions: Float[np.ndarray, "atom 3"],
    cells: Float[np.ndarray, "molecule 3 3"],
    pbc: Bool[np.ndarray, "molecule 3"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return atoms wrapped into their cells, and again behind each face that they are close to."""
    vectors = np.where(pbc[:, :, None], cells, 0)
    inverse = np.linalg.pinv(vectors)
    per_length = np.linalg.norm(inverse, axis=1)  # the fraction of the cell that 1 Å is
    for axis in range(3):
        fraction = np.einsum("ax,ax->a", positions, inverse[molecule, :, axis])
        positions = positions - np.floor(fraction)[:, None] * vectors[molecule, axis]
    for axis in range(3):
        fraction = np.einsum("ax,ax->a", positions, inverse[molecule, :, axis])
        face = np.flatnonzero(
            pbc[molecule, axis] & (fraction < CLOSEST * per_length[molecule, axis])
        )
        images = positions[face] + vectors[molecule[face], axis]
        positions = np.concatenate([positions, images])
        molecule, atom = (np.concatenate([x, x[face]]) for x in (molecule, atom))
    return molecule, atom, positions


def owner(atom: Any, offsets: Int[np.ndarray, " offset"], ids: np.ndarray) -> str:
    """Return the id of the molecule that an atom belongs to."""
    return ids[np.searchsorted(offsets, atom, side="right") - 1]
