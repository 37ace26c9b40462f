"""Declare what a sweep is told: its settings, checked in one place for Python, TOML and the shell.

The last string beside a field's type is its help text, in the documentation as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from itertools import islice
from numbers import Number
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from cpdjax.bounds import MOST_COPIES, MOST_ROWS, MOST_SEED
from cpdjax.configuration import names_in
from cpdjax.features.layer_names import LAST
from cpdjax.kernel.options import Choices
from cpdjax.models.naming import trained

DESCRIPTORS = ("ani-2x-aev", "coulomb-spectrum")
DEFAULT_FEATURES = (*trained(), *DESCRIPTORS)
"""Name what is probed where no features are named: the zoo's models beside two descriptors."""
DEFAULT_DATASET = "qm9-probe"
"""Name the molecules that they are probed on, none of which the zoo's models have seen."""
DEFAULT_MOLECULES = 2000
ALL = "all"
"""Stands for all invariants of a layer together, in the place of an irrep."""
MOST_RANKED = 10
"""The number of channels in a ranking, and of leading channels whose cost is measured."""
_MOST_ITEMS = 10_000  # of a list
MOST_ALPHA = 1e30
"""Limit Ridge penalties (our choice): larger ones leave nothing to score."""


def _listed(value: Any) -> Any:
    """Return a list, in the place of a text that separates its parts by commas too."""
    return tuple(names_in(value)) if isinstance(value, str) else _bounded(value)


def _bounded(value: Any) -> Any:
    """Return one name or number as a list of one, and of a list no more than a little too much."""
    if isinstance(value, str | Number):
        return (value,)
    is_list = isinstance(value, Iterable) and not isinstance(value, Mapping)
    return tuple(islice(value, _MOST_ITEMS + 1)) if is_list else value


def _no_flag(value: Any) -> Any:
    """Refuse true and false, which Python counts as 1 and 0, for a number."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


def _dtype() -> Any:
    from cpdjax.machine.precision import (
        default_dtype,  # and JAX, which `cpdjax sweep --help` does without
    )

    return default_dtype().name


def default_sizes(n: int) -> tuple[int, ...]:
    """Return 50, 100, 200, 500, 1,000, 2,000, 5,000 and so on below n, and n itself.

    >>> default_sizes(400), default_sizes(2000)[-2:], default_sizes(20)
    ((50, 100, 200, 400), (1000, 2000), (20,))
    """
    steps = (step * 10**power for power in range(1, len(str(n))) for step in (1, 2, 5))
    return (*(size for size in steps if 50 <= size < n), n)


#: The kinds of probe, each of them an object of `probe_kinds.KINDS`.
Kind = Literal["ridge", "equivariant", "atom", "atom-equivariant"]
Item = TypeVar("Item")
# Bounds stand before the validators: behind them they are not in the JSON schema.
no_flag = BeforeValidator(_no_flag)
_Items = Annotated[tuple[Item, ...], Field(min_length=1, max_length=_MOST_ITEMS)]
Several = Annotated[_Items[Item], BeforeValidator(_listed)]
Count = Annotated[int, Field(ge=0, le=MOST_COPIES), no_flag]
Molecules = Annotated[int, Field(ge=2, le=MOST_ROWS), no_flag]
Alpha = Annotated[float, Field(ge=0, le=MOST_ALPHA, allow_inf_nan=False), no_flag]
#: Options of the shell that commands share, each with its help text.
Named = Annotated[
    Annotated[_Items[str], BeforeValidator(_bounded)] | None,  # names of files may hold commas
    "A model's name, or a file of features; may be given several times. By default the models "
    "that come with cpdjax and two descriptors.",
]
Drawn = Annotated[
    Molecules | None, "Molecules drawn from QM9; by default 2,000, and 300 for conformers."
]
Format = Annotated[Literal["zarr", "netcdf"], "Format of the results: zarr or netcdf."]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Preparation:
    """Hold which layers, molecules and folds are taken, and what features are made of them."""

    layers: Annotated[
        Several[str] | None,
        "Layers to probe, or last: the last interaction layer of each model. By default all; last "
        "where no features are named.",
    ] = None
    elements: Annotated[
        Several[str] | None,
        "Elements, such as H,C,O: molecules with any other are left out; by default any.",
    ] = None
    skip_unknown: Annotated[
        bool, "Leave out molecules with an element that one of the models does not know."
    ] = False
    pool: Annotated[
        Literal["mean", "sum"] | None,
        "How the features of atoms become those of a molecule: mean or sum; by default mean, and "
        "stored features as they were pooled. Probes of atoms pool nothing.",
    ] = None
    invariants: Annotated[
        Literal["pool-then-norm", "norm-then-pool", "power-spectrum"] | None,
        "How scalars are made from irreps: pool-then-norm, norm-then-pool or power-spectrum; by "
        "default pool-then-norm, and stored scalars as they were made.",
    ] = None
    folds: Annotated[
        Annotated[int, Field(ge=2, le=MOST_COPIES), no_flag], "Folds of the cross-validation."
    ] = 5
    composition: Annotated[
        Literal["counts", "fractions"],
        "What composition is. counts: how many atoms of each element. fractions: which share of "
        "the atoms.",
    ] = "counts"
    seed: Annotated[
        Annotated[int, Field(ge=0, le=MOST_SEED), no_flag],
        "Random seed of the molecules drawn from QM9, of the shuffles and of the folds.",
    ] = 0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Settings(Preparation, Choices):
    """Hold the scientific settings of a sweep: with the data, all that decides its numbers."""

    probe: Annotated[
        Kind,
        "What is predicted. ridge: scalars of molecules from invariants. equivariant: vectors and "
        "tensors of molecules from channels of their irrep. atom, atom-equivariant: the same of "
        "atoms.",
    ] = "ridge"
    irreps: Annotated[
        Several[str] | None,
        "Irreps to probe, such as 0e or 1o, or all for the invariants of a layer together. By "
        "default each of them, and all; all alone where no features are named.",
    ] = None
    sizes: Annotated[
        Several[Molecules] | None,
        "Increasing numbers of molecules; by default 50, 100, 200, 500, 1,000 and so on, and all "
        "molecules at last.",
    ] = None
    repeats: Annotated[
        Annotated[int, Field(ge=1, le=MOST_COPIES), no_flag],
        "How often the molecules are shuffled anew.",
    ] = 5
    test: Annotated[
        Molecules | None,
        "Molecules of a test set, drawn with the seed, in the place of folds: no size trains on "
        "them, every size and repeat is scored on them, and sizes count training molecules. By "
        "default none.",
    ] = None
    shuffle: Annotated[
        bool,
        "Draw molecules, subsets and folds at random. Otherwise the first molecules are taken, in "
        "one repeat and at one size, and every fold is a block of neighbours.",
    ] = True
    group_by: Annotated[
        Literal["formula", "molecule"] | None,
        "What folds keep whole: formula, or molecule (all geometries of one; sizes then count "
        "molecules); by default nothing, and molecule with --projection within.",
    ] = None
    alphas: Annotated[
        Several[Alpha] | Literal["loo"],
        "Ridge penalties α, or loo: chosen for each fold and target by leave-one-out. Permutations "
        "take some twenty times as long with loo; bootstrap needs an α of its own.",
    ] = "loo"
    permutations: Annotated[
        Count, "Permutations behind every p-value, at the largest size; 0: no p-values."
    ] = 0
    scheme: Annotated[
        Literal["residual", "marginal"],
        "What is permuted: the residual of a target after composition, or the target itself "
        "(marginal). Tensors and targets of atoms have one scheme only.",
    ] = "residual"
    permute_within: Annotated[
        Literal["formula"] | None,
        "formula: only molecules of one formula change places; by default any two do. Atoms "
        "always change places within their molecule and element only, and with --projection within "
        "the geometries of one molecule.",
    ] = None
    bootstrap: Annotated[
        Count,
        "Replicates behind every interval, at the largest size; 0: no intervals. Molecules are "
        "drawn with all their geometries, or whole formulas with --group-by formula.",
    ] = 0
    adjust: Annotated[
        Literal["holm", "bh", "max-t"],
        "How p-values are adjusted for all channels and targets: max-t (Westfall-Young), holm or "
        "bh (Benjamini-Hochberg).",
    ] = "max-t"
    dtype: Annotated[
        Literal["float64", "float32"],
        "Precision of the arithmetic; by default float64 wherever the device has it.",
    ] = Field(default_factory=_dtype)

    @field_validator("components", mode="before")
    @classmethod
    def _at_least_one(cls, value: Any) -> Any:
        """Refuse a number of components below one."""
        if isinstance(_no_flag(value), Number) and value < 1:
            raise PydanticCustomError("number", "Input should be at least 1")
        return value

    @property
    def record(self) -> dict[str, Any]:
        """Return what decides the numbers, ready for JSON, without draws that nobody asked for.

        How features were pooled and made into scalars is recorded with the features, and which
        molecules were taken by their hash: sweeps of the same molecules can be joined, whatever
        chose these.
        """
        unused = {"permutations": not self.permutations, "bootstrap": not self.bootstrap}
        unused |= dict.fromkeys(("adjust", "scheme", "permute_within"), not self.permutations)
        left_out = {name for name, is_unused in unused.items() if is_unused}
        left_out |= {"pool", "invariants", "elements", "skip_unknown"}
        left_out |= set() if self.test is None else {"folds"}
        adapter = TypeAdapter(Settings)
        found: dict[str, Any] = adapter.dump_python(self, mode="json", exclude=left_out)
        return found

    @property
    def within(self) -> bool:
        """Return whether geometries of one molecule are compared with each other alone."""
        return self.projection == "within"

    @property
    def by_molecule(self) -> bool:
        """Return whether all geometries of a molecule count as one, which folds keep whole."""
        return self.within or self.group_by == "molecule"

    @property
    def headline(self) -> Settings:
        """Return the settings where no features are named: all scalars of last layers.

        Settings that were given stay. Irreps of vectors and tensors are those of the targets.
        """
        tensors = "equivariant" in self.probe
        return replace(
            self,
            layers=self.layers or (LAST,),
            irreps=self.irreps or (None if tensors else (ALL,)),
        )

    @property
    def given(self) -> dict[str, Any]:
        """Return the settings by name, as `cpdjax.sweep` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(Settings)}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Config(Settings):
    """Hold a sweep from the shell: its settings, where the data are, where the results go."""

    features: Named = None
    controls: Annotated[
        bool,
        "Probe controls as well: composition alone, the bond graph without a coordinate (from "
        "SMILES), and the networks of cpdjax with random weights.",
    ] = False
    dataset: Annotated[
        str | None,
        "qm9, qm9-probe (molecules that no model of cpdjax was trained on), conformers (geometries "
        "of such, labelled by GFN2-xTB), or a file that ASE reads; by default qm9, and qm9-probe "
        "where no features are named; none where the targets are a table with formulas.",
    ] = None
    targets: Annotated[
        tuple[str, ...] | str | None,
        "Names of targets, separated by commas, or a CSV or Parquet file; by default all scalars "
        "that composition does not explain.",
    ] = None
    n: Drawn = None
    out: Annotated[Path, "Folder of the results."] = Path("cpdjax-results")
    format: Format = "zarr"
