"""What every probe predicts: scalars or tensors, of molecules or of their atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from cpdjax.atoms import one_hot
from cpdjax.composition import composition, elements, formulas
from cpdjax.errors import InputError, UnknownNameError
from cpdjax.molecules import Molecules
from cpdjax.scores import Scores
from cpdjax.structures import Structures
from cpdjax.tensor_targets import atom_tensors, molecule_tensors
from cpdjax.validation import check_finite


def targets_of(
    structures: Structures, names: Sequence[str] | None = None, probe: str = "ridge"
) -> Molecules:
    """Targets by name and what they are measured against, for one of `Settings.probe`.

    Args:
        names: None: every target that the probe can predict.

    Raises:
        UnknownNameError: no such target.
        InputError: a vector where a scalar is needed, NaN, or no target at all.

    >>> h2 = Structures("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]),
    ...                 np.array([0, 2]), atom_targets={"charges": np.zeros(2)})
    >>> list(targets_of(h2, probe="equivariant").targets)
    ['dipole_point', 'quadrupole_point']
    >>> targets_of(h2, probe="atom").counts.tolist()
    [[1.0], [1.0]]
    """
    if probe == "ridge":
        return Molecules.from_structures(structures, names)
    known = _known(structures, probe)
    for name in names or ():
        if name not in known:
            raise UnknownNameError(f"target of probe {probe!r}", name, known)
    chosen = {name: known[name] for name in (known if names is None else names)}
    if not chosen:
        raise InputError(
            f"{structures.name!r} has no target for probe {probe!r}: atoms need targets of their "
            "own, tensors 3 or 5 components or the atoms' charges"
        )
    of_atoms = probe.startswith("atom")
    made = Molecules(
        name=structures.name,
        counts=one_hot(structures.numbers) if of_atoms else composition(structures),
        elements=elements(structures),
        targets={name: values for name, (values, _) in chosen.items()},
        units={name: unit for name, (_, unit) in chosen.items()},
        formulas=formulas(structures),
        offsets=structures.offsets if of_atoms else None,
    )
    for name, values in made.targets.items():
        check_finite(f"target {name!r}", values.reshape(len(values), -1))
    return made


def fitting(molecules: Molecules, components: int) -> Float[np.ndarray, "row target component"]:
    """The tensor targets of so many components, which channels of their degree can predict."""
    return np.stack([v for v in molecules.targets.values() if v.shape[1] == components], axis=1)


def among_all(scores: Scores, molecules: Molecules, components: int) -> Scores:
    """Scores of the `fitting` targets in their places among all: NaN for others, r2_comp zero."""

    def everywhere(name: str, values: Any) -> Any:
        if name in ("r2_geom", "r2_full", "alpha_geom", "alpha_full"):
            return in_place(values, molecules, components)
        return in_place(values, molecules, components, 0) if name == "r2_comp" else values

    return Scores(**{name: everywhere(name, values) for name, values in vars(scores).items()})


def in_place(
    values: Float[np.ndarray, "*score fitting"],
    molecules: Molecules,
    components: int,
    empty: float = np.nan,
) -> Float[np.ndarray, "*score target"]:
    """Numbers of the `fitting` targets in their places among all."""
    place = [v.shape[1] == components for v in molecules.targets.values()]
    full = np.full((*values.shape[:-1], len(place)), empty, values.dtype)
    full[..., place] = values
    return full


def _known(structures: Structures, probe: str) -> Mapping[str, tuple[np.ndarray, str]]:
    if probe == "equivariant":
        return molecule_tensors(structures)
    if probe == "atom-equivariant":
        return atom_tensors(structures)
    own = {k: v for k, v in structures.atom_targets.items() if v.ndim == 1}
    return {k: (v, structures.units.get(k, "")) for k, v in own.items()}
