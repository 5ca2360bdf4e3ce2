"""A stream worker as a process of its own for a test, and what it left in its topics."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from gate.local.free_port import free_port
from gate.records.topics import Topic, Topics
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topics import declare, lag, shapes
from gate.stores.redis.accounts import RedisAccountStore
from streams.worker.changelog import PartitionReader
from tests.waiting import eventually


class WorkerProcess:
    """A worker with topics, group and Redis keys of its own."""

    def __init__(self, name: str, kafka: str, redis: str | None, home: Path) -> None:
        self.topics = Topics(f"{name}.")
        self.group = name
        self.log = home / "worker.log"
        self.port = free_port()
        home.mkdir(parents=True, exist_ok=True)
        self.env = {
            **os.environ,
            "UPLOAD_GATE_KAFKA": kafka,
            "UPLOAD_GATE_REDIS": redis or "",
            "UPLOAD_GATE_GROUP": name,
            "UPLOAD_GATE_TOPIC_PREFIX": self.topics.prefix,
            "UPLOAD_GATE_PREFIX": self.topics.prefix,
            "UPLOAD_GATE_SALT": "a salt for tests",
            "UPLOAD_GATE_STATE": str(home / "state"),
            "UPLOAD_GATE_WORKER_METRICS_PORT": str(self.port),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str] | None = None, **more: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command or [sys.executable, "-m", "streams.worker"], env=self.env | more, stdout=log, stderr=log
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def said(self, words: str) -> int:
        """How many lines of its log hold `words`."""
        return sum(words in line for line in self.log.read_text().splitlines())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = [s for family in families for s in family.samples if s.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())


@contextmanager
def worker_of(name: str, kafka: str, redis: str | None, home: Path) -> Iterator[WorkerProcess]:
    """A worker, not started; ended at the end."""
    worker = WorkerProcess(name, kafka, redis, home)
    try:
        yield worker
    finally:
        if worker.process is not None and worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@asynccontextmanager
async def store_of(worker: WorkerProcess, url: str) -> AsyncIterator[RedisAccountStore]:
    """The scores as a gate would read them."""
    store = RedisAccountStore(url, prefix=worker.topics.prefix)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def event(account: str, number: int) -> tuple[bytes, bytes]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {"type": "completed", "id": f"e-{number}", "at": at, "account": {"id": account}, "bytes": 7}
    return account.encode(), json.dumps(body).encode()


async def write(kafka: str, topics: Topics, records: list[tuple[bytes, bytes]]) -> None:
    """Write as events, once the worker has created the topics."""

    async def is_created() -> bool:
        _, known = await shapes(kafka, (topics.events.name,))
        return topics.events.name in known

    await eventually(is_created)
    async with EventProducer(kafka, topics) as producer:
        await producer.send_raw(records)


async def values(kafka: str, topic: Topic) -> list[tuple[bytes, bytes]]:
    """Every committed record of a topic."""
    found = []
    for partition in range(topic.partitions):
        async with PartitionReader(kafka, topic.name, partition) as reader:
            async for records in reader.since(0):
                found += [(record.key, record.value) for record in records]
    return found


async def drained(kafka: str, worker: WorkerProcess) -> None:
    async def nothing_left() -> bool:
        return await lag(kafka, worker.group, worker.topics) == 0

    await eventually(nothing_left, timeout_s=40.0, every_s=0.1)


async def create_anew(kafka: str, topics: Topics, topic: Topic) -> None:
    """Delete one of the topics, and create it anew."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_topics([topic.name])

    async def is_gone() -> bool:
        return topic.name not in await admin.list_topics()

    await eventually(is_gone)
    await admin.close()
    await declare(kafka, topics)


def while_busy(work: Coroutine[None, None, None]) -> None:
    """Do the work in another thread, while the tasks of this loop wait as they do beside a large batch."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
