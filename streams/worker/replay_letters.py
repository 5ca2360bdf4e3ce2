"""Sends the events of dead letters again to the events topic, each once.

The event and the marker that its letter was replayed are one Kafka transaction, by a producer whose transactional id is
the same for every replay. So a replay that is killed leaves no event without its marker, and of two that run at once the
later one stops the earlier. Still unreadable events become dead letters again, with where they first stood; those are
passed over unless wanted, so that no event goes round in a loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaError, ProducerClosed

from gate.errors import UploadGateError
from gate.records.topics import Topics
from gate.stores.kafka.client import connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.trouble import kafka_unavailable
from streams.core.events import Unreadable, check_record, decode, time_us
from streams.pipeline.effects.dead_letters import REPLAYED_FROM
from streams.worker.commit import kind_of
from streams.worker.dead_letters import (
    REPLAYED_KEY,
    DeadLetterBody,
    FoundLetter,
    ReplayMarker,
    letter_partitions,
    scan,
)

LETTERS_A_TRANSACTION = 500
BYTES_A_TRANSACTION = 8 << 20
COMMIT_WITHIN_S = 30.0


class Fate(StrEnum):
    """The fate of a letter in a replay."""

    READABLE = "readable"
    STILL_UNREADABLE = "still_unreadable"
    TRUNCATED = "truncated"
    REPLAYED_BEFORE = "replayed_before"
    FAILED_AGAIN = "failed_again"


class ReplayWanted(NamedTuple):
    """Which letters: of this reason, written at or after this time (ms), of this partition; `again` takes also those
    of events that were sent again before and failed again."""

    reason: str | None = None
    since_ms: int = 0
    partition: int | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """How many of the wanted letters met which fate; those still unreadable also by the reason of today."""

    by_fate: Counter[Fate] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)

    @property
    def to_send(self) -> int:
        """How many are sent."""
        return self.by_fate[Fate.READABLE] + self.by_fate[Fate.STILL_UNREADABLE]


class Replaced(UploadGateError):
    """Another replay began and stopped this one."""


class _Judged(NamedTuple):
    letter: FoundLetter
    fate: Fate
    key: bytes | None
    reason: str | None


async def count_replay(bootstrap: str, topics: Topics, wanted: ReplayWanted) -> ReplayCounts:
    """Count what `replay` would do now, by this release's reading of events. Raises StoreUnavailable, SettingInvalid."""
    counts = ReplayCounts()
    async for judged in _judged(bootstrap, topics, wanted):
        _count(counts, judged)
    return counts


async def replay(bootstrap: str, topics: Topics, wanted: ReplayWanted) -> ReplayCounts:
    """Send the wanted letters that were not sent before. Raises StoreUnavailable, SettingInvalid, Replaced; what was
    committed until then stays sent, and a second replay goes on behind it.
    """
    counts = ReplayCounts()
    producer: Any = AIOKafkaProducer(
        **connection(bootstrap),
        transactional_id=f"{topics.prefix}upload-gate-dlq-replay",
        max_request_size=4 << 20,
    )
    try:
        await connected(producer)  # from here an earlier replay can commit nothing, so its markers are all there
        chunk: list[_Judged] = []
        async for judged in _judged(bootstrap, topics, wanted):
            _count(counts, judged)
            if judged.fate in (Fate.READABLE, Fate.STILL_UNREADABLE):
                chunk.append(judged)
            if (
                len(chunk) >= LETTERS_A_TRANSACTION
                or sum(len(j.letter.body.event) for j in chunk) > BYTES_A_TRANSACTION
            ):
                await _send(producer, topics, chunk)
                chunk = []
        if chunk:
            await _send(producer, topics, chunk)
    except (KafkaError, IllegalOperation, ProducerClosed, OSError, TimeoutError) as error:
        raise _stopped(bootstrap, error) from error
    finally:
        await stopped(producer)
    return counts


def _stopped(bootstrap: str, error: Exception) -> UploadGateError:
    if kind_of(error) == "fenced":
        return Replaced("another replay began and goes on with the remaining letters", "See `dlq list` when it is done")
    remedy = "Type it again once Kafka answers: what was sent is not sent twice"
    return kafka_unavailable(bootstrap, "stopped the replay", error, remedy)


async def _judged(bootstrap: str, topics: Topics, wanted: ReplayWanted) -> AsyncIterator[_Judged]:
    now_ms = time.time_ns() // 1_000_000
    for partition, end in (await letter_partitions(bootstrap, topics, wanted.partition)).items():
        replayed = {
            found.replayed_letter
            async for found in scan(bootstrap, topics, partition)
            if isinstance(found, ReplayMarker)
        }
        async for letter in scan(bootstrap, topics, partition):
            if isinstance(letter, ReplayMarker) or letter.at_ms < wanted.since_ms or letter.offset >= end:
                continue  # what comes behind the end may be of this very replay
            if wanted.reason in (None, letter.body.reason):
                yield judge(letter, letter.offset in replayed, wanted.again, now_ms)


def judge(letter: FoundLetter, was_replayed: bool, again: bool, now_ms: int) -> _Judged:
    """The fate of one letter whose event is sent at `now_ms`, and the key it is sent with: account.id where that can be
    read."""
    body = letter.body
    if was_replayed:
        return _Judged(letter, Fate.REPLAYED_BEFORE, None, None)
    if body.replayed is not None and not again:
        return _Judged(letter, Fate.FAILED_AGAIN, None, None)
    if body.truncated is not None:
        return _Judged(letter, Fate.TRUNCATED, None, None)
    try:
        event = decode(body.event, body.headers)
    except Unreadable as error:
        if body.key_truncated is not None:
            return _Judged(letter, Fate.TRUNCATED, None, None)
        return _Judged(letter, Fate.STILL_UNREADABLE, letter.key, error.reason.value)
    key = event.account.id.encode()
    try:
        check_record(event, time_us(event), key, now_ms)
    except Unreadable as error:
        return _Judged(letter, Fate.STILL_UNREADABLE, key, error.reason.value)
    return _Judged(letter, Fate.READABLE, key, None)


def _count(counts: ReplayCounts, judged: _Judged) -> None:
    counts.by_fate[judged.fate] += 1
    if judged.reason is not None:
        counts.unreadable[judged.reason] += 1


async def _send(producer: Any, topics: Topics, chunk: list[_Judged]) -> None:
    """One transaction of events and markers."""
    async with asyncio.timeout(COMMIT_WITHIN_S), producer.transaction():
        sent = []
        for letter, _, key, _ in chunk:
            headers = replay_headers(letter.body)
            sent.append(await producer.send(topics.events.name, value=letter.body.event, key=key, headers=headers))
            marker = b'{"replayed_letter":%d}' % letter.offset
            dead = topics.dead_letters.name
            sent.append(await producer.send(dead, value=marker, key=REPLAYED_KEY, partition=letter.partition))
        await asyncio.gather(*sent)


def replay_headers(body: DeadLetterBody) -> list[tuple[str, bytes]]:
    """The event's own headers, and where it first stood."""
    first = body.replayed or f"{body.origin.partition}:{body.origin.offset}"
    return [*((name, value) for name, value in body.headers if name != REPLAYED_FROM), (REPLAYED_FROM, first.encode())]
