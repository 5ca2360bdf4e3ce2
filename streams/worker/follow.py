"""Follows a topic of one partition: its stored records, then new ones. For crowd counts and the worker's controls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from gate.stores.kafka.client import closed, connected
from gate.stores.kafka.connection import connection
from gate.stores.kafka.recreation import RecreationWatch

POLL_MS = 500
MOST = 1_000


class TopicFollower:
    """An open reader of a topic's only partition. `position` is the offset of the next record.

    It `has_read_stored` once it has returned all records that the topic held when it was entered. Where the topic is
    created anew meanwhile, or its first records are deleted, it continues at the first record there is.
    """

    def __init__(self, bootstrap: str, topic: str, since: int | None, watch: RecreationWatch | None = None) -> None:
        """`since` is the first offset wanted, 0 for all that is kept; None begins at the end.

        With the `watch` of an earlier follower, `since` counts only if the topic is still the one that it read.
        """
        self.position = 0
        self.has_read_stored = False
        self._end = 0
        self._since = since
        self._at = TopicPartition(topic, 0)
        self._watch = watch or RecreationWatch(bootstrap, [topic])
        self._consumer: Any = AIOKafkaConsumer(
            **connection(bootstrap),
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # the client's default goes to the end, past what was written meanwhile
            isolation_level="read_committed",
        )

    async def __aenter__(self) -> Self:
        """Connect. Raises KafkaError; KeyError if there is no such topic, and TimeoutError if it is not known yet."""
        try:
            await connected(self._consumer)
            if self._at.topic not in await self._consumer.topics():  # naming it might create it
                raise KeyError(self._at.topic)
            self._consumer.assign([self._at])
            begin = (await self._consumer.beginning_offsets([self._at]))[self._at]
            end = (await self._consumer.end_offsets([self._at]))[self._at]
            self._end = end
            wanted = end if self._since is None else self._since
            self.position = begin if wanted > end else max(begin, wanted)  # beyond the end: of another topic
            self._consumer.seek(self._at, self.position)
            await self._watch.__aenter__()
        except BaseException:
            await closed(self._consumer.stop())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._watch.__aexit__(None, None, None)
        await closed(self._consumer.stop())

    async def next(self, timeout_ms: int = POLL_MS, most: int = MOST) -> Sequence[Any]:
        """The next records in their order, up to `most`; none if none come in time. Raises KafkaError.

        The caller's work on the last ones must not hold up the event loop much longer, so others have their turn first.
        """
        await asyncio.sleep(0)  # the client does not wait where it has records
        if self._watch.take():
            self._consumer.seek(self._at, (await self._consumer.beginning_offsets([self._at]))[self._at])
        found = await self._consumer.getmany(self._at, timeout_ms=timeout_ms, max_records=most)
        records: Sequence[Any] = found.get(self._at, ())
        if records:
            if records[0].offset < self.position:  # of a new topic, whose records are none of the stored ones
                self._end = 0
            self.position = records[-1].offset + 1
        if not self.has_read_stored:  # the consumer's own position also passes over the markers of transactions
            self.has_read_stored = await self._consumer.position(self._at) >= self._end
        return records
