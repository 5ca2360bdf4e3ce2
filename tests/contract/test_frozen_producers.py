"""Producers whose broker freezes in mid-run: a call gives up, and leaves no task and no connection behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gate.core.account import Account
from gate.core.event import Completed
from gate.errors import StoreUnavailable
from gate.local.kafka import LocalKafka
from gate.records.control import CLOCK_KEY
from gate.records.topics import Topics
from gate.stores.kafka import events, hot_facts
from gate.stores.kafka.boards import KafkaBoardStore
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.hot_facts import HotFactProducer
from gate.stores.kafka.topics import declare
from streams.lab.rows import at
from tests.servers import running_kafka
from tests.waiting import eventually

TOPICS = Topics("frozen.", 1)
WITHIN_S = 0.5
ENDS_WITHIN_S = 12.0
"""Far less than the client's own patience of 40 s for a batch, and as long again for the next one."""

Send = Callable[[], Awaitable[object]]


@asynccontextmanager
async def hot(bootstrap: str) -> AsyncIterator[Send]:
    producer = HotFactProducer(bootstrap, TOPICS.hot.name)
    yield lambda: producer.send([(b"device:1", b"{}")])
    await producer.stop()


@asynccontextmanager
async def event(bootstrap: str) -> AsyncIterator[Send]:
    producer = EventProducer(bootstrap, TOPICS)
    await producer.start()
    yield lambda: producer.send(Completed("c-1", at(1), Account("a-1"), "u-1", 9))
    await producer.stop()


@asynccontextmanager
async def board(bootstrap: str) -> AsyncIterator[Send]:
    async with KafkaBoardStore(bootstrap, TOPICS.controls.name, WITHIN_S) as store:
        store_deadline_s, store._deadline_s = store._deadline_s, 10.0
        await store.read()
        await store._send([(CLOCK_KEY, b"")])
        store._deadline_s = store_deadline_s
        yield lambda: store._send([(CLOCK_KEY, b"")])


@pytest.fixture(scope="module")
def kafka(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        asyncio.run(declare(server.bootstrap, TOPICS))
        yield server


@pytest.mark.parametrize("opened", [hot, event, board], ids=["hot facts", "events", "board"])
async def test_a_producer_whose_broker_freezes_gives_up_and_leaves_nothing_behind(
    opened: Callable[[str], AbstractAsyncContextManager[Send]], kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_facts, "SEND_WITHIN_S", 10.0)
    before = asyncio.all_tasks()
    assert kafka.pid is not None
    try:
        async with opened(kafka.bootstrap) as send:
            await send()
            for module in (hot_facts, events):
                monkeypatch.setattr(module, "SEND_WITHIN_S", WITHIN_S)
            os.kill(kafka.pid, signal.SIGSTOP)
            async with asyncio.timeout(ENDS_WITHIN_S):
                with pytest.raises(StoreUnavailable):
                    await send()
        await eventually(lambda: asyncio.all_tasks() == before)
    finally:
        os.kill(kafka.pid, signal.SIGCONT)
