"""The worker as users of Faust start it: `faust -A streams.worker.app worker`, its pages and commands, and its crashes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from aiokafka import AIOKafkaProducer

from gate.local.free_port import free_port
from gate.records.score import decode_score
from gate.stores.kafka.topics import declare
from streams.worker.changelog import WATERMARK_KEY
from streams.worker.pages import partition_of
from tests.waiting import eventually, wait_until
from tests.workers import WorkerProcess, drained, event, values, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

FAUST = [str(Path(sys.executable).parent / "faust"), "-A", "streams.worker.app"]


def page(port: int, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def listens_on(worker: WorkerProcess) -> set[str]:
    """The addresses that the process listens on, as /proc tells them, without loopback."""
    assert worker.process is not None
    sockets = set()
    for link in Path(f"/proc/{worker.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(link.readlink().name)
    inodes = {name.removeprefix("socket:[").removesuffix("]") for name in sockets if name.startswith("socket:")}
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and inode in inodes:
            found.add(local.split(":")[0])
    return found - {"0100007F"}


async def test_faust_runs_the_very_same_worker(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    web = free_port()
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        worker.start([*FAUST, "worker", "-l", "info"], UPLOAD_GATE_WORKER_WEB_PORT=str(web))
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        bad = [(b"a-1", b"not json")]
        await write(kafka_bootstrap, worker.topics, [event(f"a-{n % 10}", n) for n in range(50)] + bad)
        await drained(kafka_bootstrap, worker)

        health = page(web, "/healthz")
        status, account = page(web, "/accounts/a-3")
        nobody = page(web, "/accounts/nobody")
        abroad = listens_on(worker)
        listed = subprocess.run([*FAUST, "dlq"], env=worker.env, capture_output=True, text=True, check=True)
        ours = subprocess.run(
            [str(Path(sys.executable).parent / "upload-gate"), "dlq", "list", "-o", "json"],
            env=worker.env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        await eventually(lambda: worker.metric("upload_gate_events_total", type="completed") == 50)
        agents = worker.metric("upload_gate_worker_agents")
        code = worker.end()

    scores = {decode_score(value).account for _, value in await values(kafka_bootstrap, worker.topics.scores)}
    states = {key for key, _ in await values(kafka_bootstrap, worker.topics.states)} - {WATERMARK_KEY}
    assert scores == {f"a-{n}" for n in range(10)}
    assert states == {f"a-{n}".encode() for n in range(10)}
    assert health == (200, {"status": "ok", "partitions": dict.fromkeys("0123", "live")})
    assert status == 200
    assert account["account"] == "a-3"
    assert account["state"]["events"] == 5  # type: ignore[index]
    assert account["score"]["account"] == "a-3"  # type: ignore[index]
    assert nobody[0] == 404
    assert abroad == set()
    assert "malformed" in listed.stdout
    assert [letter["reason"] for letter in json.loads(ours.stdout)["dead_letters"]] == ["json.malformed"]
    assert agents == 4
    assert code == 0


async def test_the_account_of_another_worker_is_told_by_its_partition(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    name, webs = unique(), (free_port(), free_port())
    with (
        worker_of(name, kafka_bootstrap, None, tmp_path / "a") as one,
        worker_of(name, kafka_bootstrap, None, tmp_path / "b") as other,
    ):
        for worker, web in zip((one, other), webs, strict=True):
            worker.start(UPLOAD_GATE_WORKER_WEB_PORT=str(web))

        def halves() -> list[set[str]] | None:
            try:
                states = [page(web, "/healthz")[1]["partitions"] for web in webs]
            except OSError:
                return None
            sets = [set(state) for state in states]  # type: ignore[call-overload]
            return sets if all(len(found) == 2 for found in sets) else None

        mine, _ = await eventually(halves, timeout_s=40.0)
        theirs = next(f"a-{n}" for n in range(99) if str(partition_of(f"a-{n}", 4)) not in mine)

        status, answer = page(webs[0], f"/accounts/{theirs}")

    assert status == 404
    assert answer["partition"] == partition_of(theirs, 4)
    assert {str(number) for number in answer["here"]} == mine  # type: ignore[attr-defined]


def test_a_second_worker_on_a_host_takes_the_next_port_for_its_metrics(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        worker_of(unique(), kafka_bootstrap, None, tmp_path / "a") as one,
        worker_of(unique(), kafka_bootstrap, None, tmp_path / "b") as other,
    ):
        one.start()
        wait_until(lambda: one.said("this worker reads from offset") == 4, timeout_s=30.0)
        other.start(UPLOAD_GATE_WORKER_METRICS_PORT=str(one.port))
        wait_until(lambda: other.said("this worker reads from offset") == 4, timeout_s=30.0)
        told = wait_until(
            lambda: re.search(rf"port {one.port} is taken: metrics are at (\S+):(\d+)/", other.log.read_text())
        )
        other.port = int(told[2])
        partitions = wait_until(lambda: other.metric("upload_gate_worker_partitions"))

        codes = (one.end(), other.end())

    assert told[1] == "http://127.0.0.1"
    assert one.port < other.port <= one.port + 20
    assert partitions == 4
    assert codes == (0, 0)


@pytest.mark.parametrize("how", ["python", "faust"])
async def test_a_service_that_crashes_ends_the_process_with_its_cause(
    how: str, kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
        await producer.start()
        await producer.send_and_wait(worker.topics.states.name, key=b"a-1", value=b"nonsense", partition=2)
        await producer.stop()

        worker.start([*FAUST, "worker", "-l", "info"] if how == "faust" else None)
        code = await eventually(lambda: worker.process and worker.process.poll(), timeout_s=30.0)

    assert code == 1
    assert worker.said("what is no account state") >= 1
