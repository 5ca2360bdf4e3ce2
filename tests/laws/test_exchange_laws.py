"""The script that draws tokens for leases is the integer model, to the µs, whatever is stored and wherever the clock steps."""

from __future__ import annotations

import asyncio
import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.limits.gcra import GRACE_US
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.reservation import Report, UploadOutcome
from gate.core.limits.take import TakeRequest
from gate.core.limits.token_lease import Exchange, Exchanged
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import header
from gate.stores.redis.token_leases import RedisTokenLeases
from tests.leased_gates import leased_class
from tests.take_requests import DAY_US, NOW_US

RUN = itertools.count()
MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """How far the clock goes, the number of the limit, and how many units are then taken or given back."""

    us: int
    what: str
    limit: int
    units: int


rates = st.builds(Rate, st.integers(1, 1_000), st.sampled_from([1_000_000, MINUTE_US, DAY_US]), st.integers(1, 40))
clock_steps = st.integers(0, 2_000_000) | st.sampled_from([-MINUTE_US, -GRACE_US - 1, -2 * GRACE_US, DAY_US])
steps = st.lists(
    st.builds(
        Step, clock_steps, st.sampled_from(["draw", "draw", "give back", "take", "grow"]), st.integers(0, 1),
        st.integers(0, 50),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


class NoClock:
    def now_us(self) -> int:
        raise AssertionError("all of this is at a recorded time")


async def met(
    store: MemoryAccountStore | RedisAccountStore, leases: MemoryAccountStore | RedisTokenLeases, limits: Sequence[Limit],
    sequence: Sequence[Step],
) -> list[object]:  # fmt: skip
    """What each step met, and the room in both buckets after it."""
    of, now_us, found = leased_class(*limits), NOW_US, list[object]()
    store.expect((of,))
    for n, step in enumerate(sequence):
        now_us += step.us
        limit = limits[step.limit]
        us = step.units * limit.unit_us + step.units % 3
        request = TakeRequest("a", f"u-{n}", of, size=step.units, now_us=now_us, class_="new", attempt=1)
        match step.what:
            case "draw":
                found += await leases.exchange([Exchange("platform", limit, us)], now_us)
            case "give back":
                found += await leases.exchange([Exchange("platform", limit, -us)] if us else [], now_us)
            case "take":
                found.append((await store.take(request)).refusal)
            case _:  # an upload that is larger than it was taken for may leave its bucket in debt
                await store.take(request)
                found += await store.settle([Report("a", f"u-{n}", UploadOutcome.COMMITTED, 3 * step.units)], now_us)
        found.append((await store.peek(TakeRequest("a", "peek", of, now_us=now_us))).rooms)
    return found


@given(st.lists(rates, min_size=2, max_size=2), steps)
@settings(max_examples=40)
def test_the_script_that_draws_tokens_is_the_model(redis_url: str, kinds: list[Rate], sequence: list[Step]) -> None:
    limits = Limit("uploads", kinds[0], lease=None), Limit("bytes", kinds[1], by_bytes=True, lease=None)

    async def both() -> tuple[list[object], list[object]]:
        memory, prefix = MemoryAccountStore(NoClock()), f"exchange-laws-{next(RUN)}:"
        redis, leases = RedisAccountStore(redis_url, prefix, 5.0), RedisTokenLeases(redis_url, prefix, 5.0)
        await redis.open()
        try:
            return await met(memory, memory, limits, sequence), await met(redis, leases, limits, sequence)
        finally:
            await redis.close()
            await leases.close()

    by_model, by_script = asyncio.run(both())

    assert by_script == by_model


async def test_tokens_are_drawn_by_the_clock_of_the_server_and_kept_a_minute_longer_than_the_bucket_needs(
    redis_url: str,
) -> None:
    prefix = f"exchange-laws-{next(RUN)}:"
    redis, leases, line = (
        RedisAccountStore(redis_url, prefix, 5.0),
        RedisTokenLeases(redis_url, prefix, 5.0),
        Line(redis_url),
    )
    limit = Limit("uploads", Rate(1, 1_000_000, 1_000), lease=None)
    of = leased_class(limit)
    await redis.open()

    before = await redis.take(TakeRequest("a", "u-1", of))
    (drawn,) = await leases.exchange([Exchange("platform", limit, 200_000_000)])
    ttl_ms = await line.execute(b"PTTL", f"{prefix}2b:platform", within_s=5.0)
    await leases.exchange([Exchange("platform", limit, -200_000_000)])
    ttl_later_ms = await line.execute(b"PTTL", f"{prefix}2b:platform", within_s=5.0)
    after = await redis.take(TakeRequest("a", "u-2", of))
    for each in (redis, leases, line):
        await each.close()

    assert isinstance(drawn, Exchanged)
    assert before.now_us < drawn.now_us < after.now_us
    assert drawn.us == 200_000_000
    need_ms = (drawn.full_at_us - drawn.now_us) // 1000
    assert need_ms < ttl_later_ms <= ttl_ms <= need_ms + 60_001


@pytest.mark.parametrize("stored", [math.nan, math.inf, -1.0, 2.0**60])
async def test_a_damaged_bucket_is_empty_for_a_draw_and_gives_no_error_to_what_comes_back(
    redis_url: str, stored: float
) -> None:
    prefix = f"exchange-laws-{next(RUN)}:"
    leases, line = RedisTokenLeases(redis_url, prefix, 5.0), Line(redis_url)
    limit = Limit("uploads", Rate(1, 1_000_000, 10), lease=None)
    value = header([limit.id]) + struct.pack("<d", stored)
    await line.execute(b"SET", f"{prefix}2b:platform", value, within_s=5.0)

    back, drawn, later = await leases.exchange(
        [Exchange("platform", limit, -1_000_000), *(Exchange("platform", limit, 10_000_000) for _ in range(2))], NOW_US
    )
    for each in (leases, line):
        await each.close()

    assert isinstance(back, Exchanged)
    assert isinstance(drawn, Exchanged)
    assert back.us == -1_000_000
    assert drawn.us == (10_000_000 if stored < 0 else 0)
    assert drawn.full_at_us == NOW_US + 10_000_000
    assert later == Exchanged(0, NOW_US + 10_000_000, NOW_US)
