"""Reads the dead-letter topic, for people who look for what could not be read, and why.

Writing dead letters is `streams.pipeline.effects.dead_letters`'s and `commit`'s.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gate.records.topics import Topics
from streams.worker.changelog import PartitionReader


class Origin(msgspec.Struct, frozen=True):
    """Where an event stood."""

    topic: str
    partition: int
    offset: int


class FoundLetter(msgspec.Struct, frozen=True):
    """One dead letter without the event itself."""

    origin: Origin
    reason: str
    detail: str


_decode = msgspec.json.Decoder(FoundLetter).decode


async def last_dead_letters(bootstrap: str, topics: Topics, most: int) -> list[FoundLetter]:
    """The last dead letters of each partition, `most` at most in all, newest of a partition last.

    Records of that topic that nobody of us wrote are passed over. Raises KafkaError, TimeoutError.
    """
    found: list[FoundLetter] = []
    for partition in range(topics.dead_letters.partitions):
        async with PartitionReader(bootstrap, topics.dead_letters.name, partition) as reader:
            # transaction markers have offsets too, so these are fewer letters than offsets
            async for records in reader.since(max(reader.begin, reader.end - 2 * most)):
                found.extend(letter for letter in map(_letter, records) if letter is not None)
    return found[-most:]


def _letter(record: Any) -> FoundLetter | None:
    try:
        return _decode(record.value or b"")
    except msgspec.DecodeError:
        return None
