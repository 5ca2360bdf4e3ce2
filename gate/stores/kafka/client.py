"""Writes events to Kafka: keyed by account, each once and in order however often the network makes us send it again.

What its clients do alike stands here too: to connect, and to pack records into batches.

Leaves topics to `kafka_topics`, and what an event means to the stream worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

FINISH_WITHIN_S = 1.0

Record = tuple[bytes | None, bytes | None]
"""Key and value; a value of None takes away what the key had."""


async def connected(client: Any) -> None:
    """Start a producer, consumer or admin client. Raises what its `start` does.

    Who is cancelled meanwhile waits a moment for the end of it: the client forgets a connection that is just being made.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=FINISH_WITHIN_S)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def send_packed(
    producer: Any, topic: str, partition: int, records: Iterable[Record]
) -> list[asyncio.Future[Any]]:
    """Hand over `records` packed into batches, which is cheaper than a `send` for each. A future for each batch."""
    sent: list[asyncio.Future[Any]] = []
    batch, count = producer.create_batch(), 0
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=None) is None:
            sent.append(await _sent(producer, batch, topic, partition))
            batch, count = producer.create_batch(), 0
            batch.append(key=key, value=value, timestamp=None)
        count += 1
    if count:
        sent.append(await _sent(producer, batch, topic, partition))
    return sent


async def _sent(producer: Any, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
    sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    sent.add_done_callback(_retrieve_error)
    return sent


def _retrieve_error(sent: asyncio.Future[Any]) -> None:
    """Whoever fails before it waits for its batches has said why; theirs is no news."""
    if not sent.cancelled():
        sent.exception()
