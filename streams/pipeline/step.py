"""Turns a batch of records, the states of its partition and the crowd into effects, as a value. No I/O.

An event that cannot be read becomes a dead letter. All other events are folded in the order of the records, and every
account with an event gets a score, also one of 0. An event that makes folding or scoring raise becomes a dead letter
too (`touched`). The caller writes all of the effects or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from zlib import crc32

from gate.core.event import Attempted
from gate.core.score import Stamp
from gate.ports.scores import EncodedScore
from gate.records.score import with_bytes
from streams.core.crowd import Crowd, Surroundings
from streams.core.established import is_established
from streams.core.events import (
    Fault,
    Unreadable,
    check_record,
    decode_counting,
    kind_of,
    time_us,
)
from streams.core.facts import Facts, pack
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
    captions: ReadsCaptions | None = None,
) -> Effects:
    """Fold a batch (not empty, in order of offsets) of the partition `origin`; never raises for what records hold,
    but raises msgspec.DecodeError for a state that cannot be read.

    `states` is only read. `crowd` is updated with the features that accounts showed; a repeated batch may repeat that.
    `web` reads the links of uploads, `captions` the captions of the whole batch at once; without it accounts keep no
    facts of their captions. `now_us` is the wall clock, which only stamps when a score was made. `stamps` makes the
    stamps of scores; without it they have no generation. Where the partition is far behind, its scores do not act
    (`acts`).
    """
    dead: list[DeadLetter] = []
    touched = _fold(_with_captions(_read(batch, origin, dead), captions), states, hashes, web)
    foreign = 0 if stamps is None else stamps.learn(touched)
    stamped = partial(_plain, epoch) if stamps is None else stamps.stamp
    score = partial(_score, crowd, scorecard, stamped, now_us, acts)
    for account, one in touched.items():
        if one.failed:
            dead += _unprocessable(origin, one.again(hashes, web, partial(score, account)))
        _note(crowd, origin[1], crc32(account.encode()), one)
    packed: dict[str, bytes] = {}
    scores: list[EncodedScore] = []
    for account, one in touched.items():
        if not one.folded:
            continue
        try:
            made = score(account, one.facts)
        except Exception:  # an error that one account's events cause must not stop its partition
            dead += _unprocessable(origin, one.again(hashes, web, partial(score, account)))
            if not one.folded:
                continue
            made = score(account, one.facts)
        scores.append(made)
        packed[account] = pack(one.facts)
    dead.sort(key=lambda letter: letter.offset)
    return Effects.of(
        batch[-1].offset + 1,
        States(packed),
        Scores(scores),
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


def _score(
    crowd: Crowd,
    scorecard: Scorecard,
    stamped: Callable[[str, int], Stamp],
    now_us: int,
    acts: bool,
    account: str,
    facts: Facts,
) -> EncodedScore:
    vector = features(facts, surroundings(crowd, facts))
    return with_bytes(
        scorecard.score(account, vector, last_evidence_us(facts), now_us, stamped(account, facts.offset), acts)
    )


def _plain(epoch: str, account: str, offset: int) -> Stamp:
    return Stamp(epoch, offset)


def _note(crowd: Crowd, partition: int, account: int, one: Touched) -> None:
    """Add the features that the account showed in this batch to the crowd."""
    if one.shown:
        crowd.note_all(partition, account, one.shown, is_established(one.facts))


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
