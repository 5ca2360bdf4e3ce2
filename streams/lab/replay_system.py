"""Sets up a replay in the running system: its own topics, worker and key prefix, and removes them at the end.

`replay` runs the stream through them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gate.core.event import Event
from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.local.process import Child, tail
from gate.records.topics import Topics
from gate.stores.kafka import delete_topics
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topics import declare
from gate.stores.redis import delete_keys
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.hot_facts import AT_ONCE, Hear, RedisHotFacts

TAKE_WITHIN_S = 10.0
HOT_WITHIN_S = 0.3
"""Longer than the worker waits between two publications of hot facts."""
HOT_AT_FIRST_S = 10.0
"""How long the first hot facts are waited for. A worker tells of newcomers, or that there is nothing to tell, once it has
counted what accounts share; it never does so in a stream whose uploads show nothing that can be shared."""
WORKER_GRACE_S = 6.0


@dataclass(frozen=True, slots=True)
class ReplayServers:
    """The servers of the running system, and the worker's scorecard and models (None: the shipped one, and none)."""

    redis: str
    kafka: str
    scorecard: Path | None = None
    models: Path | None = None


class ReplaySystem:
    """The topics, worker and keys of one replay."""

    def __init__(
        self, store: RedisAccountStore, producer: EventProducer, worker: Child, salt: str, hot: RedisHotFacts
    ) -> None:
        self.store = store
        self.salt = salt.encode()
        self._producer = producer
        self._worker = worker
        self._hot = hot
        self._has_waited = False

    async def publish(self, events: Sequence[Event]) -> list[tuple[int, int]]:
        """See replay.Publish."""
        return await self._producer.send_many(events)

    async def hot_facts(self, hear: Hear) -> None:
        """Tell `hear` the hot facts, once the worker has had the time to publish them; the first time, once it has done so.

        Raises StoreUnavailable.
        """
        deadline = time.monotonic() + HOT_AT_FIRST_S
        while True:
            await asyncio.sleep(HOT_WITHIN_S)
            told = 0
            while (count := await self._hot.read(hear)) == AT_ONCE:
                told += count
            self._has_waited = self._has_waited or told + count > 0 or time.monotonic() > deadline
            if self._has_waited:
                return
            self.alive()

    def alive(self) -> None:
        """Raises StoreUnavailable with the end of the worker's log if the worker has ended."""
        status = self._worker.poll()
        if status is not None:
            raise StoreUnavailable(f"the worker of the replay ended (status {status}):\n{tail(self._worker.log)}")

    def log_tail(self) -> str:
        """The end of the worker's log, for an error without a known cause."""
        return tail(self._worker.log)


@asynccontextmanager
async def replay_system(places: ReplayServers) -> AsyncIterator[ReplaySystem]:
    """Set up a replay, and remove it at the end in any case. Raises StoreUnavailable if a server does not answer."""
    name = f"replay-{secrets.token_hex(4)}"
    topics = Topics(prefix=f"{name}.")
    salt = secrets.token_hex(16)
    store = RedisAccountStore(places.redis, prefix=topics.prefix, deadline_s=TAKE_WITHIN_S, lanes=1)
    directory = Path(tempfile.mkdtemp(prefix="upload-gate-replay-"))
    worker = Child(
        "replay worker", [sys.executable, "-m", "streams.worker"],
        log=directory / "worker.log", env=worker_environment(places, topics.prefix, salt, directory),
    )  # fmt: skip
    hot = RedisHotFacts(places.redis, prefix=topics.prefix)
    try:
        await store.open()
        await store.ping()
        await declare(places.kafka, topics)
        await asyncio.to_thread(worker.start)
        async with EventProducer(places.kafka, topics, linger_ms=0) as producer:
            yield ReplaySystem(store, producer, worker, salt, hot)
    finally:
        await asyncio.to_thread(worker.stop, WORKER_GRACE_S)
        await store.close()
        await hot.close()
        # topics and keys that cannot be removed now have the prefix of this replay, so nothing else reads them
        with contextlib.suppress(StoreUnavailable):
            await delete_topics.drop(places.kafka, topics)
        with contextlib.suppress(StoreUnavailable):
            await delete_keys.drop(places.redis, topics.prefix)
        shutil.rmtree(directory, ignore_errors=True)


def worker_environment(places: ReplayServers, prefix: str, salt: str, directory: Path) -> dict[str, str]:
    """The environment of the replay's worker."""
    own = {
        "UPLOAD_GATE_REDIS": places.redis,
        "UPLOAD_GATE_KAFKA": places.kafka,
        "UPLOAD_GATE_TOPIC_PREFIX": prefix,
        "UPLOAD_GATE_PREFIX": prefix,
        "UPLOAD_GATE_GROUP": prefix.strip("."),
        "UPLOAD_GATE_SALT": salt,
        "UPLOAD_GATE_STATE": str(directory),
        "UPLOAD_GATE_WORKER_METRICS_PORT": str(free_port(None)),
    }
    # the environment of the running worker does not apply to this replay
    own |= dict.fromkeys(("UPLOAD_GATE_SCORECARD", "UPLOAD_GATE_MODELS", "UPLOAD_GATE_SHADOW_MODELS"), "")
    for name, path in (("UPLOAD_GATE_SCORECARD", places.scorecard), ("UPLOAD_GATE_MODELS", places.models)):
        if path is not None:
            own[name] = str(path)
    return {**os.environ, **own}
