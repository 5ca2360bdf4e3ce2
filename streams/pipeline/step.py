"""Turns a batch of records, the states of its partition and the crowd into effects, as a value. No I/O.

An event that cannot be read becomes a dead letter. All other events are folded in the order of the records, and every
account with an event gets a score, also one of 0. An event that makes folding or scoring raise becomes a dead letter
too (`unprocessable`). The caller writes all of the effects or none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np

from gate.core.score import Stamp
from gate.ports.scores import EncodedScore
from gate.records.score_batches import with_bytes_each
from streams.core.campaigns import NO_CAMPAIGNS, Campaigns
from streams.core.crowd import HOST, MANY, Backfill, Crowd, ManySurroundings, Surroundings
from streams.core.events import Fault
from streams.core.facts import Facts, unpack
from streams.core.features import FactColumns, FactFeatures, FeatureColumns, Located, recent, recent_of
from streams.core.fold import KeyedHashes
from streams.core.models.link_odds import ReadsLinks
from streams.core.models.marks import ReadsCaptions
from streams.core.scorecard import Scorecard
from streams.core.weblinks import WebLinks
from streams.pipeline.crowd_shown import tell_crowd
from streams.pipeline.effects import (
    CampaignCounts,
    CrowdCounts,
    DeadLetter,
    DeadLetters,
    Effects,
    Scores,
    States,
)
from streams.pipeline.folding import BatchFold, FoldedBatch
from streams.pipeline.reading import MAX_KEPT_BYTES as MAX_KEPT_BYTES
from streams.pipeline.reading import Readers, ReadEvents, read_again, read_events
from streams.pipeline.reading import Record as Record
from streams.pipeline.stamps import Stamps
from streams.pipeline.unprocessable import Unprocessable, parted

BACKFILLED_A_BATCH = 256
MOST_BACKFILLED = 1_000
"""Most accounts without an event that are scored with a small batch, and with the largest one."""


def go_with_a_batch(accounts: int) -> int:
    """Most accounts without an event that are scored with a batch of `accounts`: an eighth as many, so that it does not take
    much longer. The others wait for the next batch."""
    return max(BACKFILLED_A_BATCH, min(MOST_BACKFILLED, accounts // 8))


def process(
    batch: Sequence[Record],
    states: Mapping[str, bytes],
    crowd: Crowd,
    scorecard: Scorecard,
    hashes: KeyedHashes,
    web: WebLinks,
    origin: tuple[str, int],
    epoch: str,
    now_us: int,
    stamps: Stamps | None = None,
    acts: bool = True,
    backfill: Backfill | None = None,
    campaigns: Campaigns | None = None,
    captions: ReadsCaptions | None = None,
    links: ReadsLinks | None = None,
) -> Effects:
    """Fold a batch (not empty, in order of offsets) of the partition `origin`; never raises for what records hold,
    but raises msgspec.DecodeError for a state that cannot be read.

    Reads `states` and updates `crowd` with what accounts showed; a repeated batch may repeat that. `web` reads links,
    `captions` and `links` the numbers of captions and the log odds of links; without them accounts keep no such facts.
    `now_us` is the wall clock, and only stamps when a score was made. `stamps` stamps scores; without it they have no
    generation. `acts` is False while the partition is far behind. With `stamps`, `backfill` adds accounts without an
    event that are scored too. `campaigns` groups what accounts show that is nearly the same. Both belong to `crowd`.
    """
    dead: list[DeadLetter] = []
    readers = Readers(captions, links)
    read = read_events(batch, origin, dead, crowd.numbers.of)
    foreign = 0 if stamps is None else stamps.learn(read.places)
    stamped = partial(_plain, epoch) if stamps is None else stamps.stamp
    number_of = read.numbers.__getitem__
    scoring = Scoring(crowd, scorecard, stamped, now_us, acts, campaigns, number_of)

    def sorted_out(account: str) -> ReadEvents:
        events = read_again(account, batch, readers)
        good, bad = parted(states.get(account), events, hashes, web, partial(scoring.check, account))
        dead.extend(_unprocessable(origin, account, bad))
        return good

    begin = partial(FoldedBatch, states, hashes, web, scorecard.read.of_facts, number_of)
    folding = BatchFold(read.places, readers.read(read), begin, sorted_out)
    folded = folding.fold()
    tell_crowd(crowd, origin[1], read, folded.shown(), folded.latest_us, hashes.hosts, campaigns, backfill)
    folded, scores = _scored(folding, folded, scoring)
    dead.sort(key=lambda letter: letter.offset)
    part = Scores(scores)
    if backfill is not None and stamps is not None:
        again_at = scoring._replace(
            stamped=lambda account, _: stamps.stamp(account, batch[-1].offset), number_of=crowd.numbers.of
        )
        part = _with_earlier(scores, folded.features, states, again_at, backfill, stamps)
    return Effects.of(
        batch[-1].offset + 1,
        States(folded.packed, (), folded.latest_us),
        part,
        DeadLetters(dead),
        *_crowd_counts(crowd, campaigns, origin[1]),
        *folded.counts(foreign),
    )


def surroundings(crowd: Crowd, facts: Located, account: str = "", campaigns: Campaigns | None = None) -> Surroundings:
    """The counts for the account's networks and devices of the last days, its last content and its last link host.

    Of several networks or devices the one that most accounts share counts. With `campaigns` also those of `account`.
    """
    networks, devices = recent(facts.networks, facts.latest_us), recent(facts.devices, facts.latest_us)
    around = crowd.around(networks, devices, facts.content, facts.host)
    return around if campaigns is None else _in_campaigns(around, account, facts.host, campaigns, crowd)


def surroundings_of(
    crowd: Crowd,
    accounts: Iterable[str],
    given: FactColumns,
    campaigns: Campaigns | None = None,
    number_of: Callable[[str], int] | None = None,
) -> ManySurroundings:
    """The `surroundings` of each account. `number_of` gives their numbers where those are at hand."""
    networks, devices = recent_of(given.networks, given.latest_us), recent_of(given.devices, given.latest_us)
    hosts = given.host
    around = crowd.around_batch(networks, devices, given.content, hosts)
    if campaigns is None:
        return around
    for place in np.flatnonzero(around.accounts[HOST] > 2).tolist():
        if campaigns.popular.has_host(hosts[place]):
            around.on_popular_host(place)
    numbers = list(map(number_of or crowd.numbers.of, accounts)) if campaigns.has_members else []
    members = campaigns.among(numbers)
    for place in [place for place, number in enumerate(numbers) if number in members] if members else ():
        if any(belongs := campaigns.of(numbers[place])):
            around.campaigns[place] = belongs
    return around


def _in_campaigns(around: Surroundings, account: str, host: int, campaigns: Campaigns, crowd: Crowd) -> Surroundings:
    if around.link_accounts > 2 and campaigns.popular.has_host(host):
        around = around.on_popular_host()
    if not campaigns.has_members:
        return around
    belongs = campaigns.of(crowd.numbers.of(account))
    return around if belongs is NO_CAMPAIGNS or not any(belongs) else around.in_campaigns(*belongs)


class Scoring(NamedTuple):
    """Makes all scores of a batch in one call. `stamped` makes the stamp of an account's score after the event at an
    offset. Scores that do not act (`acts`) refuse nothing. `number_of` gives the numbers of the accounts where those are at
    hand, as the crowd gives them.
    """

    crowd: Crowd
    scorecard: Scorecard
    stamped: Callable[[str, int], Stamp]
    now_us: int
    acts: bool
    campaigns: Campaigns | None = None
    number_of: Callable[[str], int] | None = None

    def all(self, accounts: Mapping[str, FactFeatures]) -> list[EncodedScore]:
        """The score of each account from its features, in their order. Raises what those of one account raise."""
        if not accounts:
            return []
        read, each = self.scorecard.read, [*accounts.values()]
        given = FactColumns.of(each)
        vectors: Iterable[Sequence[float]] | FeatureColumns
        if len(each) < MANY:
            vectors = [
                read.whole(features, surroundings(self.crowd, features, account, self.campaigns))
                for account, features in accounts.items()
            ]
        else:
            around = surroundings_of(self.crowd, accounts, given, self.campaigns, self.number_of)
            vectors = read.columns(given, around)
        scores = self.scorecard.scores(
            list(accounts),
            vectors,
            given.evidence_us,
            self.now_us,
            map(self.stamped, accounts, given.offset),
            self.acts,
        )
        return with_bytes_each(scores, are_of_one_call=True)

    def one(self, account: str, features: FactFeatures) -> EncodedScore:
        """The score of one account."""
        return self.all({account: features})[0]

    def check(self, account: str, facts: Facts) -> None:
        """Raises what the features of these facts or their score raise."""
        self.one(account, self.scorecard.read.of_facts(facts))


def again(accounts: Iterable[str], states: Mapping[str, bytes], scoring: Scoring) -> list[EncodedScore]:
    """The scores that the states of `accounts` give now, without an event.

    An account without a state that can be scored has none: the fold of its next event reports it.
    """
    readable: dict[str, FactFeatures] = {}
    for account in accounts:
        with suppress(Exception):  # a state whose facts give no features, too
            readable[account] = scoring.scorecard.read.of_facts(unpack(states[account]))
    try:
        return scoring.all(readable)
    except Exception:  # an error that one account's state causes must not stop its partition
        scores: list[EncodedScore] = []
        for account, features in readable.items():
            with suppress(Exception):
                scores.append(scoring.one(account, features))
        return scores


def _scored(folding: BatchFold, folded: FoldedBatch, scoring: Scoring) -> tuple[FoldedBatch, list[EncodedScore]]:
    """The scores of the accounts that the batch changed, and that batch without the events after which scoring raises."""
    try:
        return folded, scoring.all(folded.features)
    except Exception:  # an error that one account's events cause must not stop its partition
        raising: list[str] = []
        for account, features in folded.features.items():
            try:
                scoring.one(account, features)
            except Exception:
                raising.append(account)
    folded = folding.fold(raising)
    return folded, scoring.all(folded.features)


def _plain(epoch: str, account: str, offset: int) -> Stamp:
    return Stamp(epoch, offset)


def _crowd_counts(crowd: Crowd, campaigns: Campaigns | None, partition: int) -> tuple[CrowdCounts, CampaignCounts]:
    """The partition's counts that changed: of features, and of campaigns, which have a topic of their own."""
    changed = crowd.take_changed(partition)
    if campaigns is None:
        return CrowdCounts(changed), CampaignCounts([])
    told, joined = campaigns.told(partition, changed)
    names = {count.feature for count in told}
    return CrowdCounts([count for count in changed if count.feature not in names]), CampaignCounts(told, joined)


def _with_earlier(
    scores: list[EncodedScore],
    changed: Collection[str],
    states: Mapping[str, bytes],
    scoring: Scoring,
    backfill: Backfill,
    stamps: Stamps,
) -> Scores:
    """The scores with those of accounts without an event in the batch whose surroundings have changed."""
    earlier = backfill.take(stamps.partition, go_with_a_batch(len(changed)), changed)
    stamps.learn(earlier)
    waited = again(earlier, states, scoring)
    return Scores(
        scores + waited, waited=tuple([score.account for score, _ in waited]), skipped=backfill.take_skipped()
    )


def _unprocessable(origin: tuple[str, int], account: str, bad: Iterable[Unprocessable]) -> list[DeadLetter]:
    return [
        DeadLetter(
            *origin,
            read.offset,
            Fault.UNPROCESSABLE,
            f"{error} while the event was folded and scored; it can be replayed once that is mended",
            read.value[:MAX_KEPT_BYTES],
            account.encode(),
        )
        for read, error in bad
    ]
