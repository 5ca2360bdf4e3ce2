"""Reads the records of a batch: their events, and with numpy the numbers of all captions and the log odds of all links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from gate.core.event import Attempted, Event
from gate.core.fields.times import since_epoch_us
from streams.core.crowd import account_number
from streams.core.events import ATTEMPTS, Dropping, Unreadable, check_record, decode_counting
from streams.core.fold import REFUSALS
from streams.core.models.link_odds import ReadsLinks, UploadLinks
from streams.core.models.marks import CaptionNumbers, ReadsCaptions
from streams.core.weblinks import may_hold_link
from streams.pipeline.effects import DeadLetter

T = TypeVar("T")

MAX_KEPT_BYTES = 512 * 1024
"""Most bytes of an unreadable event that its dead letter keeps. The full event is at its origin."""


class Record(NamedTuple):
    """One record of the events topic; `timestamp_ms` is the broker's append time."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int


class ReadEvent(NamedTuple):
    """An event with its time in µs, the offset and the bytes of its record, how many of its fields no event of its type
    has, which of its fields were dropped, and whether it may hold a link."""

    event: Event
    at_us: int
    offset: int
    value: bytes
    unknown_fields: int
    dropped: Dropping
    is_attempt: bool
    may_link: bool


class ReadEvents(NamedTuple):
    """Events, each with the numbers of its caption and the log odds of its worst link; None if no model reads them.

    Three sequences of one length, because a tuple for each event would take time to make and to free."""

    events: Sequence[ReadEvent]
    captions: Sequence[CaptionNumbers | None]
    link_odds: Sequence[int | None]

    def only(self, places: Sequence[int]) -> ReadEvents:
        """Those at these places."""
        events, captions, link_odds = self
        return ReadEvents(
            [events[place] for place in places],
            [captions[place] for place in places],
            [link_odds[place] for place in places],
        )


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The readable events of a batch, in order, and what later steps need of them.

    All of it is noted while an event is at hand: reading thousands of events a second time waits for memory. `places` has
    the places of each account's events, `numbers` the 32-bit number of each account. `uploads` are the attempts that were
    let in, with their `times` (µs) and the numbers of their accounts. `texts` and `links` are those of uploads that have
    any, with their places.
    """

    events: list[ReadEvent]
    places: dict[str, list[int]]
    numbers: dict[str, int]
    uploads: list[Attempted]
    times: list[int]
    accounts: list[int]
    texts: tuple[list[int], list[str]]
    links: tuple[list[int], list[UploadLinks]]


class Readers(NamedTuple):
    """The readers of captions and links of a whole batch; None where accounts keep no such facts."""

    captions: ReadsCaptions | None = None
    links: ReadsLinks | None = None

    def read(self, batch: EventBatch) -> ReadEvents:
        """The events with the numbers of their captions and the log odds of their worst links, where they are read."""
        captions: list[CaptionNumbers | None] = [None] * len(batch.events)
        odds: list[int | None] = [None] * len(batch.events)
        places, texts = batch.texts
        if self.captions is not None and texts:
            _put(captions, places, self.captions.read(texts))
        places, links = batch.links
        if self.links is not None and links:
            _put(odds, places, self.links.read(links))
        return ReadEvents(batch.events, captions, odds)


def read_events(
    batch: Sequence[Record],
    origin: tuple[str, int],
    dead: list[DeadLetter],
    number_of: Callable[[str], int] = account_number,
) -> EventBatch:
    """Every readable event; unreadable ones go to `dead`. `number_of` gives the numbers of accounts."""
    events: list[ReadEvent] = []
    by_account: dict[str, list[int]] = {}
    numbers: dict[str, int] = {}
    uploads: list[Attempted] = []
    times: list[int] = []
    accounts: list[int] = []
    with_text: list[int] = []
    texts: list[str] = []
    with_link: list[int] = []
    linking: list[UploadLinks] = []
    made = tuple.__new__  # a named tuple's own constructor takes longer
    place = 0
    for offset, key, value, headers, timestamp_ms in batch:
        try:
            event, unknown_fields, dropped = decode_counting(value, headers)
            at_us = since_epoch_us(event.at)
            check_record(event, at_us, key, timestamp_ms)
        except Unreadable as error:
            kept = (value or b"")[:MAX_KEPT_BYTES]
            dead.append(DeadLetter(*origin, offset, error.reason, error.detail, kept, key))
            continue
        account = event.account.id
        places = by_account.get(account)
        if places is None:
            by_account[account] = [place]
            numbers[account] = number_of(account)
        else:
            places.append(place)
        is_attempt, may_link = type(event) in ATTEMPTS, False
        if is_attempt:
            upload: Any = event
            if upload.decision not in REFUSALS:
                uploads.append(upload)
                times.append(at_us)
                accounts.append(numbers[account])
                text, links = upload.text, upload.links
                if text:
                    with_text.append(place)
                    texts.append(text)
                if links or (text and may_hold_link(text)):
                    may_link = True
                    with_link.append(place)
                    linking.append(UploadLinks(links, text))
        events.append(
            made(ReadEvent, (event, at_us, offset, value or b"", unknown_fields, dropped, is_attempt, may_link))
        )
        place += 1
    return EventBatch(events, by_account, numbers, uploads, times, accounts, (with_text, texts), (with_link, linking))


def read_again(account: str, batch: Sequence[Record], readers: Readers) -> ReadEvents:
    """The account's readable events, each read once more and by itself."""
    key = account.encode()
    events: list[ReadEvent] = []
    captions: list[CaptionNumbers | None] = []
    link_odds: list[int | None] = []
    for record in batch:
        if record.key == key:
            again = readers.read(read_events([record], ("", 0), []))
            events += again.events
            captions += again.captions
            link_odds += again.link_odds
    return ReadEvents(events, captions, link_odds)


def _put(whole: list[T], places: Sequence[int], values: Sequence[T]) -> None:
    for place, value in zip(places, values, strict=True):
        whole[place] = value
