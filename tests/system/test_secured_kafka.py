"""Kafka that speaks TLS and wants a login: the worker, the commands, and what they say where it does not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import make_certificates
from secured_kafka import PASSWORD, SecuredKafka, running_secured_kafka
from waiting import eventually
from workers import drained, event, store_of, values, worker_of, write

from gate.stores.kafka.topics import answers, declare

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


@pytest.mark.parametrize(
    ("password", "authority", "said"),
    [
        ("another one", "ours-ca.pem", "Kafka refuses (login: "),
        (PASSWORD, "other-ca.pem", "Kafka refuses (certificate: "),
    ],
)
async def test_a_worker_says_once_what_of_its_address_the_broker_does_not_accept(
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
