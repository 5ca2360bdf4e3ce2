"""Reads the dead-letter topic for the `dlq` commands.

Beside the letters the topic holds a marker for each letter that was sent again, under the key `replayed`; it is kept at
least as long as the letter. `streams.pipeline.effects.dead_letters` defines a dead letter, `commit` writes it, and
`replay_letters` sends its event again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from aiokafka.errors import KafkaError

from gate.core.fields.parse import UNDECODABLE
from gate.errors import SettingInvalid
from gate.records.topics import Topics
from gate.stores.kafka.topics import end_offsets
from gate.stores.kafka.trouble import kafka_unavailable
from streams.worker.changelog import PartitionReader

REPLAYED_KEY = b"replayed"
WIDER = 8
"""How many times as many offsets are read where the last ones hold too few letters."""


class Origin(msgspec.Struct, frozen=True):
    """The position of an event: topic, partition and offset."""

    topic: str
    partition: int
    offset: int


class DeadLetterBody(msgspec.Struct, frozen=True):
    """The content of a dead letter's record. `truncated` and `key_truncated` are the full lengths of an event or key
    that was cut. `replayed` is the first position of an event that was sent again."""

    origin: Origin
    reason: str
    detail: str
    event: bytes = b""
    truncated: int | None = None
    key_truncated: int | None = None
    replayed: str | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class ReplayMarker(msgspec.Struct, frozen=True):
    """Marks the letter at this offset of the same partition of the dead-letter topic as sent again."""

    replayed_letter: int


class FoundLetter(NamedTuple):
    """A dead letter and its record: key, partition and offset in the dead-letter topic, and when it was written, ms."""

    body: DeadLetterBody
    key: bytes | None
    partition: int
    offset: int
    at_ms: int


class ListedLetter(NamedTuple):
    """A letter, and whether it was sent again."""

    letter: FoundLetter
    was_replayed: bool


_decode = msgspec.json.Decoder(DeadLetterBody).decode
_decode_marker = msgspec.json.Decoder(ReplayMarker).decode


async def last_dead_letters(
    bootstrap: str, topics: Topics, most: int, reason: str | None = None, partition: int | None = None
) -> list[ListedLetter]:
    """The last dead letters, at most `most` in all, oldest first. Skips records that are not dead letters.

    Raises StoreUnavailable; SettingInvalid for a partition that does not exist.
    """
    listed: list[ListedLetter] = []
    for number, end in (await letter_partitions(bootstrap, topics, partition)).items():
        last = 2 * most if reason is None else end
        # letters that were sent again and transactions leave markers, which may take up all of the last offsets
        while len(letters := await _letters_of_the_last(last, bootstrap, topics, number, most, reason)) < most:
            if last >= end:
                break
            last *= WIDER
        listed += letters
    return sorted(listed, key=lambda one: one.letter.at_ms)[-most:]


async def _letters_of_the_last(
    last: int, bootstrap: str, topics: Topics, partition: int, most: int, reason: str | None
) -> list[ListedLetter]:
    """The letters among the last `last` offsets of a partition, at most `most` of them."""
    kept: deque[FoundLetter] = deque(maxlen=most)
    replayed: set[int] = set()
    async for found in scan(bootstrap, topics, partition, last):
        if isinstance(found, ReplayMarker):
            replayed.add(found.replayed_letter)
        elif reason in (None, found.body.reason):
            kept.append(found)
    return [ListedLetter(letter, letter.offset in replayed) for letter in kept]


async def dead_letter(bootstrap: str, topics: Topics, partition: int, offset: int) -> ListedLetter | None:
    """The last letter of the event at this partition and offset of the events topic, None if there is none.

    Raises StoreUnavailable; SettingInvalid for a partition that does not exist.
    """
    letter: FoundLetter | None = None
    replayed: set[int] = set()
    for number in await letter_partitions(bootstrap, topics, partition):
        async for found in scan(bootstrap, topics, number):
            if isinstance(found, ReplayMarker):
                replayed.add(found.replayed_letter)
            elif found.body.origin.offset == offset:
                letter = found
    return None if letter is None else ListedLetter(letter, letter.offset in replayed)


async def letter_partitions(bootstrap: str, topics: Topics, only: int | None = None) -> dict[int, int]:
    """The partitions of the dead-letter topic and their end offsets; empty if the topic does not exist yet.

    Raises as `last_dead_letters`.
    """
    ends = await end_offsets(bootstrap, [topics.dead_letters.name])
    numbers = {number: ends[topic, number] for topic, number in sorted(ends)}
    if only is None or not numbers:
        return numbers
    if only not in numbers:
        raise SettingInvalid(
            f"the topic {topics.dead_letters.name} has no partition {only}", f"It has 0 to {max(numbers)}"
        )
    return {only: numbers[only]}


async def scan(
    bootstrap: str, topics: Topics, partition: int, last: int | None = None
) -> AsyncIterator[FoundLetter | ReplayMarker]:
    """The letters and markers of one partition, in order. With `last` only those of its last `last` offsets.

    Raises StoreUnavailable.
    """
    with kafka_away(bootstrap):
        async with PartitionReader(bootstrap, topics.dead_letters.name, partition) as reader:
            since = reader.begin if last is None else max(reader.begin, reader.end - last)
            async for records in reader.since(since):
                for found in _read(records, partition):
                    yield found


@contextmanager
def kafka_away(bootstrap: str) -> Any:
    """Turns the client's errors into StoreUnavailable."""
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        remedy = "Check that it runs there and that a worker has started once"
        raise kafka_unavailable(bootstrap, "does not return dead letters", error, remedy) from error


def _read(records: Iterable[Any], partition: int) -> Iterable[FoundLetter | ReplayMarker]:
    for record in records:
        try:
            if record.key == REPLAYED_KEY:
                yield _decode_marker(record.value or b"")
                continue
        except UNDECODABLE:
            pass  # the key of a real event can be `replayed` too
        try:
            body = _decode(record.value or b"")
        except UNDECODABLE:
            continue
        yield FoundLetter(body, record.key, partition, record.offset, record.timestamp)


def instant_of(at_ms: int) -> str:
    """A record's time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(max(0, at_ms) / 1_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def as_json(listed: ListedLetter) -> dict[str, object]:
    """A dead letter for programs, without the event itself."""
    body = listed.letter.body
    return {
        "origin": msgspec.to_builtins(body.origin),
        "reason": body.reason,
        "detail": body.detail,
        "at": instant_of(listed.letter.at_ms),
        "replayed": listed.was_replayed,
        "replayed_from": body.replayed,
    }


def as_line(listed: ListedLetter, when: str) -> str:
    """A dead letter for people, with the time `when` it was written; not safe for a terminal yet."""
    body, at = listed.letter.body, listed.letter.body.origin
    again = f"  (sent again from {body.replayed})" if body.replayed else ""
    done = "  (replayed)" if listed.was_replayed else ""
    return f"{when}  {at.partition}:{at.offset}  {body.reason}: {body.detail}{again}{done}"
