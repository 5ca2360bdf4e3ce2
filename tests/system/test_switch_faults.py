"""Faults of clocks, disks, stores and links: pauses stay in force, and released pauses stay released."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gate.app.operate import Details, Operate
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError
from gate.local.free_port import free_port
from gate.ports.boards import LIVE_WITHIN_US
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from tests.gate_process import Running, gate
from tests.proxies import FaultProxy
from tests.servers import running_redis
from tests.waiting import eventually

HOUR_US = 3_600_000_000
NEW = Scope(frozenset({"new"}))


class Site:
    """One Redis, the gates of a test, and an operator."""

    def __init__(self, home: Path, redis: str, prefix: str) -> None:
        self.home, self.redis, self.prefix = home, redis, prefix
        self.store = RedisBoardStore(redis, prefix=prefix, deadline_s=5.0)
        self.stack = ExitStack()
        self._ids = 0

    async def start(self, name: str, clock_ahead_s: int = 0, redis: str = "") -> Running:
        """Start a gate and wait until it acknowledges."""
        await self.command(
            b"SET", self.store._gate_keys[2], b"1"
        )  # a store that has lost no acknowledgement since long
        running = gate(self.home / name, redis or self.redis, self.prefix, name, clock_ahead_s)
        started = await asyncio.to_thread(self.stack.enter_context, running)

        async def lives() -> bool:
            said = (await self.store.gates(LIVE_WITHIN_US)).acknowledgements
            return any(one.gate == name and not one.left for one in said)

        await eventually(lives)
        return started

    def operator(self) -> Operate:
        return Operate(self.store, self._new_id)

    def _new_id(self) -> str:
        self._ids += 1
        return f"p-{self._ids}"

    async def paused(self, scope: Scope = NEW, for_us: int = HOUR_US, **more: Any) -> Pause:
        """A pause that every live gate obeys."""
        operate = self.operator()
        pause = await operate.pause(scope, Action.STOP, "raid", "", "ann", for_us, Details(**more))
        assert (await operate.converged(pause, 5.0)).complete
        return pause

    async def command(self, *words: bytes | str) -> Any:
        line = Line(self.redis)
        try:
            return await line.execute(*words, within_s=5.0)
        finally:
            await line.close()


@pytest.fixture
async def site(tmp_path: Path, redis_url: str, unique: Callable[[], str]) -> AsyncIterator[Site]:
    site = Site(tmp_path, redis_url, f"{unique()}:")
    try:
        yield site
    finally:
        await asyncio.to_thread(site.stack.close)
        await site.store.close()


@pytest.mark.parametrize("ahead_s", [-4, 3_600])
async def test_a_gate_whose_clock_is_off_obeys_at_once_and_expires_by_the_stores_clock(
    site: Site, ahead_s: int
) -> None:
    running = await site.start("g-1", ahead_s)
    operate = site.operator()

    pause = await operate.pause(NEW, Action.STOP, "raid", "", "ann", 2_500_000)
    result = await operate.converged(pause, 5.0)
    decision = await asyncio.to_thread(running.decision, "a-1")
    within = await operate.now_us() < pause.expires_at_us
    await eventually(lambda: not running.paused())
    ended_us = await operate.now_us()

    assert result.complete
    assert (decision, within) == ("paused", True)
    assert ended_us >= pause.expires_at_us - 100_000
    (said,) = [gate.said for gate in result.gates]
    assert abs((said.clock_us - said.acknowledged_at_us) / 1e6 - ahead_s) < 1
    await eventually(lambda: running.decision("a-2") != "paused")


async def test_a_gate_whose_disk_is_full_obeys_says_that_it_does_not_keep_and_keeps_once_there_is_room(
    site: Site,
) -> None:
    running = await site.start("g-1")
    _, most = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (1, most))

    operate = site.operator()
    pause = await operate.pause(NEW, Action.STOP, "raid", "", "ann", HOUR_US)
    full = await operate.converged(pause, 5.0)
    decision = await asyncio.to_thread(running.decision, "a-1")
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (most, most))

    async def kept() -> bool:
        return not (await operate.converged(pause, 1.0)).not_on_disk

    await eventually(kept)
    assert (full.complete, [gate.said.gate for gate in full.not_on_disk], decision) == (True, ["g-1"], "paused")
    snapshot = json.loads((site.home / "g-1" / "board.json").read_bytes())
    assert [entry["id"] for entry in snapshot["board"]["pauses"]] == [pause.id]


async def test_of_two_operators_at_once_the_one_who_releases_is_obeyed(site: Site) -> None:
    running = await site.start("g-1")
    pauses = [await site.paused() for _ in range(6)]
    ann, bob = site.operator(), site.operator()

    done = await asyncio.gather(
        *(act for one in pauses for act in (ann.release(one.id, "ann"), bob.extend(one.id, "bob", 2 * HOUR_US))),
        return_exceptions=True,
    )

    releases, extensions = done[::2], done[1::2]
    assert [one for one in releases if isinstance(one, BaseException)] == []
    assert all(isinstance(one, Pause | OperatorError | ControlRefused) for one in extensions)
    board = await site.store.read()
    assert [board.pauses[one.id].released_by for one in pauses] == ["ann"] * 6
    await eventually(lambda: running.paused() == [])


async def test_what_a_newer_release_wrote_survives_a_rewrite_by_operator_and_gate(site: Site) -> None:
    running = await site.start("g-1")
    await site.paused()
    key = site.store._board_key
    document = json.loads(await site.command(b"HGET", key, b"document"))
    newer = {**document, "version": 2, "region": "eu", "pauses": [{**document["pauses"][0], "rev": 2, "quota": [10]}]}
    await site.command(b"HSET", key, b"rev", b"2", b"document", json.dumps(newer).encode())

    second = await site.paused()
    await site.command(b"DEL", key)  # a gate writes it back

    async def back() -> bool:
        return bool(await site.command(b"EXISTS", key))

    await eventually(back)
    kept = json.loads(await site.command(b"HGET", key, b"document"))
    assert (kept["version"], kept["region"]) == (2, "eu")
    assert [(entry["id"], entry.get("quota")) for entry in kept["pauses"]] == [("p-1", [10]), (second.id, None)]
    assert sorted(running.paused()) == ["p-1", second.id]


async def test_a_store_that_was_restored_from_an_old_backup_loses_neither_pause_nor_release(site: Site) -> None:
    running = await site.start("g-1")
    first = await site.paused()
    backup = await site.command(b"DUMP", site.store._board_key)
    second = await site.paused()
    released = await site.operator().release(first.id, "bob", ramp_us=0)
    assert (await site.operator().converged(released, 5.0)).complete

    await site.command(b"RESTORE", site.store._board_key, b"0", backup, b"REPLACE")
    extended = await site.operator().extend(second.id, "cid", 2 * HOUR_US)  # before or after a gate wrote it back

    assert (await site.operator().converged(extended, 5.0)).complete
    board = await site.store.read()
    assert [board.pauses[one.id].released_by for one in (first, second)] == ["bob", None]
    assert running.paused() == [second.id]


async def test_a_failover_that_loses_writes_loses_no_pause_while_a_gate_lives(tmp_path: Path) -> None:
    with running_redis(tmp_path / "a") as primary, running_redis(tmp_path / "b") as replica:
        ports = [int(server.url.rsplit(":", 1)[1].split("/")[0]) for server in (primary, replica)]
        async with FaultProxy(port := free_port(), ports[0]) as proxy:
            site = Site(tmp_path, f"redis://127.0.0.1:{port}/0", "ug:")
            try:
                running = await site.start("g-1")
                pause = await site.paused()
                proxy._server_port = ports[1]  # the replica is promoted, and the pause never reached it
                proxy.drop()

                async def back() -> bool:
                    return pause.id in (await site.store.read()).pauses

                async def obeyed() -> bool:
                    return (await site.operator().converged(pause, 5.0)).complete

                await eventually(back)
                assert running.paused() == [pause.id]
                await eventually(obeyed)  # acknowledgements were lost, too, and follow the board
            finally:
                await asyncio.to_thread(site.stack.close)
                await site.store.close()


async def test_a_gate_that_is_cut_off_keeps_its_pause_until_the_release_reaches_it(site: Site) -> None:
    server_port = int(site.redis.rsplit(":", 1)[1].split("/")[0])
    async with FaultProxy(port := free_port(), server_port) as proxy:
        near, far = await site.start("g-near"), await site.start("g-far", redis=f"redis://127.0.0.1:{port}/0")
        pause = await site.paused()
        proxy.hold()  # a half-open link: connections stay open, and nothing passes

        released = await site.operator().release(pause.id, "bob", ramp_us=0)
        result = await site.operator().converged(released, 1.0)
        held = await asyncio.to_thread(far.decision, "a-1")
        proxy.release()

        assert [gate.said.gate for gate in result.missing] == ["g-far"]
        assert (near.paused(), held) == ([], "paused")
        await eventually(lambda: far.paused() == [])


async def test_a_release_while_one_gate_is_cut_off_names_it_and_reaches_it_when_it_is_back(site: Site) -> None:
    near, far = await site.start("g-near"), await site.start("g-far")
    pause = await site.paused()
    far.process.send_signal(signal.SIGSTOP)
    try:
        released = await site.operator().release(pause.id, "bob", ramp_us=0)
        result = await site.operator().converged(released, 1.0)
    finally:
        far.process.send_signal(signal.SIGCONT)

    assert [gate.said.gate for gate in result.missing] == ["g-far"]
    assert near.paused() == []
    await eventually(lambda: far.paused() == [])
