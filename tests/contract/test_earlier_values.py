"""What an earlier release has stored is read, and goes on where it was."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import pytest
from take_requests import DAY_US, MINUTE_US, NOW_US, score

from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, Peek, TakeRequest
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.line import Line

BURST = 6
LIMIT, OTHER = (Limit(name, Rate(BURST, MINUTE_US, BURST)) for name in ("minute", "other"))


def request(upload: str, *limits: Limit) -> TakeRequest:
    of = ClassLimits(EntityLimits(limits), None, None, (), 0.9, DAY_US, 10 * MINUTE_US, name="new")
    return TakeRequest("a", upload, of, now_us=NOW_US)


async def admitted(store: RedisAccountStore, count: int, *limits: Limit) -> int:
    """How many of that many uploads more are let in."""
    tag = "-".join(limit.name for limit in limits)
    return sum([(await store.take(request(f"{tag}{count}{n}", *limits))).charged for n in range(count)])


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    line = Line(redis_url)
    yield line
    await line.close()


async def as_stored_before(store: RedisAccountStore, line: Line) -> None:
    """Rewrite the account's value as earlier releases had it: with a double of µs where the seconds are now."""
    key = f"{store.prefix}2a:{{a}}"
    value = await line.execute(b"GET", key, within_s=5.0)
    assert isinstance(value, bytes)
    assert value[0] > 64
    count = value[0] - 64
    end = 1 + 12 * count
    seconds, entries, records = struct.unpack_from("<IBB", value, end)
    earlier = bytes([count]) + value[1:end] + struct.pack("<dBB", seconds * 1e6, entries, records) + value[end + 6 :]
    await line.execute(b"SET", key, earlier, b"PX", 3_600_000, within_s=5.0)


async def test_buckets_and_reservations_of_an_earlier_release_go_on(redis_store: RedisAccountStore, line: Line) -> None:
    assert await admitted(redis_store, 2, LIMIT) == 2
    first = await redis_store.take(request("u", LIMIT))
    await as_stored_before(redis_store, line)

    again = await redis_store.take(request("u", LIMIT))
    more = await admitted(redis_store, 10, LIMIT)

    assert (first.charged, again.charged, again.repeated) == (True, True, True)
    assert more == BURST - 3


async def test_limits_of_another_policy_in_a_value_of_an_earlier_release_go_on(
    redis_store: RedisAccountStore, line: Line
) -> None:
    assert await admitted(redis_store, 2, OTHER) == 2
    assert await admitted(redis_store, 2, LIMIT, OTHER) == 2
    await as_stored_before(redis_store, line)

    assert await admitted(redis_store, 10, OTHER) == BURST - 4


async def test_a_reservation_in_a_value_of_an_earlier_release_is_given_back(
    redis_store: RedisAccountStore, line: Line
) -> None:
    redis_store.expect([request("u", LIMIT).class_limits])
    await redis_store.take(request("u", LIMIT))
    await as_stored_before(redis_store, line)

    before = await redis_store.peek(request("v", LIMIT))
    report = Report("a", "u", UploadOutcome.FAILED, None, NOW_US)
    settled = await redis_store.settle([report, report], NOW_US)
    after = await redis_store.peek(request("v", LIMIT))

    assert [each.settled for each in settled if isinstance(each, Settlement)] == [SettledAs.SETTLED, SettledAs.REPEATED]
    assert (left(before), left(after)) == (BURST - 1, BURST)


def left(peeked: Peek) -> int:
    (room,) = peeked.rooms
    return room.left(NOW_US)


async def test_a_score_of_an_earlier_release_decays_as_it_did(redis_store: RedisAccountStore, line: Line) -> None:
    at_us = NOW_US - 30 * MINUTE_US
    await redis_store.put_scores([with_bytes(score())])
    key = f"{redis_store.prefix}score:{{a}}"
    value = await line.execute(b"GET", key, within_s=5.0)
    assert isinstance(value, bytes)
    risks = []

    for section in (
        struct.pack("<BddB", 17, 6e8, 0.25, 1),
        struct.pack("<B7sIB", 12, (600_000_000).to_bytes(7, "little"), 250_000, 1),
    ):
        head = struct.pack("<dd", 0.75, at_us) + value[16:27] + section
        await line.execute(b"SET", key, head + value[27:], b"PX", 3_600_000, within_s=5.0)
        risks.append((await redis_store.take(request(f"u{len(risks)}", LIMIT))).standing.risk)

    assert risks[0] == risks[1]
    assert 0.25 < (risks[0] or 0) < 0.75
