"""Read what a caller passes as an array of real numbers, and lose nothing of what they mean."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cpdjax.errors import InputError

#: Attributes that say that the numbers of a netCDF or Zarr variable are not the values themselves.
PACKING = frozenset({"scale_factor", "add_offset", "_FillValue", "missing_value"})
_PANDAS = ("DataFrame", "Series")
_ROW_LABELS = re.compile(
    r"_*(unnamed.*|(index_)?level_\d+|ids?|idx|ind(ex|ices)|uu?id|guid|cid|mp_?id|mol_?id|identifier"
    r"|rows?|row_?(id|idx|index|no|nr|num|number|names?)|nr|entry|record|serial"
    r"|.*_(ids?|idx|uu?id)"
    r"|(mol|molecule|struct|structure|sample|frame|conf|conformer|compound|crystal|system|entry"
    r"|record|data|dataset|df|orig|original|old|global|gdb|qm9)_?(index|no|nr|num|number)"
    r"|no_)_*"  # "No.", while "No" is an element
)


def labels_rows(name: str) -> bool:
    """Return whether a column of this name numbers or names rows, and is nothing to fit.

    >>> [labels_rows(name) for name in ("Unnamed: 0", "", "ID", "molId", "mol_idx")]
    [True, True, True, True, True]
    >>> [labels_rows(name) for name in ("gap", "refractive_index", "No", "atomic_number")]
    [False, False, False, False]
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    label = _ROW_LABELS.fullmatch(re.sub(r"\W+", "_", words))
    return name.strip() in ("", "#") or label is not None


def real_array(name: str, value: Any) -> Any:
    """Return real numbers as an array, so that nothing of what they mean is lost.

    Masked values are refused, named axes are put in order, and floating types but float32 and
    float64, and nullable columns of pandas, are widened to float64. Traced arrays of JAX stay as
    they are.

    Args:
        name: what errors call the numbers.
        value: an array, a list, or an object of pandas or xarray.

    Raises:
        InputError: if they are no real numbers in rows of one length, some are masked or packed, or
            a column of a DataFrame labels its rows.
    """
    if _is("e3nn_jax", ["IrrepsArray"], value):
        if value.irreps.lmax > 0:
            raise InputError(f"{name} turns with the molecule: give what Features.scalars makes")
        value = value.array
    if isinstance(value, jax.Array):
        return _plain(name, value)
    if _is("pandas", _PANDAS, value):
        return _of_pandas(name, value)
    packed = sorted(PACKING & set(getattr(value, "attrs", ())))
    if packed:
        raise InputError(
            f"{name} has the attribute {packed[0]!r}, so it is packed: decode it first"
        )
    axes = getattr(value, "dims", ())
    if "molecule" in axes:
        value = value.transpose("molecule", ...)
    elif "feature" in axes:
        value = value.transpose(..., "feature")
    try:
        rows = value if isinstance(value, list | tuple) else ()
        masked = any(isinstance(row, np.ma.MaskedArray) for row in rows)
        array = np.ma.array(value) if masked else np.asanyarray(value)
    except jax.errors.JAXTypeError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        ragged = "inhomogeneous" in str(error)
        reason = "rows of different lengths" if ragged else " ".join(str(error).split())
        raise InputError(f"{name} must be an array, got {reason}") from None
    _check_mask(name, array)
    return _plain(name, np.asarray(array))


def real_arrays(**given: Any) -> list[Any]:
    """Return each argument as `real_array` does, called by its name.

    Raises:
        InputError: as `real_array`; or if objects of pandas have as many rows, but other labels.
    """
    labels = {k: v.index for k, v in given.items() if _is("pandas", _PANDAS, v)}
    for name, index in labels.items():
        first = next(iter(labels))
        if len(index) == len(labels[first]) and not index.equals(labels[first]):
            raise InputError(
                f"the rows of {first} and {name} have different labels: give {name}.loc[{first}"
                ".index], or arrays if rows go by order"
            )
    return [real_array(name, value) for name, value in given.items()]


def is_real(dtype: Any) -> bool:
    """Return whether a type of NumPy or JAX holds real numbers; durations are none."""
    if dtype.kind in "biuf":
        return True
    small = dtype.kind == "V"  # bfloat16 and other types that JAX adds to NumPy
    return small and any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer))


def _plain(name: str, array: Any) -> Any:
    """Return an array of real numbers in a type and byte order that NumPy and JAX share."""
    dtype = array.dtype
    if not is_real(dtype):
        raise InputError(f"{name} must hold real numbers, got dtype {dtype}")
    if isinstance(array, jax.core.Tracer):
        return array
    if dtype.kind == "V" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        with np.errstate(over="ignore"):
            return np.asarray(array).astype(np.float64)
    if isinstance(array, jax.Array):
        return array
    return array.astype(dtype.newbyteorder("="), copy=False)


def _check_mask(name: str, array: np.ndarray) -> None:
    """Refuse an array with masked values, since what lies under a mask means nothing."""
    if np.ma.is_masked(array):
        masked = np.argwhere(np.ma.getmaskarray(array))
        raise InputError(
            f"{name} holds masked values: fill them, or leave their rows out ({len(masked)}, the "
            f"first at {masked[0].tolist()})"
        )


def _is(library: str, names: Iterable[str], value: Any) -> bool:
    """Return whether a value is of a class of a library: of none that nobody has imported yet.

    These libraries take longer to import than all else that a probe of plain arrays needs.
    """
    module = sys.modules.get(library)
    return isinstance(value, tuple(getattr(module, name, ()) for name in names))


def _of_pandas(name: str, value: Any) -> np.ndarray:
    """Return a DataFrame or a column of numbers in float64, with NaN for missing values."""
    import pandas as pd

    frame = value if isinstance(value, pd.DataFrame) else value.to_frame()
    for column, dtype in frame.dtypes.items():
        if value is frame and labels_rows(str(column)):
            raise InputError(
                f"{name} has the column {column!r}, which numbers or names rows: leave it out"
            )
        number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)
        if not number:
            raise InputError(f"{name} must hold real numbers, column {column!r} is of {dtype}")
    return value.to_numpy(np.float64, na_value=np.nan)
