"""Publishes decisions to Kafka and never makes a check wait: a bounded queue, and a task that empties it.

When Kafka is away or slower than the gate, entries that do not fit into the queue are dropped and counted. The caller
of `record` chooses which decisions are recorded; `gate.records.decision` encodes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gate.core.decision import Decision
from gate.core.request import CheckRequest
from gate.errors import StoreUnavailable, redact
from gate.records.decision import LoggedDecision, encode_record, logged
from gate.stores.kafka.client import Record, connected, send_packed, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topics import existing
from gate.stores.kafka.trouble import kafka_trouble

log = logging.getLogger("upload_gate.decisions")

QUEUE = 10_000
PIECE = 250
"""How many decisions are encoded in one go. Checks wait while it lasts."""
GATHER_S = 0.05
"""How long an incomplete piece waits for more decisions."""
TRY_AGAIN_S = 1.0
SEND_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0
EXPECTED = (KafkaError, OSError, TimeoutError)
"""The exceptions that the client raises while Kafka is away."""


@dataclass(slots=True)
class DecisionStats:
    """Counters of recorded decisions, for the metrics. `faults` counts our own bugs, not Kafka's failures."""

    recorded: int = 0
    published: int = 0
    dropped: int = 0
    faults: int = 0


class KafkaDecisionLog:
    """A DecisionLog. `record` works at any time, also before `start` and after `stop`.

    It calls `fault` for each exception that is not due to Kafka's absence, and goes on publishing.
    """

    def __init__(
        self, bootstrap: str, topic: str, queue: int = QUEUE, fault: Callable[[], None] = lambda: None
    ) -> None:
        self.stats = DecisionStats()
        self._bootstrap = bootstrap
        self._topic = topic
        self._room = queue
        self._fault = fault
        self._waiting: deque[LoggedDecision] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._said: set[str] = set()

    def record(self, request: CheckRequest, decision: Decision, now_us: int, ignored: Collection[str] = ()) -> None:
        """See DecisionLog. The entry is encoded later, by the publishing task."""
        self.stats.recorded += 1
        if self._stopping or len(self._waiting) >= self._room:
            self.stats.dropped += 1
            return
        self._waiting.append(logged(request, decision, now_us, ignored))
        self._arrived.set()

    async def start(self) -> None:
        """Begin to publish. Returns at once, even if Kafka does not answer; the task then tries until it does."""
        self._task = asyncio.create_task(self._run(), name="decision-log")

    async def stop(self) -> None:
        """Publish the queued decisions for at most three seconds; the rest is dropped and counted."""
        self._stopping = True
        self._arrived.set()
        task, self._task = self._task, None
        if task is not None:
            _, late = await asyncio.wait([task], timeout=STOP_WITHIN_S)
            if late:
                task.cancel()
                await asyncio.wait([task])
        self.stats.dropped += len(self._waiting)
        self._waiting.clear()

    async def _run(self) -> None:
        while not (self._stopping and not self._waiting):
            await self._arrived.wait()
            try:
                await self._publish()
            except EXPECTED as error:
                self._say(
                    "Kafka at %s takes no decisions (%s): uploads go on; more than %s waiting ones are dropped",
                    redact(self._bootstrap), kafka_trouble(error), f"{self._room:,}",
                )  # fmt: skip
                await asyncio.sleep(TRY_AGAIN_S)
            except StoreUnavailable as error:
                self._say(
                    "decisions wait for Kafka (%s): uploads go on; more than %s waiting ones are dropped",
                    str(error), f"{self._room:,}",
                )  # fmt: skip
                await asyncio.sleep(TRY_AGAIN_S)
            except Exception as error:
                # a bug here must not stop the publishing of later decisions
                self.stats.faults += 1
                self._fault()
                self._say("unexpected error while publishing decisions", error=error)
                await asyncio.sleep(TRY_AGAIN_S)

    def _say(self, text: str, *values: str, error: Exception | None = None) -> None:
        """Log each text once, until a decision is published again."""
        if text not in self._said:
            self._said.add(text)
            log.warning(text, *values, exc_info=error)

    async def _publish(self) -> None:
        """Connect and write until stopped and empty. Raises KafkaError, OSError, TimeoutError, StoreUnavailable.

        The topic must exist already: sending to an unknown topic may make the broker create it with one partition.
        """
        try:
            await existing(self._bootstrap, self._topic, "A worker creates it when it starts")
        except StoreUnavailable as error:
            if isinstance(error.__cause__, EXPECTED):  # Kafka itself is away
                raise error.__cause__ from None
            raise
        producer: Any = AIOKafkaProducer(
            **connection(self._bootstrap), max_batch_size=1 << 18, request_timeout_ms=5_000
        )
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await connected(producer)
            while True:
                while self._waiting:
                    await self._write(producer)
                    if len(self._waiting) < PIECE and not self._stopping:
                        await asyncio.sleep(GATHER_S)
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            await stopped(producer)

    async def _write(self, producer: Any) -> None:
        """Write one piece of the queue. A piece that fails is dropped, never repeated: Kafka may have kept it."""
        piece = [self._waiting.popleft() for _ in range(min(PIECE, len(self._waiting)))]
        kept = 0
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                partitions = sorted(await producer.partitions_for(self._topic))
                sent = []
                for partition, records in _by_partition(piece, partitions).items():
                    sent += await send_packed(producer, self._topic, partition, records)
                await asyncio.gather(*sent)
            kept = len(piece)
            self._said.clear()
        finally:
            self.stats.published += kept
            self.stats.dropped += len(piece) - kept


def _by_partition(piece: Sequence[LoggedDecision], partitions: Sequence[int]) -> dict[int, list[Record]]:
    """The records of each partition. An account's records share a partition.

    The partition is chosen here, because Kafka's hash costs more than all other work on a record.
    """
    grouped: dict[int, list[Record]] = {}
    for entry in piece:
        key = entry.decision.account.encode()
        grouped.setdefault(partitions[crc32(key) % len(partitions)], []).append((key, encode_record(entry)))
    return grouped
