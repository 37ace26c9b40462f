"""Measure likeness by chance: the rows of one side are permuted, the same for all its channels.

Molecules change places within formulas, atoms within their molecule and element. So composition is
what it was, and everything after it, projection, folds and neighbours, is done anew. Vectors and
tensors of one frame are first turned together at random, because the frames in which molecules are
stored would otherwise be what channels have in common.

The p-value of one pair is exact where the features of rows that change places are exchangeable. All
pairs share their permutations, so that max-T sees how pairs with a channel in common move together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Int

from cpdjax.likeness.chance import Chance, pays
from cpdjax.representations.groups import Group
from cpdjax.representations.observed import Measured, Work
from cpdjax.representations.parts import (
    LINEAR,
    PARTS,
    Matrices,
    Part,
    Side,
    matrices,
    near_of,
    parts_of,
)
from cpdjax.representations.rows import kind_of
from cpdjax.sweeps.parallel import each
from cpdjax.sweeps.rows import Rows
from cpdjax.uncertainty.resampling import orders


class Unit(NamedTuple):
    """Name what is computed and kept as one: all pairs of one group under one permutation."""

    group: int
    permutation: int


class _Sums(NamedTuple):
    """Name sums of one group that some permutations share: of some channels a with all b."""

    group: int
    channels: range
    permutations: range


class _Nulls(NamedTuple):
    """Hold what all permutations share."""

    work: Work
    groups: Sequence[Group]
    sides: Sequence[Side]
    order: Int[np.ndarray, "permutation row"]
    #: For every group what its linear measures share, or None where each is measured by itself.
    shared: Sequence[Chance | None]


_AT_ONCE = 100
"""Limit the permutations that one unit of sums is of (our choice: minutes are lost at most)."""


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
    shared = [_shared(work, *both, order) for both in zip(groups, sides, strict=True)]
    nulls = _Nulls(work, groups, sides, order, shared)
    sums = dict(
        each(partial(_kept_sums, nulls), _units_of_sums(nulls), "summing over permutations")
    )
    units = [Unit(i, p) for i in range(len(groups)) for p in range(len(order))]
    made = dict(each(partial(_kept, nulls, sums), units, "drawing permutations"))
    return [[made[Unit(i, p)] for p in range(len(order))] for i in range(len(groups))]


def _shared(
    work: Work, group: Group, side: Side, order: Int[np.ndarray, "permutation row"]
) -> Chance | None:
    """Return what the linear measures of all permutations share, where that costs less.

    They share nothing where the concepts of a projection do not stay as they are, such as bonds.
    """
    settings, stack = work.settings, group.stack
    wanted = [name for name in PARTS[LINEAR].measures if name in settings.wanted]
    if not wanted or not pays(side.prepared.stack):
        return None
    concepts = None if group.projection == "none" else stack.concepts
    if concepts is not None and any((concepts[one] != concepts).any() for one in order):
        return None
    given = stack, side.prepared, group.projection, wanted
    return Chance.of(*given, alpha=settings.alpha, variance=settings.variance)


def _units_of_sums(nulls: _Nulls) -> list[_Sums]:
    every = range(len(nulls.order))
    some = [every[i : i + _AT_ONCE] for i in range(0, len(every), _AT_ONCE)]
    return [
        _Sums(i, channels, permutations)
        for i, shared in enumerate(nulls.shared)
        if shared is not None
        for channels in shared.parts
        for permutations in some
    ]


def _name(group: Group, what: str) -> str:
    return f"{what}-{group.projection}-{group.stack.components}"


def _kept_sums(nulls: _Nulls, unit: _Sums) -> Part:
    group = nulls.groups[unit.group]
    shared = cast(Chance, nulls.shared[unit.group])  # there are units where something is shared
    order = [group.rows(nulls.order[p]) for p in unit.permutations]
    what = f"sums-{unit.channels[0]}-{unit.permutations[0]}"
    return nulls.work.kept(_name(group, what), lambda: shared.sums(unit.channels, np.stack(order)))


def _kept(nulls: _Nulls, sums: Mapping[_Sums, Part], unit: Unit) -> Matrices:
    name = _name(nulls.groups[unit.group], f"permutation-{unit.permutation}")
    return nulls.work.kept(name, lambda: _permuted(nulls, sums, unit))


def _permuted(nulls: _Nulls, sums: Mapping[_Sums, Part], unit: Unit) -> Matrices:
    """Return the wanted matrices between a group and itself with its rows permuted."""
    work, group, left = nulls.work, nulls.groups[unit.group], nulls.sides[unit.group]
    order, shared = group.rows(nulls.order[unit.permutation]), nulls.shared[unit.group]
    names, channels = parts_of(work.settings.wanted), range(len(group.channels))
    found: Matrices = {}
    if shared is not None:
        names.remove(LINEAR)
        found |= shared.matrices(order, _of_permutation(sums, unit))
    if names:
        prepared = work.prepared(group, group.stack.permuted(order))
        near = []
        if "neighbours" in names:
            near = [near_of(prepared, c, work.settings.neighbours) for c in channels]
        right = Side(prepared, near)
        parts = {n: [PARTS[n].of(left, right, c, None) for c in channels] for n in names}
        found |= matrices(parts, left, right)
    return {name: found[name] for name in work.settings.wanted if name in found}


def _of_permutation(sums: Mapping[_Sums, Part], unit: Unit) -> Part:
    """Return the sums of all channels a under one permutation."""
    own = [
        {name: values[unit.permutation - of.permutations[0]] for name, values in part.items()}
        for of, part in sorted(sums.items(), key=lambda item: item[0].channels[0])
        if of.group == unit.group and unit.permutation in of.permutations
    ]
    return {name: np.concatenate([part[name] for part in own]) for name in own[0]}
