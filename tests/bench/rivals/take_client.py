"""How much of what Redis can do our client lets through: checks a second, beside raw sockets that send the same calls.

Both send the take script with 32 checks a call over two connections. The raw side sends bytes that were packed before and
reads replies without looking into them, which is what `redis-benchmark` does. Turns alternate.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Iterator, Sequence

import hiredis
import uvloop
from redis import Redis

from gate.core.account import Account
from gate.core.limits.take import TakeRequest
from gate.core.media import Media
from gate.core.policy import Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.local.free_port import LOOPBACK
from gate.policyfile import load_policy
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.takes import RedisTakeStore
from gate.stores.redis.unrolled import Unrolled
from tests.bench.report import BenchError, Spec
from tests.bench.rivals.calls import flush
from tests.bench.rivals.own_loop import DEADLINE_S, POLICY
from tests.bench.stage import Stage

BATCH = 32
CONNECTIONS = 2
CALLERS = 128
"""Twice what the two connections carry, so that the next batch is there when one returns."""
CHECKS = 12_800
TURNS = 3

_SHARE = Spec("checks/s through our client / raw sockets with the same script and batch", "×", 0.8, 0.95, True)
_OURS = Spec("checks/s through our client", "1/s")
_RAW = Spec("checks/s by raw sockets with the same script and batch", "1/s")
SPECS = (_SHARE, _OURS, _RAW)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate the two several times a round. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        stage.say(f"rivals: our client, round {turn + 1} of {rounds}")
        ours_s = raw_s = 0.0
        for _ in range(TURNS):
            flush(stage)
            ours_s += uvloop.run(_through_client(stage.redis().url, stage.fresh("client")))
            flush(stage)
            raw_s += _through_sockets(stage, stage.fresh("client"))
        found[_OURS].append(TURNS * CHECKS / ours_s)
        found[_RAW].append(TURNS * CHECKS / raw_s)
        found[_SHARE].append(raw_s / ours_s)
    return found


def _requests(policy: Policy, first: int, count: int) -> list[TakeRequest]:
    names = Pseudonyms(b"bench")
    numbers = range(first, first + count)
    uploads = [CheckRequest(f"u-{n:06d}", Account(f"a-{n:06d}", "regular"), Media("image", 100_000)) for n in numbers]
    return [policy.take_request(each, "regular", names) for each in uploads]


async def _through_client(url: str, prefix: str) -> float:
    """Seconds for all checks by concurrent callers."""
    store, policy = RedisTakeStore(url, prefix, DEADLINE_S), load_policy(POLICY)
    store.expect(policy.class_limits)
    await store.open()

    async def caller(requests: Iterator[TakeRequest]) -> int:
        return sum([(await store.take(request)).charged for request in requests])

    async def all_of(requests: Sequence[TakeRequest]) -> int:
        shared = iter(requests)
        return sum(await asyncio.gather(*(caller(shared) for _ in range(CALLERS))))

    await all_of(_requests(policy, CHECKS, 1_024))
    requests = _requests(policy, 0, CHECKS)
    began = time.perf_counter()
    charged = await all_of(requests)
    seconds = time.perf_counter() - began
    await store.close()
    if charged != CHECKS:
        raise BenchError(f"our client had only {charged} of {CHECKS} checks charged")
    return seconds


def _through_sockets(stage: Stage, prefix: str) -> float:
    """Seconds for the same calls, one at a time on each connection."""
    policy = load_policy(POLICY)
    unrolled = Unrolled(policy.class_limits)
    with Redis.from_url(stage.redis().url) as client:
        client.script_load(unrolled.script.source)
    requests = _requests(policy, 0, CHECKS)
    calls = [_packed(requests[at : at + BATCH], unrolled, prefix) for at in range(0, CHECKS, BATCH)]
    connections = [socket.create_connection((LOOPBACK, stage.redis().port)) for _ in range(CONNECTIONS)]
    readers = {each: hiredis.Reader() for each in connections}
    left = iter(calls)
    began = time.perf_counter()
    waiting = {each for each in connections if _send_next(each, left)}
    while waiting:
        for each in select.select(waiting, (), ())[0]:
            readers[each].feed(each.recv(1 << 16))
            reply = readers[each].gets()
            if isinstance(reply, Exception):
                raise BenchError(f"Redis answered {reply}")
            if reply is not False and not _send_next(each, left):
                waiting.discard(each)
    seconds = time.perf_counter() - began
    for each in connections:
        each.close()
    return seconds


def _packed(requests: Sequence[TakeRequest], unrolled: Unrolled, prefix: str) -> bytes:
    return Batch(requests, unrolled, prefix).packed(known=True)


def _send_next(connection: socket.socket, calls: Iterator[bytes]) -> bool:
    call = next(calls, None)
    if call is not None:
        connection.sendall(call)
    return call is not None
