"""Writes events to Kafka for a sender that must not stop. While Kafka is away, it drops them and keeps reconnecting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gate.core.event import Event
from gate.errors import StoreUnavailable
from gate.records.topics import Topics
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topics import LOOK_AT_IT, require_answer

KAFKA_WITHIN_S = 5.0
FIRST_WAIT_S = 0.5
RETRY_S = 1.0
STOP_WITHIN_S = 2.0


class KafkaEvents:
    """Writes to `uploads.events.v1`. A call blocks for at most `KAFKA_WITHIN_S` seconds."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._producer: EventProducer | None = None
        self._connecting: asyncio.Task[EventProducer] | None = None
        self._trouble = f"Kafka at {bootstrap} has not answered yet"

    async def send_many(self, events: Sequence[Event]) -> object:
        """Write events and wait until Kafka has stored them. Raises StoreUnavailable; then they are lost."""
        if self._producer is None:
            self._producer = await self._connect()
        try:
            async with asyncio.timeout(KAFKA_WITHIN_S):
                return await self._producer.send_many(events)
        except (TimeoutError, StoreUnavailable) as error:
            stopping, self._producer = self._producer, None
            self._trouble = (
                str(error) or f"Kafka at {self._bootstrap} gave no answer within {KAFKA_WITHIN_S:g} s. {LOOK_AT_IT}"
            )
            await _stopped(stopping)
            raise StoreUnavailable(self._trouble) from None

    async def close(self) -> None:
        """Write the buffered events and disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._producer is not None:
            await _stopped(self._producer)

    async def _connect(self) -> EventProducer:
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._started())
        await asyncio.wait([self._connecting], timeout=FIRST_WAIT_S)
        if not self._connecting.done():
            raise StoreUnavailable(self._trouble)
        producer, self._connecting = self._connecting.result(), None
        return producer

    async def _started(self) -> EventProducer:
        while True:
            producer = EventProducer(self._bootstrap, self._topics)
            try:
                await require_answer(
                    self._bootstrap
                )  # a client would wait half a minute for a broker that says nothing
                await producer.start()
                return producer
            except StoreUnavailable as error:
                self._trouble = str(error)
                await asyncio.sleep(RETRY_S)


async def _stopped(producer: EventProducer) -> None:
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await producer.stop()
    except (TimeoutError, StoreUnavailable):
        pass
