"""What a sweep is told: its settings, checked in one place for Python, TOML and the shell."""

from __future__ import annotations

from numbers import Number
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cpdjax.kernel.projection import Projection
from cpdjax.precision import default_dtype

DEFAULT_FEATURES = ("ani-2x-aev", "coulomb-spectrum")
DEFAULT_SIZES = (50, 100, 200, 500, 1000, 2000)
DEFAULT_MOLECULES = 2000


def _listed(value: Any) -> Any:
    """One name or number stands for a list of one."""
    return (value,) if isinstance(value, str | Number) else value


def _dtype() -> Any:
    return default_dtype().name


Item = TypeVar("Item")
Several = Annotated[tuple[Item, ...], BeforeValidator(_listed), Field(min_length=1)]


class Settings(BaseModel):
    """The scientific settings of a sweep: with the data, all that decides its numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    probe: Literal["ridge", "equivariant", "atom", "atom-equivariant"] = "ridge"
    """"ridge": scalars of molecules from invariants; "equivariant": vectors and tensors of
    molecules from channels of their irrep; "atom", "atom-equivariant": those of atoms."""
    layers: Several[str] | None = None
    """Layers to probe; None: all."""
    irreps: Several[str] | None = None
    """Irreps to probe, such as "0e" or "1o", "all" for a layer's invariants together; None: all."""
    pool: Literal["mean", "sum"] = "mean"
    """How per-atom features become a molecule's; probes of atoms pool nothing."""
    invariants: Literal["pool-then-norm", "norm-then-pool", "power-spectrum"] = "pool-then-norm"
    """How scalars are made from irreps; see `cpdjax.invariants`."""
    sizes: Several[Annotated[int, Field(ge=2)]] | None = None
    """Increasing numbers of molecules; None: 50 to 2,000 as far as the data go."""
    repeats: Annotated[int, Field(ge=1)] = 5
    """Shuffles of the molecules."""
    folds: Annotated[int, Field(ge=2)] = 5
    group_by: Literal["formula"] | None = None
    """"formula": no formula is shared between training and held-out molecules."""
    alphas: Several[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | Literal["loo"] = (1.0,)
    """Ridge penalties, or "loo": chosen per fold and target by leave-one-out."""
    standardize: bool = True
    projection: Projection = "ols"
    """What is taken from the features: a name that `cpdjax.cpd` knows."""
    permutations: Annotated[int, Field(ge=0)] = 0
    """Permutations behind every p-value at the largest size; 0: no p-values."""
    scheme: Literal["residual", "marginal"] = "residual"
    """What is permuted: a target's residual after composition, or the target itself; see
    `cpdjax.permutation_test`. Of tensors and atoms both are one."""
    permute_within: Literal["formula"] | None = None
    """"formula": only molecules of one formula change places. Atoms always change places within
    their molecule and element."""
    bootstrap: Annotated[int, Field(ge=0)] = 0
    """Replicates behind every interval at the largest size; 0: no intervals. Molecules are drawn,
    whole formulas where `group_by` says so."""
    adjust: Literal["holm", "bh", "max-t"] = "holm"
    """How p-values are adjusted for all channels and targets; see `uncertainty.multiplicity`."""
    seed: Annotated[int, Field(ge=0)] = 0
    dtype: Literal["float64", "float32"] = Field(default_factory=_dtype)
    """By default float64 wherever the backend has it."""

    @property
    def per_atom(self) -> bool:
        """Whether a row is an atom."""
        return self.probe in ("atom", "atom-equivariant")

    @property
    def equivariant(self) -> bool:
        """Whether targets turn with the molecule."""
        return self.probe in ("equivariant", "atom-equivariant")

    @property
    def record(self) -> dict[str, Any]:
        """What decides the numbers, ready for JSON; of uncertainty only what is asked for."""
        unused = {"permutations": not self.permutations, "bootstrap": not self.bootstrap}
        unused |= dict.fromkeys(("adjust", "scheme", "permute_within"), not self.permutations)
        return self.model_dump(mode="json", exclude={k for k, is_so in unused.items() if is_so})


class Config(Settings):
    """A sweep from the shell: settings, where the data are, where the results go."""

    features: Several[str] = DEFAULT_FEATURES
    """Names of models, or files of features."""
    dataset: str | None = None
    """"qm9", or a file that ASE reads; None: QM9, unless `targets` is a table with formulas."""
    targets: tuple[str, ...] | str | None = None
    """Names of targets, or a CSV or Parquet file; None: all scalar ones."""
    n: Annotated[int, Field(ge=2)] | None = None
    """Molecules drawn from QM9; None: 2,000."""
    out: Path = Path("cpdjax-results")
    """The folder of the results."""
    format: Literal["zarr", "netcdf"] = "zarr"
