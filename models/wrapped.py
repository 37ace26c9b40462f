"""Make a model of a function of JAX and its irreps; all else has a default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from e3nn_jax import Irreps, IrrepsArray

from cpdjax.data.batch import AllPairs, Batch, Edges
from cpdjax.errors import InputError
from cpdjax.irreps import read_irreps
from cpdjax.machine.programs import compiled
from cpdjax.models.graph import Graph
from cpdjax.models.interface import Layers
from cpdjax.models.prediction import PredictsNothing

if TYPE_CHECKING:
    from jaxtyping import Array

#: Why JAX cannot trace a function: it computes with NumPy, or asks what a number is.
_UNTRACED = (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError)


@dataclass(frozen=True, eq=False, repr=False)
class Function:
    """Hold a function, which equals no other and is called the same in every process."""

    call: Callable[..., Any]

    def __repr__(self) -> str:
        return "Function()"


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights"],
    meta_fields=[
        *("name", "function", "layers", "elements", "cutoff"),
        *("level", "periodic", "parity", "max_atoms"),
    ],
)
@dataclass(frozen=True, eq=False, repr=False)
class Wrapped(PredictsNothing):
    """Hold a function and its weights as a `Model`: a pytree whose leaves are the weights."""

    name: str
    function: Function
    weights: Any
    layers: tuple[tuple[str, Irreps], ...]
    elements: tuple[int, ...] | None
    cutoff: float | None
    level: Literal["atom", "molecule"]
    periodic: bool
    parity: bool
    max_atoms: int | None

    @property
    def irreps(self) -> Mapping[str, Irreps]:
        """Return the irreps of every layer, in the order in which they were given."""
        return dict(self.layers)

    @property
    def finds_pairs(self) -> bool:
        """Return True: the graph finds the neighbours in small molecules."""
        return True

    @property
    def parameters(self) -> int:
        """Return the number of weights; those that the function holds itself are not counted."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.weights))

    def memory(self, atoms: int, neighbours: int) -> int:
        """Return about how many numbers one structure keeps: the widest layer for every pair."""
        widest = max(irreps.dim for irreps in self.irreps.values())
        return 4 * atoms * (1 + neighbours) * widest

    def features(self, batch: Batch) -> Layers:
        """Return every layer, (molecule, atom, irreps.dim), or (molecule, irreps.dim)."""
        found = self.computed(batch)
        shape = batch.mask.shape if self.level == "atom" else batch.mask.shape[:1]
        return {
            layer: IrrepsArray(irreps, found[layer].reshape(*shape, irreps.dim))
            for layer, irreps in self.layers
        }

    def computed(self, batch: Batch) -> dict[str, Array]:
        """Return what the function returns, by layer and in the precision of the positions."""
        graph = _graph(batch, self.cutoff)
        given = () if self.weights is None else (graph.cast(self.weights),)
        found = self.function.call(*given, graph)
        if not isinstance(found, Mapping):
            found = dict.fromkeys(self.irreps, found) if len(self.layers) == 1 else {}
        plain = {k: x.array if isinstance(x, IrrepsArray) else x for k, x in found.items()}
        return {str(layer): jnp.asarray(x, graph.dtype) for layer, x in plain.items()}

    def __repr__(self) -> str:
        layers = {layer: str(irreps) for layer, irreps in self.layers}
        return f"Wrapped({self.name!r}, {layers=})"


def wrap(
    function: Callable[..., Any],
    *,
    irreps: str | Irreps | Mapping[str, str | Irreps],
    elements: Iterable[int] | None = None,
    cutoff: float | None = None,
    weights: Any = None,
    name: str | None = None,
    level: Literal["atom", "molecule"] = "atom",
    periodic: bool = False,
    parity: bool = True,
    max_atoms: int | None = None,
) -> Wrapped:
    """Return a function of JAX as a model, which goes wherever the name of a model goes.

    Args:
        function: a pure function of a `Graph`, or of `weights` and a `Graph`. It returns a mapping
            of layer to array, or one array: (atom, irreps.dim), padding included, or (molecule,
            irreps.dim) at level "molecule". Sums over neighbours must be weighed by
            `graph.edge_mask`, and `graph.sum` sums over atoms, since padding has rows of its own.
        irreps: the irreps of every layer, in the order of the data's path; or those of the one
            array, which is called "features".
        elements: the atomic numbers that the model knows; None: any.
        cutoff: the cutoff (Å) of the neighbour list; None: the graph has no neighbours.
        weights: a pytree of arrays, given to the function in the precision of the positions. What
            the function holds itself works too, and is compiled into it.
        name: what results call the model; by default the function's own name.
        level: whether features have a row per atom, to be pooled, or one per molecule.
        periodic: whether the function may be given periodic cells.
        parity: whether the parities of the irreps are true; if not, they hold for rotations only.
        max_atoms: the atoms of the largest molecule that the function takes; None: any.

    Raises:
        InputError: JAX cannot trace the function, it returns other layers or columns than `irreps`
            say, or what it returns of atoms depends on the padding beside them.

    >>> def charges(graph):
    ...     return graph.numbers[:, None]
    >>> wrap(charges, irreps="0e")
    Wrapped('charges', layers={'features': '1x0e'})
    """
    if not callable(function):
        raise InputError(f"expected a function of a graph, got {type(function).__name__}")
    if level not in ("atom", "molecule"):
        raise InputError(f'level must be "atom" or "molecule", got {level!r}')
    layers = irreps if isinstance(irreps, Mapping) else {"features": irreps}
    made = Wrapped(
        name or _name(function),
        Function(function),
        weights,
        tuple((str(k), read_irreps(f"layer {k!r}", text)) for k, text in layers.items()),
        None if elements is None else tuple(int(number) for number in elements),
        None if cutoff is None else float(cutoff),
        level,
        bool(periodic),
        bool(parity),
        max_atoms,
    )
    _try(made)
    _check_padding(made)
    return made


def _name(function: Any) -> str:
    """Return what a function is called; a method is called by its object's class."""
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", type(function).__name__)
    if owner is not None and not isinstance(owner, type):
        name = type(owner).__name__
    return name if name.isidentifier() else "model"


def _graph(batch: Batch, cutoff: float | None) -> Graph:
    """Return the graph of a batch; without a cutoff its rows of neighbours have no slot."""
    if cutoff is not None:
        return Graph.of(batch, cutoff)
    none = np.zeros((*batch.mask.shape, 0), np.int32)
    return Graph.of(batch._replace(edges=Edges(none, None, none.astype(bool), none)), 0.0)


def _check_padding(model: Wrapped) -> None:
    """Refuse a function that computes something else of two atoms if padding stands beside them."""
    run = compiled(Wrapped.computed)  # one program takes less time than many operations
    whole, beside = (
        {layer: np.asarray(x) for layer, x in run(model, _pair(model, atoms)).items()}
        for atoms in (2, 5)
    )
    for layer, irreps in model.layers:
        rows = 2 if model.level == "atom" else 1
        expected, got = whole[layer][:rows], beside[layer][:rows]
        size = max(np.abs(expected).max(), 1e-30)
        if np.isfinite(expected).all() and not np.abs(expected - got).max() <= 1e-3 * size:
            raise InputError(
                f"{model.name}, layer {layer!r} ({irreps}): rows of padding change what two atoms "
                "have; weigh sums over neighbours by graph.edge_mask, and sum atoms by graph.sum"
            )


def _pair(model: Wrapped, atoms: int) -> Batch:
    """Return one molecule of two atoms within the cutoff, padded to so many."""
    numbers, positions = np.zeros((1, atoms), np.int32), np.zeros((1, atoms, 3), np.float32)
    numbers[0, :2] = [model.elements[0], model.elements[-1]] if model.elements else [8, 1]
    positions[0, 1] = np.array([1, 2, 2]) / 3 * min(1.0, (model.cutoff or 2.0) / 2)
    edges = None if model.cutoff is None else AllPairs()
    return Batch(numbers, positions, np.arange(atoms)[None] < 2, edges)


def _try(model: Wrapped) -> None:
    """Trace a function for two molecules, and compare what it returns with its irreps."""
    shape, slots = (2, 3), np.zeros((2, 3, 2), np.int32)
    edges = None if model.cutoff is None else Edges(slots, None, slots.astype(bool), slots)
    positions = np.zeros((*shape, 3), np.float32)
    batch = Batch(np.ones(shape, np.int32), positions, np.ones(shape, bool), edges)
    try:
        found: Any = jax.eval_shape(Wrapped.computed, model, batch)
    except _UNTRACED as error:
        raise InputError(
            f"{model.name} cannot be traced by JAX: compute with jax.numpy, and with jnp.where in "
            f"place of if ({str(error).splitlines()[0][:120]})"
        ) from None
    rows = 6 if model.level == "atom" else 2
    for layer, irreps in model.layers:
        if layer not in found:
            raise InputError(
                f"{model.name} returns {', '.join(found) or 'one array'}, and no layer {layer!r}, "
                "which irreps name: return a mapping of layer to array"
            )
        if found[layer].shape != (rows, irreps.dim):
            raise InputError(
                f"{model.name}, layer {layer!r}: expected ({model.level}, {irreps.dim}) for "
                f"{irreps}, here {(rows, irreps.dim)}, got {found[layer].shape}"
            )
