"""Define the four kinds of probe: what each predicts, from which channels, and with which kernel.

A kind says two things. It predicts scalars from invariants, or vectors and tensors from channels of
their own irrep. And its rows are molecules or atoms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cpdjax.data.datasets import SCALAR_TARGETS
from cpdjax.data.structures import Structures
from cpdjax.data.tensor_targets import IRREPS, atom_tensors, molecule_tensors
from cpdjax.data.texts import rdkit
from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.kernel.equivariant_probe import equivariant_probe
from cpdjax.kernel.options import OF_GIVEN_CONCEPTS, Options, Projection
from cpdjax.kernel.probe import probe
from cpdjax.kernel.scores import Scores
from cpdjax.probes.units import (
    beside_scalars,
    beside_tensors,
    scalar_features,
    tensor_features,
)
from cpdjax.sweeps.channels import Channel, channels, tensor_channels
from cpdjax.sweeps.rows import Rows
from cpdjax.sweeps.settings import Kind, Settings
from cpdjax.sweeps.targets import Targets, WithUnits
from cpdjax.uncertainty.bootstrap import Bootstrap, bootstrap
from cpdjax.uncertainty.equivariant_resampling import (
    equivariant_bootstrap,
    equivariant_permutation_test,
)
from cpdjax.uncertainty.permutation import PermutationTest, permutation_test

#: A label for every row, or None.
Labels = np.ndarray | None


def left_to_project(settings: Settings) -> Projection:
    """Return what is still to be subtracted from features: "within" is done before any fold."""
    return "none" if settings.within else settings.projection


class MoleculeRows:
    """Say what is read, pooled, permuted and drawn where every row is a molecule."""

    name = "molecules"
    of_atoms = False
    #: The scalar targets of QM9 that are probed by default; None: all that can be.
    default_scalars: Sequence[str] | None = SCALAR_TARGETS
    tensors = staticmethod(molecule_tensors)

    def scalar_targets(
        self, structures: Structures, names: Sequence[str] | None, probe: str
    ) -> Targets:
        """Read scalars by name; without names, all of them."""
        return Targets.from_structures(structures, names)

    def pool(self, settings: Any) -> str | None:
        """Return how per-atom features become those of a row; None: as they are, or by means."""
        return settings.pool

    def exchangeable(self, rows: Rows, settings: Any) -> Labels:
        """Return labels of the rows among which targets may be permuted; None: among all."""
        if settings.within:
            return rows.copies
        return rows.formulas if settings.permute_within == "formula" else None

    def drawn_together(self, rows: Rows, settings: Any) -> Labels:
        """Return labels of the rows that the bootstrap draws together; None: each by itself."""
        if settings.group_by == "formula":
            return rows.formulas
        return rows.molecule if settings.by_molecule else None


class AtomRows:
    """Say the same where every row is an atom: its molecule is what is independent of others."""

    name = "atoms"
    of_atoms = True
    default_scalars: Sequence[str] | None = None
    tensors = staticmethod(atom_tensors)

    def scalar_targets(
        self, structures: Structures, names: Sequence[str] | None, probe: str
    ) -> Targets:
        """Read scalars by name; without names, all of them."""
        scalars = {k: v for k, v in structures.atom_targets.items() if v.ndim == 1}
        known = {k: (v, structures.units.get(k, "")) for k, v in scalars.items()}
        return Targets.chosen(structures, names, known, of_atoms=True, probe=probe)

    def pool(self, settings: Any) -> str:
        """Return that nothing is pooled."""
        return "atom"

    def exchangeable(self, rows: Rows, settings: Any) -> Labels:
        """Return a label for each molecule and element: only atoms of both change places."""
        if settings.within:
            return rows.copies
        element = rows.counts.argmax(1)
        return rows.owner * rows.counts.shape[1] + element

    def drawn_together(self, rows: Rows, settings: Any) -> Labels:
        """Return the molecule of every atom, or its molecule's formula."""
        if settings.group_by == "formula":
            return rows.formulas[rows.owner]
        return rows.molecule if settings.by_molecule else rows.owner


class ProbeKind(ABC):
    """Hold everything in which one kind of probe differs from another."""

    kernel: Callable[..., Scores]
    #: Whether composition is projected out, so that there is a choice of projections.
    projects: bool

    def __init__(self, name: Kind, rows: MoleculeRows | AtomRows):
        self.name = name
        self.rows = rows

    def check(self, settings: Any) -> None:
        """Raise InputError for settings that this kind of probe cannot follow."""
        if settings.projection not in ("ols", "within") and not self.projects:
            raise InputError(
                f"projection {settings.projection!r} is for scalars: equivariant probes take "
                "nothing from features, for no vector or tensor is made of composition alone"
            )
        if settings.projection in OF_GIVEN_CONCEPTS and self.rows.of_atoms:
            raise InputError(
                f"projection {settings.projection!r} counts what molecules have, and probe "
                f"{self.name!r} has a row an atom: probe molecules, or project on the element (ols)"
            )
        if settings.projection in OF_GIVEN_CONCEPTS:
            rdkit()  # for its complaint, before models are opened
        merged = settings.projection == "formula" and settings.composition == "fractions"
        if merged and not self.rows.of_atoms:
            raise InputError(
                "projection='formula' tells formulas apart by counts of atoms, and C2H4 and C3H6 "
                "have the same fractions: leave composition='fractions' out"
            )

    @property
    def default_targets(self) -> Sequence[str] | None:
        """Return the targets of QM9 that are probed by default; None: all that can be."""
        return None

    @abstractmethod
    def invariants(self, settings: Any) -> str | None:
        """Return the way of making scalars that is asked for; None: none is."""

    @abstractmethod
    def targets(self, structures: Structures, names: Sequence[str] | None = None) -> Targets:
        """Read targets by name; without names, all that this kind of probe can predict.

        Raises:
            UnknownNameError: there is no such target.
            InputError: a target cannot be predicted or is NaN, or there is none at all.
        """

    @abstractmethod
    def channels(
        self, features: Sequence[Features], targets: Targets, settings: Settings
    ) -> list[Channel]:
        """Return the matrices that are probed, from features of the same rows as the targets."""

    @abstractmethod
    def features(
        self, x: np.ndarray, alphas: np.ndarray, options: Options, dtype: Any
    ) -> np.ndarray:
        """Return a stack x of channels as the kernel takes them.

        Raises:
            InputError: values whose squares do not fit the floating type.
        """

    @abstractmethod
    def beside(
        self, components: int, targets: Targets, alphas: np.ndarray, options: Options, dtype: Any
    ) -> tuple[np.ndarray, ...]:
        """Return what the kernel takes beside features: the same for all of so many components.

        Raises:
            InputError: values whose squares do not fit the floating type.
        """

    @abstractmethod
    def permute(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> PermutationTest:
        """Test one channel on some rows by permutation."""

    @abstractmethod
    def resample(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> Bootstrap:
        """Draw the rows of one channel anew, again and again."""

    def among_all_targets(self, scores: Scores, targets: Targets, components: int) -> Scores:
        """Return scores with an entry for every target, those of so many components in place."""
        return scores

    def spread(self, values: np.ndarray, targets: Targets, x: np.ndarray) -> np.ndarray:
        """Return numbers (*score, target) with an entry for every target, likewise."""
        return values


class ScalarProbe(ProbeKind):
    """Predict scalars from invariants, with composition (or the element) taken out."""

    kernel = staticmethod(probe)
    projects = True

    @property
    def default_targets(self) -> Sequence[str] | None:
        """Return QM9's scalar targets of molecules; of atoms, all that there are."""
        return self.rows.default_scalars

    def invariants(self, settings: Any) -> str | None:
        """Return the way of making scalars that the settings name."""
        return settings.invariants

    def targets(self, structures: Structures, names: Sequence[str] | None = None) -> Targets:
        """Read scalars of molecules or of atoms.

        >>> h2 = Structures("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]),
        ...                 np.array([0, 2]), atom_targets={"charges": np.zeros(2)})
        >>> KINDS["atom"].targets(h2).counts.tolist()
        [[1.0], [1.0]]
        """
        return self.rows.scalar_targets(structures, names, self.name)

    def channels(
        self, features: Sequence[Features], targets: Targets, settings: Settings
    ) -> list[Channel]:
        """Return the invariants of every layer and irrep."""
        how, rows = settings.invariants, self.rows.name
        return channels(features, len(targets), settings.irreps, how, what=rows)

    def features(
        self, x: np.ndarray, alphas: np.ndarray, options: Options, dtype: Any
    ) -> np.ndarray:
        """Return invariants in units that can be squared."""
        return np.asarray(scalar_features(x, alphas, options, dtype), dtype)

    def beside(
        self, components: int, targets: Targets, alphas: np.ndarray, options: Options, dtype: Any
    ) -> tuple[np.ndarray, ...]:
        """Return concepts, targets and penalties."""
        further = targets.concepts(options.projection)
        columns = targets.counts if further is None else np.hstack([targets.counts, further])
        arrays = beside_scalars(columns, targets.y, options, dtype).arrays
        return tuple(np.asarray(a, dtype) for a in (*arrays, alphas))

    def permute(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> PermutationTest:
        """Permute what composition leaves of the targets, or the targets themselves."""
        data = (x[rows], targets.counts[rows], targets.y[rows])
        chosen = {**_projected(targets, rows, settings), **options}
        return permutation_test(*data, scheme=settings.scheme, **chosen)

    def resample(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> Bootstrap:
        """Draw features, composition and targets of whole rows."""
        data = (x[rows], targets.counts[rows], targets.y[rows])
        chosen = {**_projected(targets, rows, settings), **options}
        return bootstrap(*data, **chosen)


def _projected(targets: Targets, rows: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Return a projection and the columns that it takes beside composition."""
    further = targets.concepts(settings.projection)
    concepts = None if further is None else further[rows]
    return {"projection": left_to_project(settings), "concepts": concepts}


class TensorProbe(ProbeKind):
    """Predict vectors and tensors from channels of their own irrep, one weight a channel."""

    kernel = staticmethod(equivariant_probe)
    projects = False

    def invariants(self, settings: Any) -> str | None:
        """Return that irreps stay as they are."""
        return None

    def targets(self, structures: Structures, names: Sequence[str] | None = None) -> Targets:
        """Read vectors and tensors of molecules or of atoms.

        >>> h2 = Structures("h2", np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.74]]),
        ...                 np.array([0, 2]), atom_targets={"charges": np.zeros(2)})
        >>> list(KINDS["equivariant"].targets(h2).by_name)
        ['dipole_point', 'quadrupole_point']
        """
        known: WithUnits = self.rows.tensors(structures)
        of_atoms = self.rows.of_atoms
        return Targets.chosen(structures, names, known, of_atoms=of_atoms, probe=self.name)

    def channels(
        self, features: Sequence[Features], targets: Targets, settings: Settings
    ) -> list[Channel]:
        """Return the channels of the irreps that the targets have."""
        wanted = {IRREPS[values.shape[1]] for values in targets.by_name.values()}
        rows = self.rows.name
        return tensor_channels(features, len(targets), wanted, settings.irreps, what=rows)

    def features(
        self, x: np.ndarray, alphas: np.ndarray, options: Options, dtype: Any
    ) -> np.ndarray:
        """Return channels in a unit that can be squared."""
        return np.asarray(tensor_features(x, alphas, options, dtype), dtype)

    def beside(
        self, components: int, targets: Targets, alphas: np.ndarray, options: Options, dtype: Any
    ) -> tuple[np.ndarray, ...]:
        """Return the targets with as many components, and penalties."""
        arrays = beside_tensors(targets.of_components(components), dtype).arrays
        return tuple(np.asarray(a, dtype) for a in (*arrays, alphas))

    def permute(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> PermutationTest:
        """Permute tensors between molecules that are first turned at random."""
        data = (x[rows], targets.of_components(x.shape[-1])[rows])
        frames = targets.molecule if settings.within else targets.owner
        return equivariant_permutation_test(*data, frames=frames[rows], **options)

    def resample(
        self, x: np.ndarray, targets: Targets, rows: np.ndarray, settings: Settings, **options: Any
    ) -> Bootstrap:
        """Draw channels and tensors of whole rows."""
        data = (x[rows], targets.of_components(x.shape[-1])[rows])
        return equivariant_bootstrap(*data, **options)

    def among_all_targets(self, scores: Scores, targets: Targets, components: int) -> Scores:
        """Return scores that are NaN for targets of other irreps, and their R²_comp zero."""
        empty = {"r2_geom": np.nan, "r2_full": np.nan, "alpha_geom": np.nan, "alpha_full": np.nan}
        empty["r2_comp"] = 0.0
        spread: dict[str, Any] = {
            name: targets.spread_over_targets(values, components, empty[name])
            if name in empty
            else values
            for name, values in vars(scores).items()
        }
        return Scores(**spread)

    def spread(self, values: np.ndarray, targets: Targets, x: np.ndarray) -> np.ndarray:
        """Return numbers that are NaN for targets of other irreps."""
        return targets.spread_over_targets(values, x.shape[-1])


KINDS: dict[Kind, ProbeKind] = {
    kind.name: kind
    for kind in (
        ScalarProbe("ridge", MoleculeRows()),
        TensorProbe("equivariant", MoleculeRows()),
        ScalarProbe("atom", AtomRows()),
        TensorProbe("atom-equivariant", AtomRows()),
    )
}
