"""Which molecules a model is trained on, chosen by, and probed on: three sets without overlap."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic
from cpdjax.structures import Structures

FILE = "split.npz"
"""What a split is called in a folder of a trained model."""
_SETS = ("train", "validation", "probe")


@dataclass(frozen=True, eq=False)
class Split:
    """Places of molecules in a set of structures; no place is in two of the three.

    The probe set is never trained on and nothing is chosen by it; it is the test set too.
    """

    dataset: str
    """The structures' name."""
    structures_hash: str
    train: Int[np.ndarray, " molecule"]
    validation: Int[np.ndarray, " molecule"]
    probe: Int[np.ndarray, " molecule"]

    @classmethod
    def draw(
        cls, structures: Structures, train: int, validation: int, probe: int, seed: int = 0
    ) -> Split:
        """Consecutive parts of one permutation seeded by `seed`: probe, validation, train.

        The probe set comes first, so that it depends on neither of the others' sizes, and the first
        molecules of `datasets.qm9(n, seed)` are those of the probe set.

        Raises:
            InputError: more molecules than there are.

        >>> from ase.build import molecule
        >>> ds = Structures.from_atoms([molecule("H2O")] * 10)
        >>> split = Split.draw(ds, train=6, validation=2, probe=2)
        >>> len(np.unique(np.concatenate([split.train, split.validation, split.probe])))
        10
        """
        wanted = train + validation + probe
        if wanted > len(structures):
            raise InputError(
                f"train, validation and probe need {wanted} molecules; "
                f"{structures.name!r} has {len(structures)}"
            )
        order = np.random.default_rng(seed).permutation(len(structures))[:wanted].astype(np.int32)
        probed, chosen, trained = np.split(order, [probe, probe + validation])
        return cls(structures.name, structures.hash, trained, chosen, probed)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the three sets."""
        digest = hashlib.sha256(self.structures_hash.encode())
        for name in _SETS:
            digest.update(np.asarray(getattr(self, name), "<i4").tobytes())
        return digest.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the three sets to an .npz file, whole or not at all."""
        arrays = {name: getattr(self, name) for name in _SETS}
        with atomic(path) as temporary:
            np.savez_compressed(
                temporary, dataset=self.dataset, structures_hash=self.structures_hash, **arrays
            )

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read what `save` wrote.

        Raises:
            FileError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                words = str(file["dataset"]), str(file["structures_hash"])
                return cls(*words, *(file[name] for name in _SETS))
        except Exception as error:  # a damaged file can raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FileError(f"cannot read the split {path}: {reason}") from None

    def of(self, structures: Structures, part: str = "probe") -> Structures:
        """The molecules of one set.

        Raises:
            InputError: other structures than those that were split.
        """
        if structures.hash != self.structures_hash:
            raise InputError(
                f"the split is of {self.dataset!r} with another content than {structures.name!r}"
            )
        return structures.select(getattr(self, part))


def check_unseen(model: str, seen: Collection[str], structures: Structures) -> None:
    """Refuse to probe a model on molecules that it was trained on or chosen by.

    Raises:
        InputError: there is one.
    """
    known = np.isin(structures.ids, np.asarray(list(seen)))
    if known.any():
        raise InputError(
            f"{model} was trained on {known.sum()} of these {len(structures)} molecules, the first "
            f"'{structures.ids[known.argmax()]}': probe it on its probe set, --dataset qm9-probe"
        )
