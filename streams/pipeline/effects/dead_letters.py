"""The events of a batch that could not be used, for the dead-letter topic."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import msgspec

from gate.core.fields.ids import MAX_ID_BYTES
from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord

MAX_EVENT_BYTES = 2 << 20
"""Most bytes of an event that a record keeps; base64 of more would not fit into a record."""
MAX_KEY_BYTES = 4 * MAX_ID_BYTES
"""Most bytes of a key that a record keeps. Keys are written by senders of events and can have any length."""
MAX_HEADERS = 32
MAX_HEADER_BYTES = 1024
REPLAYED_FROM = "upload-gate-replayed-from"
"""The header of an event that `dlq replay` sent again: its first partition and offset, such as `2:1417`."""

Headers = Sequence[tuple[str, bytes]]

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be used: its position, the reason, and its unchanged bytes and headers.

    `size` is the full length of an event of which `event` is only the beginning; None if `event` is complete.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    event: bytes
    key: bytes | None
    headers: Headers = ()
    size: int | None = None

    def of_record(self, value: bytes | None, headers: Headers) -> DeadLetter:
        """The same letter with data of its record: the headers, and the full length of an event that was cut."""
        size = len(value or b"")
        return replace(self, headers=tuple(headers), size=size if size > len(self.event) else None)

    @property
    def replayed(self) -> str | None:
        """The first position of an event that was sent again and still cannot be used; None for other events."""
        for name, value in self.headers:
            if name == REPLAYED_FROM:
                return (value or b"")[:40].decode("ascii", "replace")
        return None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters in the order of their offsets. Merged parts are concatenated.

    `skipped` counts, by reason, the unusable events of which no letter is kept.
    """

    letters: list[DeadLetter]
    skipped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        skipped: Counter[str] = Counter()
        for part in parts:
            skipped.update(part.skipped)
        return cls([letter for part in parts for letter in part.letters], dict(skipped))

    def only(self, keeps: Callable[[int], bool]) -> DeadLetters:
        """The letters of the offsets that `keeps` accepts; the others are counted as skipped."""
        kept = [letter for letter in self.letters if keeps(letter.offset)]
        if len(kept) == len(self.letters):
            return self
        skipped = Counter(self.skipped)
        skipped.update(letter.reason for letter in self.letters if not keeps(letter.offset))
        return DeadLetters(kept, dict(skipped))

    @staticmethod
    def topic(topics: Topics) -> Topic:
        """See Part."""
        return topics.dead_letters

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return own

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return map(encode_dead_letter, self.letters)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        reasons = Counter(self.skipped)
        reasons.update(letter.reason for letter in self.letters)
        counted = [Increment("upload_gate_dead_letters", (reason,), count) for reason, count in reasons.items()]
        if self.skipped:
            counted.append(Increment("upload_gate_dead_letters_skipped", (), sum(self.skipped.values())))
        return counted


def encode_dead_letter(letter: DeadLetter) -> KeyedRecord:
    """The record that keeps an unusable event with its origin and the reason.

    `truncated` and `key_truncated` give the full length of an event or key that was cut, `replayed` the first position
    of an event that was sent again. The first 32 headers of up to 1 KiB are kept, as pairs of name and base64.
    """
    event = letter.event[:MAX_EVENT_BYTES]
    key = letter.key and letter.key[:MAX_KEY_BYTES]
    body: dict[str, object] = {
        "origin": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "reason": letter.reason,
        "detail": letter.detail,
        "event": base64.b64encode(event).decode(),
    }
    size = letter.size or len(letter.event)
    if len(event) < size:
        body["truncated"] = size
    if letter.key and key != letter.key:
        body["key_truncated"] = len(letter.key)
    if letter.replayed is not None:
        body["replayed"] = letter.replayed
    headers = [(n, v) for n, v in letter.headers if v is not None and len(n) + len(v) <= MAX_HEADER_BYTES]
    if headers:
        body["headers"] = [(name, base64.b64encode(value).decode()) for name, value in headers[:MAX_HEADERS]]
    return key, _json(body)
