"""How the worker handles topics that others set up, changed, truncated or lost: each has one outcome, and is logged."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec.structs import replace

from gate.core.score import Score
from gate.records.score import decode_score
from gate.records.topics import Topic
from gate.stores.kafka.topics import declare, shapes
from streams.core.home import homes
from streams.worker.changelog import WATERMARK_KEY, Watermark, decode_watermark, encode_watermark
from tests.waiting import eventually
from tests.workers import WorkerProcess, drained, event, store_of, values, worker_of, write

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(180)]


@asynccontextmanager
async def admin_of(kafka: str) -> AsyncIterator[Any]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def partitions_of(kafka: str, topic: Topic) -> int:
    _, known = await shapes(kafka, [topic.name])
    return known[topic.name].partitions if topic.name in known else 0


async def create(kafka: str, topic: Topic, partitions: int, **config: str) -> None:
    settings = topic.config() | {name.replace("_", "."): value for name, value in config.items()}
    async with admin_of(kafka) as admin:
        await admin.create_topics([NewTopic(topic.name, partitions, 1, topic_configs=settings)])

    async def is_there() -> bool:
        return await partitions_of(kafka, topic) == partitions

    await eventually(is_there)


async def delete(kafka: str, topic: Topic) -> None:
    async with admin_of(kafka) as admin:
        await admin.delete_topics([topic.name])

    async def is_gone() -> bool:
        return await partitions_of(kafka, topic) == 0

    await eventually(is_gone)


async def add_partitions(kafka: str, partitions: int, *topics: Topic) -> None:
    async with admin_of(kafka) as admin:
        for topic in topics:
            await admin.create_partitions({topic.name: NewPartitions(partitions)})


async def marks(kafka: str, worker: WorkerProcess, partitions: int = 4) -> list[Watermark]:
    topic = Topic(worker.topics.states.name, partitions, True, -1)
    found = [decode_watermark(value) for key, value in await values(kafka, topic) if key == WATERMARK_KEY]
    return list({mark.epoch + str(mark.offset): mark for mark in found}.values())


async def ended(worker: WorkerProcess) -> int:
    assert worker.process is not None
    code: int = await eventually(lambda: (worker.process and worker.process.poll()) or None, timeout_s=40.0)
    return code


async def start_again(worker: WorkerProcess) -> None:
    before = worker.said("this worker reads from offset")
    worker.start()
    await eventually(lambda: worker.said("this worker reads from offset") == before + 4, timeout_s=40.0)


async def test_topics_are_created_with_as_many_partitions_as_the_events_topic_has(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await create(kafka_bootstrap, worker.topics.events, 12)

        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 12, timeout_s=40.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(60)])
        await drained(kafka_bootstrap, worker)

        for topic in worker.topics.of_worker():
            assert await partitions_of(kafka_bootstrap, topic) == 12
        assert await partitions_of(kafka_bootstrap, worker.topics.crowd) == 1
        await eventually(lambda: worker.metric("upload_gate_events_total") == 60)
        assert worker.metric("upload_gate_event_foreign_accounts_total") == 0


async def test_a_changelog_with_fewer_partitions_ends_the_worker_with_the_command_to_type(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await add_partitions(kafka_bootstrap, 6, worker.topics.events)

        worker.start()
        code = await ended(worker)

        states = worker.topics.states.name
        assert code == 2
        assert worker.said(f"{states} has 4") == 1
        assert worker.said(f"--alter --topic {states} --partitions 6") == 1
        assert worker.said("Traceback") == 0


async def test_settings_that_differ_are_logged_with_the_command_to_type(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await create(
            kafka_bootstrap, worker.topics.events, 4, message_timestamp_type="CreateTime", retention_ms="60000"
        )
        await create(kafka_bootstrap, worker.topics.states, 4, cleanup_policy="delete")

        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)

        events, states = worker.topics.events.name, worker.topics.states.name
        assert worker.said(f"topic {states} has cleanup.policy=delete. Type: kafka-configs.sh") == 1
        assert worker.said(f"--entity-name {states} --add-config cleanup.policy=compact") == 1
        assert worker.said(f"topic {events} has ") == 1
        assert worker.said("message.timestamp.type=CreateTime") == 1
        assert worker.said("retention.ms=60000") == 1
        assert worker.said("kafka-configs.sh") == 2


async def test_a_transaction_that_cannot_end_is_told_once_and_kafka_is_not_called_away(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(50)])
        await drained(kafka_bootstrap, worker)
        async with admin_of(kafka_bootstrap) as admin:
            smaller_than_a_marker = {"max.message.bytes": "60"}
            topic = ConfigResource(ConfigResourceType.TOPIC, worker.topics.states.name, configs=smaller_than_a_marker)
            await admin.alter_configs([topic])

        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(50, 100)])

        said = f"Kafka refuses (unended transaction: a transaction of the group {worker.group} does not end)"
        await eventually(lambda: worker.said(said) == 1, timeout_s=60.0)
        assert worker.metric("upload_gate_worker_kafka_up") == 0
        assert worker.said("Kafka refuses (record size: ") == 1
        assert worker.said("Kafka is away") + worker.said("Kafka is back") + worker.said("Traceback") == 0


async def test_partitions_that_are_added_move_accounts_and_their_scores(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    accounts = [f"a-{number}" for number in range(40)]

    async def scores(worker: WorkerProcess) -> list[Score]:
        async with store_of(worker, redis_url) as store:
            return [score for score in await store.scores(accounts) if score is not None]

    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        for round_ in range(5):  # so that offsets of before lie above those of new partitions
            await write(kafka_bootstrap, worker.topics, [event(a, 100 * round_ + n) for n, a in enumerate(accounts)])
        await drained(kafka_bootstrap, worker)
        before = await scores(worker)
        topics = worker.topics

        await add_partitions(kafka_bootstrap, 8, topics.states, topics.scores, topics.dead_letters, topics.events)
        await eventually(lambda: worker.said("partition 7: this worker reads from offset") >= 1, timeout_s=60.0)
        await write(kafka_bootstrap, worker.topics, [event(a, 1_000 + n) for n, a in enumerate(accounts)])
        await drained(kafka_bootstrap, worker)
        after = await scores(worker)

        at_home = {n: {a for a, home in zip(accounts, homes(accounts, n, [8]), strict=True) if home} for n in range(8)}
        assert {score.stamp.partition for score in before} == {0, 1, 2, 3}
        assert {n: {s.account for s in after if s.stamp.partition == n} for n in range(8)} == at_home
        assert {score.stamp.partitions for score in after} == {8}
        assert worker.metric("upload_gate_event_foreign_accounts_total") == 0


async def test_events_that_expired_unread_are_counted_and_logged(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event("a-1", n) for n in range(5)])
        await drained(kafka_bootstrap, worker)
        worker.end()
        await write(kafka_bootstrap, worker.topics, [event("a-1", n) for n in range(5, 15)])
        (partition,) = [n for n in range(4) if homes(["a-1"], n, [4]) == [4]]
        at = TopicPartition(worker.topics.events.name, partition)
        async with admin_of(kafka_bootstrap) as admin:
            await admin.delete_records({at: RecordsToDelete(before_offset=12)})

        await start_again(worker)
        await eventually(lambda: worker.metric("upload_gate_events_total") == 3, timeout_s=40.0)

        assert worker.said("retention loss: 7 events were never read") == 1
        assert worker.metric("upload_gate_worker_events_lost_total", change="expired") == 7
        assert worker.metric("upload_gate_worker_log_changes_total", change="expired") == 1


async def test_a_log_that_lost_its_end_is_read_from_its_end_and_nothing_is_counted_twice(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event("a-1", n) for n in range(5)])
        await drained(kafka_bootstrap, worker)
        worker.end()
        (mark,) = [mark for mark in await marks(kafka_bootstrap, worker) if mark.offset]
        (partition,) = [n for n in range(4) if homes(["a-1"], n, [4]) == [4]]
        await move_mark(kafka_bootstrap, worker, partition, mark, mark.offset + 100)

        worker.start()
        await eventually(lambda: worker.said("the log lost its last 100 events") == 1, timeout_s=40.0)
        await write(kafka_bootstrap, worker.topics, [event("a-1", 5)])
        await eventually(lambda: worker.metric("upload_gate_events_total") == 1, timeout_s=40.0)

        async def is_of_the_next_epoch() -> bool:
            async with store_of(worker, redis_url) as store:
                (score,) = await store.scores(["a-1"])
            return score is not None and score.stamp.epoch.endswith("+1") and score.stamp.offset == 5

        await eventually(is_of_the_next_epoch)
        assert worker.metric("upload_gate_events_total") == 1
        assert worker.metric("upload_gate_worker_events_lost_total", change="truncated") == 100


async def move_mark(kafka: str, worker: WorkerProcess, partition: int, mark: Watermark, offset: int) -> None:
    """Let a changelog say that more was folded than its log holds, as after an unclean election."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    value = encode_watermark(replace(mark, offset=offset))
    await producer.send_and_wait(worker.topics.states.name, key=WATERMARK_KEY, value=value, partition=partition)
    await producer.stop()


async def test_a_lost_changelog_is_built_again_from_the_events_that_are_left(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(40)])
        await drained(kafka_bootstrap, worker)
        before = {
            s.account: s for s in [decode_score(v) for _, v in await values(kafka_bootstrap, worker.topics.scores)]
        }
        worker.end()
        await delete(kafka_bootstrap, worker.topics.states)

        await start_again(worker)
        await eventually(lambda: worker.metric("upload_gate_events_total") == 40, timeout_s=40.0)

        async def are_of_the_new_generation() -> bool:
            async with store_of(worker, redis_url) as store:
                found = await store.scores(list(before))
            return all(s is not None and s.stamp.generation > before[s.account].stamp.generation for s in found)

        await eventually(are_of_the_new_generation, timeout_s=30.0, every_s=0.1)
        assert worker.said("though the group had read it") == 4
        assert worker.metric("upload_gate_worker_log_changes_total", change="changelog_lost") == 4


async def test_inactive_accounts_are_forgotten_everywhere(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    def at(account: str, days_ago: float, number: int) -> tuple[bytes, bytes]:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86_400 * days_ago))
        body = {"type": "completed", "id": f"e-{number}", "at": when, "account": {"id": account}, "bytes": 7}
        return account.encode(), json.dumps(body).encode()

    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start(UPLOAD_GATE_FORGET_AFTER="31d")
        old = [at(f"old-{n}", 32, n) for n in range(20)]
        late = [at(f"late-{n}", 30, 100 + n) for n in range(20)]
        await write(kafka_bootstrap, worker.topics, old + late)
        await drained(kafka_bootstrap, worker)
        await write(kafka_bootstrap, worker.topics, [at(f"new-{n}", 0, 200 + n) for n in range(40)])

        await eventually(lambda: worker.metric("upload_gate_worker_accounts_forgotten_total") == 20, timeout_s=30.0)

        await eventually(lambda: worker.metric("upload_gate_worker_accounts") == 60)
        assert worker.metric("upload_gate_worker_partition_accounts") == 60
        assert worker.metric("upload_gate_worker_state_bytes") > 60 * 50
        last = dict(await values(kafka_bootstrap, worker.topics.states))
        assert [key for key, value in last.items() if value is None] != []
        assert {key for key, value in last.items() if value is None} == {f"old-{n}".encode() for n in range(20)}
        scores = dict(await values(kafka_bootstrap, worker.topics.scores))
        assert {key for key, value in scores.items() if value is None} == {f"old-{n}".encode() for n in range(20)}

        async def are_gone() -> bool:
            async with store_of(worker, redis_url) as store:
                found = await store.scores([f"old-{n}" for n in range(20)] + ["late-1", "new-1"])
            return [score is None for score in found] == [True] * 20 + [False] * 2

        await eventually(are_gone)


async def test_a_score_from_a_foreign_partition_is_counted_and_never_replaces_one_from_home(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event("a-1", n) for n in range(3)])
        await drained(kafka_bootstrap, worker)
        (home,) = [n for n in range(4) if homes(["a-1"], n, [4]) == [4]]

        producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
        await producer.start()
        for number in range(10, 20):
            key, value = event("a-1", number)
            await producer.send_and_wait(worker.topics.events.name, value, key, partition=(home + 1) % 4)
        await producer.stop()
        await drained(kafka_bootstrap, worker)

        await eventually(lambda: worker.metric("upload_gate_events_total") == 13)
        async with store_of(worker, redis_url) as store:
            (score,) = await store.scores(["a-1"])
        assert score is not None
        assert (score.stamp.partition, score.stamp.partitions, score.stamp.offset) == (home, 4, 2)
        assert worker.metric("upload_gate_event_foreign_accounts_total") >= 1


async def test_an_events_topic_created_anew_with_fewer_partitions_replaces_scores_of_the_former(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    accounts = [f"a-{number}" for number in range(20)]
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start()
        for round_ in range(3):
            await write(kafka_bootstrap, worker.topics, [event(a, 100 * round_ + n) for n, a in enumerate(accounts)])
        await drained(kafka_bootstrap, worker)
        worker.end()
        await delete(kafka_bootstrap, worker.topics.events)
        await create(kafka_bootstrap, worker.topics.events, 2)

        worker.start()
        await eventually(lambda: worker.said("was created anew: it is read from offset 0") == 2, timeout_s=40.0)
        await write(kafka_bootstrap, worker.topics, [event(a, 1_000 + n) for n, a in enumerate(accounts)])
        await drained(kafka_bootstrap, worker)

        async with store_of(worker, redis_url) as store:
            stamps = [score.stamp for score in await store.scores(accounts) if score is not None]
        assert len(stamps) == 20
        assert {stamp.partitions for stamp in stamps} == {2}
        assert max(stamp.offset for stamp in stamps) < 20
        assert worker.metric("upload_gate_worker_log_changes_total", change="recreated") == 2
