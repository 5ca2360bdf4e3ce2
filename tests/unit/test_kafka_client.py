"""What is cancelled while a Kafka client closes ends, although the client's own close swallows the cancellation."""

from __future__ import annotations

import asyncio

import pytest

from gate.stores.kafka import client
from gate.stores.kafka.client import closed, finished


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


async def test_a_client_whose_connection_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CLOSE_WITHIN_S", 0.01)
    monkeypatch.setattr(client, "FINISH_WITHIN_S", 0.01)
    given_up = asyncio.Event()

    async def close() -> None:
        """As aiokafka's client where the end of a TLS connection is missed."""
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    await closed(close())

    assert given_up.is_set()


async def test_an_error_of_a_client_that_closes_passes_through() -> None:
    async def close(error: Exception) -> None:
        raise error

    for error in (TimeoutError("of the client"), OSError()):
        with pytest.raises(type(error)):
            await closed(close(error))
