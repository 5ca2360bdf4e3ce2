"""What accounts show, between rows that a test writes and the columns that the crowd and its campaigns take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec.structs import astuple

from streams.core.campaigns import Feature, ShownCampaigns
from streams.core.crowd import CONTENT, DEVICE, HOST, IP, ManySurroundings, ShownFeatures, Surroundings, column_of
from streams.core.crowd.kinds import LINK_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN

Showing = tuple[int, Mapping[Feature, int], bool]
"""An account's number, the features that it shows, each with its time in µs, and whether it is established."""


def rows_of(batch: Iterable[Showing]) -> list[tuple[int, int, int, int, bool]]:
    """Kind, value, account, time and whether the account is established: kind by kind, as a batch is counted."""
    rows = [(*feature, account, at_us, firm) for account, shown, firm in batch for feature, at_us in shown.items()]
    return sorted(rows, key=lambda row: row[0])


def columns_of(batch: Iterable[Showing]) -> dict[int, ShownFeatures]:
    """The same by kind, as columns."""
    by_kind: dict[int, list[tuple[int, int, int, bool]]] = {}
    for kind, *row in rows_of(batch):
        by_kind.setdefault(kind, []).append((row[0], row[1], row[2], bool(row[3])))
    return {kind: _shown(rows) for kind, rows in by_kind.items()}


def _shown(rows: list[tuple[int, int, int, bool]]) -> ShownFeatures:
    values, accounts, at_us, established = zip(*rows, strict=True)
    return ShownFeatures(column_of(values), column_of(accounts), column_of(at_us), np.array(established))


def each(shown: ShownCampaigns) -> Iterator[tuple[int, Feature]]:
    """Every campaign that a batch shows, behind the place of the upload that shows it."""
    for kind, (numbers, places) in shown.items():
        for number, place in zip(numbers, places, strict=True):
            yield place, (kind, number)


def of_uploads(shown: ShownCampaigns, uploads: int) -> list[tuple[Feature, ...]]:
    """The campaigns of each upload: its content, its caption, its links."""
    order = (PICTURE_CAMPAIGN, TEXT_CAMPAIGN, LINK_CAMPAIGN)
    found: list[list[Feature]] = [[] for _ in range(uploads)]
    for place, feature in sorted(each(shown), key=lambda one: order.index(one[1][0])):
        found[place].append(feature)
    return [tuple(features) for features in found]


def many_surroundings(each: Sequence[Surroundings]) -> ManySurroundings:
    """Surroundings as columns."""
    numbers = [list(map(float, column)) for column in zip(*map(astuple, each), strict=True)]
    kinds = (IP, DEVICE, CONTENT, HOST)
    many = ManySurroundings(
        dict(zip(kinds, map(np.array, numbers[:4]), strict=True)),
        dict(zip(kinds, map(np.array, numbers[4:8]), strict=True)),
    )
    many.campaigns = {place: astuple(one)[8:] for place, one in enumerate(each) if any(astuple(one)[8:])}
    return many
