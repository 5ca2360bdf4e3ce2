"""Counts of shared features over a real broker: how long they are kept, and which a starting worker believes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from gate.records.topics import Topics
from gate.stores.kafka import recreation
from gate.stores.kafka.recreation import RecreationWatch
from gate.stores.kafka.topics import declare
from streams.core.crowd import DEVICE, WINDOW_US, Crowd
from streams.worker.crowd_feed import crowd_key, listen
from streams.worker.follow import TopicFollower
from tests.heard_counts import HeardCounts
from tests.waiting import eventually
from tests.workers import create_anew, while_busy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


async def test_the_broker_keeps_counts_as_long_as_the_topic_says(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()

    async def described() -> dict[str, str]:
        """Empty while the broker does not know the topic yet that it has just created."""
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topics.crowd.name)])
        return {name: value for name, value, *_ in answer.resources[0][4]}

    settings = await eventually(described)
    await admin.close()

    assert set(settings["cleanup.policy"].split(",")) == {"compact", "delete"}
    assert settings["retention.ms"] == str(31 * 86_400_000)


async def test_a_starting_worker_believes_no_count_from_before_the_window(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topic, now_ms = unique(), time.time_ns() // 1_000_000
    window_ms = WINDOW_US // 1_000
    settings = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}  # so that the test can write old records
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=settings)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for feature, age_ms in (("months", 20 * window_ms), ("days", window_ms - 60_000), ("now", 0)):
            await producer.send_and_wait(topic, b"7", crowd_key(3, feature), timestamp_ms=now_ms - age_ms)
    heard = HeardCounts()

    listening = asyncio.create_task(listen(kafka_bootstrap, topic, heard))
    await eventually(lambda: (3, "now", 7) in heard.counts)
    listening.cancel()
    await asyncio.wait([listening])

    assert heard.counts == [(3, "days", 7), (3, "now", 7)]


async def test_a_starting_worker_knows_what_others_published_and_passes_over_what_is_no_count(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topics, now_us = Topics(f"{unique()}."), time.time_ns() // 1_000
    await declare(kafka_bootstrap, topics)
    owner, worker = Crowd(), Crowd()
    for account in range(40):
        owner.note(3, DEVICE, 7, account, now_us, established=account < 9)
    (count,) = owner.take_changed(3)
    from_afar = count.record.replace(b"[2,", b"[2,9")  # tens of thousands of days later
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for partition, record in ((4, b"["), (5, from_afar), (3, count.record)):
            await producer.send_and_wait(topics.crowd.name, record, crowd_key(partition, count.feature))

    listening = asyncio.create_task(listen(kafka_bootstrap, topics.crowd.name, worker))
    await eventually(lambda: worker.today is not None)
    listening.cancel()
    await asyncio.wait([listening])

    assert worker.counts(DEVICE, 7) == (40, 9)
    assert worker.today == owner.today


@pytest.mark.parametrize("before", [8, 2], ids=["shorter than before", "longer than before"])
async def test_a_worker_hears_all_of_a_topic_that_was_created_anew_while_it_was_busy(
    kafka_bootstrap: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """The client alone continues where the new topic has the position of the old one, and misses all before."""
    monkeypatch.setattr(recreation, "LOOK_EVERY_S", 0.1)
    topics, heard = Topics(f"{unique()}."), HeardCounts()
    await declare(kafka_bootstrap, topics)

    async def publish(*features: str) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
            for feature in features:
                await producer.send_and_wait(topics.crowd.name, b"7", crowd_key(3, feature))

    async def anew() -> None:
        await create_anew(kafka_bootstrap, topics, topics.crowd)
        await publish("second", "third")

    await publish(*["first"] * before)
    listening = asyncio.create_task(listen(kafka_bootstrap, topics.crowd.name, heard))
    await eventually(lambda: heard.counts.count((3, "first", 7)) == before)
    while_busy(anew())
    await publish("fourth")
    whole = [(3, "second", 7), (3, "third", 7), (3, "fourth", 7)]
    await eventually(lambda: heard.counts[-3:] == whole)
    listening.cancel()
    await asyncio.wait([listening])

    assert heard.counts[-3:] == whole


async def test_a_follower_that_opens_again_reads_a_topic_that_was_created_anew_meanwhile_from_its_beginning(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    topic = topics.controls.name
    watch = RecreationWatch(kafka_bootstrap, [topic])

    async def send(*values: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
            for value in values:
                await producer.send_and_wait(topic, value, b"k")

    async def followed(since: int | None, until: bytes) -> tuple[list[bytes], int]:
        found: list[bytes] = []
        async with TopicFollower(kafka_bootstrap, topic, since, watch) as follower:
            while until not in found:
                found += [record.value for record in await follower.next()]
            return found, follower.position

    await send(b"first")
    before, position = await followed(0, b"first")
    await create_anew(kafka_bootstrap, topics, topics.controls)
    await send(b"second", b"third")
    after, _ = await followed(position, b"third")

    assert (before, after) == ([b"first"], [b"second", b"third"])
