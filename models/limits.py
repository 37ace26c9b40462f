"""Refuse structures that a model cannot take, and features that are not finite."""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Bool, Float, Int

from cpdjax.data.arrays import owner
from cpdjax.data.elements import symbols_of
from cpdjax.data.structures import Structures
from cpdjax.errors import InputError
from cpdjax.models.interface import Model, Reader


def check_structures(model: Model, structures: Structures) -> None:
    """Refuse structures that the model was not made for.

    Raises:
        InputError: if a structure has a periodic cell, too many atoms, an unknown element or atoms
            closer than any bond; the error names the molecule. Or if the structures lack what the
            model reads, such as SMILES.
    """
    if not model.periodic and structures.pbc is not None and structures.pbc.any():
        first = structures.ids[structures.pbc.any(1).argmax()]
        raise InputError(f"molecule '{first}' is periodic; {model.name} knows no cells")
    largest = structures.sizes.argmax()
    if model.max_atoms is not None and structures.sizes[largest] > model.max_atoms:
        raise InputError(
            f"molecule '{structures.ids[largest]}' has {structures.sizes[largest]} atoms; "
            f"{model.name} takes at most {model.max_atoms}"
        )
    unknown = _unknown(model, structures)
    if unknown.any():
        raise InputError(_first_unknown(model, structures, unknown))
    if structures.overlap is not None:  # no model is meaningful there
        raise InputError(structures.overlap)
    if isinstance(model, Reader):
        model.read(structures.select([0]))  # and what it lacks is said before any model runs


def check_elements(model: Model, structures: Structures) -> None:
    """Refuse elements that the model does not know, where molecules with them can be left out.

    Raises:
        InputError: if there are some; the error names them, how many molecules hold them, and how
            to leave these out.
    """
    unknown = _unknown(model, structures)
    if unknown.any():
        holding = np.logical_or.reduceat(unknown, structures.offsets[:-1]).sum()
        raise InputError(
            f"{_first_unknown(model, structures, unknown)}: {holding:,} of {len(structures):,} "
            f"molecules hold {symbols_of(structures.numbers[unknown])}; leave these out by "
            "--skip-unknown or --elements, in Python skip_unknown=True or Structures.of_elements"
        )


def _unknown(model: Model, structures: Structures) -> Bool[np.ndarray, " atom"]:
    """Return which atoms are of elements that the model does not know."""
    if model.elements is None:
        return np.zeros(len(structures.numbers), bool)
    unknown: np.ndarray = ~np.isin(structures.numbers, model.elements)
    return unknown


def _first_unknown(model: Model, structures: Structures, unknown: Bool[np.ndarray, " atom"]) -> str:
    """Say which molecule is the first with such an atom, and what the model knows."""
    atom = unknown.argmax()
    return (
        f"molecule '{owner(atom, structures.offsets, structures.ids)}' has "
        f"{chemical_symbols[structures.numbers[atom]]}; {model.name} knows "
        f"{symbols_of(model.elements or ())}"
    )


def check_features(
    model: Model,
    layer: str,
    rows: Float[np.ndarray, "row column"],
    ids: np.ndarray,
    owners: Int[np.ndarray, " row"],
) -> None:
    """Refuse features that are not finite; row i belongs to the molecule `ids[owners[i]]`.

    A model may return NaN for a whole batch because of one molecule.

    Raises:
        InputError: if a feature is NaN or infinite; the error names the layer and a molecule.
    """
    finite = np.isfinite(rows).all(1)
    if not finite.all():
        raise InputError(
            f"{model.name} gives NaN or infinity in layer {layer!r} for molecule "
            f"'{ids[owners[finite.argmin()]]}' or for one in the same batch: find it with "
            "batch_size=1 and leave it out"
        )
