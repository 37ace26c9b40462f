"""Work on the columns of one channel after the other, in groups of channels of one padded width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cpdjax.kernel.moments import einsum
from cpdjax.likeness.layout import Layout, padded


class Block(NamedTuple):
    """Hold the channels of one padded width."""

    channel: Int[Array, " member"]
    #: Padding is the last column, of zeros.
    column: Int[Array, "member width"]
    whitening: Float[Array, "member width width"]

    def whiten(self, a: Float[Array, "column any"]) -> Float[Array, "member direction any"]:
        """Return the whitened columns of each channel."""
        return einsum("mij,min->mjn", self.whitening, a[self.column])


def blocks(
    layout: Layout, whitening: Sequence[Float[np.ndarray, "feature direction"]]
) -> list[Block]:
    """Return the channels in groups of one padded width."""
    found = []
    for size in sorted({len(c) for c in layout.column}):
        members = [i for i, c in enumerate(layout.column) if len(c) == size]
        maps = [padded(whitening[i], size) for i in members]
        columns = [layout.column[i] for i in members]
        found.append(Block(*(jnp.asarray(np.stack(a)) for a in (members, columns, maps))))
    return found


def by_channel(
    blocks: Sequence[Block], function: Callable[[Block], Array]
) -> Float[Array, "channel *any"]:
    """Return the results of a function of a block, which returns one for each of its channels."""
    order = jnp.concatenate([block.channel for block in blocks])
    found = jnp.concatenate([function(block) for block in blocks])
    return jnp.zeros_like(found).at[order].set(found)
