"""The stream worker as a process of its own, over real servers: what it makes of events, and of servers that go away."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.core.score import Score
from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.records.score import decode_score
from gate.stores.kafka.topics import declare
from streams.worker.changelog import WATERMARK_KEY, decode_watermark
from tests.servers import running_kafka, running_redis
from tests.waiting import eventually, wait_until
from tests.workers import create_anew, drained, event, store_of, values, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def test_events_become_scores_in_kafka_and_redis(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        bad = [(b"a-1", b"not json"), (b"somebody else", event("a-2", 99)[1])]
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(50)] + bad)

        worker.start()
        await drained(kafka_bootstrap, worker)

        scores = [decode_score(value) for _, value in await values(kafka_bootstrap, worker.topics.scores)]
        async with store_of(worker, redis_url) as store:
            in_redis = await store.scores([f"a-{n}" for n in range(10)])
        states = await values(kafka_bootstrap, worker.topics.states)
        dead = [json.loads(value) for _, value in await values(kafka_bootstrap, worker.topics.dead_letters)]
        folded = wait_until(lambda: worker.metric("upload_gate_events_total", type="completed"))
        assert {score.account for score in scores} == {f"a-{n}" for n in range(10)}
        assert [score.account for score in in_redis if score is not None] == [f"a-{n}" for n in range(10)]
        assert {key for key, _ in states} == {f"a-{n}".encode() for n in range(10)} | {WATERMARK_KEY}
        assert sum(decode_watermark(value).offset for key, value in states if key == WATERMARK_KEY) >= 52
        assert {letter["reason"] for letter in dead} >= {"key.mismatch"}
        assert len(dead) == 2
        assert folded == 50
        assert worker.metric("upload_gate_dead_letters_total") == 2
        assert worker.metric("upload_gate_worker_partitions") == 4


async def test_two_signals_end_a_worker_once_and_properly(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        wait_until(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        assert worker.process is not None

        worker.process.send_signal(signal.SIGTERM)
        code = worker.end()

    assert code == 0
    assert worker.said("worker stopped") == 1
    assert worker.said("Traceback") == 0


async def test_a_worker_goes_on_where_it_stood(kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(30)])
        await drained(kafka_bootstrap, worker)
        worker.end(signal.SIGKILL)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(30, 60)])

        worker.start()
        await drained(kafka_bootstrap, worker)

        scores = [decode_score(value) for _, value in await values(kafka_bootstrap, worker.topics.scores)]
        marks = [(score.account, score.stamp.offset) for score in scores]
        assert len(marks) == len(set(marks))
        assert worker.metric("upload_gate_events_total", type="completed") == 30


async def test_scores_are_kept_for_redis_while_it_is_away(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        running_redis(tmp_path / "redis") as redis,
        worker_of(unique(), kafka_bootstrap, redis.url, tmp_path) as worker,
    ):
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        redis.kill()

        for round_ in range(5):
            await write(
                kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(round_ * 10, round_ * 10 + 10)]
            )
            await drained(kafka_bootstrap, worker)
        await eventually(lambda: worker.metric("upload_gate_redis_missing_scores") >= 50)
        redis.start()

        async with store_of(worker, redis.url) as store:

            async def all_there() -> list[Score | None] | None:
                found = await store.scores([f"a-{n}" for n in range(50)])
                return found if None not in found else None

            await eventually(all_there, timeout_s=20.0, every_s=0.1)
        await eventually(lambda: worker.metric("upload_gate_redis_missing_scores") == 0)
        await eventually(lambda: worker.said("Redis is back") == 1)
        assert worker.said("Redis is away") == 1


async def test_scores_that_redis_lacks_outlive_the_worker(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        running_redis(tmp_path / "redis") as redis,
        worker_of(unique(), kafka_bootstrap, redis.url, tmp_path) as worker,
    ):
        redis.kill()
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(20)])
        await drained(kafka_bootstrap, worker)
        worker.end(signal.SIGKILL)
        redis.start()

        worker.start()

        async with store_of(worker, redis.url) as store:

            async def all_there() -> bool:
                return None not in await store.scores([f"a-{n}" for n in range(20)])

            await eventually(all_there, timeout_s=30.0, every_s=0.1)


async def test_a_worker_waits_for_kafka_and_says_so_once(
    kafka_jars: None, unique: Callable[[], str], tmp_path: Path
) -> None:
    kafka = LocalKafka(tmp_path / "kafka", free_port(), fetch_jars(default_cache(), print), print)
    with worker_of(unique(), kafka.bootstrap, None, tmp_path) as worker:
        worker.start()
        await eventually(lambda: worker.said("Kafka is away") == 1, timeout_s=20.0)
        try:
            kafka.start()
            await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)

            await write(kafka.bootstrap, worker.topics, [event("a-1", 1)])
            await drained(kafka.bootstrap, worker)
            lines = worker.log.read_text().splitlines()
            code = worker.end()
        finally:
            kafka.stop()

    assert code == 0
    assert worker.said("Kafka is away") == 1
    assert worker.said("Kafka is back") == 1
    assert len(lines) < 15, lines


async def test_a_broker_that_dies_and_returns_needs_no_restart(
    kafka_jars: None, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        running_kafka(tmp_path / "kafka") as kafka,
        worker_of(unique(), kafka.bootstrap, None, tmp_path) as worker,
    ):
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)
        await write(kafka.bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(20)])
        await drained(kafka.bootstrap, worker)
        kafka.kill()
        await eventually(lambda: worker.said("Kafka is away") == 1, timeout_s=20.0)

        kafka.start()
        await write(kafka.bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(20, 40)])
        await drained(kafka.bootstrap, worker)

        scores = [decode_score(value) for _, value in await values(kafka.bootstrap, worker.topics.scores)]
        assert {score.account for score in scores} == {f"a-{n}" for n in range(40)}
        assert len(worker.log.read_text().splitlines()) < 40
        assert worker.process is not None
        assert worker.process.poll() is None


async def test_a_broker_that_stops_in_mid_run_is_named_and_work_goes_on_when_it_answers_again(
    kafka_jars: None, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        running_kafka(tmp_path / "kafka") as kafka,
        worker_of(unique(), kafka.bootstrap, None, tmp_path) as worker,
    ):
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)
        assert kafka.pid is not None
        os.kill(kafka.pid, signal.SIGSTOP)  # its connections stay open and pass nothing
        try:
            await eventually(lambda: worker.said("accepts connections and answers nothing") == 1, timeout_s=20.0)
            told = worker.metric("upload_gate_worker_kafka_up")
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        await eventually(lambda: worker.said("Kafka is back") >= 1, timeout_s=20.0)

        await write(kafka.bootstrap, worker.topics, [event("a-1", 1)])
        await drained(kafka.bootstrap, worker)

        assert told == 0


async def test_a_topic_created_anew_is_not_taken_for_the_old_one(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(40)])
        await drained(kafka_bootstrap, worker)
        worker.end()
        await create_anew(kafka_bootstrap, worker.topics, worker.topics.events)
        await write(kafka_bootstrap, worker.topics, [event(f"b-{n}", n) for n in range(40)])

        worker.start()

        async def all_scored() -> bool:
            scores = [decode_score(value) for _, value in await values(kafka_bootstrap, worker.topics.scores)]
            return {f"b-{n}" for n in range(40)} <= {score.account for score in scores}

        await eventually(all_scored, timeout_s=30.0, every_s=0.2)


async def test_a_topic_of_mostly_unreadable_events_is_not_drained(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await write(kafka_bootstrap, worker.topics, [(b"a-1", b"junk")] * 1_500)

        worker.start()
        await eventually(lambda: worker.said("is not read on") == 1, timeout_s=30.0)
        await eventually(lambda: worker.metric("upload_gate_partitions_halted") == 1)
        stopped = await values(kafka_bootstrap, worker.topics.dead_letters)
        code = worker.end()
        worker.start(UPLOAD_GATE_UNREADABLE="drain")
        await drained(kafka_bootstrap, worker)

        assert code == 0
        assert len(stopped) <= 1_000
        assert len(await values(kafka_bootstrap, worker.topics.dead_letters)) == 1_500


async def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, unique: Callable[[], str]) -> None:
    with worker_of(unique(), "", None, tmp_path) as worker:
        worker.start()
        assert worker.process is not None
        code = worker.process.wait(20)

    assert code == 2
    assert worker.said("UPLOAD_GATE_KAFKA") == 1


@pytest.mark.parametrize(("salt", "times"), [("", 1), ("a secret", 0)])
def test_a_worker_without_a_salt_says_once_what_that_means(
    salt: str, times: int, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), f"127.0.0.1:{free_port()}", None, tmp_path) as worker:
        worker.start(UPLOAD_GATE_SALT=salt)
        wait_until(lambda: worker.said("Kafka is away"), timeout_s=30.0)
        worker.end()

    assert worker.said("UPLOAD_GATE_SALT is not set") == times
