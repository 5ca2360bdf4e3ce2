"""The common parts of our Kafka clients: they connect, and pack records into batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

FINISH_WITHIN_S = 1.0

Record = tuple[bytes | None, bytes | None]
"""Key and value. A value of None deletes the key's earlier value."""


async def connected(client: Any) -> None:
    """Start a producer, consumer or admin client. Raises what its `start` raises.

    If the caller is cancelled, it waits briefly for the end of the start, because the client would leak the connection.
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
    """Send `records` packed into batches, which is cheaper than a `send` for each. Returns a future for each batch."""
    sent: list[asyncio.Future[Any]] = []
    batch, now_ms = producer.create_batch(), time.time_ns() // 1_000_000
    for key, value in records:
        if batch.append(key=key, value=value, timestamp=now_ms) is None:  # it is full
            sent.append(await _sent(producer, batch, topic, partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=now_ms)
    if batch.record_count():
        sent.append(await _sent(producer, batch, topic, partition))
    return sent


async def _sent(producer: Any, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
    sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    sent.add_done_callback(_retrieve_error)
    return sent


def _retrieve_error(sent: asyncio.Future[Any]) -> None:
    """Retrieve the error of a batch, so that asyncio does not log it: its sender has already reported the failure."""
    if not sent.cancelled():
        sent.exception()
