"""Turns a batch of records, the states of its partition and the crowd into effects, as a value. No I/O.

An event that cannot be read becomes a dead letter. All other events are folded in the order of the records, and every
account with an event gets a score, also one of 0. An event that makes folding or scoring raise becomes a dead letter
too (`touched`). The caller writes all of the effects or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from zlib import crc32

import msgspec

from gate.core.event import Attempted
from gate.core.score import Stamp
from gate.ports.scores import EncodedScore
from gate.records.score import with_bytes
from streams.core.crowd import Backfill, Crowd, Surroundings
from streams.core.established import is_established
from streams.core.events import (
    Fault,
    Unreadable,
    check_record,
    decode_counting,
    kind_of,
    time_us,
)
from streams.core.facts import Facts, pack, unpack
from streams.core.features import features, last_evidence_us, recent
from streams.core.fold import REFUSALS, KeyedHashes
from streams.core.models.marks import ReadsCaptions
from streams.core.scorecard import Scorecard
from streams.core.weblinks import WebLinks
from streams.pipeline.effects import (
    CrowdCounts,
    DeadLetter,
    DeadLetters,
    DroppedFields,
    Effects,
    EventCounts,
    Scores,
    States,
)
from streams.pipeline.stamps import Stamps
from streams.pipeline.touched import ReadEvent, Touched, Unprocessable

BACKFILLED_A_BATCH = 256
"""Most accounts that are scored with a batch without an event of theirs; the others wait for the next one."""
MAX_KEPT_BYTES = 512 * 1024
"""Most bytes of an unreadable event that its dead letter keeps. The full event is at its origin."""


class Record(NamedTuple):
    """One record of the events topic; `timestamp_ms` is the broker's append time."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


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
    captions: ReadsCaptions | None = None,
) -> Effects:
    """Fold a batch (not empty, in order of offsets) of the partition `origin`; never raises for what records hold,
    but raises msgspec.DecodeError for a state that cannot be read.

    `states` is only read. `crowd` is updated with the features that accounts showed; a repeated batch may repeat that.
    `web` reads the links of uploads, `captions` the captions of the whole batch at once; without it accounts keep no
    facts of their captions. `now_us` is the wall clock, which only stamps when a score was made. `stamps` makes the
    stamps of scores; without it they have no generation. Where the partition is far behind, its scores do not act
    (`acts`). `backfill` is of this crowd and finds accounts without an event in the batch that are scored too.
    """
    dead: list[DeadLetter] = []
    touched = _fold(_with_captions(_read(batch, origin, dead), captions), states, hashes, web)
    foreign = 0 if stamps is None else stamps.learn(touched)
    stamped = partial(_plain, epoch) if stamps is None else stamps.stamp
    scoring = Scoring(crowd, scorecard, stamped, now_us, acts)
    for account, one in touched.items():
        if one.failed:
            dead += _unprocessable(origin, one.again(hashes, web, partial(scoring.one, account)))
        _note(crowd, origin[1], account, one, backfill)
    try:
        scores = scoring.all({account: one.facts for account, one in touched.items() if one.folded})
    except Exception:  # an error that one account's events cause must not stop its partition
        scores = []
        for account, one in touched.items():
            check = partial(scoring.one, account)
            try:
                scores += [check(one.facts)] if one.folded else []
            except Exception:
                dead += _unprocessable(origin, one.again(hashes, web, check))
                scores += [check(one.facts)] if one.folded else []
    dead.sort(key=lambda letter: letter.offset)
    packed = {account: pack(one.facts) for account, one in touched.items() if one.folded}
    earlier = [] if backfill is None else backfill.take(origin[1], BACKFILLED_A_BATCH, packed)
    if stamps is not None:
        stamps.learn(earlier)
    scoring = scoring._replace(stamped=lambda account, _: stamped(account, batch[-1].offset))
    waited = again(earlier, states, scoring)
    return Effects.of(
        batch[-1].offset + 1,
        States(packed),
        Scores(scores + waited, backfilled=len(waited), skipped=0 if backfill is None else backfill.take_skipped()),
        DeadLetters(dead),
        CrowdCounts(crowd.take_changed(origin[1])),
        _counted(touched.values(), foreign),
        _dropped(touched.values()),
    )


def surroundings(crowd: Crowd, facts: Facts) -> Surroundings:
    """What is known of the account's networks and devices of the last days, its last content and its last link host.

    Of several networks or devices the one that most accounts share counts.
    """
    networks, devices = recent(facts.networks, facts.latest_us), recent(facts.devices, facts.latest_us)
    return crowd.around(networks, devices, facts.content, facts.host)


class Scoring(NamedTuple):
    """What scores are made with: all scores of a batch in one call. `stamped` makes the stamp of an account's score
    after the event at an offset. Scores that do not act (`acts`) refuse nothing."""

    crowd: Crowd
    scorecard: Scorecard
    stamped: Callable[[str, int], Stamp]
    now_us: int
    acts: bool

    def all(self, accounts: Mapping[str, Facts]) -> list[EncodedScore]:
        """The score of each account from its facts, in their order. Raises what one account's facts raise."""
        crowd, stamped = self.crowd, self.stamped
        scores = self.scorecard.score_batch(
            list(accounts),
            [features(facts, surroundings(crowd, facts)) for facts in accounts.values()],
            [last_evidence_us(facts) for facts in accounts.values()],
            self.now_us,
            [stamped(account, facts.offset) for account, facts in accounts.items()],
            self.acts,
        )
        return [with_bytes(score) for score in scores]

    def one(self, account: str, facts: Facts) -> EncodedScore:
        """The score of one account."""
        return self.all({account: facts})[0]


def again(accounts: Iterable[str], states: Mapping[str, bytes], scoring: Scoring) -> list[EncodedScore]:
    """The scores that the states of `accounts` give now, without an event of theirs.

    An account without a state that can be scored has none: the fold of its next event reports it.
    """
    readable: dict[str, Facts] = {}
    for account in accounts:
        with suppress(KeyError, msgspec.DecodeError):
            readable[account] = unpack(states[account])
    try:
        return scoring.all(readable)
    except Exception:  # an error that one account's state causes must not stop its partition
        scores: list[EncodedScore] = []
        for account, facts in readable.items():
            with suppress(Exception):
                scores.append(scoring.one(account, facts))
        return scores


def _read(batch: Sequence[Record], origin: tuple[str, int], dead: list[DeadLetter]) -> list[ReadEvent]:
    """Every readable event, in order; unreadable ones go to `dead`."""
    read: list[ReadEvent] = []
    for offset, key, value, headers, timestamp_ms in batch:
        try:
            event, surplus, dropped = decode_counting(value, headers)
            at_us = time_us(event)
            check_record(event, at_us, key, timestamp_ms)
        except Unreadable as error:
            kept = (value or b"")[:MAX_KEPT_BYTES]
            dead.append(DeadLetter(*origin, offset, error.reason, error.detail, kept, key))
            continue
        read.append((offset, key, value or b"", event, at_us, surplus, dropped, None))
    return read


def _with_captions(read: list[ReadEvent], captions: ReadsCaptions | None) -> list[ReadEvent]:
    """The events with the numbers of their captions, which are computed for the whole batch at once."""
    if captions is None:
        return read
    places: list[int] = []
    texts: list[str] = []
    for place, one in enumerate(read):
        event = one[3]
        if isinstance(event, Attempted) and event.text and (event.decision is None or event.decision not in REFUSALS):
            places.append(place)
            texts.append(event.text)
    for place, numbers in zip(places, captions.read(texts), strict=True):
        read[place] = (*read[place][:-1], numbers)
    return read


def _fold(
    read: Sequence[ReadEvent], states: Mapping[str, bytes], hashes: KeyedHashes, web: WebLinks
) -> dict[str, Touched]:
    """Every account that an event touches, in the order they are met, with its events folded."""
    touched: dict[str, Touched] = {}
    for one in read:
        account = one[3].account.id
        of = touched.get(account)
        if of is None:
            of = touched[account] = Touched(states.get(account))
        of.add(one, hashes, web)
    return touched


def _plain(epoch: str, account: str, offset: int) -> Stamp:
    return Stamp(epoch, offset)


def _note(crowd: Crowd, partition: int, account: str, one: Touched, backfill: Backfill | None) -> None:
    """Add the features that the account showed in this batch to the crowd."""
    if one.shown:
        hashed = crc32(account.encode())
        crowd.note_all(partition, hashed, one.shown, is_established(one.facts))
        if backfill is not None:
            backfill.remember(account, hashed)


def _unprocessable(origin: tuple[str, int], bad: Iterable[Unprocessable]) -> list[DeadLetter]:
    return [
        DeadLetter(
            *origin,
            offset,
            Fault.UNPROCESSABLE,
            f"{error} while the event was folded and scored; it can be replayed once that is mended",
            value[:MAX_KEPT_BYTES],
            key,
        )
        for (offset, key, value, *_), error in bad
    ]


def _counted(touched: Iterable[Touched], foreign: int) -> EventCounts:
    by_type: dict[str, int] = {}
    unknown = duplicates = late = 0
    for one in touched:
        for _, _, _, event, _, unknown_fields, *_ in one.folded:
            kind = kind_of(event)
            by_type[kind] = by_type.get(kind, 0) + 1
            unknown += unknown_fields
        duplicates += one.duplicates
        late += one.late + one.facts.late
    return EventCounts(by_type, unknown, duplicates, late, foreign)


def _dropped(touched: Iterable[Touched]) -> DroppedFields:
    by_reason: Counter[tuple[str, str]] = Counter()
    for one in touched:
        for *_, dropped, _ in one.folded:
            if dropped:
                by_reason.update(dropped.items())
    return DroppedFields(dict(by_reason))
