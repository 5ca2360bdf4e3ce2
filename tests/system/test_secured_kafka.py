"""Kafka that speaks TLS and wants a login: the worker, the commands, and what they say where it does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import AccessRefused
from gate.ports.boards import Acknowledgement
from gate.records.topics import Topics
from gate.serve.clock import SystemClock
from gate.stores.kafka.boards import KafkaBoardStore
from gate.stores.kafka.rescores import request_scores
from gate.stores.kafka.topics import answers, declare
from tests.certificates import make_certificates
from tests.secured_kafka import PASSWORD, SecuredKafka, grant, running_secured_kafka
from tests.waiting import eventually
from tests.workers import drained, event, store_of, values, worker_of, write

NOW_US = SystemClock().now_us()
PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOW_US + 3_600_000_000, set_at_us=NOW_US)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka(kafka_jars: None, certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    with running_secured_kafka(tmp_path_factory.mktemp("kafka"), certificates) as server:
        yield server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


async def test_a_worker_scores_events_over_tls_and_never_says_the_password(
    kafka: SecuredKafka,
    certificates: Path,
    password_file: Path,
    redis_url: str,
    unique: Callable[[], str],
    tmp_path: Path,
) -> None:
    address = kafka.address(password_file, certificates / "ours-ca.pem")
    with worker_of(unique(), address, redis_url, tmp_path) as worker:
        await declare(address, worker.topics)
        await write(address, worker.topics, [event(f"a-{n % 10}", n) for n in range(50)])

        worker.start()
        await drained(address, worker)

        assert len(await values(address, worker.topics.scores)) >= 10
        async with store_of(worker, redis_url) as store:
            in_redis = await store.scores([f"a-{n}" for n in range(10)])
        assert all(score is not None for score in in_redis)
        assert worker.said(PASSWORD) == 0
        assert worker.said("Traceback") == 0


async def test_with_the_access_lists_of_the_deployment_each_program_does_its_work_and_gates_write_no_pause(
    kafka: SecuredKafka,
    certificates: Path,
    password_file: Path,
    redis_url: str,
    unique: Callable[[], str],
    tmp_path: Path,
) -> None:
    def as_(user: str) -> str:
        return kafka.address(password_file, certificates / "ours-ca.pem", user)

    def board(user: str) -> KafkaBoardStore:
        topics = Topics(f"{name}.")
        return KafkaBoardStore(as_(user), topics.pauses.name, 10.0, topics.acknowledgements.name)

    name = unique()
    await declare(kafka.bootstrap, Topics(f"{name}."))
    await grant(kafka.bootstrap, name)
    with worker_of(name, as_("worker"), redis_url, tmp_path) as worker:
        await write(as_("uploads"), worker.topics, [event("a-1", n) for n in range(20)])
        worker.start()
        async with board("gate") as gate, board("oncall") as oncall, board("keeper") as keeper:
            said = Acknowledgement("g-1", "http://g", 0, 0, boot="b", digest="d")
            await gate.acknowledge(said)

            async def is_heard() -> bool:
                return [one.gate for one in (await oncall.gates(60_000_000)).acknowledgements] == ["g-1"]

            await eventually(is_heard)
            assert await oncall.replace(0, Board({"p-1": PAUSE}))
            await eventually(lambda: gate.known == keeper.known == Board({"p-1": PAUSE}))
            with pytest.raises(AccessRefused, match="its access lists do not permit this user to do that"):
                await gate.replace(1, Board({"p-1": PAUSE, "p-2": replace(PAUSE, id="p-2")}))
            assert await keeper.replace(1, Board({"p-1": PAUSE, "p-3": replace(PAUSE, id="p-3", rev=2)}))
            await eventually(lambda: sorted(gate.known.pauses) == ["p-1", "p-3"])
            await gate.acknowledge(said)
            await oncall.forget(said.process)
        await drained(kafka.bootstrap, worker)

        assert len(await values(kafka.bootstrap, worker.topics.scores)) == 1
        assert (
            await request_scores(as_("oncall"), worker.topics, "ann", "2026-11-27T03:00:00Z")
            == worker.topics.partitions
        )
        assert worker.said("access lists") + worker.said("refuses") == 0


@pytest.mark.parametrize(
    ("operation", "topic", "flags"),
    [
        ("Read", "crowd.counts.v1", "--operation Read --topic {0}.crowd.counts.v1"),
        ("Write", "accounts.state.v1", "--operation Write --topic {0}.accounts.state.v1"),
        ("Read", "", "--operation Read --group {0}"),
    ],
)
async def test_a_worker_names_the_right_that_it_lacks_once_and_goes_on_when_it_has_it(
    kafka: SecuredKafka,
    certificates: Path,
    password_file: Path,
    unique: Callable[[], str],
    tmp_path: Path,
    operation: str,
    topic: str,
    flags: str,
) -> None:
    name = unique()
    await declare(kafka.bootstrap, Topics(f"{name}."))
    await grant(kafka.bootstrap, name, without=(operation, topic or name))
    address = kafka.address(password_file, certificates / "ours-ca.pem", "worker")
    with worker_of(name, address, None, tmp_path) as worker:
        await write(kafka.bootstrap, worker.topics, [event("a-1", n) for n in range(20)])
        worker.start()
        grants = f"--add --allow-principal User:worker {flags.format(name)}"
        await eventually(lambda: worker.said(grants) == 1, timeout_s=40.0)
        lacking = worker.metric("upload_gate_worker_kafka_up")

        await grant(kafka.bootstrap, name)
        await drained(kafka.bootstrap, worker)
        await eventually(lambda: worker.metric("upload_gate_worker_kafka_up") == 1, timeout_s=60.0)

        assert lacking == 0
        assert worker.said(grants) == 1
        assert worker.said("a batch is repeated") + worker.said("Traceback") == 0
        assert worker.said("Kafka no longer refuses (authorization: ") == 1


@pytest.mark.parametrize(
    ("password", "authority", "said"),
    [
        ("another one", "ours-ca.pem", "Kafka refuses (login: "),
        (PASSWORD, "other-ca.pem", "Kafka refuses (certificate: "),
    ],
)
async def test_a_worker_logs_once_why_the_broker_does_not_accept_its_address(
    kafka: SecuredKafka,
    certificates: Path,
    tmp_path: Path,
    unique: Callable[[], str],
    password: str,
    authority: str,
    said: str,
) -> None:
    path = tmp_path / "password"
    path.write_text(password)
    with worker_of(unique(), kafka.address(path, certificates / authority), None, tmp_path) as worker:
        worker.start()

        await eventually(lambda: worker.said(said), timeout_s=30.0)

        assert worker.said("Compare user, mechanism") + worker.said("Name the broker's authority") == 1
        assert worker.said(password) == 0


async def test_servers_of_another_authority_are_not_trusted(
    kafka: SecuredKafka, certificates: Path, password_file: Path
) -> None:
    assert await answers(kafka.address(password_file, certificates / "ours-ca.pem"), 10.0)

    assert not await answers(kafka.address(password_file, certificates / "other-ca.pem"), 3.0)


def test_a_command_reads_the_dead_letters_over_tls(
    kafka: SecuredKafka, certificates: Path, password_file: Path, tmp_path: Path
) -> None:
    address = kafka.address(password_file, certificates / "ours-ca.pem")

    done = run("dlq", "list", "--kafka", address, "--state", str(tmp_path), "-o", "json")

    assert (done.returncode, json.loads(done.stdout)) == (0, {"dead_letters": []})


def test_a_file_that_is_not_there_is_named_by_the_worker_and_by_a_command(tmp_path: Path) -> None:
    address = f"ssl://127.0.0.1:1?ca={tmp_path / 'nowhere.pem'}"

    done = run("dlq", "list", "--kafka", address, "--state", str(tmp_path))
    worker = subprocess.run(
        [sys.executable, "-m", "streams.worker"], env={**os.environ, "UPLOAD_GATE_KAFKA": address},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    for said in (done, worker):
        assert f"the ca {tmp_path / 'nowhere.pem'} cannot be read: No such file or directory" in said.stderr
        assert "Traceback" not in said.stderr
        assert said.returncode != 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
