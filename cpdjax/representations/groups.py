"""Group the channels that can be compared with each other, and lay their columns side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from e3nn_jax import Irrep
from jaxtyping import Bool, Float, Int

from cpdjax.errors import InputError
from cpdjax.features.features import Features
from cpdjax.likeness.stack import Stack
from cpdjax.omissions import say_left_out
from cpdjax.representations.rows import drawn, folds_of, kind_of
from cpdjax.representations.settings import SpaceSettings
from cpdjax.sweeps.channels import Channel, channels, tensor_channels
from cpdjax.sweeps.rows import Rows
from cpdjax.uncertainty.equivariant_resampling import turns


@dataclass(frozen=True, eq=False)
class Group:
    """Hold channels side by side, with what is subtracted from them."""

    channels: Sequence[Channel]
    #: The place of each of them among all channels.
    places: Int[np.ndarray, " channel"]
    projection: str
    stack: Stack

    def without(self, left_out: Sequence[int]) -> Group:
        """Return the group less some of its channels, by their numbers in it."""
        kept = np.setdiff1d(np.arange(len(self.channels)), left_out)
        columns = np.isin(self.stack.owner, kept)
        owner = np.searchsorted(kept, self.stack.owner[columns])
        stack = replace(self.stack, x=self.stack.x[:, columns], owner=owner)
        chosen = [self.channels[i] for i in kept]
        return replace(self, channels=chosen, places=self.places[kept], stack=stack)

    def turned(self, frames: Int[np.ndarray, " row"], seed: int) -> Group:
        """Return the group with each frame's vectors or tensors turned at random."""
        x = self.stack.x
        parts = x.reshape(len(frames), self.stack.components, x.shape[1])
        turn = turns(len(frames), self.stack.components // 2, frames, seed)
        new = np.einsum("nij,njc->nic", turn, parts).reshape(x.shape)
        return replace(self, stack=replace(self.stack, x=new))

    def rows(self, order: Int[np.ndarray, " molecule"]) -> Int[np.ndarray, " row"]:
        """Return the rows of the stack that molecules or atoms in this order have."""
        steps = np.arange(self.stack.components)
        rows = np.repeat(order, self.stack.components) * self.stack.components
        return rows + np.tile(steps, len(order))


def channels_of(features: Sequence[Features], rows: Rows, settings: SpaceSettings) -> list[Channel]:
    """Return the channels that are compared, two at least, none of them constant.

    Raises:
        InputError: features have other rows, or fewer than two channels are left.

    Warns:
        LeftOutWarning: channels are constant, or models have none.
    """
    for f in features:
        for layer, array in f.items():
            if array.shape[0] != len(rows):
                raise InputError(
                    f"features {f.model!r}, layer {layer!r}, have {array.shape[0]} rows, and "
                    f"{rows.name!r} has {len(rows)}: spaces are compared row by row"
                )
    of = _tensors if settings.of_tensors else _invariants
    found = of(features, len(rows), settings)
    constant = {c.label: "every feature is constant" for c in found if not c.x.shape[1]}
    kept = [c for c in found if c.x.shape[1]]
    if len(kept) < 2:
        named = f"only {kept[0].label!r}" if kept else "none"
        have = {c.model for c in found}
        bare = [f.model for f in features if f.model not in have]
        why = f" (constant: {', '.join(constant)})" if constant else ""
        why += f" (no channel in the layers given: {', '.join(bare)})" if bare else ""
        raise InputError(
            f"two channels or more are compared, got {named}{why}: name a further model or layer"
        )
    say_left_out("channels", "spaces", constant, stacklevel=5)
    return kept


def _invariants(features: Sequence[Features], rows: int, settings: SpaceSettings) -> list[Channel]:
    """Return the channels of invariants."""
    what = kind_of(settings).rows.name
    return channels(features, rows, settings.channel_irreps, settings.invariants, what=what)


def _tensors(features: Sequence[Features], rows: int, settings: SpaceSettings) -> list[Channel]:
    """Return the channels of vectors and tensors, every irrep its own."""
    irreps = (ir for f in features for layer in f.values() for _, ir in layer.irreps)
    turning = {str(ir): None for ir in irreps if ir.l}
    if not turning:
        raise InputError(
            f"no layer has vectors or tensors, which probe {settings.probe!r} compares: name "
            "models that have some, and layers that keep their irreps"
        )
    what = kind_of(settings).rows.name
    reason = "holds no vectors or tensors"
    return tensor_channels(features, rows, turning, settings.irreps, what=what, reason=reason)


def comparable(found: Sequence[Channel]) -> Bool[np.ndarray, "channel channel"]:
    """Return which channels can be compared: those of one irrep, and all of invariants.

    Where the labels of a model hold for rotations only, those of one degree are compared.
    """
    turning = [None if c.components == 1 else Irrep(c.irrep) for c in found]

    def alike(i: int, j: int) -> bool:
        a, b = turning[i], turning[j]
        if a is None or b is None:
            return a is b
        return a == b or (a.l == b.l and not (found[i].parity and found[j].parity))

    n = range(len(found))
    return np.array([[alike(i, j) for j in n] for i in n])


def groups_of(found: Sequence[Channel], rows: Rows, settings: SpaceSettings) -> list[Group]:
    """Return one group for each number of components and projection."""
    fold, unit = folds_of(rows, settings), drawn(rows, settings)
    concepts = _concepts(rows, settings)
    made = []
    for components in sorted({c.components for c in found}):
        places = np.array([i for i, c in enumerate(found) if c.components == components])
        own = [found[i] for i in places]
        stack = Stack(
            x=np.hstack([_flat(c.x) for c in own]),
            owner=np.repeat(np.arange(len(own)), [c.x.shape[1] for c in own]),
            unit=np.repeat(unit, components),
            fold=np.repeat(fold, components),
            concepts=None if settings.of_tensors else concepts,
            elements=rows.counts.shape[1],
            components=components,
        )
        made += [Group(own, places, projection, stack) for projection in settings.projections]
    return made


def _concepts(rows: Rows, settings: SpaceSettings) -> Float[np.ndarray, "row concept"]:
    """Return composition, and beside it what the projection takes as well."""
    further = rows.concepts(settings.projection)
    return rows.counts if further is None else np.hstack([rows.counts, further])


def _flat(
    x: Float[np.ndarray, "row feature"] | Float[np.ndarray, "row feature component"],
) -> Float[np.ndarray, "row_component feature"]:
    """Return features in a unit whose squares fit, a power of two; components are rows."""
    x = np.ldexp(x, -int(np.frexp(np.abs(x).max())[1]))
    return x if x.ndim == 2 else x.swapaxes(1, 2).reshape(-1, x.shape[1])
