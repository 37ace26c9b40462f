"""Which molecules a model is trained on, chosen by, and probed on: three sets without overlap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from cpdjax.data.structures import Structures
from cpdjax.errors import FileError, InputError
from cpdjax.files import atomic

Part = Literal["train", "validation", "probe"]
_PARTS: tuple[Part, ...] = ("train", "validation", "probe")


@dataclass(frozen=True, eq=False)
class Split:
    """Ids of molecules in three sets; no id is in two of them.

    The probe set is never trained on and nothing is chosen by it; it is the test set too.
    """

    dataset: str
    """The structures' name."""
    train: Shaped[np.ndarray, " molecule"]
    validation: Shaped[np.ndarray, " molecule"]
    probe: Shaped[np.ndarray, " molecule"]

    @classmethod
    def draw(
        cls, structures: Structures, train: int, validation: int, probe: int, seed: int = 0
    ) -> Split:
        """Consecutive parts of one permutation seeded by `seed`: probe, validation, train.

        The probe set comes first, so that it depends on neither of the others' sizes, and the first
        molecules of `datasets.qm9(n, seed)` are those of the probe set.

        Raises:
            InputError: more molecules than there are, or two of one id.

        >>> from ase.build import molecule
        >>> split = Split.draw(Structures.from_atoms([molecule("H2O")] * 10), 6, 2, 2)
        >>> len({*split.train, *split.validation, *split.probe})
        10
        """
        wanted = train + validation + probe
        if wanted > len(structures):
            raise InputError(
                f"train, validation and probe need {wanted} molecules; "
                f"{structures.name!r} has {len(structures)}"
            )
        if len(np.unique(structures.ids)) < len(structures):
            raise InputError(f"{structures.name!r} has two molecules of one id: rename them")
        order = np.random.default_rng(seed).permutation(len(structures))[:wanted]
        probed, chosen, trained = np.split(structures.ids[order], [probe, probe + validation])
        return cls(structures.name, trained, chosen, probed)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the three sets."""
        text = "\n\n".join("\n".join(getattr(self, part)) for part in _PARTS)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the three sets to an .npz file, whole or not at all."""
        with atomic(path) as temporary:
            np.savez_compressed(
                temporary, dataset=self.dataset, **{part: getattr(self, part) for part in _PARTS}
            )

    @classmethod
    def load(cls, path: str | Path) -> Split:
        """Read what `save` wrote.

        Raises:
            FileError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(str(file["dataset"]), *(file[part] for part in _PARTS))
        except Exception as error:  # a damaged file can raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FileError(f"cannot read the split {path}: {reason}") from None

    def of(self, structures: Structures, part: Part = "probe") -> Structures:
        """The molecules of one set, in its order.

        Raises:
            InputError: the structures lack one.
        """
        ids = getattr(self, part)
        rows = pd.Index(structures.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            raise InputError(f"{structures.name!r} has no molecule '{ids[rows.argmin()]}'")
        return structures.select(rows)

    def check_unseen(self, model: str, structures: Structures) -> None:
        """Refuse molecules that the model was trained on or chosen by.

        Raises:
            InputError: there is one.
        """
        known = np.isin(structures.ids, np.concatenate([self.train, self.validation]))
        if structures.name == self.dataset and known.any():
            raise InputError(
                f"{model} was trained on {known.sum()} of these {len(structures)} molecules, the "
                f"first '{structures.ids[known.argmax()]}': probe it on its probe set, of which "
                "`cpdjax sweep --dataset qm9-probe` draws"
            )
