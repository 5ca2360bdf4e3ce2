"""Publishes decisions to Kafka without ever making a check wait: a bounded queue, and a task that empties it.

Kafka away or slower than we decide: what does not fit is dropped and counted. Leaves deciding what is recorded to
whoever calls `record`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gate.core.decision import Decision
from gate.core.request import CheckRequest
from gate.stores.kafka.client import Record, connected, send_packed

log = logging.getLogger("upload_gate.decisions")

QUEUE = 10_000
PIECE = 250
"""How many are encoded at once: checks wait for as long as that takes."""
GATHER_S = 0.05
"""How long a piece that is not full waits for more."""
TRY_AGAIN_S = 1.0
SEND_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0
_START = datetime(1970, 1, 1, tzinfo=UTC)

_encode = msgspec.json.Encoder().encode

Waiting = tuple[CheckRequest, Decision, int]


@dataclass(slots=True)
class DecisionStats:
    """What became of recorded decisions, as plain integers to be exported."""

    recorded: int = 0
    published: int = 0
    dropped: int = 0


class _Media(msgspec.Struct, frozen=True, gc=False):
    kind: str | None
    bytes: int | None


class _Recorded(msgspec.Struct, frozen=True, gc=False, rename={"class_": "class"}):
    at: datetime
    upload_id: str
    account: str
    class_: str
    decision: str
    stage: str
    reason: str
    retry_after: float | None
    pause: str | None
    policy: str
    board_rev: int
    risk: float | None
    shadow: tuple[str, ...]
    degraded: bool
    media: _Media
    surface: str | None
    country: str | None


def decision_record(request: CheckRequest, decision: Decision, now_us: int) -> bytes:
    """The value on topic `gate.decisions.v1`: what was asked, without text and links, and what was answered."""
    return _encode(
        _Recorded(
            _START + timedelta(microseconds=now_us),
            decision.upload_id,
            decision.account,
            decision.class_,
            decision.verdict,
            decision.stage,
            decision.reason,
            None if decision.retry_after_us is None else decision.retry_after_us / 1e6,
            decision.pause,
            decision.policy,
            decision.board_rev,
            decision.risk,
            decision.shadow,
            decision.degraded,
            _Media(request.media.kind, request.media.bytes),
            request.surface,
            request.country,
        )
    )


class KafkaDecisionLog:
    """A DecisionLog. `record` works at any time, also before `start` and after `stop`; the queue holds what waits."""

    def __init__(self, bootstrap: str, topic: str, queue: int = QUEUE) -> None:
        self.stats = DecisionStats()
        self._bootstrap = bootstrap
        self._topic = topic
        self._room = queue
        self._waiting: deque[Waiting] = deque()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def record(self, request: CheckRequest, decision: Decision, now_us: int) -> None:
        """See DecisionLog. Encoding happens later, off the caller's path."""
        self.stats.recorded += 1
        if self._stopping or len(self._waiting) >= self._room:
            self.stats.dropped += 1
            return
        self._waiting.append((request, decision, now_us))
        self._arrived.set()

    async def start(self) -> None:
        """Begin to publish. Returns at once, whether Kafka answers or not; it is tried until it does."""
        self._task = asyncio.create_task(self._run(), name="decision-log")

    async def stop(self) -> None:
        """Publish what waits if that takes no longer than three seconds; the rest is dropped and counted."""
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
        said = False
        while not (self._stopping and not self._waiting):
            await self._arrived.wait()
            try:
                await self._publish()
                said = False
            except (KafkaError, OSError, TimeoutError) as error:
                if not said:
                    said = True
                    log.warning("decisions are not published: %s", str(error) or type(error).__name__)
                await asyncio.sleep(TRY_AGAIN_S)

    async def _publish(self) -> None:
        """Connect and write until stopped and empty. Raises KafkaError, OSError, TimeoutError."""
        producer: Any = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, max_batch_size=1 << 18, request_timeout_ms=5_000
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
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await producer.stop()

    async def _write(self, producer: Any) -> None:
        """Write one piece of the queue; what was not kept in time is dropped, for it may have been kept after all."""
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
        finally:
            self.stats.published += kept
            self.stats.dropped += len(piece) - kept


def _by_partition(piece: Sequence[Waiting], partitions: Sequence[int]) -> dict[int, list[Record]]:
    """Records of an account share a partition. Which, is our own choice: Kafka's hash costs more than all the rest."""
    found: dict[int, list[Record]] = {}
    for one in piece:
        key = one[1].account.encode()
        found.setdefault(partitions[crc32(key) % len(partitions)], []).append((key, decision_record(*one)))
    return found
