"""Spread compiled work over the devices of this process: one way, be it one device or many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

#: The one axis of a mesh, along which work is split.
_AXIS = "device"
_SHARES, _WHOLE = PartitionSpec(_AXIS), PartitionSpec()


def local_mesh() -> Mesh:
    """Return all devices of this process in a row; or that one which JAX's own setting names."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    devices = [chosen] if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)
    return Mesh(np.array(devices), _AXIS)


def spread(f: Callable[..., Any], mesh: Mesh, split: int) -> Callable[..., Any]:
    """Return a function that runs `f` on every device side by side, inside a compiled function.

    Each device gets its share of the first axis of the first `split` arrays, and all of the others.
    The results are joined along their first axes. Inside, `f` sees a plain array of its share.

    Args:
        split: how many arrays are split; their lengths are multiples of the number of devices.
    """

    def run(*arrays: Any) -> Any:
        specs = (_SHARES,) * split + (_WHOLE,) * (len(arrays) - split)
        # Shares never meet, so there is nothing to check about values that differ by device.
        spread_out = jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=_SHARES, check_vma=False)
        return spread_out(*arrays)

    return run


def put_shares(arrays: Any, mesh: Mesh) -> Any:
    """Put each device's share of the first axis of some arrays there."""
    return jax.device_put(arrays, shares(mesh))


def put_whole(arrays: Any, mesh: Mesh) -> Any:
    """Put all of some arrays on every device."""
    return jax.device_put(arrays, whole(mesh))


def shares(mesh: Mesh) -> NamedSharding:
    """Return where arrays lie of which each device has its share of the first axis."""
    return NamedSharding(mesh, _SHARES)


def whole(mesh: Mesh) -> NamedSharding:
    """Return where arrays lie of which each device has all."""
    return NamedSharding(mesh, _WHOLE)


def full_call(n: int, most: int, mesh: Mesh) -> int:
    """Return how many of n pieces of work to do in one call, if all calls are to be equally long.

    One compiled program then serves all of them. The last call may have room for more pieces than
    are left.

    Args:
        n: how many pieces there are.
        most: how many of them a device takes at once.
    """
    calls = -(-n // (most * mesh.size))
    return mesh.size * -(-n // (calls * mesh.size))
