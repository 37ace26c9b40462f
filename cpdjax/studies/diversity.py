"""Pairs of models of one architecture whose training differs in its data alone."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """Hold two models, the one with less diverse data first, and in what they differ."""

    narrow: str
    diverse: str
    differ: str


PAIRS = (
    Pair("chgnet-0.3.0", "chgnet-r2scan", "MPTraj by PBE against MP-ALOE by r2SCAN"),
    Pair("nequix-mp-1", "nequix-omat-1", "MPTraj against OMat24"),
    Pair("nequix-mp-1", "nequix-oam-1", "MPTraj against OMat24, then sAlex and MPTraj"),
)
