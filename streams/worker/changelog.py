"""A partition's accounts in memory: packed states by account id, read from their compacted changelog.

Decides how the changelog is read, and defines its watermark record. `commit` writes the changelog, and `streams.core`
defines the states.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from gate.core.fields.parse import UNDECODABLE
from gate.errors import StateUnreadable
from gate.stores.kafka.client import closed, connected
from gate.stores.kafka.connection import connection
from streams.core.facts import READABLE, VERSION, version
from streams.worker.plain_records import without_copies

WATERMARK_KEY = b"\xffwatermark"
"""The key of the watermark. It is not UTF-8, so no account id equals it."""
RESTORE = "Restore the topic, or empty it to score all accounts anew"
POLL_MS = 200
STALLED_MS = 8_000
"""If expected records do not arrive for so long, the reader fails, and the next try has new connections."""


class Watermark(msgspec.Struct, frozen=True, omit_defaults=True, rename={"missing_from": "owed"}):
    """The progress of a partition: events below `offset` of the topic incarnation `epoch` are folded and committed.

    `missing_from` is the first offset of the partition's scores that Redis may lack, None if it has all. Its name in
    the record is that of earlier releases. Earlier releases do not know the following fields. `generation` is that of
    the scores' stamps. `scoring` names the scorecard and the layout of states that the scores were made with.
    `partitions` are the numbers of partitions that the events topic has had. `requests` is the offset up to which
    requests to score all accounts were obeyed. `rescore_at` is the position from which all accounts must be scored
    again, None if they have been. `salt` tells the salt under which addresses and devices were hashed from others.
    """

    epoch: str
    offset: int
    missing_from: int | None = None
    generation: int = 0
    scoring: str = ""
    partitions: tuple[int, ...] = ()
    requests: int = 0
    rescore_at: int | None = None
    salt: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Watermark).decode
_EPOCH = re.compile(r"[^+]*(?:\+[0-9]{1,9})?")
"""Cluster and topic id, and how often the log has lost its end (`continuity`)."""


def encode_watermark(mark: Watermark) -> bytes:
    """The record's value."""
    return _encode(mark)


def decode_watermark(value: bytes) -> Watermark:
    """Raises StateUnreadable."""
    try:
        mark = _decode(value)
    except UNDECODABLE as error:
        raise StateUnreadable(f"the changelog's watermark does not parse: {error}", RESTORE) from error
    if _EPOCH.fullmatch(mark.epoch) is None or mark.offset < 0:
        raise StateUnreadable("the changelog's watermark has an epoch or an offset that no worker writes", RESTORE)
    return mark


class PartitionReader:
    """Reads committed records of one partition, up to the end that it had when the reader was entered."""

    def __init__(self, bootstrap: str, topic: str, partition: int) -> None:
        self._at = TopicPartition(topic, partition)
        self._consumer: Any = AIOKafkaConsumer(
            **connection(bootstrap),
            enable_auto_commit=False,
            auto_offset_reset="none",  # the client's default goes to the end, and records would be missing
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 << 20,
            request_timeout_ms=STALLED_MS,
            fetch_max_wait_ms=50,  # the last fetch is never answered at once, and closing waits for it
        )
        self.begin = 0
        self.end = 0

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(STALLED_MS / 1000):
                await connected(self._consumer)
                without_copies(self._consumer)
                self.begin, self.end = await self.bounds(self._at.topic)
        except BaseException:
            await closed(self._consumer.stop())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await closed(self._consumer.stop())

    async def bounds(self, topic: str, partition: int | None = None) -> tuple[int, int]:
        """The first offset of a partition of `topic`, and the offset after its last record. The default is the
        reader's own partition number. Raises KafkaError."""
        at = TopicPartition(topic, self._at.partition if partition is None else partition)
        begins = await self._consumer.beginning_offsets([at])
        ends = await self._consumer.end_offsets([at])
        return begins[at], ends[at]

    async def since(self, offset: int) -> AsyncIterator[Sequence[Any]]:
        """Yields records from `offset` (or the first one kept after it) to the end, one fetch at a time. They have
        `offset`, `key`, `value` and `timestamp`. Raises KafkaError; TimeoutError if no more records come."""
        if max(offset, self.begin) >= self.end:
            return
        self._consumer.assign([self._at])
        # to a known offset: `seek_to_beginning` right after `assign` can read nothing without an error
        self._consumer.seek(self._at, max(offset, self.begin))
        moved = time.monotonic()
        while await self._consumer.position(self._at) < self.end:
            got = await self._consumer.getmany(self._at, timeout_ms=POLL_MS)
            for records in got.values():
                yield records
                moved = time.monotonic()
            if time.monotonic() - moved > STALLED_MS / 1000:
                raise TimeoutError(f"{self._at.topic} stopped short of its end")


class Accounts:
    """The states of one partition, and the changelog position up to which they were read.

    `fold` keeps the states that it replaces, so that batches that were never committed can be undone, newest first.
    `bytes` is the size of all states. It grows with the number of accounts; the core bounds each state. `forgotten` are
    the accounts that `load` found with a state of an older version: they start without history.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.states: dict[str, bytes] = {}
        self.mark: Watermark | None = None
        self.position = 0
        self._topic_id = ""
        self.forgotten: set[str] = set()
        self.bytes = 0
        self._replaced: list[dict[str, bytes | None]] = []

    def fold(self, changed: dict[str, bytes], gone: Sequence[str] = ()) -> None:
        """Apply the states of a batch that is not committed yet, and delete the accounts in `gone`."""
        get = self.states.get
        replaced = dict(zip(changed, map(get, changed), strict=True))
        self.states.update(changed)
        for account in gone:
            replaced[account] = self.states.pop(account, None)
        self._replaced.append(replaced)
        self.bytes += sum(map(len, changed.values())) - sum(map(len, filter(None, replaced.values())))

    def committed(self, batches: int, mark: Watermark, position: int) -> None:
        """Mark the oldest `batches` folded batches as committed. The changelog is written at least up to `position`."""
        del self._replaced[:batches]
        self.mark = mark
        self.position = position

    @property
    def has_uncommitted(self) -> bool:
        """Whether a folded batch is not committed yet."""
        return bool(self._replaced)

    def take_back(self) -> None:
        """Undo every batch that was not committed."""
        while self._replaced:
            for account, before in self._replaced.pop().items():
                now = self.states.pop(account, None)
                if before is not None:
                    self.states[account] = before
                self.bytes += len(before or b"") - len(now or b"")

    async def load(self, reader: PartitionReader, topic: str, topic_id: str = "") -> int:
        """Read the changelog from the last known position, at first and after it was created anew from its beginning.
        Returns the number of records.

        Where brokers have no topic ids, `topic_id` is empty, and only a shorter changelog is known to be another.
        Raises KafkaError; StateUnreadable for a value that is not a state or is one of a newer release, for a key that is
        no account id, for a watermark that does not parse, and if the changelog holds accounts but no watermark, because
        then every event might be counted again.
        """
        self.take_back()
        self.forgotten.clear()
        count = 0
        before, self._topic_id = self._topic_id, topic_id
        if reader.end < self.position or topic_id != before:
            self.states.clear()
            self.mark = None
            self.position = 0
        async for records in reader.since(self.position):
            count += len(records)
            self._apply(records, topic)
        self.position = reader.end
        self.bytes = sum(map(len, self.states.values()))
        accounts = len(self.states) + len(self.forgotten)
        if self.mark is None and accounts:
            raise StateUnreadable(
                f"partition {self.partition} of {topic} holds {accounts} accounts but no watermark", RESTORE
            )
        return count

    def _apply(self, records: Sequence[Any], topic: str) -> None:
        states, forgotten = self.states, self.forgotten
        for record in records:
            key, value = record.key, record.value
            if key == WATERMARK_KEY:
                self.mark = decode_watermark(value or b"")
                continue
            try:
                account = (key or b"\xff").decode()
            except UnicodeDecodeError:
                where = f"partition {self.partition} of {topic} holds at offset {record.offset}"
                raise StateUnreadable(f"{where} a record whose key is no account id", RESTORE) from None
            if value is not None and value[:1] in READABLE:
                states[account] = value
                if forgotten:
                    forgotten.discard(account)
            else:
                states.pop(account, None)
                forgotten.discard(account)
                if value is not None:
                    self._require_old_version(value, topic, record.offset)
                    forgotten.add(account)

    def _require_old_version(self, value: bytes, topic: str, offset: int) -> None:
        """Return for a state of an older version, which must not stop the worker and is dropped. Raises otherwise."""
        found = version(value)
        where = f"partition {self.partition} of {topic} holds at offset {offset}"
        if found is None:
            raise StateUnreadable(f"{where} what is no account state", RESTORE)
        if found > VERSION:
            raise StateUnreadable(
                f"{where} an account state of version {found}, this release reads {VERSION}",
                "Run the release that wrote it, or empty the topic to score all accounts anew",
            )
