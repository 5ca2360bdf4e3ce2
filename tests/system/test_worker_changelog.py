"""How the worker reads a changelog that an older release or another program wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from gate.records.topics import Topics
from gate.stores.kafka.topics import declare, incarnation
from streams.core.facts import VERSION, Facts, pack, unpack
from streams.worker.changelog import WATERMARK_KEY, Watermark, encode_watermark
from tests.waiting import eventually
from tests.workers import create_anew, drained, event, values, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def change(kafka: str, topics: Topics, partition: int, *records: tuple[bytes, bytes]) -> None:
    """Write to the changelog behind the worker's back."""
    await declare(kafka, topics)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for key, value in records:
        await producer.send_and_wait(topics.states.name, key=key, value=value, partition=partition)
    await producer.stop()


@pytest.mark.parametrize(
    ("state", "words"),
    [(pack(Facts()), "no watermark"), (b"nonsense", "of accounts.state.v1 holds at offset 0 what is no account state")],
)
async def test_a_changelog_that_nobody_of_us_wrote_refuses_the_start(
    state: bytes, words: str, kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await change(kafka_bootstrap, worker.topics, 2, (b"a-1", state))

        worker.start()
        assert worker.process is not None
        code = await eventually(lambda: worker.process and worker.process.poll(), timeout_s=30.0)

    assert code == 1
    assert worker.said(words.replace("accounts.state.v1", worker.topics.states.name)) == 1
    assert worker.said("Traceback") == 0


async def test_states_of_an_older_release_start_anew_and_are_counted(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        cluster, topic_id = await incarnation(kafka_bootstrap, worker.topics.events.name)
        mark = encode_watermark(Watermark(f"{cluster}/{topic_id}", 0))
        old = msgspec.msgpack.encode(Facts(events=5))
        await change(kafka_bootstrap, worker.topics, 2, (b"x", old), (b"y", old), (WATERMARK_KEY, mark))

        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(20)])
        await drained(kafka_bootstrap, worker)

        assert worker.said("partition 2: 2 accounts start without history") == 1
        assert worker.metric("upload_gate_worker_states_forgotten_total") == 2
        await eventually(lambda: worker.metric("upload_gate_worker_accounts") == 20)


async def test_a_state_that_breaks_off_ends_the_worker_when_its_account_is_next_heard_of(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        cluster, topic_id = await incarnation(kafka_bootstrap, worker.topics.events.name)
        mark = encode_watermark(Watermark(f"{cluster}/{topic_id}", 0))
        for partition in range(4):
            cut = bytes((VERSION,)) + pack(Facts())[1:-5]
            await change(kafka_bootstrap, worker.topics, partition, (b"a-1", cut), (WATERMARK_KEY, mark))

        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event("a-1", 1)])
        code = await eventually(lambda: worker.process and worker.process.poll(), timeout_s=30.0)

    assert code == 1
    assert worker.said(f"of {worker.topics.states.name} holds what is no account state") == 1
    assert worker.said("Traceback") == 0


async def test_a_changelog_that_was_created_anew_under_a_running_worker_is_built_again_from_the_events(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(40)])
        await drained(kafka_bootstrap, worker)
        before = dict(await values(kafka_bootstrap, worker.topics.states))

        await create_anew(kafka_bootstrap, worker.topics, worker.topics.states)
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", 40 + n) for n in range(8)])
        await drained(kafka_bootstrap, worker)
        after = dict(await values(kafka_bootstrap, worker.topics.states))

        assert worker.said("was created anew, without the states that it held") >= 1
        assert worker.metric("upload_gate_worker_log_changes_total", change="changelog_lost") >= 1
    events = {key.decode(): unpack(state).events for key, state in after.items() if key != WATERMARK_KEY}
    assert before.keys() == after.keys()
    assert events == {f"a-{n}": 1 + (n < 8) for n in range(40)}


async def test_a_worker_with_another_salt_says_so_for_each_partition_until_it_has_folded_there(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    said = []
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        for salt in ("one", "one", "another", "another"):
            before = worker.log.read_text().count("this worker reads from offset") if worker.log.exists() else 0
            worker.start(UPLOAD_GATE_SALT=salt)
            await eventually(
                lambda before=before: worker.said("this worker reads from offset") == before + 4, timeout_s=30.0
            )
            await write(kafka_bootstrap, worker.topics, [event(f"a-{n}", n) for n in range(40)])
            await drained(kafka_bootstrap, worker)
            worker.end()
            said.append(worker.said("were folded under another UPLOAD_GATE_SALT"))

    assert said == [0, 0, 4, 4]
