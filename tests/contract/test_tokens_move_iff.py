"""On a real Redis: tokens move if and only if the upload goes ahead, to the µs, whatever becomes of replies and gates."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from gate.app.check import Check
from gate.app.settle import Reports
from gate.core.account import Account
from gate.core.decision import Decision
from gate.core.limits.limit import Rate
from gate.core.limits.reservation import Report, UploadOutcome
from gate.core.media import Media
from gate.core.policy import LimitRule, Mode, OnStoreError, Policy, Subject, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.local.free_port import free_port
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.serve.clock import SystemClock
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.reservations import RedisReservationStore
from gate.stores.redis.takes import RedisTakeStore
from tests.proxies import FaultProxy
from tests.waiting import eventually

YEAR_US = 365 * 86_400_000_000
RATE = Rate(1_000, YEAR_US, 1_000)
"""So slow that nothing fills up again while a test runs, and every token is counted."""
DEADLINE_S = 0.15
NUMBERS = itertools.count()


def a_policy() -> Policy:
    limits = tuple(
        LimitRule(f"{subject}.{unit}", subject, unit, Mode.ENFORCE, OnStoreError.CLOSED, {"regular": RATE})
        for subject in (Subject.ACCOUNT, Subject.IP, Subject.DEVICE, Subject.PLATFORM)
        for unit in (Unit.UPLOADS, Unit.BYTES)
    )
    return replace(load_policy(None), limits=limits)


class OneGate:
    """A gate without its sockets: the act of a check over a store, and what gives back."""

    def __init__(self, port: int, prefix: str) -> None:
        url = f"redis://127.0.0.1:{port}/0"
        policy = a_policy()
        self.takes = RedisTakeStore(url, prefix, DEADLINE_S, max_batch=8)
        self.store = RedisReservationStore(url, prefix, 0.5)
        self.reports = Reports(self.store, Counts(), every_s=0.02, look_again_s=0.5)
        first = random.randrange(1 << 32)
        self.check = Check(
            policy, self.takes, SystemClock(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets,
            reports=self.reports, first_attempt=first,
        )  # fmt: skip
        self._giving_back: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self.takes.expect(self.check.policy.class_limits)
        await self.takes.open()
        self._giving_back = asyncio.create_task(self.reports.run())

    async def close(self) -> None:
        if self._giving_back is not None:
            self._giving_back.cancel()
            with suppress(asyncio.CancelledError):
                await self._giving_back
        await self.takes.close()
        await self.store.close()


def an_upload(n: int) -> CheckRequest:
    return CheckRequest(f"u-{n}", Account("a", "regular"), Media("image", 2), ip="203.0.113.9", device="d")


@asynccontextmanager
async def gates(redis_url: str, prefix: str) -> AsyncIterator[tuple[FaultProxy, OneGate, OneGate]]:
    """Two gates: one behind a proxy with faults, one that is sound."""
    server_port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    port = free_port()
    async with FaultProxy(port, server_port) as proxy:
        faulty, sound = OneGate(port, prefix), OneGate(server_port, prefix)
        await faulty.open()
        await sound.open()
        try:
            yield proxy, faulty, sound
        finally:
            await faulty.close()
            await sound.close()


async def taken(sound: OneGate) -> dict[str, int]:
    """How many tokens are gone from each bucket, by what a peek says.

    All buckets are taken from and given back to alike. So, if each of them is exact to the µs, all say the same time at which
    they were full for the last time.
    """
    _, rooms = await sound.check.peek(an_upload(1_000_000))
    now_us = time.time_ns() // 1000
    gone = {room.limit.name: RATE.burst - room.left(now_us) for room in rooms}
    full_at_us = {room.full_at_us - gone[room.limit.name] * RATE.cost_us(1) for room in rooms if gone[room.limit.name]}
    assert len(full_at_us) <= 1, full_at_us
    return gone


async def is_given_back(gate: OneGate) -> bool:
    return gate.reports.waiting == 0 and gate.takes.down is None


async def test_what_the_store_took_after_the_gate_gave_up_is_given_back(
    redis_url: str, unique: Callable[[], str]
) -> None:
    async with gates(redis_url, f"{unique()}:") as (proxy, faulty, sound):
        went = [await faulty.check.check(an_upload(0))]
        proxy.delay_to_client_s = 2 * DEADLINE_S
        late = await asyncio.gather(*(faulty.check.check(an_upload(n)) for n in range(1, 6)))
        in_vain = await taken(sound)
        proxy.delay_to_client_s = 0.0
        await eventually(lambda: is_given_back(faulty))
        left = await taken(sound)

    assert [decision.verdict.lets_in for decision in (*went, *late)] == [True] + [False] * 5
    assert in_vain["account.uploads"] > 1
    assert left == {name: 2 if name.endswith("bytes") else 1 for name in left}
    assert len(left) == 8


async def test_an_upload_that_another_gate_let_in_meanwhile_keeps_its_tokens(
    redis_url: str, unique: Callable[[], str]
) -> None:
    async with gates(redis_url, f"{unique()}:") as (proxy, faulty, sound):
        proxy.delay_to_client_s = 2 * DEADLINE_S
        lost = await faulty.check.check(an_upload(1))
        again = await sound.check.check(an_upload(1))
        proxy.delay_to_client_s = 0.0
        await eventually(lambda: is_given_back(faulty))
        left = await taken(sound)

    assert (lost.verdict.lets_in, again.verdict.lets_in) == (False, True)
    assert left["account.uploads"] == 1


async def test_a_caller_who_goes_away_before_the_answer_gets_its_tokens_back(
    redis_url: str, unique: Callable[[], str]
) -> None:
    async with gates(redis_url, f"{unique()}:") as (_, _, sound):
        decision = await sound.check.check(an_upload(1), lambda: True)
        cancelled = asyncio.create_task(sound.check.check(an_upload(2)))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        await eventually(lambda: is_given_back(sound))
        left = await taken(sound)

    assert decision.verdict.lets_in
    assert set(left.values()) == {0}


@pytest.mark.parametrize("seed", range(3))
async def test_exactly_the_uploads_that_go_ahead_hold_tokens_under_random_faults(
    redis_url: str, unique: Callable[[], str], seed: int
) -> None:
    rng = random.Random(seed)
    prefix = f"{unique()}:"
    ahead: set[int] = set()
    outcomes: dict[int, UploadOutcome] = {}

    async with gates(redis_url, prefix) as (proxy, faulty, sound):

        async def upload(n: int) -> None:
            """An upload service: asks, asks another gate where it got no answer, uploads, and reports until it is heard."""
            decision: Decision = await faulty.check.check(an_upload(n))
            if not decision.verdict.lets_in and rng.random() < 0.5:
                decision = await sound.check.check(an_upload(n))
            if not decision.verdict.lets_in:
                return
            outcome = rng.choice([None, *UploadOutcome])
            if outcome is None or outcome is UploadOutcome.COMMITTED:
                ahead.add(n)
            if outcome is not None:
                outcomes[n] = outcome
                (settled,) = await sound.reports.settle([Report("a", f"u-{n}", outcome, 2)])
                assert not isinstance(settled, Exception)

        for _ in range(25):
            fault = rng.choice(["none", "slow", "drop", "hold", "half"])
            uploads = [asyncio.create_task(upload(next(NUMBERS))) for _ in range(rng.randrange(1, 12))]
            if fault == "slow":
                proxy.delay_to_client_s = rng.choice([0.05, 0.1, 0.3])
            elif fault == "hold":
                proxy.hold()
            await asyncio.sleep(rng.random() * 0.01)
            if fault == "drop":
                proxy.drop()
            elif fault == "half":
                proxy.half_open()
            await asyncio.gather(*uploads)
            proxy.release()
            proxy.delay_to_client_s = 0.0
        await eventually(lambda: is_given_back(faulty))
        await eventually(lambda: is_given_back(sound))
        left = await taken(sound)

    assert len(ahead) > 10
    assert left == {name: len(ahead) * (2 if name.endswith("bytes") else 1) for name in left}


async def test_a_gate_that_is_gone_after_the_store_took_leaves_an_answer_that_any_gate_repeats(
    redis_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    async with gates(redis_url, prefix) as (proxy, faulty, sound):
        proxy.hold()
        dying = asyncio.create_task(
            faulty.takes.take(a_policy().take_request(an_upload(1), "regular", Pseudonyms(b"salt")))
        )
        await asyncio.sleep(0.01)
        proxy.half_open()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        proxy.release()
        again = await sound.check.check(an_upload(1))
        left = await taken(sound)

    assert again.verdict.lets_in
    assert left["account.uploads"] == 1
