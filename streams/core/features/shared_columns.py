"""The features of surroundings of many accounts at once, each equal bit by bit to what its family's reader gives.

Most accounts share neither content nor link host with others and belong to no campaign. The features of the crowd and of
campaigns are read account by account only for those that do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.crowd import CONTENT, DEVICE, HOST, IP, ManySurroundings
from streams.core.features import campaign, crowd
from streams.core.features.fact_features import FactColumns, FactFeatures, ReadsSharing
from streams.core.features.feature_columns import packed_rows
from streams.core.features.places import PLACE_BYTES

Columns = NDArray[np.float64]
"""Features of one family by accounts."""
SHARED_BY_FEW: Final = 2
"""Accounts up to which a content or a link host is no spread."""


def network_columns(given: FactColumns, around: ManySurroundings) -> Columns:
    """The features of `network`."""
    networks = _column(map(len, given.networks)) // PLACE_BYTES
    devices = _column(map(len, given.devices)) // PLACE_BYTES
    accounts = around.accounts
    values = np.array(
        (accounts[IP], accounts[DEVICE], _strangers(around, IP), _strangers(around, DEVICE), networks, devices)
    )
    values[:4, _column(given.uploads) == 0.0] = 0.0
    return values


def crowd_columns(given: FactColumns, around: ManySurroundings) -> Columns:
    """The features of `crowd`."""
    contents, hosts = around.accounts[CONTENT], around.accounts[HOST]
    has_uploads = _column(given.uploads) > 0.0
    nothing = np.zeros(len(given.each))
    values = np.array((contents, hosts, hosts, nothing, nothing)) * has_uploads
    is_shared = (contents > SHARED_BY_FEW) | (hosts > SHARED_BY_FEW)
    return _with(values, crowd.read, given.each, around, np.flatnonzero(has_uploads & is_shared).tolist())


def campaign_columns(given: FactColumns, around: ManySurroundings) -> Columns:
    """The features of `campaign`."""
    values = np.zeros((len(campaign.FEATURES), len(given.each)))
    return _with(values, campaign.read, given.each, around, list(around.campaigns))


def _strangers(around: ManySurroundings, kind: int) -> Columns:
    accounts, established = around.accounts[kind], around.established[kind]
    others = np.maximum(accounts - established, 0.0)
    strangers: Columns = np.divide(others * others, accounts, out=accounts.copy(), where=established > 0.0)
    return strangers


def _with(
    values: Columns, read: ReadsSharing, each: Sequence[FactFeatures], around: ManySurroundings, places: list[int]
) -> Columns:
    """The values, in which those of the accounts at `places` are read."""
    if places:
        some = zip(map(each.__getitem__, places), around.some(places), strict=True)
        rows = [read(one, surroundings, one.latest_us) for one, surroundings in some]
        values[:, places] = packed_rows(rows, len(values)).T
    return values


def _column(numbers: Iterable[float]) -> Columns:
    """Numbers as a column; several times as fast as numpy's own constructor."""
    return np.frombuffer(array("d", numbers))
