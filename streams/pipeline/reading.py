"""Reads the records of a batch: their events, and with numpy the numbers of all captions and the log odds of all links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from gate.core.event import Attempted
from streams.core.campaigns import Upload
from streams.core.events import Unreadable, read_record
from streams.core.fold import REFUSALS
from streams.core.models.link_odds import ReadsLinks, UploadLinks
from streams.core.models.marks import CaptionNumbers, ReadsCaptions
from streams.core.weblinks import may_hold_link
from streams.pipeline.effects import DeadLetter
from streams.pipeline.touched import ReadEvent, ReadUpload

T = TypeVar("T")

MAX_KEPT_BYTES = 512 * 1024
"""Most bytes of an unreadable event that its dead letter keeps. The full event is at its origin."""


class Record(NamedTuple):
    """One record of the events topic; `timestamp_ms` is the broker's append time."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Readers(NamedTuple):
    """The readers of captions and links of a whole batch; None where accounts keep no such facts."""

    captions: ReadsCaptions | None = None
    links: ReadsLinks | None = None

    def read(self, read: Sequence[ReadEvent]) -> Iterator[ReadUpload]:
        """Each event with the numbers of its caption and the log odds of its worst link, where they are read."""
        captions: list[CaptionNumbers | None] = [None] * len(read)
        odds: list[int | None] = [None] * len(read)
        if self.captions is not None:
            _put(captions, *_caption_numbers(read, self.captions))
        if self.links is not None:
            _put(odds, *_link_odds(read, self.links))
        return zip(read, captions, odds, strict=True)


def read_events(batch: Sequence[Record], origin: tuple[str, int], dead: list[DeadLetter]) -> list[ReadEvent]:
    """Every readable event, in order; unreadable ones go to `dead`."""
    read: list[ReadEvent] = []
    made = tuple.__new__  # a named tuple's own constructor takes longer
    for offset, key, value, headers, timestamp_ms in batch:
        try:
            event, at_us, unknown_fields, dropped = read_record(key, value, headers, timestamp_ms)
        except Unreadable as error:
            kept = (value or b"")[:MAX_KEPT_BYTES]
            dead.append(DeadLetter(*origin, offset, error.reason, error.detail, kept, key))
            continue
        is_attempt, upload = False, None
        if isinstance(event, Attempted):
            is_attempt = True
            if event.decision is None or event.decision not in REFUSALS:
                upload = event
        read.append(made(ReadEvent, (event, at_us, offset, value or b"", unknown_fields, dropped, is_attempt, upload)))
    return read


def read_again(account: str, batch: Sequence[Record], readers: Readers) -> Iterator[ReadUpload]:
    """The account's readable events, each read once more and by itself."""
    key = account.encode()
    for record in batch:
        if record.key == key:
            yield from readers.read(read_events([record], ("", 0), []))


def uploads_of(read: Iterable[ReadEvent]) -> list[tuple[str, Upload]]:
    """The uploads that were let in, each with its account."""
    return [(upload.account.id, (upload, at_us)) for _, at_us, _, _, _, _, _, upload in read if upload is not None]


def _put(whole: list[T], places: Sequence[int], values: Sequence[T]) -> None:
    for place, value in zip(places, values, strict=True):
        whole[place] = value


def _caption_numbers(
    read: Sequence[ReadEvent], captions: ReadsCaptions
) -> tuple[list[int], Sequence[CaptionNumbers | None]]:
    """The numbers of the captions of uploads that were let in, behind their places among the events."""
    places: list[int] = []
    texts: list[str] = []
    for place, one in enumerate(read):
        upload = one[-1]
        if upload is not None and upload.text:
            places.append(place)
            texts.append(upload.text)
    return places, captions.read(texts) if texts else []


def _link_odds(read: Sequence[ReadEvent], links: ReadsLinks) -> tuple[list[int], Sequence[int | None]]:
    """The log odds of the worst links of uploads that were let in, behind their places among the events."""
    places: list[int] = []
    uploads: list[UploadLinks] = []
    for place, one in enumerate(read):
        upload = one[-1]
        if upload is not None and (upload.links or (upload.text and may_hold_link(upload.text))):
            places.append(place)
            uploads.append(UploadLinks(upload.links, upload.text))
    return places, links.read(uploads) if uploads else []
