"""The second channel of the kill switch: topic `gate.controls.v1`, compacted, one partition, read from its beginning.

Gates acknowledge in a second topic, `gate.acknowledgements.v1`: a gate's user may then read pauses without being able to
write them. Where that topic does not exist, acknowledgements go to the first.

It implements BoardStore with what Kafka can do. Each pause is a record of its own, so two writers at once overwrite
nothing but the same pause, and readers merge by revision. `replace` compares with what was read last, which keeps honest
writers apart but is no lock. The broker's append time is the store's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from heapq import nsmallest
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.board import Board, forget_ended, merge
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import LATELY_US, LIVE_WITHIN_US, Acknowledgement, Gates
from gate.records.control import (
    CLOCK_KEY,
    GATE,
    PAUSE,
    board_of_record,
    entry_record,
    gate_record,
    pause_record,
)
from gate.records.gate import MAX_BYTES as MAX_GATE_BYTES
from gate.stores.gates import gates_of
from gate.stores.kafka.client import closed, connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.recreation import RecreationWatch
from gate.stores.kafka.trouble import CHECK_IT, NO_ANSWER, kafka_trouble, kafka_unavailable

DEADLINE_S: Final = 5.0
PARTITION: Final = 0
POLL_MS: Final = 200
TRY_AGAIN_S: Final = 1.0
MOST_GATES: Final = 10_000
FORGET_LATER_US: Final = HOUR_US
"""How much later than gates a reader forgets a pause: clocks differ, and no gate may write again what was just deleted."""
FORGET_EVERY_S: Final = 60.0
SET_BACK_US: Final = 5 * MINUTE_US
"""Two brokers' clocks differ by less, so a larger step back says that a clock was ahead and was corrected."""
AWAY: Final = (KafkaError, OSError, TimeoutError)


class KafkaBoardStore:
    """A BoardStore. Use it as an async context manager, in one event loop. `unreadable` counts records it passed over.

    With `gives_up`, as a command does that somebody waits for, only the first call waits for a Kafka that is away.
    """

    def __init__(
        self, bootstrap: str, topic: str, deadline_s: float = DEADLINE_S, acknowledgements: str | None = None,
        *, gives_up: bool = False,
    ) -> None:  # fmt: skip
        self._bootstrap = bootstrap
        self._topic = topic
        self._deadline_s = deadline_s
        self._acknowledgements = topic if acknowledgements is None else acknowledgements
        self._at = TopicPartition(topic, PARTITION)
        self._gates_at = self._at
        self._board = Board()
        self._outdated: set[bytes] = set()
        self._ended: set[bytes] = set()
        self._forget_at_s = 0.0
        self._gates: dict[str, tuple[bytes, int]] = {}
        self._latest_us = 0
        self._next: dict[TopicPartition, int] = {}
        self._end: dict[TopicPartition, int] | None = None
        self._problem = NO_ANSWER
        self._was_read = False
        self._gives_up = gives_up
        self._has_waited = False
        self._clock: tuple[int, float] | None = None
        """The broker's time of the last record that was written just now, and when it was heard (loop's time, s)."""
        self._past: dict[TopicPartition, tuple[int, float]] = {}
        """As `_clock`, of the last record of each partition among those that were there before."""
        self._moved = asyncio.Condition()
        self._producer: Any = None
        self._writing = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None
        self.unreadable = 0

    async def __aenter__(self) -> Self:
        self._reading = asyncio.create_task(self._read_for_ever(), name="controls topic")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await self._drop_producer()

    @property
    def known(self) -> Board:
        """The board as far as it was read; it may lag behind the topic."""
        return self._board

    @property
    def outdated(self) -> frozenset[bytes]:
        """The keys whose last record is not what the board holds."""
        return frozenset(self._outdated)

    @property
    def caught_up(self) -> bool:
        """True once the topics were read to the ends that they had when reading began, and while they are being read."""
        return self._end is not None and all(self._next.get(at, 0) >= end for at, end in self._end.items())

    async def read(self) -> Board:
        """See BoardStore."""
        await self._until_caught_up()
        return self._board

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """See BoardStore. Writes the pauses that differ from those that were read."""
        await self._until_caught_up()
        kept = forget_ended(board, await self._pause_now_us() - FORGET_LATER_US).pauses
        known = self._board
        if known.rev != expected_rev:
            return False
        records = [pause_record(pause) for id_, pause in kept.items() if known.pauses.get(id_) != pause]
        aside = {entry.raw for entry in known.unreadable}
        others = [entry_record(entry) for entry in board.unreadable if entry.raw not in aside]
        records += [record for record in others if record is not None]
        records += [(PAUSE + id_.encode(), b"") for id_ in known.pauses.keys() - board.pauses.keys()]
        await self._send(records)
        return True

    async def durable(self) -> bool | None:
        """See BoardStore. A write returns once all replicas in sync have it."""
        return True

    async def repair(self, board: Board) -> bool:
        """See BoardStore. Writes the pauses of `board` again whose last record is another one, and deletes those that
        expired long ago.

        Compaction keeps the last record of a key. Where that is an older revision, a deletion or garbage, the pause would be
        lost to whoever reads the topic anew.
        """
        await self._until_caught_up()
        known = self._board.pauses
        lost = [each for id_, each in known.items() if PAUSE + id_.encode() in self._outdated and id_ in board.pauses]
        await self._send([*map(pause_record, lost), *((key, b"") for key in sorted(self._ended))])
        return bool(lost)

    async def changes(self) -> AsyncIterator[Board]:
        """See BoardStore. Ends never; while Kafka is away it yields nothing."""
        last: Board | None = None
        while True:
            async with self._moved:
                while self._board is last or not self.caught_up:
                    await self._moved.wait()
            last = self._board
            yield last

    async def acknowledge(self, said: Acknowledgement) -> int:
        """See BoardStore."""
        await self._until_caught_up()
        (at_us,) = await self._send([gate_record(said)], self._gates_at.topic)
        return at_us

    async def now_us(self) -> int:
        """See BoardStore. The broker's time of the last record, plus the time that has passed since.

        If no record has come in the last moments, it writes one; a user who may not write goes by the earlier ones.

        Gates judge by Redis' clock where they know it, and its host's may be another one than the broker's.
        """
        if self._clock is None:
            try:
                await self._send([(CLOCK_KEY, b"")])
            except StoreUnavailable:
                if not self._past:
                    raise
        await self._until_caught_up()
        return await self._pause_now_us()

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        """See BoardStore."""
        await self._until_caught_up()
        return await self._heard_within(within_us, process)

    async def count_gates(self, within_us: int) -> int:
        """See BoardStore."""
        return len((await self.gates(within_us)).live(within_us))

    async def _heard_within(self, within_us: int, process: str | None = None) -> Gates:
        now_us = self._now_us()
        asked = self._gates if process is None else self._gates.keys() & {process}
        heard = ((name, *self._gates[name]) for name in asked)
        return await gates_of(sorted(each for each in heard if each[2] >= now_us - within_us), now_us)

    async def forget(self, process: str) -> None:
        """See BoardStore."""
        await self._until_caught_up()
        for topic in dict.fromkeys((self._gates_at.topic, self._topic)):
            await self._send([(GATE + process.encode(), b"")], topic)

    def _now_us(self) -> int:
        now_s = asyncio.get_running_loop().time()
        # not the latest time of any record: a broker whose clock was ahead for a while would be ahead for ever
        known = self._past.values() if self._clock is None else (self._clock,)
        return max((at_us + int((now_s - heard_s) * 1_000_000) for at_us, heard_s in known), default=0)

    async def _pause_now_us(self) -> int:
        ahead_us = (await self._heard_within(LATELY_US)).pause_clock_ahead_us
        return self._now_us() + ahead_us

    async def _until_caught_up(self) -> None:
        within_s = 0.0 if self._gives_up and self._has_waited and not self.caught_up else self._deadline_s
        try:
            async with asyncio.timeout(within_s), self._moved:
                await self._moved.wait_for(lambda: self.caught_up)
        except TimeoutError as error:
            self._has_waited = True
            away = StoreUnavailable(
                f"Kafka at {self._bootstrap} did not return topic {self._topic} within {self._deadline_s:g} s: "
                f"{self._problem}",
                CHECK_IT,
            )
            away.was_reached = self._was_read
            raise away from error

    async def _send(self, records: Iterable[tuple[bytes, bytes]], topic: str | None = None) -> list[int]:
        """Write records, wait until all are kept, and return the broker's times of them. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._deadline_s), self._writing:
                producer = await self._connected_producer()
                sending = [
                    await producer.send(topic or self._topic, value=value or None, key=key, partition=PARTITION)
                    for key, value in records
                ]
                kept = await asyncio.gather(*sending)
        except AWAY as error:
            await self._drop_producer()
            self._has_waited = True
            away = kafka_unavailable(self._bootstrap, "did not keep it", error)
            away.was_reached = self._was_read
            raise away from error
        times = [int(one.timestamp) * 1_000 for one in kept]
        if times:
            self._clock = times[-1], asyncio.get_running_loop().time()
        return times

    async def _connected_producer(self) -> Any:
        if self._producer is None:
            # the topic must exist already: sending to an unknown name may make the broker create it, with other settings
            await self._until_caught_up()
            producer = AIOKafkaProducer(
                **connection(self._bootstrap), acks="all", enable_idempotence=True,
                request_timeout_ms=int(self._deadline_s * 1_000),
            )  # fmt: skip
            self._producer = producer
            await connected(producer)
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
            except (*AWAY, KeyError) as error:
                self._problem = kafka_trouble(error)
            except Exception as error:
                # the reader is a watcher in the background: a board that stays as it was would be taken for the topic's
                self._problem = f"{type(error).__name__}: {error}"
            self._end = None
            await asyncio.sleep(TRY_AGAIN_S)

    async def _read(self) -> None:
        """Read the topics from their beginnings until Kafka is away, a topic is created anew, or one ends before the place that
        was read.

        Such a topic has lost records: it may lack pauses.
        """
        consumer: Any = AIOKafkaConsumer(
            **connection(self._bootstrap), enable_auto_commit=False, request_timeout_ms=3_000, fetch_max_wait_ms=100,
            auto_offset_reset="none",
        )  # fmt: skip
        try:
            await connected(consumer)
            present = await consumer.topics()
            if self._topic not in present:
                raise KeyError(self._topic)
            self._gates_at = (
                TopicPartition(self._acknowledgements, PARTITION) if self._acknowledgements in present else self._at
            )
            both = list(dict.fromkeys((self._at, self._gates_at)))
            consumer.assign(both)
            self._outdated, self._ended = {PAUSE + id_.encode() for id_ in self._board.pauses}, set()
            self._next = dict(await consumer.beginning_offsets(both))
            for at, begin in self._next.items():
                consumer.seek(at, begin)
            self._end = dict(await consumer.end_offsets(both))
            self._was_read = True
            async with RecreationWatch(self._bootstrap, {at.topic for at in both}) as watch:
                while not watch.take():
                    await self._heard([])
                    for at, records in (await consumer.getmany(*both, timeout_ms=POLL_MS)).items():
                        await self._heard(records, at)
                    for at in both:
                        self._next[at] = await consumer.position(at)
        finally:
            with suppress(*AWAY):
                await closed(consumer.stop())

    async def _heard(self, records: list[Any], at: TopicPartition | None = None) -> None:
        board, is_past, now_s = self._board, not self.caught_up, asyncio.get_running_loop().time()
        for record in records:
            told = record.timestamp * 1_000, now_s
            if is_past:
                self._past[at or self._at] = told
            else:
                self._clock = told
            board = self._merged(board, record)
            self._next[at or self._at] = record.offset + 1
        if board is not self._board or asyncio.get_running_loop().time() >= self._forget_at_s:
            board = await self._without_ended(board)
        async with self._moved:
            self._board = board
            self._moved.notify_all()

    def _merged(self, board: Board, record: Any) -> Board:
        key: bytes = record.key or b""
        value: bytes | None = record.value
        if key.startswith(GATE):
            self._hear_gate(key[len(GATE) :].decode("utf-8", "replace"), value, record.timestamp * 1_000)
        elif key.startswith(PAUSE) and record.topic == self._topic:
            return self._hear_pause(board, key, value)
        elif key != CLOCK_KEY and value:
            self.unreadable += 1
        return board

    def _hear_pause(self, board: Board, key: bytes, value: bytes | None) -> Board:
        """The board with the record, noting whether it is what the board holds under its key."""
        read = Board()
        self._ended.discard(key)
        try:
            read = board_of_record(key, value) if value else read
        except StateUnreadable:
            self.unreadable += 1
        merged = merge(board, read)
        known = merged.pauses.get(key[len(PAUSE) :].decode("utf-8", "replace"))
        if known is None or read.pauses.get(known.id) == known or read.rev > known.rev:
            self._outdated.discard(key)
        else:
            self._outdated.add(key)
        return board if merged == board else merged

    async def _without_ended(self, board: Board) -> Board:
        """The board without the pauses that expired long ago; `repair` then deletes their records."""
        self._forget_at_s = asyncio.get_running_loop().time() + FORGET_EVERY_S
        kept = forget_ended(board, await self._pause_now_us() - FORGET_LATER_US)
        forgotten = {PAUSE + id_.encode() for id_ in board.pauses.keys() - kept.pauses.keys()}
        self._ended |= forgotten
        self._outdated -= forgotten
        return kept if forgotten or len(kept.unreadable) < len(board.unreadable) else board

    def _hear_gate(self, process: str, value: bytes | None, at_us: int) -> None:
        if not value:
            self._gates.pop(process, None)
            return
        if process not in self._gates and len(self._gates) >= MOST_GATES:
            # each process has a record for ever: the new ones count, and not those that ended long ago
            oldest = nsmallest(MOST_GATES // 10, self._gates, key=lambda known: self._gates[known][1])
            for known in oldest:
                del self._gates[known]
        self._gates[process] = value[: MAX_GATE_BYTES + 1], at_us
        if at_us < self._latest_us - SET_BACK_US:
            self._date_back(at_us)
            self._latest_us = at_us
        self._latest_us = max(self._latest_us, at_us)

    def _date_back(self, at_us: int) -> None:
        """Let what gates said before the broker's clock was set back to `at_us` expire from then on: nobody knows how old it
        is, and it proves no gate live."""
        for process, (document, told_us) in self._gates.items():
            if told_us > at_us + LIVE_WITHIN_US:
                self._gates[process] = document, at_us - LIVE_WITHIN_US - 1
