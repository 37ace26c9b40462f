"""Measure likeness by chance: the rows of one side are permuted, the same for all its channels.

Molecules change places within formulas, atoms within their molecule and element. So composition is
what it was, and everything after it, projection, folds and neighbours, is done anew. Vectors and
tensors of one frame are first turned together at random, because the frames in which molecules are
stored would otherwise be what channels have in common.

The p-value of one pair is exact where the features of rows that change places are exchangeable. All
pairs share their permutations, so that max-T sees how pairs with a channel in common move together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from cpdjax.representations.groups import Group
from cpdjax.representations.observed import Measured, Work
from cpdjax.representations.parts import PARTS, Matrices, Side, matrices, near_of, parts_of
from cpdjax.representations.rows import kind_of
from cpdjax.sweeps.parallel import each
from cpdjax.sweeps.rows import Rows
from cpdjax.uncertainty.resampling import orders


class Unit(NamedTuple):
    """Name what is computed and kept as one: all pairs of one group under one permutation."""

    group: int
    permutation: int


class _Nulls(NamedTuple):
    """Hold what all permutations share."""

    work: Work
    groups: Sequence[Group]
    sides: Sequence[Side]
    order: Int[np.ndarray, "permutation row"]


def drawn(work: Work, found: Sequence[Measured], rows: Rows) -> list[list[Matrices]]:
    """Return for each group the matrices of every permutation, computed or kept."""
    settings = work.settings
    if not settings.permutations:
        return [[] for _ in found]
    labels = kind_of(settings).rows.exchangeable(rows, settings)
    order = orders(len(rows), settings.permutations, labels, settings.seed)[1:]
    groups, sides = list(work.groups), [m.side for m in found]
    if settings.of_tensors:
        groups = [g.turned(rows.owner, settings.seed) for g in groups]
        sides = [Side(work.prepared(g, g.stack)) for g in groups]
    nulls = _Nulls(work, groups, sides, order)
    units = [Unit(i, p) for i in range(len(groups)) for p in range(len(order))]
    made = dict(each(partial(_kept, nulls), units, "drawing permutations"))
    return [[made[Unit(i, p)] for p in range(len(order))] for i in range(len(groups))]


def _kept(nulls: _Nulls, unit: Unit) -> Matrices:
    group = nulls.groups[unit.group]
    name = f"permutation-{unit.permutation}-{group.projection}-{group.stack.components}"
    return nulls.work.kept(name, lambda: _permuted(nulls, unit))


def _permuted(nulls: _Nulls, unit: Unit) -> Matrices:
    """Return the wanted matrices between a group and itself with its rows permuted."""
    work, group, left = nulls.work, nulls.groups[unit.group], nulls.sides[unit.group]
    prepared = work.prepared(group, group.permuted(nulls.order[unit.permutation]))
    names, channels = parts_of(work.settings.wanted), range(len(group.channels))
    near = []
    if "neighbours" in names:
        near = [near_of(prepared, c, work.settings.neighbours) for c in channels]
    right = Side(prepared, near)
    parts = {n: [PARTS[n].of(left, right, c, None) for c in channels] for n in names}
    found = matrices(parts, left, right)
    return {name: found[name] for name in work.settings.wanted if name in found}
