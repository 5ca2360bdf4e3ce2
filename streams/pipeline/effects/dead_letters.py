"""The events of a batch that could not be used, for the dead-letter topic."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from gate.core.fields.ids import MAX_ID_BYTES
from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord

MAX_EVENT_BYTES = 2 << 20
"""Most of an event that a record keeps; base64 of more would not fit into one."""
MAX_KEY_BYTES = 4 * MAX_ID_BYTES
"""Most of a key that a record keeps; a key of any length comes from whoever writes events."""

_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be used: where it stood, why, and its bytes as they were."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    event: bytes
    key: bytes | None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters in the order of their offsets. Merged, they follow each other."""

    letters: list[DeadLetter]

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        return cls([letter for part in parts for letter in part.letters])

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
        reasons = Counter(letter.reason for letter in self.letters)
        return (Increment("upload_gate_dead_letters", (reason,), count) for reason, count in reasons.items())


def encode_dead_letter(letter: DeadLetter) -> KeyedRecord:
    """The record that keeps an unusable event with its origin and the reason.

    `truncated` and `key_truncated` give the full length of an event or a key that was cut.
    """
    event = letter.event[:MAX_EVENT_BYTES]
    key = letter.key and letter.key[:MAX_KEY_BYTES]
    body: dict[str, object] = {
        "origin": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "reason": letter.reason,
        "detail": letter.detail,
        "event": base64.b64encode(event).decode(),
    }
    if len(event) < len(letter.event):
        body["truncated"] = len(letter.event)
    if letter.key and key != letter.key:
        body["key_truncated"] = len(letter.key)
    return key, _json(body)
