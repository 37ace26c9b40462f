"""Probe the units of a sweep on all devices of this process, or take what was kept of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from cpdjax.kernel.options import Choices, Options
from cpdjax.kernel.ridge import LOO_ALPHAS
from cpdjax.kernel.scores import Scores
from cpdjax.machine.devices import local_mesh, put_shares, put_whole, spread
from cpdjax.machine.precision import default_batch_size, precision
from cpdjax.machine.programs import compiled
from cpdjax.probes.arguments import refining
from cpdjax.sweeps.parallel import each
from cpdjax.sweeps.probe_kinds import KINDS, left_to_project
from cpdjax.sweeps.units import Batch, Unit, Work, batches

_log = logging.getLogger(__name__)


class _Shared(NamedTuple):
    """Hold what all units share: options, penalties, and arrays that are on every device."""

    mesh: Mesh
    options: Options
    alphas: np.ndarray
    #: What the kernel takes beside features, by the number of components of a channel.
    beside: dict[int, tuple[Array, ...]]

    @classmethod
    def of(cls, work: Work) -> _Shared:
        settings, kind = work.settings, KINDS[work.settings.probe]
        loo = settings.alphas == "loo"
        alphas = np.asarray(LOO_ALPHAS if loo else settings.alphas)
        choices = {choice.name: getattr(settings, choice.name) for choice in fields(Choices)}
        options = Options(
            **{**choices, "projection": left_to_project(settings)},
            loo=loo,
            batch_size=default_batch_size(),
            elements=work.targets.counts.shape[1],
        )
        mesh = local_mesh()
        with precision(settings.dtype):
            beside = {
                n: put_whole(kind.beside(n, work.targets, alphas, options, settings.dtype), mesh)
                for n in {channel.components for channel in work.channels}
            }
        return cls(mesh, options, alphas, beside)


def probe_units(work: Work, wanted: Sequence[Unit]) -> dict[Unit, Scores]:
    """Return the scores of units, each without its repeat axis."""
    kept = {unit: work.checkpoint.load(unit.name(work.channels)) for unit in wanted}
    found = {unit: Scores(**arrays) for unit, arrays in kept.items() if arrays is not None}
    if found:
        _log.info("%d of %d units are there from an earlier run", len(found), len(wanted))
    shared = _Shared.of(work)
    left = batches(work, wanted, found.keys(), shared.mesh)
    for _, scores in each(partial(_probe_batch, work, shared), left, "probing"):
        found |= scores
    return found


def _probe_batch(work: Work, shared: _Shared, batch: Batch) -> dict[Unit, Scores]:
    """Compute units of one shape, and keep each of them."""
    settings, kind, layout = work.settings, KINDS[work.settings.probe], work.layout
    own = [work.channels[unit.channel] for unit in batch]
    components = own[0].components
    x = np.stack([channel.padded() for channel in own])
    x = kind.features(x, shared.alphas, shared.options, settings.dtype)
    repeats = [unit.repeat for unit in batch]
    with precision(settings.dtype):
        stack = _probe(
            *put_shares((x, layout.index[repeats], layout.rank[repeats]), shared.mesh),
            *shared.beside[components],
            mesh=shared.mesh,
            kernel=kind.kernel,
            sizes=layout.sizes,
            bounds=layout.bounds,
            options=replace(
                refining(shared.options, x[0].size, shared.alphas, x.dtype), test=layout.test
            ),
        )
        stack = jax.tree.map(np.asarray, stack)
    stack = kind.among_all_targets(stack, work.targets, components)
    found = {unit: jax.tree.map(lambda a, i=i: a[i, 0], stack) for i, unit in enumerate(batch)}
    for unit, scores in found.items():
        work.checkpoint.save(unit.name(work.channels), vars(scores))
    return found


@partial(compiled, static_argnames=("mesh", "kernel", "sizes", "bounds", "options"))
def _probe(
    x: Array, index: Array, rank: Array, *beside: Array, mesh: Mesh, kernel: Any, **static: Any
) -> Scores:
    """Run a kernel on a stack of channels, each in a repeat of its own."""

    def one(x: Array, index: Array, rank: Array, *beside: Array) -> Scores:
        scores: Scores = kernel(x, *beside, index[None], rank[None], **static)
        return scores

    def share(x: Array, index: Array, rank: Array, *beside: Array) -> Scores:
        if len(x) == 1:  # no vmap, which would batch LAPACK calls: `kernel.ridge` says why not
            return jax.tree.map(lambda a: a[None], one(x[0], index[0], rank[0], *beside))
        return jax.vmap(one, (0, 0, 0, *[None] * len(beside)))(x, index, rank, *beside)

    return spread(share, mesh, split=3)(x, index, rank, *beside)
