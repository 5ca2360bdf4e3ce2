"""Writes the effects of batches: scores to Redis first, then everything to Kafka in one transaction.

An `Owner` owns a partition from one opening to its end. Its producer's transactional id is the partition's, so opening
it makes the broker refuse every earlier owner. This module decides the order of writes. `streams.pipeline` makes the
effects, `partition` decides when to own, and `scores_to_redis` writes the scores that Redis lacks.

Folding and writing to Redis never wait for a transaction; each transaction takes all batches folded since the last.
That is safe: scores depend only on state and offset, and batches that are undone are folded again to the same scores.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    KafkaError,
    ProducerClosed,
    ProducerFenced,
)

from gate.errors import StoreUnavailable, UploadGateError
from gate.records.topics import Topics
from gate.stores.kafka.client import connected, send_packed, stopped
from gate.stores.kafka.topic_settings import compare_partitions
from gate.stores.kafka.topics import group_offset, shapes
from streams.pipeline.effects import Effects, Scores, States, merged
from streams.pipeline.stamps import Stamps
from streams.worker.changelog import (
    WATERMARK_KEY,
    Accounts,
    PartitionReader,
    Watermark,
    encode_watermark,
)
from streams.worker.chores import Chores
from streams.worker.continuity import Log, LogChange, Resumption, ScoreBasis, next_generation, resume, score_basis
from streams.worker.producer import (
    ResultUnknown,
    TransactionUnended,
    first_error,
    transactional_producer,
    waits_for_transaction,
)
from streams.worker.scores_to_redis import ScoresToRedis

COMMIT_EVERY_S = 0.2
MAX_AHEAD = 20_000  # scores that are folded and not committed
COMMIT_WITHIN_S = 20.0
SHORTER_FOR_S = 2.0  # a log that still ends before its watermark after this has lost its end
OPEN_WITHIN_S = 8.0


class Fenced(UploadGateError):
    """The partition has another owner now, or this owner was closed. Nothing was committed."""


class Misplaced(UploadGateError):
    """The consumer is not where the partition stands, or its changelog is another: what is folded would count twice or
    leave a hole."""


@dataclass(frozen=True, slots=True)
class Where:
    """The cluster, the topics and the consumer group that owners work in. `salt_mark` identifies the salt of hashes
    (`gate.core.pseudonym.salt_mark`); it is empty where that does not matter."""

    bootstrap: str
    topics: Topics
    group: str
    salt_mark: str = ""


Sent = dict[type, tuple[str, list[asyncio.Future[Any]]]]
"""The topic and the batches of each part of the effects."""


class Folded(NamedTuple):
    """A batch on its way: its effects, whether Redis has its scores, when it was handed over (monotonic seconds).

    `basis` says how the scores were made up to and with this batch.
    """

    effects: Effects
    put: bool
    handed_over: float
    basis: ScoreBasis


class Hooks(Protocol):
    """Callbacks on the results of batches."""

    def committed(self, owner: Owner, effects: Effects, seconds: float) -> None:
        """`effects` are committed, `seconds` after they were handed over."""
        ...

    def commit_failed(self, owner: Owner, error: Exception) -> None:
        """The batches that were folded and not committed have failed. Called once."""
        ...

    def not_committed(self, owner: Owner, effects: Sequence[Effects]) -> None:
        """The next owner will fold these batches again. Called when the partition is closed."""
        ...


class Owner:
    """The ownership of a partition from one opening to its end: accounts, fencing producer, batches to commit."""

    def __init__(
        self,
        where: Where,
        accounts: Accounts,
        redis: ScoresToRedis,
        hooks: Hooks,
        scoring: str = "",
        forget_after_us: int | None = None,
        waiting: Callable[[int], int] = lambda partition: 0,
        may_rescore: Callable[[int], bool] = lambda partition: True,
    ) -> None:
        """`hooks` gets the result of every batch; it is not reported elsewhere.

        `scoring` names the scorecard and the layout of states that scores are made by; `waiting` says how many accounts of
        a partition wait for a score, and `may_rescore` whether others may be scored again now.
        """
        self.where = where
        self.accounts = accounts
        self.redis = redis
        self.partition = accounts.partition
        self.epoch = ""
        self.next = 0
        self.behind = 0
        """Records of the events topic from `next` on when it was opened."""
        number = accounts.partition
        self.chores = Chores(forget_after_us, partial(waiting, number), partial(may_rescore, number))
        self.stamps = Stamps("", self.partition, (), 0)
        self.resumed = Resumption(LogChange.NONE, "", 0)
        self._scoring = scoring
        self._basis = ScoreBasis(0, scoring, (), 0, None)
        self._uncommitted: list[Effects] = []
        self._opened_at = 0
        self._hooks = hooks
        self._folded: list[Folded] = []
        self._hurry = asyncio.Event()
        self._due = 0.0
        self._producer: Any = None
        self._is_over = False
        self._committing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether batches may be written: it was opened and not given up, and no write has failed."""
        return self._producer is not None and not self._is_over

    @property
    def committed_to(self) -> int:
        """The offset before which every event is committed."""
        if not self.accounts.has_uncommitted:
            return self.next  # there may be transaction markers before it, which need no commit
        return self.accounts.mark.offset if self.accounts.mark is not None else self._opened_at

    async def open(self) -> int:
        """Fence earlier owners, then read states and position. Returns the number of records read.

        Raises KafkaError, StoreUnavailable, TransactionUnended and TimeoutError, which may be retried; StateUnreadable and
        TopicUnfit, which may not.
        """
        topics, bootstrap = self.where.topics, self.where.bootstrap
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                await self._fence()
                names = [topic.name for topic in (topics.events, topics.rescores, *topics.of_worker())]
                cluster, known = await shapes(bootstrap, names)
        except TimeoutError as error:
            if waits_for_transaction(self._producer):
                raise TransactionUnended(f"a transaction of the group {self.where.group} does not end") from error
            raise
        partitions = compare_partitions(bootstrap, topics, known)
        async with PartitionReader(bootstrap, topics.states.name, self.partition) as reader:
            count = await self.accounts.load(reader, topics.states.name, known[topics.states.name].topic_id)
            log = await self._log(reader, cluster, known[topics.events.name].topic_id)
            requests = 0
            if topics.rescores.name in known:
                requests = (await reader.bounds(topics.rescores.name, 0))[1]
            self._resume(log, partitions, requests)
            mark = self.accounts.mark
            self.redis.reopen(mark.missing_from if mark else None, (await reader.bounds(topics.scores.name))[1])
        return count

    async def _log(self, reader: PartitionReader, cluster: str, topic_id: str) -> Log:
        events, mark = self.where.topics.events.name, self.accounts.mark
        begin, end = await reader.bounds(events)
        if mark is not None and end < mark.offset:
            await asyncio.sleep(SHORTER_FOR_S)  # a broker that just became the leader may not know its end yet
            begin, end = await reader.bounds(events)
        committed = None
        if mark is None:
            committed = await group_offset(self.where.bootstrap, self.where.group, events, self.partition)
        return Log(f"{cluster}/{topic_id}", begin, end, bool(topic_id), committed)

    def _resume(self, log: Log, partitions: int, requests: int) -> None:
        """Continue at the watermark, with a generation that depends on what has changed since."""
        mark = self.accounts.mark
        resumed = resume(mark, log)
        self.resumed = resumed
        self.epoch, self.next, self._opened_at = resumed.epoch, resumed.next, resumed.next
        self.behind = max(0, log.end - resumed.next)
        self._basis = score_basis(mark, resumed, log, self._scoring, partitions, requests, _now_ms())
        self.stamps = Stamps(self.epoch, self.partition, self._basis.counts, self._basis.generation)
        if self._basis.rescore_at is not None:
            self.chores.rescore(self._basis.rescore_at)

    def request_scores(self, requests: int) -> None:
        """Score all accounts again, unless that many requests were obeyed already."""
        if requests == self._basis.requests or not self.is_open:
            return
        generation = next_generation(self.stamps.generation, _now_ms())
        self._basis = self._basis._replace(generation=generation, requests=requests)
        self.stamps.generation = generation
        self.chores.rescore(self.next)

    @property
    def uncommitted(self) -> int:
        """How many batches are folded and not committed."""
        return len(self._uncommitted)

    async def _fence(self) -> None:
        transactional_id = f"{self.where.group}-{self.where.topics.events.name}-{self.partition}"
        self._producer = transactional_producer(self.where.bootstrap, transactional_id)
        await connected(self._producer)

    async def settle(self) -> None:
        """Commit all folded batches at once, and wait until all are committed or one has failed."""
        if self._committing is not None:
            self._hurry.set()
            await asyncio.wait([self._committing])

    def give_up(self) -> None:
        """Cancel the commit under way and refuse later batches, so that the accounts no longer change."""
        self._is_over = True
        if self._committing is not None and self._committing is not asyncio.current_task():
            self._committing.cancel()

    async def let_go(self) -> None:
        """Give up, and wait until the transaction in flight has ended."""
        self.give_up()
        task, self._committing = self._committing, None
        if task is not None and task is not asyncio.current_task():
            await asyncio.wait([task])

    async def close(self) -> None:
        """Give up the partition and abort an open transaction. Never raises."""
        await self.let_go()
        not_committed, self._uncommitted = self._uncommitted, []
        if not_committed:
            self._hooks.not_committed(self, not_committed)
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(ResultUnknown):  # the request under way has failed, and no caller waits for it
                await stopped(producer)

    async def act(self, effects: Effects, handed_over: float) -> None:
        """Write `effects`, which were just folded. Returns as soon as the next batch may be folded.

        Scores are in Redis when this returns. The transaction follows, at most five a second, with all batches folded
        by then. A caller that is too far ahead of it waits. `handed_over` is the batch's arrival (monotonic seconds).
        """
        self._require_open()
        self.accounts.fold(effects.states, effects.part(States).gone)
        self._uncommitted.append(effects)
        self.next = effects.next_offset
        self.chores.passed(effects.part(States).latest_us, _now_ms() * 1_000)
        basis = self._basis._replace(rescore_at=self.chores.rescore_at, generation=self.stamps.generation)
        put = await self.redis.put(effects.scores)
        self._require_open()
        self._folded.append(Folded(effects, put, handed_over, basis))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_folded())
        if sum(len(folded.effects.scores) for folded in self._folded) > MAX_AHEAD:
            await self.settle()
            self._require_open()

    def _require_open(self) -> None:
        if not self.is_open:
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
            self._is_over = True
            self._hooks.commit_failed(self, first_error(self._producer) or error)

    async def _transact(self, batch: Sequence[Folded]) -> None:
        """One transaction. Raises KafkaError, and asyncio's and the client's own errors once the producer is closed."""
        topics, at, producer = self.where.topics, self.partition, self._producer
        effects = merged([folded.effects for folded in batch])
        generation, scoring, counts, requests, rescore_at = batch[-1].basis
        mark = Watermark(
            self.epoch,
            effects.next_offset,
            self.redis.missing_from,
            generation,
            scoring,
            counts,
            requests,
            rescore_at,
            self.where.salt_mark,
        )
        await producer.begin_transaction()
        sent: Sent = {}
        for part in effects.parts:
            topic = part.topic(topics)
            if topic is None:
                continue
            records = part.records(at)
            if isinstance(part, States):  # the watermark is the last record of the changelog
                records = chain(records, [(WATERMARK_KEY, encode_watermark(mark))])
            sent[type(part)] = topic.name, await send_packed(producer, topic.name, part.partition(at), records)
        await _stored(sent)
        (_, states), (_, scores) = sent[States], sent[Scores]
        if states[0].result().offset < self.accounts.position:
            raise Misplaced(f"{topics.states.name} was created anew, without the states that it held")
        group_offset = {TopicPartition(topics.events.name, at): effects.next_offset}
        await producer.send_offsets_to_transaction(group_offset, self.where.group)  # for lag tools only
        await producer.commit_transaction()
        self.accounts.committed(len(batch), mark, states[-1].result().offset + 1)
        del self._uncommitted[: len(batch)]
        unwritten = sum(not folded.put for folded in batch)
        self.redis.committed(unwritten, scores[-1].result().offset + 1 if scores else None, len(batch))
        now = time.monotonic()
        for folded in batch:
            self._hooks.committed(self, folded.effects, now - folded.handed_over)
        await self.redis.forget(effects.part(Scores).gone, self.chores.before_us)


async def _stored(sent: Sent) -> None:
    """Wait until the broker has stored all batches. Raises KafkaError, which names the topic."""
    named = {batch: topic for topic, batches in sent.values() for batch in batches}
    done, _ = await asyncio.wait(named, return_when=asyncio.FIRST_EXCEPTION)
    for batch in done:
        error = batch.exception()
        if error is not None:
            error.args = error.args or (named[batch],)
            raise error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def kind_of(error: BaseException) -> str:
    """Why a batch failed, as the closed label of a metric: fenced, kafka, misplaced, other."""
    if isinstance(error, (Fenced, ProducerFenced, IllegalOperation, ProducerClosed, InvalidProducerEpoch)):
        return "fenced"
    if isinstance(error, Misplaced):
        return "misplaced"
    if isinstance(error, (KafkaError, OSError, TimeoutError, StoreUnavailable)):
        return "kafka"
    return "other"
