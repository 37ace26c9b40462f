"""Translate the state dicts of references into Flax variables.

Nothing here imports the package whose weights it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models.graph import Graph

State = Mapping[str, np.ndarray]
#: Says where one of our arrays comes from: a reference's name, alone or with a change of its array.
Source = str | tuple[str, Callable[[np.ndarray], Any]]


def transpose(kernel: np.ndarray) -> np.ndarray:
    """Return a torch `Linear` weight (out, in) as a Flax kernel (in, out)."""
    return kernel.T


def require(config: Mapping[str, Any], *names: str) -> None:
    """Refuse hyperparameters that lack one without which there is no model."""
    for name in names:
        if name not in config:
            raise InputError(f"the config lacks {name!r}; it has {sorted(config)}")


def stated(config: Mapping[str, Any], *names: str) -> None:
    """Refuse hyperparameters without one that the state dict does not tell.

    Asked last, when the state dict is known to be of the architecture: a default that is not the
    model's own would change its numbers without a word.
    """
    missing = [name for name in names if name not in config]
    if missing:
        raise InputError(
            f"the config lacks {' and '.join(map(repr, missing))}, which no array of the state "
            "dict tells: give what the model was made with, the reference's default included"
        )


def agree(config: Mapping[str, Any], option: str, held: Any) -> None:
    """Refuse a hyperparameter that the state dict contradicts.

    Args:
        held: what the state dict says.
    """
    if option not in config:
        return
    try:
        given = np.asarray(config[option], float)
    except (TypeError, ValueError):
        given = np.full(1, np.nan)
    told = np.asarray(held, float)
    if told.shape != given.shape or not np.allclose(told, given, rtol=1e-5, atol=0):
        raise InputError(
            f"{option} is {config[option]} in the configuration, but {told.tolist()} in the state "
            "dict"
        )


def last_of(state: State, name: str, place: int = -1) -> float | None:
    """Return a number of an array of the state dict, without the noise of float32; or None."""
    array = np.asarray(state.get(name, ()))
    return float(str(array.ravel()[place])) if array.size else None


def only(
    what: str, config: Mapping[str, Any], known: Sequence[str], unread: Sequence[str] = ()
) -> None:
    """Refuse hyperparameters of any other name.

    Args:
        unread: patterns of names that change neither features nor output.

    Raises:
        UnknownNameError: there is an option that `what` does not have.
    """
    for name in config:
        if name not in known and not any(fnmatchcase(name, pattern) for pattern in unread):
            raise UnknownNameError(f"option of {what}", name, known)


def options(
    module: type[nn.Module],
    config: Mapping[str, Any],
    also: Sequence[str] = (),
    own: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the hyperparameters that are fields of `module`.

    Args:
        also: further names of the reference's, which the caller reads or which change neither
            features nor output.
        own: fields that are no options of the reference's.

    Raises:
        UnknownNameError: there is any other name.
    """
    fields = set(module.__dataclass_fields__) - {"parent", "name", *own}
    only(module.__name__, config, [*fields, *also])
    return {name: value for name, value in config.items() if name in fields}


def rows(state: State, name: str, what: str) -> int:
    """Return how many elements an embedding has.

    Raises:
        InputError: there is no such embedding, so the state dict is not one of `what`.
    """
    table = state.get(name)
    if table is None or table.ndim != 2 or not len(table):
        raise InputError(f"the state dict has no matrix {name!r}: it is no {what}")
    return len(table)


def dense(ours: str, theirs: str, bias: bool = True, separator: str = "/") -> dict[str, Source]:
    """Return the entries of a torch `Linear` in the table that `translate` takes."""
    table: dict[str, Source] = {f"params/{ours}{separator}kernel": (f"{theirs}.weight", transpose)}
    return table | ({f"params/{ours}{separator}bias": f"{theirs}.bias"} if bias else {})


def translate(
    module: nn.Module, state: State, table: Mapping[str, Source], ignore: Sequence[str] = ()
) -> dict[str, Any]:
    """Return Flax variables of `module` from a reference's state dict.

    Args:
        table: our path, such as "params/embedding/embedding", to the reference's name, or to
            (name, function of its array).
        ignore: patterns of reference names that carry nothing of their own.

    Raises:
        InputError: the state dict lacks a name or has one that nothing reads, or an array has
            another shape.
    """
    sources = {ours: s if isinstance(s, tuple) else (s, np.asarray) for ours, s in table.items()}
    names = {name for name, _ in sources.values()}
    missing = sorted(names - state.keys())
    if missing:
        raise InputError(
            f"the state dict lacks {missing[0]!r} ({len(missing)} of {len(names)} names): it is of "
            f"another architecture or configuration than {type(module).__name__}"
        )
    unread = [n for n in state if n not in names and not any(fnmatchcase(n, p) for p in ignore)]
    if unread:
        raise InputError(
            f"nothing in {type(module).__name__} reads {unread[0]!r} ({len(unread)} such names): "
            "the state dict is of another architecture or configuration"
        )
    flat = {ours: changed(state, name, change) for ours, (name, change) in sources.items()}
    expected = {k: leaf.shape for k, leaf in flatten_dict(shapes(module), sep="/").items()}
    for ours in sorted(expected.keys() | flat.keys()):
        if ours not in flat or ours not in expected:
            raise InputError(
                f"{sources[ours][0] if ours in sources else 'nothing'!r} for {ours!r}: the state "
                f"dict is of another configuration than {type(module).__name__}"
            )
        if flat[ours].shape != expected[ours]:
            name, change = sources[ours]
            raise InputError(_misshapen(state, name, change, expected[ours]))
    return unflatten_dict(flat, sep="/")


def _misshapen(
    state: State, name: str, change: Callable[[np.ndarray], Any], ours: tuple[int, ...]
) -> str:
    """Return what is wrong with a shape, as the reference counts its axes."""
    got = np.shape(state[name])
    for made, wanted in ((np.asarray, ours), (transpose, ours[::-1])):
        if change is made:
            return f"{name!r}: expected shape {wanted}, got {got}"
    return f"{name!r} has shape {got}, which is not that of the configuration"


def changed(state: State, name: str, change: Callable[[np.ndarray], Any]) -> np.ndarray:
    """Return an array of the state dict in another form.

    Raises:
        InputError: the array has a shape that does not fit.
    """
    try:
        return np.asarray(change(state[name]))
    except InputError:
        raise
    except (ValueError, IndexError, TypeError):
        raise InputError(
            f"{name!r} has shape {np.shape(state[name])}, which is not that of the configuration"
        ) from None


def shapes(module: nn.Module) -> dict[str, Any]:
    """Return shapes and dtypes of the module's variables, without computing any."""
    return jax.eval_shape(module.init, jax.random.key(0), example())


def example() -> Graph:
    """Return a graph of two hydrogen atoms, for `init`."""
    return Graph(
        numbers=jax.numpy.array([1, 1], np.int32),
        mask=jax.numpy.ones((1, 2), bool),
        positions=jax.numpy.array([[0, 0, 0], [0, 0, 0.7]], np.float32),
        neighbours=jax.numpy.array([[1], [0]], np.int32),
        vectors=jax.numpy.array([[[0, 0, 0.7]], [[0, 0, -0.7]]], np.float32),
        edge_mask=jax.numpy.ones((2, 1), bool),
        opposite=jax.numpy.array([[1], [0]], np.int32),
        charge=jax.numpy.zeros(1, np.float32),
        unpaired=jax.numpy.zeros(1, np.float32),
    )
