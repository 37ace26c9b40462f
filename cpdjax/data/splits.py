"""Which molecules a model is trained on, is chosen by, and has never seen: three sets of ids."""

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

Part = Literal["train", "validation", "held_out"]
_PARTS: tuple[Part, ...] = ("train", "validation", "held_out")


@dataclass(frozen=True, eq=False)
class Split:
    """Hold the ids of molecules in three sets; no id is in two of them.

    The held-out molecules are never trained on and nothing is chosen by them: the model is tested
    on them, and probed on them.
    """

    dataset: str
    """Name of the structures."""
    train: Shaped[np.ndarray, " molecule"]
    validation: Shaped[np.ndarray, " molecule"]
    held_out: Shaped[np.ndarray, " molecule"]

    @classmethod
    def draw(
        cls, structures: Structures, train: int, validation: int, held_out: int, seed: int = 0
    ) -> Split:
        """Draw the sets as consecutive parts of one random permutation.

        The held-out molecules come first, then validation and train, so that their choice depends
        on neither of the others' sizes: `datasets.qm9(n, seed)` draws the same molecules first.

        Args:
            train: number of molecules to train on.
            validation: number of molecules that the training is watched on.
            held_out: number of molecules that the training never sees.
            seed: random seed of the permutation.

        Raises:
            InputError: there are fewer molecules than asked for, or two have one id.

        >>> from ase.build import molecule
        >>> split = Split.draw(Structures.from_atoms([molecule("H2O")] * 10), 6, 2, 2)
        >>> len({*split.train, *split.validation, *split.held_out})
        10
        """
        wanted = train + validation + held_out
        if wanted > len(structures):
            raise InputError(
                f"train, validation and held_out need {wanted} molecules; "
                f"{structures.name!r} has {len(structures)}"
            )
        if len(np.unique(structures.ids)) < len(structures):
            raise InputError(f"{structures.name!r} has two molecules of one id: rename them")
        order = np.random.default_rng(seed).permutation(len(structures))[:wanted]
        ends = [held_out, held_out + validation]
        unseen, chosen, trained = np.split(structures.ids[order], ends)
        return cls(structures.name, trained, chosen, unseen)

    @property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of the three sets."""
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
        """Read what `save` wrote, here or in version 0.1.0, which called `held_out` "probe".

        Raises:
            FileError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                last = "held_out" if "held_out" in file else "probe"
                parts = (file[part] for part in ("train", "validation", last))
                return cls(str(file["dataset"]), *parts)
        except Exception as error:  # a damaged file can raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FileError(f"cannot read the split {path}: {reason}") from None

    def of(self, structures: Structures, part: Part = "held_out") -> Structures:
        """Return the molecules of one set, in its order.

        Raises:
            InputError: one of them is not among the structures.
        """
        ids = getattr(self, part)
        rows = pd.Index(structures.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            raise InputError(f"{structures.name!r} has no molecule '{ids[rows.argmin()]}'")
        return structures.select(rows)

    def check_unseen(self, model: str, structures: Structures) -> None:
        """Refuse molecules that the model was trained on or chosen by.

        Raises:
            InputError: at least one molecule is.
        """
        grouped = structures.group is not None  # by the molecules, of which the rows are geometries
        ids = structures.ids if structures.group is None else structures.group
        known = np.isin(ids, np.concatenate([self.train, self.validation]))
        if (grouped or structures.name == self.dataset) and known.any():
            raise InputError(
                f"{model} was trained on {known.sum()} of these {len(structures)} molecules, the "
                f"first '{ids[known.argmax()]}': probe it on held-out molecules; "
                "for models of the zoo, `--dataset qm9-probe` draws them"
            )
