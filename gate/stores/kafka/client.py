"""The common parts of our Kafka clients: they connect, and pack records into batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka.errors import KafkaError, ProducerClosed

FINISH_WITHIN_S = 1.0
STOP_WITHIN_S = 1.0
CLOSE_WITHIN_S = 2.0
"""Longer than the broker holds back the answer to a fetch, which a client that closes waits for."""

Record = tuple[bytes | None, bytes | None]
"""Key and value. A value of None deletes the key's earlier value."""


async def connected(client: Any) -> None:
    """Start a producer, consumer or admin client. Raises what its `start` raises."""
    await finished(client.start())


async def finished(connecting: Coroutine[Any, Any, Any]) -> None:
    """Await a call by which a client connects or closes. Raises what it raises.

    If the caller is cancelled, it waits briefly for the end: a client that is connecting would leak the connection, and one
    that is closing would swallow the cancellation.
    """
    starting = asyncio.ensure_future(connecting)
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=FINISH_WITHIN_S)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def stopped(producer: Any, within_s: float = STOP_WITHIN_S) -> None:
    """Stop a producer: write what it has buffered for at most `within_s` seconds, then drop the rest and disconnect.

    Where no broker answers, the producer's own `stop` waits for ever if it is idempotent, else for half a minute. A `stop` that
    is cut off leaves the sender behind, which connects and sends for ever. An error of the broker is not raised: nobody waits
    for the records.
    """
    stopping = asyncio.ensure_future(producer.stop())
    try:
        await asyncio.wait([stopping], timeout=within_s)
    finally:
        if not stopping.done():
            _send_no_more(producer.client)
            await asyncio.wait([stopping], timeout=FINISH_WITHIN_S)
        stopping.cancel()
        await asyncio.wait([stopping])
        if stopping.cancelled() or stopping.exception() is not None:  # then the connections are still open
            with suppress(KafkaError, OSError, TimeoutError):
                await closed(producer.client.close())
    with suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
        stopping.result()


def _send_no_more(client: Any) -> None:
    """Have each request of a client fail for good, those under way too, so that the sender drops what it holds and ends."""

    async def send(*_: object, **__: object) -> None:
        raise ProducerClosed

    async def without_waiting() -> None:
        pass

    client.send, client._maybe_wait_metadata = send, without_waiting
    if client._sync_task is not None:
        client._sync_task.cancel()
    if client._md_update_fut is not None and not client._md_update_fut.done():
        client._md_update_fut.set_result(False)
    for connection in list(client._conns.values()):
        connection.close()


async def closed(closing: Coroutine[Any, Any, None]) -> None:
    """Await the `stop` or `close` of a client that has nothing to write, for a short time only. Raises what it raises.

    Over TLS the client waits for the broker's last word, which the event loop can miss: then it waits half a minute. The
    connections are given up before, and the event loop drops them by itself.
    """
    try:
        async with asyncio.timeout(CLOSE_WITHIN_S) as limit:
            await finished(closing)
    except TimeoutError:
        if not limit.expired():
            raise


async def send_packed(
    producer: Any, topic: str, partition: int, records: Iterable[Record]
) -> list[asyncio.Future[Any]]:
    """Send `records` packed into batches, which is cheaper than a `send` for each. Returns a future for each batch."""
    sent: list[asyncio.Future[Any]] = []
    rest, now_ms = iter(records), time.time_ns() // 1_000_000
    following = next(rest, None)
    while following is not None:
        batch = producer.create_batch()
        following = _fill(batch, chain((following,), rest), now_ms)
        sent.append(await _sent(producer, batch, topic, partition))
    return sent


def _fill(batch: Any, records: Iterable[Record], now_ms: int) -> Record | None:
    """Append `records` to `batch` while it has room for them. Returns the one that found none.

    It does what the batch's own `append` does for each, which takes twice as long.
    """
    append, count, left = batch._builder.append, 0, None
    headers: list[tuple[str, bytes]] = []
    for record in records:
        key, value = record
        if append(count, now_ms, key, value, headers) is None:
            batch.close()
            left = record
            break
        count += 1
    batch._relative_offset = count
    return left


async def _sent(producer: Any, batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
    sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    sent.add_done_callback(_retrieve_error)
    return sent


def _retrieve_error(sent: asyncio.Future[Any]) -> None:
    """Retrieve the error of a batch, so that asyncio does not log it: its sender has already reported the failure."""
    if not sent.cancelled():
        sent.exception()
