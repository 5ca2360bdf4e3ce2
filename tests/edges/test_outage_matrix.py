"""What a gate answers in each state of Redis: in time, by what it knows of the account, and with the stage that decided."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import hiredis
import pytest

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.local.free_port import LOOPBACK, free_port
from gate.local.redis import LocalRedis
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.records.score import with_bytes
from gate.serve.clock import SystemClock
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from tests.proxies import FaultProxy
from tests.servers import running_redis
from tests.waiting import eventually

MINUTE_US = 60_000_000
DEADLINE_S = 0.2
LATE_S = DEADLINE_S + 1.0
"""Far beyond the deadline, as the test's own loop may be kept waiting on a busy machine."""
BURST = 5
"""Uploads a minute of an account of the default class."""
HANDSHAKE = (b"CLIENT", b"SELECT", b"HELLO")


@dataclass
class State:
    """What a fault may touch."""

    server: LocalRedis
    proxy: FaultProxy
    line: Line
    stack: list[asyncio.Server] = field(default_factory=list)
    let_in_before: int = 0
    """Uploads of `other` that the gate has let in without Redis while it did not know it yet: its own buckets count them."""

    async def config(self, **settings: str) -> None:
        for name, value in settings.items():
            await self.line.execute(b"CONFIG", b"SET", name.replace("_", "-"), value, within_s=5.0)

    async def replies(self, reply: bytes) -> None:
        """Lead the gate to a server that greets as Redis does and answers everything else with `reply`."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            commands = hiredis.Reader()
            while data := await reader.read(1 << 16):
                commands.feed(data)
                while (command := commands.gets()) is not False:
                    writer.write(b"+OK\r\n" if command[0] in HANDSHAKE else reply)
            writer.close()

        server = await asyncio.start_server(serve, LOOPBACK, port := free_port())
        self.stack.append(server)
        self.proxy.lead_to(port)


async def refused(state: State) -> None:
    state.proxy.refuses = True
    state.proxy.drop()


async def stalled(state: State) -> None:
    state.proxy.hold()


async def frozen(state: State) -> None:
    assert state.server.pid is not None
    os.kill(state.server.pid, signal.SIGSTOP)


async def half_open(state: State) -> None:
    state.proxy.hold()
    state.proxy.half_open()


async def slow(state: State) -> None:
    state.proxy.delay_to_client_s = 2 * DEADLINE_S


async def full(state: State) -> None:
    await state.config(maxmemory_policy="noeviction", maxmemory="1")


async def full_and_evicting(state: State) -> None:
    await state.config(maxmemory_policy="allkeys-lru", maxmemory="1")


async def a_replica(state: State) -> None:
    await state.line.execute(b"REPLICAOF", b"127.0.0.1", str(free_port()), within_s=5.0)


async def killed(state: State) -> None:
    state.server.kill()


def wrong(reply: bytes) -> Callable[[State], Awaitable[None]]:
    async def fault(state: State) -> None:
        await state.replies(reply)

    return fault


FAULTS = {
    "refused": refused, "stalled": stalled, "frozen": frozen, "half open": half_open, "slow": slow, "killed": killed,
    "full": full, "full and evicting": full_and_evicting, "a replica": a_replica,
    "loading": wrong(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "busy": wrong(b"-BUSY Redis is busy running a script.\r\n"),
    "a number": wrong(b":1\r\n"), "text": wrong(b"$3\r\nabc\r\n"), "nothing": wrong(b"$-1\r\n"),
    "an empty list": wrong(b"*0\r\n"), "a short answer": wrong(b"*1\r\n$10\r\n0123456789\r\n"),
    "no protocol": wrong(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "cannot be": wrong(b"*1\r\n$51\r\n" + b"\xff" * 51 + b"\r\n"),
}  # fmt: skip


def upload(account: str, name: str) -> CheckRequest:
    return CheckRequest(name, Account(account, "new"), Media("image"))


@asynccontextmanager
async def a_gate(home: Path, planted: str | None = None) -> AsyncIterator[tuple[Check, State]]:
    """A gate whose way to Redis can be disturbed. It knows an account with a bad score and one that staff refuse.

    At the key `planted` stands a list before the gate starts.
    """
    port = free_port()
    with running_redis(home) as server:
        async with FaultProxy(port, server.port) as proxy:
            store = RedisAccountStore(f"redis://{LOOPBACK}:{port}/0", "g:", DEADLINE_S)
            state = State(server, proxy, Line(server.url))
            if planted is not None:
                await state.line.execute(b"LPUSH", planted, b"x", within_s=5.0)
            await store.open()
            clock = SystemClock()
            now_us = clock.now_us()
            check = Check(
                load_policy(None), store, clock, Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets
            )
            await store.put_scores([with_bytes(Score("bot", 0.99, 0.0, 0.99, (), now_us, now_us, Stamp("e", 1), "s"))])
            await store.put_override("thief", Override(False, "stolen", "ada", now_us + 3_600_000_000))

            async def all_known() -> bool:
                name = f"first-{time.monotonic_ns()}"
                decisions = [await check.check(upload(account, name)) for account in ("bot", "thief", "other")]
                other = decisions[-1]
                state.let_in_before += bool(other.degraded) and other.verdict.lets_in
                return not any(decision.degraded for decision in decisions)

            try:
                await eventually(all_known)
                yield check, state
            finally:
                if server.pid is not None and server.poll() is None:
                    os.kill(server.pid, signal.SIGCONT)
                proxy.release()
                for each in state.stack:
                    each.close()
                await state.line.close()
                await store.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_no_answer_is_late_or_wrong_whatever_redis_does(tmp_path: Path, name: str) -> None:
    clock = asyncio.get_running_loop().time
    found: dict[str, list[Decision]] = {"bot": [], "thief": [], "other": [], "new": []}
    longest_s = 0.0

    async with a_gate(tmp_path) as (check, state):
        await FAULTS[name](state)
        for turn in range(4):
            requests = [upload(account, f"{turn}-{n}") for n in range(3) for account in found]
            began_s = clock()
            decisions = await asyncio.gather(*map(check.check, requests))
            longest_s = max(longest_s, clock() - began_s)
            for request, decision in zip(requests, decisions, strict=True):
                found[request.account.id].append(decision)

    assert longest_s < LATE_S
    assert {(each.verdict, each.stage) for each in found["bot"]} == {(Verdict.DENY, Stage.SCORE)}
    assert {(each.verdict, each.stage) for each in found["thief"]} == {(Verdict.DENY, Stage.OVERRIDE)}
    for account, left in (("other", BURST - state.let_in_before), ("new", BURST)):
        answers = Counter((each.verdict, each.stage) for each in found[account])
        expected = {(Verdict.ALLOW, Stage.DEFAULT): left, (Verdict.THROTTLE, Stage.BUCKET): 12 - left}
        assert answers == Counter(expected)
    assert all(each.degraded == ("store",) for each in found["new"])


@pytest.mark.parametrize("is_planted", [True, False])
@pytest.mark.parametrize(
    "key", ["g:2a:{other}", "g:2limits", "g:score:{new}", "g:override:{other}", "g:2due", "g:2b:platform"]
)
async def test_a_value_of_another_kind_at_one_of_our_keys_takes_nobody_down(
    tmp_path: Path, key: str, is_planted: bool
) -> None:
    async with a_gate(tmp_path, key if is_planted else None) as (check, state):
        if not is_planted:
            await state.line.execute(b"DEL", key, within_s=5.0)
            await state.line.execute(b"LPUSH", key, b"x", within_s=5.0)

        async def answered() -> bool:
            return not (await check.check(upload("new", f"{time.monotonic_ns()}"))).degraded

        await eventually(answered)
        others = [await check.check(upload(account, "u")) for account in ("thief", "other", "new")]

    assert [each.verdict for each in others][:2] == [Verdict.DENY, Verdict.ALLOW]
    assert not any(each.degraded for each in others)


async def test_a_due_list_of_another_type_loses_no_check(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        store, line = RedisAccountStore(server.url, "g:", 5.0), Line(server.url)
        await line.execute(b"SET", "g:2due", b"x", within_s=5.0)
        await store.open()
        limits = EntityLimits((Limit("minute", Rate(BURST, MINUTE_US, BURST)),))
        of = ClassLimits(limits, None, None, (), None, 0, MINUTE_US, returns=True)

        results = [await store.take(TakeRequest("a", f"u{n}", of)) for n in range(BURST + 1)]

        await line.close()
        await store.close()

    assert [each.charged for each in results] == [True] * BURST + [False]
