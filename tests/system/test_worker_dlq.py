"""`upload-gate dlq` against a running worker and a real Kafka: resume without a restart, list, show, replay each once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from gate.records.score import decode_score
from gate.stores.kafka.topics import declare
from streams.pipeline.effects.dead_letters import REPLAYED_FROM, DeadLetter, encode_dead_letter
from streams.worker.changelog import PartitionReader
from streams.worker.control_records import ResumeOutcome
from streams.worker.pages import partition_of
from streams.worker.replay_letters import Fate, Replaced, ReplayCounts, ReplayWanted, replay
from streams.worker.resume import resume
from tests.waiting import eventually
from tests.workers import WorkerProcess, drained, event, values, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

UPLOAD_GATE = str(Path(sys.executable).parent / "upload-gate")


class Ended(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.out)
        return found


async def dlq(worker: WorkerProcess, *arguments: str) -> Ended:
    process = await asyncio.create_subprocess_exec(
        UPLOAD_GATE, "dlq", *arguments, env=worker.env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def replayed_events(kafka: str, worker: WorkerProcess) -> list[str]:
    """Where each committed event that was sent again first stood."""
    found = []
    for partition in range(worker.topics.events.partitions):
        async with PartitionReader(kafka, worker.topics.events.name, partition) as reader:
            async for records in reader.since(0):
                found += [dict(record.headers)[REPLAYED_FROM].decode() for record in records if record.headers]
    return found


async def scored(kafka: str, worker: WorkerProcess) -> set[str]:
    return {decode_score(value).account for _, value in await values(kafka, worker.topics.scores)}


async def test_a_halted_partition_shows_its_lag_and_reads_on_at_a_command(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    number = partition_of("a-1", 4)
    elsewhere = next(f"b-{n}" for n in range(99) if partition_of(f"b-{n}", 4) != number)
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await write(kafka_bootstrap, worker.topics, [(b"a-1", b"junk")] * 1_500 + [event("a-1", 1)])
        worker.start()
        await eventually(lambda: worker.said("is not read on") == 1, timeout_s=30.0)

        await write(kafka_bootstrap, worker.topics, [event("a-1", 2), event(elsewhere, 3)])
        await eventually(lambda: worker.metric("upload_gate_worker_lag_records", partition=str(number)) == 1_502)
        await eventually(lambda: worker.metric("upload_gate_events_total", type="completed") == 1)
        halted = worker.metric("upload_gate_partitions_halted")
        partitions = worker.metric("upload_gate_events_partitions")
        again = await dlq(worker, "resume", "--partition", str(number))
        no_such = await dlq(worker, "resume", "--partition", "99")
        live = await dlq(worker, "resume", "--drain", "-o", "json")
        await drained(kafka_bootstrap, worker)
        await eventually(lambda: worker.metric("upload_gate_partitions_halted") == 0)
        nothing_to_do = await dlq(worker, "resume")
        letters = await values(kafka_bootstrap, worker.topics.dead_letters)
        accounts = await scored(kafka_bootstrap, worker)
        code = worker.end()

    assert (halted, partitions) == (1, 4)
    assert (again.code, again.out.startswith(f"partition {number} is halted again at offset 0")) == (3, True)
    assert no_such.code == 2
    assert "has no partition 99" in no_such.err
    assert live.code == 0
    assert {one["partition"]: one["outcome"] for one in live.json["partitions"]} == {  # type: ignore[attr-defined]
        n: "live" if n == number else "not_halted" for n in range(4)
    }
    assert (nothing_to_do.code, nothing_to_do.out.count("was not halted")) == (0, 4)
    assert len(letters) == 1_500
    assert accounts == {"a-1", elsewhere}
    assert worker.said("is not read on") == 2
    assert code == 0


async def test_a_flood_of_unreadable_events_switches_no_scoring_off(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    number = partition_of("a-1", 4)
    honest = [f"b-{n}" for n in range(400) if partition_of(f"b-{n}", 4) == number][:60]
    flood = [(b"a-1", b"junk")] * 49
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await write(
            kafka_bootstrap, worker.topics, [r for n, one in enumerate(honest) for r in (event(one, n), *flood)]
        )
        worker.start()
        await drained(kafka_bootstrap, worker)
        await eventually(lambda: worker.metric("upload_gate_events_total", type="completed") == 60)

        await eventually(lambda: worker.metric("upload_gate_partitions_quarantined") == 1)
        halted = worker.metric("upload_gate_partitions_halted")
        dead = worker.metric("upload_gate_dead_letters_total")
        accounts = await scored(kafka_bootstrap, worker)

    assert len(honest) == 60
    assert (halted, dead) == (0, 60 * 49)
    assert accounts == set(honest)
    assert worker.said("the worker scores the readable ones") == 1


async def test_resuming_where_no_worker_runs_says_so_for_each_partition(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)

        answers = await resume(kafka_bootstrap, worker.topics, None, False, within_s=0.5)

    assert [(answer.partition, answer.outcome) for answer in answers] == [
        (n, ResumeOutcome.NO_WORKER) for n in range(4)
    ]


async def test_letters_are_listed_shown_and_replayed_once_and_what_fails_again_goes_round_in_no_loop(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    misplaced = [(b"wrong", event(f"a-{n}", n)[1]) for n in range(300)]
    junk = [(b"a-1", b'{"caption":"\x1b[2J\xe2\x80\xae"}'), (b"a-1", b"\xff\xfe")]
    cut = [(b"a-1", b"x" * 600_000)]
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await write(kafka_bootstrap, worker.topics, misplaced + junk + cut)
        worker.start()
        await drained(kafka_bootstrap, worker)
        number = partition_of("a-1", 4)

        listed = await dlq(worker, "list", "--reason", "key.mismatch", "--limit", "3", "-o", "json")
        of_partition = (await dlq(worker, "list", "--partition", str(number), "-o", "json")).json["dead_letters"]
        at = {one["reason"]: one["origin"]["offset"] for one in reversed(of_partition)}  # type: ignore[call-overload]
        shown = await dlq(worker, "show", f"{number}:{at['json.malformed']}")
        shown_cut = await dlq(worker, "show", f"{number}:{at['size.exceeded']}")
        nothing = await dlq(worker, "show", "0:99999999")
        dry = await dlq(worker, "replay", "--dry-run", "-o", "json")
        refused = await dlq(worker, "replay")
        before = await replayed_events(kafka_bootstrap, worker)
        both = await asyncio.gather(*(dlq(worker, "replay", "--yes", "--reason", "key.mismatch") for _ in range(2)))
        mended = await dlq(worker, "replay", "--yes", "--reason", "key.mismatch", "-o", "json")
        once = await replayed_events(kafka_bootstrap, worker)
        rest = await dlq(worker, "replay", "--yes", "--since", "1h", "-o", "json")
        await drained(kafka_bootstrap, worker)
        round_again = await dlq(worker, "replay", "--yes", "-o", "json")
        letters = (await dlq(worker, "list", "--limit", "1000", "-o", "json")).json["dead_letters"]
        accounts = await scored(kafka_bootstrap, worker)

    assert {one["reason"] for one in listed.json["dead_letters"]} == {"key.mismatch"}  # type: ignore[attr-defined]
    assert len(listed.json["dead_letters"]) == 3  # type: ignore[arg-type]
    assert "\\e[2J\\u202e" in shown.out
    assert "\x1b" not in shown.out
    assert "correct" in shown.out
    assert "cannot be replayed" in shown_cut.out
    assert nothing.code == 1
    assert dry.json["sent"] == 0
    assert dry.json["letters"] == {
        "readable": 300, "still_unreadable": 2, "truncated": 1, "replayed_before": 0, "failed_again": 0,
    }  # fmt: skip
    assert (refused.code, "send 302 events" in refused.err, before) == (2, True, [])
    assert {ended.code for ended in both} <= {0, 1}
    assert [ended.err for ended in both if ended.code != 0 and "another replay" not in ended.err] == []
    assert mended.code == 0
    assert len(once) == len(set(once)) == 300
    assert rest.json["sent"] == 2
    assert rest.json["letters"]["replayed_before"] == 300  # type: ignore[index]
    assert round_again.json["sent"] == 0
    assert round_again.json["letters"] == {
        "readable": 0, "still_unreadable": 0, "truncated": 1, "replayed_before": 302, "failed_again": 2,
    }  # fmt: skip
    assert len(letters) == 305  # type: ignore[arg-type]
    assert sum(one["replayed_from"] is not None for one in letters) == 2  # type: ignore[attr-defined]
    assert accounts == {f"a-{n}" for n in range(300)}


async def test_of_six_replays_at_once_each_event_is_sent_exactly_once(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    letters = [
        encode_dead_letter(DeadLetter("e", n % 4, n, "key.mismatch", "", event(f"a-{n}", n)[1], b"wrong"))
        for n in range(1_200)
    ]
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        topics = worker.topics
        await declare(kafka_bootstrap, topics)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
        await producer.start()
        for number, (key, value) in enumerate(letters):
            await producer.send(topics.dead_letters.name, key=key, value=value, partition=number % 4)
        await producer.stop()

        ended = await asyncio.gather(
            *(replay(kafka_bootstrap, topics, ReplayWanted()) for _ in range(6)), return_exceptions=True
        )
        last = await replay(kafka_bootstrap, topics, ReplayWanted())
        sent = await replayed_events(kafka_bootstrap, worker)

    assert {type(one) for one in ended} <= {ReplayCounts, Replaced}
    assert len(sent) == len(set(sent)) == 1_200
    assert last.by_fate[Fate.READABLE] + last.by_fate[Fate.REPLAYED_BEFORE] == 1_200


async def test_a_replay_that_is_killed_between_transactions_is_finished_by_the_next(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        await write(kafka_bootstrap, worker.topics, [(b"wrong", event(f"a-{n}", n)[1]) for n in range(900)])
        await write(kafka_bootstrap, worker.topics, [event(f"b-{n}", n) for n in range(40)])
        worker.start()
        await drained(kafka_bootstrap, worker)

        first = await asyncio.create_subprocess_exec(
            UPLOAD_GATE, "dlq", "replay", "--yes", env=worker.env, stderr=asyncio.subprocess.DEVNULL
        )

        async def has_sent_some() -> bool:
            return bool(await replayed_events(kafka_bootstrap, worker)) or first.returncode is not None

        await eventually(has_sent_some, timeout_s=30.0)
        if first.returncode is None:
            first.kill()
        await first.wait()
        second = await dlq(worker, "replay", "--yes", "-o", "json")
        sent = await replayed_events(kafka_bootstrap, worker)
        await drained(kafka_bootstrap, worker)

    assert second.code == 0
    assert len(sent) == len(set(sent)) == 900
