"""The one place that acts: a batch's effects become one Kafka transaction, and its scores reach Redis before that.

An `Owner` stands for a partition while it is ours. Its producer's transactional id is the partition's, so opening it
makes the broker refuse every earlier owner. Decides in what order effects become real; leaves what they are to
`process`, when to own to `owners`, and what Redis missed to `owed`.

Folding and writing to Redis never wait for a transaction; each takes all that was folded since the last. That is
safe: scores follow from state and offset, and what is taken back is folded again to the same ones.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerClosed, ProducerFenced

from gate.errors import StoreUnavailable, UploadGateError
from gate.ports import Scored
from gate.stores.kafka import Record, connected, send_packed
from gate.stores.kafka_topics import incarnation
from gate.topics import Topics
from streams import crowd as crowd_topic
from streams.owed import Owed
from streams.process import CrowdCount, DeadLetter, Effects
from streams.state import WATERMARK_KEY, Accounts, PartitionReader, Watermark, encode_watermark

COMMIT_EVERY_S = 0.2
MAX_AHEAD = 20_000  # scores folded and not committed
COMMIT_WITHIN_S = 20.0
OPEN_WITHIN_S = 8.0
TRANSACTION_TIMEOUT_MS = 15_000  # how long a frozen worker's half transaction can hold up readers
REQUEST_TIMEOUT_MS = 10_000
DEAD_EVENT_BYTES = 2 << 20  # base64 of more would not fit into a record

_json = msgspec.json.Encoder().encode


class Fenced(UploadGateError):
    """The partition has another owner now, or this one was closed: step back, nothing was committed."""


class Misplaced(UploadGateError):
    """A batch does not start where the partition stands: folding it would count twice or leave a hole."""


@dataclass(frozen=True, slots=True)
class Where:
    """The cluster, the topics and the consumer group that owners work in."""

    bootstrap: str
    topics: Topics
    group: str


class Folded(NamedTuple):
    """A batch on its way: its effects, whether Redis has its scores, when it was handed over (monotonic seconds)."""

    effects: Effects
    put: bool
    handed_over: float


class Hooks(Protocol):
    """Who is told what became of batches."""

    def committed(self, effects: Effects, seconds: float) -> None:
        """These are committed, so long after they were handed over."""
        ...

    def failed(self, owner: Owner, error: Exception) -> None:
        """What was folded and not committed came to nothing. Told once."""
        ...


class Owner:
    """One partition while it is ours: accounts in memory, the fencing producer, the batch that is being committed."""

    def __init__(self, where: Where, accounts: Accounts, owed: Owed, hooks: Hooks) -> None:
        """`hooks` is told what became of every batch; nothing else reports it."""
        self.where = where
        self.accounts = accounts
        self.owed = owed
        self.partition = accounts.partition
        self.live = False
        self.busy = False
        self.epoch = ""
        self.next = 0
        self._hooks = hooks
        self._folded: list[Folded] = []
        self._hurry = asyncio.Event()
        self._due = 0.0
        self._producer: Any = None
        self._committing: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """Fence earlier owners, then read states and position. Returns how many records were read.

        Raises KafkaError, StoreUnavailable, TimeoutError: try again; StateUnreadable: do not.
        """
        topics = self.where.topics
        async with asyncio.timeout(OPEN_WITHIN_S):
            await self._fence()
            cluster, topic_id = await incarnation(self.where.bootstrap, topics.events.name)
        async with PartitionReader(self.where.bootstrap, topics.states.name, self.partition) as reader:
            count = await self.accounts.load(reader, topics.states.name)
            mark = self.accounts.mark
            self.epoch, self.next = stand(mark, f"{cluster}/{topic_id}", *await reader.bounds(topics.events.name))
            self.owed.reopen(mark.owed if mark else None, (await reader.bounds(topics.scores.name))[1])
        return count

    async def _fence(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.where.bootstrap,
            transactional_id=f"{self.where.group}-{self.where.topics.events.name}-{self.partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_batch_size=1 << 20,
            max_request_size=4 << 20,
        )
        await connected(self._producer)

    async def settle(self) -> None:
        """Wait until every folded batch is committed, or one has failed; commits without waiting for its time."""
        if self._committing is not None:
            self._hurry.set()
            await asyncio.wait([self._committing])

    async def let_go(self) -> None:
        """Give up the batch that is being committed, if there is one; from here nothing changes the accounts."""
        self.live = False
        task, self._committing = self._committing, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Let go; an open transaction is given up. Never raises."""
        await self.let_go()
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await producer.stop()

    async def act(self, effects: Effects, handed_over: float) -> None:
        """Make `effects`, folded just now, real; returns as soon as the next batch may be folded.

        Scores are in Redis when this returns; the transaction follows, at most five a second, with all that was folded
        by then. Whoever gets too far ahead of it waits here. `handed_over` is when the batch came (monotonic).
        """
        self.accounts.fold(effects.states)
        self.next = effects.next_offset
        put = await self.owed.put(effects.scores)
        if not self.live or self._producer is None:
            raise Fenced(f"partition {self.partition} was given up")
        self._folded.append(Folded(effects, put, handed_over))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_folded())
        if sum(len(folded.effects.scores) for folded in self._folded) > MAX_AHEAD:
            await self.settle()
            if not self.live:
                raise Fenced(f"partition {self.partition} was given up")

    async def _commit_folded(self) -> None:
        try:
            while self._folded:
                self._hurry.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._due - time.monotonic()):
                        await self._hurry.wait()
                self._due = time.monotonic() + COMMIT_EVERY_S
                batch, self._folded = self._folded, []
                async with asyncio.timeout(COMMIT_WITHIN_S):
                    await self._transact(batch)
        except Exception as error:
            self.live = False
            self._hooks.failed(self, error)

    async def _transact(self, batch: Sequence[Folded]) -> None:
        """One transaction. Raises KafkaError, and asyncio's and the client's own errors once the producer is closed."""
        topics, at, producer = self.where.topics, self.partition, self._producer
        effects = merged([folded.effects for folded in batch])
        mark = Watermark(self.epoch, effects.next_offset, self.owed.since)
        await producer.begin_transaction()
        states = await send_packed(producer, topics.states.name, at, _states(effects.states, mark))
        scores = await send_packed(producer, topics.scores.name, at, _scores(effects))
        others: list[Any] = []
        if effects.dead:
            others += await send_packed(producer, topics.dead_letters.name, at, map(dead_letter, effects.dead))
        if effects.crowd:
            counts = ((crowd_topic.crowd_key(at, c.feature), c.record) for c in effects.crowd)
            others += await send_packed(producer, topics.crowd.name, crowd_topic.PARTITION, counts)
        await asyncio.gather(*states, *scores, *others)
        group_offset = {TopicPartition(topics.events.name, at): effects.next_offset}
        await producer.send_offsets_to_transaction(group_offset, self.where.group)  # for lag tools only
        await producer.commit_transaction()
        self.accounts.committed(len(batch), mark, states[-1].result().offset + 1)
        unput = sum(not folded.put for folded in batch)
        self.owed.committed(unput, scores[-1].result().offset + 1 if scores else None)
        now = time.monotonic()
        for folded in batch:
            self._hooks.committed(folded.effects, now - folded.handed_over)


def merged(parts: Sequence[Effects]) -> Effects:
    """One effect of many that follow each other: of each account and feature the last word counts."""
    if len(parts) == 1:
        return parts[0]
    states: dict[str, bytes] = {}
    scores: dict[str, Scored] = {}
    crowd: dict[str, CrowdCount] = {}
    events: dict[str, int] = {}
    for part in parts:
        states.update(part.states)
        scores.update((scored.score.account, scored) for scored in part.scores)
        crowd.update((count.feature, count) for count in part.crowd)
        for kind, count in part.events.items():
            events[kind] = events.get(kind, 0) + count
    dead = [letter for part in parts for letter in part.dead]
    unknown = sum(part.unknown_fields for part in parts)
    return Effects(states, [*scores.values()], dead, [*crowd.values()], events, unknown, parts[-1].next_offset)


def stand(mark: Watermark | None, incarnation_: str, begin: int, end: int) -> tuple[str, int]:
    """The epoch and the offset to go on from, for a topic whose records are [begin, end).

    A topic of another incarnation starts at its beginning; its old watermark says nothing about it. Without topic ids
    (old brokers) a topic that is shorter than its watermark is a new one, told apart by a number.
    """
    if mark is None:
        return incarnation_, begin
    base, _, number = mark.epoch.partition("+")
    if base != incarnation_:
        return incarnation_, begin
    if end < mark.offset:
        return f"{base}+{int(number or 0) + 1}", begin
    return mark.epoch, max(mark.offset, begin)


def dead_letter(letter: DeadLetter) -> Record:
    """The record that keeps an unreadable event with its origin and the reason."""
    event = letter.event[:DEAD_EVENT_BYTES]
    body: dict[str, object] = {
        "origin": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
        "reason": letter.reason,
        "detail": letter.detail,
        "event": base64.b64encode(event).decode(),
    }
    if len(event) < len(letter.event):
        body["truncated"] = len(letter.event)
    return letter.key, _json(body)


def _states(states: dict[str, bytes], mark: Watermark) -> Iterable[Record]:
    for account, state in states.items():
        yield account.encode(), state
    yield WATERMARK_KEY, encode_watermark(mark)


def _scores(effects: Effects) -> Iterable[Record]:
    return ((score.account.encode(), spelt) for score, spelt in effects.scores)


def kind_of(error: BaseException) -> str:
    """Why a batch failed, as the closed label of a metric: fenced, kafka, misplaced, other."""
    if isinstance(error, (Fenced, ProducerFenced, IllegalOperation, ProducerClosed, InvalidProducerEpoch)):
        return "fenced"
    if isinstance(error, Misplaced):
        return "misplaced"
    if isinstance(error, (KafkaError, OSError, TimeoutError, StoreUnavailable)):
        return "kafka"
    return "other"
