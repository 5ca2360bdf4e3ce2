"""What the accounts of a batch showed the crowd: places, contents and link hosts, and campaigns.

A batch of many uploads is noted as columns, which costs less; of few uploads each feature is noted by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gate.core.duration import DAY_US
from streams.core.campaigns import Campaigns, ShownCampaigns
from streams.core.crowd import MANY, Backfill, Crowd, ShownFeatures, column_of
from streams.pipeline.folding import COLUMNS, WIDTH, CrowdShown
from streams.pipeline.reading import EventBatch

Numbers = NDArray[np.uint64]
T = TypeVar("T", bound=np.generic)


class Joined(NamedTuple):
    """The campaigns that uploads show; the number of each upload's account, when it was (µs), and whether that account is
    established."""

    accounts: list[int]
    shown: ShownCampaigns
    times: list[int]
    established: list[bool]


def tell_crowd(
    crowd: Crowd,
    partition: int,
    read: EventBatch,
    shown: CrowdShown,
    latest_us: int,
    hosts: Mapping[str, int],
    campaigns: Campaigns | None,
    backfill: Backfill | None,
) -> None:
    """Count what the accounts of a batch of the partition showed until `latest_us`, and group it into campaigns.

    An event that shows nothing, such as a refused attempt, may open a day too: counts age while no upload is let in.
    `read` is the batch, `hosts` has the number of each link host. `campaigns` and `backfill` are of this
    crowd.
    """
    joined = None if campaigns is None else show_campaigns(campaigns, read, shown, hosts)
    if backfill is not None:
        backfill.remember(shown.accounts, shown.numbers)
    note_shown(crowd, partition, shown, joined)
    if crowd.is_ahead(latest_us):
        for event in read.events:
            crowd.pass_time(event.at_us, crowd.numbers.of(event.event.account.id))
    if campaigns is not None and joined is not None:
        campaigns.look(joined.accounts, joined.shown)


def show_campaigns(
    campaigns: Campaigns,
    read: EventBatch,
    shown: CrowdShown,
    hosts: Mapping[str, int],
) -> Joined:
    """The campaigns that the uploads of the batch show; tells the popular hosts who links to them.

    `hosts` has the number of each link host.
    """
    popular = campaigns.popular
    popular.know(hosts)
    linked = shown.rows[WIDTH - 1 :: WIDTH]
    owners, firm = _of_each_upload(column_of(shown.numbers), shown), shown.firm
    for place in [place for place, host in enumerate(linked) if host]:
        owner = int(owners[place])
        popular.note(linked[place], owner, shown.rows[place * WIDTH], owner in firm)
    return Joined(
        read.accounts,
        campaigns.read(read.uploads, read.times, hosts, firm),
        read.times,
        [account in firm for account in read.accounts] if firm else [False] * len(read.accounts),
    )


def note_shown(crowd: Crowd, partition: int, shown: CrowdShown, joined: Joined | None) -> None:
    """Count what accounts of the partition showed."""
    if len(shown.rows) < MANY * WIDTH:
        _note_each(crowd, partition, shown, joined)
        return
    rows, owners = column_of(shown.rows).reshape(-1, WIDTH), _of_each_upload(column_of(shown.numbers), shown)
    established = _of_each_upload(np.array(shown.established, np.bool_), shown)
    days = rows[:, 0] // np.uint64(DAY_US)
    is_again = (owners[1:] == owners[:-1]) & (days[1:] == days[:-1])
    by_kind = {}
    for column, kind in enumerate(COLUMNS, 1):
        values = _without_repeats(rows[:, column], is_again)
        by_kind[kind] = ShownFeatures(values, owners, rows[:, 0], established).only(values != 0)
    if joined is not None:
        accounts, times = column_of(joined.accounts), column_of(joined.times)
        established = np.array(joined.established, np.bool_)
        for kind, (numbers, places) in joined.shown.items():
            at = np.array(places, np.intp)
            by_kind[kind] = ShownFeatures(column_of(numbers), accounts[at], times[at], established[at])
    crowd.note_batch(partition, by_kind)


def _note_each(crowd: Crowd, partition: int, shown: CrowdShown, joined: Joined | None) -> None:
    at = 0
    for owner, uploads, established in zip(shown.numbers, shown.uploads, shown.established, strict=True):
        for _ in range(uploads):
            at_us, *features = shown.rows[at : at + WIDTH]
            at += WIDTH
            for kind, value in zip(COLUMNS, features, strict=True):
                if value:
                    crowd.note(partition, kind, value, owner, at_us, established)
    if joined is not None:
        accounts, campaigns, times, firm = joined
        for kind, (numbers, places) in campaigns.items():
            for number, place in zip(numbers, places, strict=True):
                crowd.note(partition, kind, number, accounts[place], times[place], firm[place])


def _of_each_upload(of_accounts: NDArray[T], shown: CrowdShown) -> NDArray[T]:
    """Each account's value, repeated for each of its uploads."""
    return np.repeat(of_accounts, np.array(shown.uploads, np.intp))


def _without_repeats(values: Numbers, is_again: NDArray[np.bool_]) -> Numbers:
    """The values with 0 where one is that of the row before, and `is_again` says that this row is of its account and day.

    Most uploads come from where the account's last one came from.
    """
    kept = values.copy()
    kept[1:][is_again & (values[1:] == values[:-1])] = 0
    return kept
