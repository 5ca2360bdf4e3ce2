"""Reads the dead-letter topic, for people who look for what could not be read, and why.

Leaves what a dead letter is to `streams.pipeline.effects.dead_letters`, and writing it to `commit`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from gate.errors import StoreUnavailable
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
    """The last dead letters, at most `most` of each partition and in all; those of one partition in their order.

    Passes over records that are no dead letters. Raises StoreUnavailable.
    """
    found: list[FoundLetter] = []
    try:
        for partition in range(topics.dead_letters.partitions):
            async with PartitionReader(bootstrap, topics.dead_letters.name, partition) as reader:
                of_one: list[FoundLetter] = []
                # transaction markers have offsets too, so these may be fewer letters than offsets
                async for records in reader.since(max(reader.begin, reader.end - 2 * most)):
                    of_one.extend(letter for letter in map(_letter, records) if letter is not None)
                found.extend(of_one[-most:])
    except (KafkaError, OSError, TimeoutError) as error:
        problem = f"the dead letters at {bootstrap} cannot be read: {str(error) or type(error).__name__}"
        raise StoreUnavailable(problem, "Check that Kafka runs and that the worker has started once") from error
    return found[-most:]


def as_json(letter: FoundLetter) -> dict[str, object]:
    """A dead letter for programs."""
    built: dict[str, object] = msgspec.to_builtins(letter)
    return built


def as_line(letter: FoundLetter) -> str:
    """A dead letter for people."""
    at = letter.origin
    return f"{at.topic}[{at.partition}] {at.offset:>10}  {letter.reason:<16} {letter.detail}"


def _letter(record: Any) -> FoundLetter | None:
    try:
        return _decode(record.value or b"")
    except msgspec.DecodeError:
        return None
