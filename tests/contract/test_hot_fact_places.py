"""Hot facts through real servers: what is written is heard in its order, by readers that come later too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gate.records.topics import Topics
from gate.stores.kafka import recreation
from gate.stores.kafka.hot_facts import HotFactProducer, follow_hot_facts
from gate.stores.kafka.topics import declare
from gate.stores.redis.connections.line import Line
from gate.stores.redis.hot_facts import AT_ONCE, KEPT_S, RedisHotFacts
from tests.waiting import eventually
from tests.workers import create_anew, while_busy

RECORDS = [(b"device:%016x" % n, b"%d" % n) for n in range(AT_ONCE + 20)] + [(b"device:%016x" % 3, None)]


class Heard:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None]] = []

    def hear(self, key: bytes | None, value: bytes | None) -> None:
        self.records.append((key, value or None))


@asynccontextmanager
async def running(work: object) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_stream_in_redis_is_heard_in_order_and_from_its_beginning(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    writer, reader, later = (RedisHotFacts(redis_url, prefix) for _ in range(3))
    heard, heard_later, line = Heard(), Heard(), Line(redis_url)

    async with running(reader.follow(heard.hear)):
        await writer.send(RECORDS)
        await eventually(lambda: len(heard.records) >= len(RECORDS))
    while await later.read(heard_later.hear):
        pass
    nothing_more = await later.read(heard_later.hear)
    kept_s = await line.execute(b"TTL", f"{prefix}hot", within_s=5.0)
    for each in (writer, reader, later, line):
        await each.close()

    assert heard.records == heard_later.records == RECORDS
    assert nothing_more == 0
    assert KEPT_S - 60 < kept_s <= KEPT_S


@pytest.mark.slow
async def test_the_topic_is_heard_in_order_also_by_who_listened_before_there_was_one(
    kafka_bootstrap: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.stores.kafka.hot_facts.TRY_AGAIN_S", 0.05)
    topics, heard = Topics(f"{unique()}."), Heard()
    producer = HotFactProducer(kafka_bootstrap, topics.hot.name)

    async with running(follow_hot_facts(kafka_bootstrap, topics.hot.name, heard.hear)):
        await declare(kafka_bootstrap, topics)
        await producer.send(RECORDS)
        await eventually(lambda: len(heard.records) >= len(RECORDS), timeout_s=20.0)
    await producer.stop()

    assert heard.records == RECORDS


@pytest.mark.slow
@pytest.mark.parametrize("before", [10, 1], ids=["shorter than before", "longer than before"])
async def test_a_topic_that_was_created_anew_while_a_gate_was_busy_is_heard_from_its_beginning(
    kafka_bootstrap: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(recreation, "LOOK_EVERY_S", 0.1)
    topics, heard = Topics(f"{unique()}."), Heard()
    await declare(kafka_bootstrap, topics)

    async def write(*records: tuple[bytes, bytes | None]) -> None:
        producer = HotFactProducer(kafka_bootstrap, topics.hot.name)
        await producer.send(records)
        await producer.stop()

    async def anew() -> None:
        await create_anew(kafka_bootstrap, topics, topics.hot)
        await write(*RECORDS[:2])

    async with running(follow_hot_facts(kafka_bootstrap, topics.hot.name, heard.hear)):
        await write(*RECORDS[:before])
        await eventually(lambda: len(heard.records) == before)
        while_busy(anew())
        await write(RECORDS[2])
        await eventually(lambda: heard.records[before:][-3:] == RECORDS[:3])
