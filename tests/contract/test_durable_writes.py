"""Whether a written pause survives the loss of a server: with a replica, with one that hangs, and alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from gate.core.pause.board import Board
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from tests.servers import running_redis
from tests.waiting import eventually


async def test_a_write_is_durable_once_a_replica_has_it(tmp_path: Path) -> None:
    with running_redis(tmp_path / "one") as one, running_redis(tmp_path / "two") as two:
        store, line = RedisBoardStore(one.url, deadline_s=5.0), Line(two.url)
        alone = await store.durable()
        host, port = one.url.split("//")[1].split("/")[0].split("@")[-1].split(":")
        await line.execute(b"REPLICAOF", host, port, within_s=5.0)

        async def followed() -> bool:
            await store.replace((await store.read()).rev, Board())
            return await store.durable() is True

        await eventually(followed, timeout_s=30.0)
        assert two.pid is not None
        os.kill(two.pid, signal.SIGSTOP)
        try:
            await store.replace((await store.read()).rev, Board())
            hanging = await store.durable()
        finally:
            os.kill(two.pid, signal.SIGCONT)
        await line.close()
        await store.close()

    assert (alone, hanging) == (None, False)
