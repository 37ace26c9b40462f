"""Declare what a comparison of spaces is told: its settings, for Python as for the shell."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from cpdjax.likeness.measures import OF_CHANNELS, OF_PAIRS
from cpdjax.sweeps.settings import (
    ALL,
    MOST_ALPHA,
    Count,
    Drawn,
    Format,
    Named,
    Preparation,
    Several,
    no_flag,
)

MEASURES = (*OF_PAIRS, *OF_CHANNELS)
"""Name all measures, of pairs of channels and of single ones."""
OF_NEIGHBOURS = ("imbalance", "shared_neighbours", "intrinsic_dimension")
"""Name those that look at distances between rows, which vectors and tensors have not."""

Kind = Literal["molecule", "atom", "equivariant", "atom-equivariant"]

# A name, since Sphinx reads no f-string inside an annotation.
_MEASURES = (
    f"Measures: {', '.join(MEASURES)}; by default all (of vectors and tensors all but those "
    "by neighbours)."
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SpaceSettings(Preparation):
    """Hold the scientific settings of a comparison: with the data, all that decides its numbers."""

    probe: Annotated[
        Kind,
        "What is compared. molecule: invariants of molecules. atom: invariants of atoms, with the "
        "element in the place of composition. equivariant, atom-equivariant: vectors and tensors, "
        "irrep by irrep, by maps that turn with the molecule.",
    ] = "molecule"
    irreps: Annotated[
        Several[str] | None,
        "Irreps that are channels of their own, such as 0e or 1o, or all for the invariants of a "
        "layer together. By default all alone; every irrep of vectors and tensors.",
    ] = None
    projection: Annotated[
        Literal["none", "ols", "bonds", "groups", "formula"],
        "What is subtracted from the features on the training rows of each fold: none, ols "
        "(composition), bonds, groups or formula. Everything is measured of raw features as well, "
        "and nothing is subtracted from vectors and tensors.",
    ] = "ols"
    group_by: Annotated[
        Literal["formula", "molecule"] | None,
        "What folds and the bootstrap keep whole: formula, or molecule (all geometries of one); by "
        "default nothing, and of atoms their molecule.",
    ] = None
    alpha: Annotated[
        Annotated[float, Field(gt=0, le=MOST_ALPHA, allow_inf_nan=False), no_flag],
        "Ridge penalty α of R², and of CCA, for channels whose columns have mean variance 1.",
    ] = 1.0
    variance: Annotated[
        Annotated[float, Field(gt=0, le=1), no_flag] | None,
        "SVCCA: the share of variance whose principal components CCA takes, such as 0.99; by "
        "default CCA takes all columns, regularised by α.",
    ] = None
    neighbours: Annotated[
        Annotated[int, Field(ge=1, le=1000), no_flag],
        "Nearest neighbours that shared_neighbours counts.",
    ] = 10
    measures: Annotated[
        Several[str] | None,
        _MEASURES,
    ] = None
    permutations: Annotated[
        Count,
        "Permutations behind every p-value, of molecules within formulas, or of atoms within "
        "molecule and element; 0: no p-values.",
    ] = 0
    bootstrap: Annotated[
        Count, "Replicates of the molecules behind every interval; 0: no intervals."
    ] = 0

    @property
    def permute_within(self) -> str:
        """Return that molecules always change places within formulas."""
        return "formula"

    @property
    def within(self) -> bool:
        """Return that geometries of one molecule are not compared with each other alone."""
        return False

    @property
    def of_tensors(self) -> bool:
        """Return whether vectors and tensors are compared."""
        return "equivariant" in self.probe

    @property
    def by_molecule(self) -> bool:
        """Return whether all geometries of a molecule count as one, which folds keep whole."""
        return self.group_by == "molecule"

    @property
    def projections(self) -> list[str]:
        """Return what is subtracted, one after the other: at last nothing."""
        subtracted = self.projection != "none" and not self.of_tensors
        return [*([self.projection] if subtracted else []), "none"]

    @property
    def wanted(self) -> list[str]:
        """Return the measures, in the order in which they are declared."""
        without = OF_NEIGHBOURS if self.of_tensors else ()
        chosen = self.measures or [name for name in MEASURES if name not in without]
        return [name for name in MEASURES if name in chosen]

    @property
    def channel_irreps(self) -> tuple[str, ...] | None:
        """Return the irreps that are channels; None: every irrep of vectors and tensors."""
        return self.irreps or (None if self.of_tensors else (ALL,))

    @property
    def record(self) -> dict[str, Any]:
        """Return what decides the numbers, ready for JSON; see `sweeps.settings.Settings`."""
        left_out = {"pool", "invariants", "elements", "skip_unknown"}
        adapter = TypeAdapter(SpaceSettings)
        found: dict[str, Any] = adapter.dump_python(self, mode="json", exclude=left_out)
        return found | {"measures": self.wanted}

    @property
    def given(self) -> dict[str, Any]:
        """Return the settings by name, as `cpdjax.spaces` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(SpaceSettings)}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SpaceConfig(SpaceSettings):
    """Hold a comparison from the shell: its settings, where the data are, where results go."""

    features: Named = None
    controls: Annotated[
        bool,
        "Compare controls as well: composition alone, the bond graph without a coordinate (from "
        "SMILES), and the networks of cpdjax with random weights.",
    ] = False
    dataset: Annotated[
        str | None,
        "qm9, qm9-probe (molecules that no model of cpdjax was trained on), conformers (geometries "
        "of such), or a file that ASE reads; by default qm9 where a model is named, qm9-probe "
        "where nothing is, and none where files of features say what their molecules are.",
    ] = None
    n: Drawn = None
    out: Annotated[Path, "Folder of the results."] = Path("cpdjax-spaces")
    format: Format = "zarr"
