"""A broker of another cluster takes the address of a worker's own: the worker does not join it, and says why it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.records.topics import Topics
from gate.stores.kafka.topics import declare
from tests.servers import running_kafka
from tests.waiting import wait_until
from tests.workers import worker_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_worker_ends_rather_than_join_another_cluster_at_its_address(
    unique: Callable[[], str], tmp_path: Path
) -> None:
    name = unique()
    with running_kafka(tmp_path / "own") as own, worker_of(name, own.bootstrap, None, tmp_path / "worker") as worker:
        worker.start()
        wait_until(lambda: worker.said("this worker reads from offset") == 4, timeout_s=60.0)
        own.kill()
        other = LocalKafka(tmp_path / "other", own.port, fetch_jars(default_cache(), print), print)
        try:
            other.start()
            asyncio.run(declare(other.bootstrap, Topics(f"{name}.")))
            assert worker.process is not None
            code = worker.process.wait(60)
        finally:
            other.stop()

    assert code == 1
    assert worker.said(f"another Kafka cluster answers at {own.bootstrap}") == 1, worker.log.read_text()
    assert worker.said("this worker reads from offset") == 4, "it took no partition of the other cluster"
