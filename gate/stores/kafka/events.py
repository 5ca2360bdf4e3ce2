"""Writes events to Kafka, keyed by account, each once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from gate.core.event import Event
from gate.errors import StoreUnavailable
from gate.records.topics import Topics
from gate.stores.kafka.client import connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topics import existing
from gate.stores.kafka.trouble import kafka_unavailable

SEND_WITHIN_S = 30.0


LINGER_MS = 5


class EventProducer:
    """A producer of `uploads.events.v1`. Start, use and stop it in the same event loop."""

    def __init__(self, bootstrap: str, topics: Topics, linger_ms: int = LINGER_MS) -> None:
        self._bootstrap = bootstrap
        self._topic = topics.events.name
        self._linger_ms = linger_ms
        self._encode = msgspec.json.Encoder().encode
        self._producer: Any = None

    async def start(self) -> None:
        """Connect. Raises StoreUnavailable, also where the topic is missing: a broker might create it, with one partition."""
        await existing(self._bootstrap, self._topic, "Start a worker first: it creates the topics")
        producer = AIOKafkaProducer(
            **connection(self._bootstrap),
            linger_ms=self._linger_ms,
            acks="all",
            enable_idempotence=True,
            max_batch_size=1 << 18,
            max_request_size=4 << 20,
        )
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await connected(producer)
        except (KafkaError, OSError, TimeoutError) as error:
            await stopped(producer)
            raise _unavailable(self._bootstrap, error) from error
        except asyncio.CancelledError:
            await stopped(producer)
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Write the buffered events, then disconnect. Does nothing if it was not started."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    async def send(self, event: Event) -> None:
        """Write one event and wait until Kafka has stored it.

        Raises StoreUnavailable; Kafka may have stored the event all the same.
        """
        await self.send_many((event,))

    async def send_many(self, events: Iterable[Event]) -> list[tuple[int, int]]:
        """Write events in their order and wait until Kafka has stored all. Returns partition and offset of each.

        Raises StoreUnavailable; Kafka may have stored any of the events all the same.
        """
        return await self.send_raw((event.account.id.encode(), self._encode(event)) for event in events)

    async def send_raw(self, records: Iterable[tuple[bytes | None, bytes]]) -> list[tuple[int, int]]:
        """`send_many` for (key, value) pairs of bytes, written unchanged. Tests send invalid events by it."""
        if self._producer is None:
            raise StoreUnavailable("the event producer was not started")
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                kept = [await self._producer.send(self._topic, value=value, key=key) for key, value in records]
                return [(at.partition, at.offset) for at in await asyncio.gather(*kept)]
        except (KafkaError, OSError, TimeoutError) as error:
            raise _unavailable(self._bootstrap, error) from error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _unavailable(bootstrap: str, error: BaseException) -> StoreUnavailable:
    return kafka_unavailable(bootstrap, "did not keep the events", error)
