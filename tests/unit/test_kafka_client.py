"""What is cancelled while a Kafka client closes ends, although the client's own close swallows the cancellation."""

from __future__ import annotations

import asyncio

from gate.stores.kafka.client import finished


async def test_a_reader_that_is_cancelled_while_its_client_closes_reads_no_further() -> None:
    closing, closed, read_on = asyncio.Event(), asyncio.Event(), []

    async def close() -> None:
        """As aiokafka's clients do with the tasks that they end."""
        closing.set()
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
        closed.set()

    async def read() -> None:
        await finished(close())
        read_on.append(True)

    reading = asyncio.create_task(read())
    await closing.wait()
    reading.cancel()
    await asyncio.wait([reading])

    assert reading.cancelled()
    assert closed.is_set()
    assert not read_on
