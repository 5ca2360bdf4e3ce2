"""An account with many uploads: where its reservations are kept, and which of them are forgotten."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from msgspec.structs import replace

from gate.core.limits.limit import EntityBuckets
from gate.core.limits.take import TakeRequest
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import MOST_IN_VALUE, account_key, read_buckets
from tests.take_requests import per_minute, take_request

WIDE = per_minute("minute", 600, "account:{a}")
FEW = 6
"""`FEW` of `lua/take.lua`."""


def uploads(count: int, limit: EntityBuckets) -> list[TakeRequest]:
    """Uploads of one account at the time of the server."""
    return [replace(take_request(f"u{n}", limit), now_us=None, attempt=1 + n) for n in range(count)]


async def kept(store: RedisAccountStore, line: Line) -> tuple[int, int]:
    """How many reservations lie in the account's value, and how many have a key of their own."""
    value = await line.execute(b"GET", account_key(store.prefix, "a"), within_s=5.0)
    records, count = read_buckets(value, account=True)[1], 0
    while records:
        records, count = records[struct.unpack_from("<H", records)[0] :], count + 1
    keys = await line.execute(b"KEYS", f"{store.prefix}2r:*", within_s=5.0)
    return count, len(keys)


@pytest.mark.parametrize(
    ("count", "places"), [(MOST_IN_VALUE, (MOST_IN_VALUE, 0)), (MOST_IN_VALUE + 4, (MOST_IN_VALUE, 4))]
)
async def test_each_upload_takes_once_whether_its_reservation_lies_in_the_accounts_value_or_in_a_key_of_its_own(
    redis_store: RedisAccountStore, line: Line, count: int, places: tuple[int, int]
) -> None:
    checks = uploads(count, WIDE)
    first = [await redis_store.take(check) for check in checks]

    again = [await redis_store.take(replace(check, attempt=1_000)) for check in checks]

    assert await kept(redis_store, line) == places
    assert [(each.charged, each.repeated) for each in first] == [(True, False)] * count
    assert [(each.charged, each.repeated) for each in again] == [(True, True)] * count


async def test_an_account_keeps_its_open_reservations_and_few_refusals(
    redis_store: RedisAccountStore, line: Line
) -> None:
    narrow = per_minute("minute", 3, "account:{a}")

    results = [await redis_store.take(check) for check in uploads(40, narrow)]
    places = await kept(redis_store, line)
    last = await redis_store.take(replace(uploads(1, narrow)[0], attempt=1_000))

    assert [each.charged for each in results] == [True] * 3 + [False] * 37
    assert places == (FEW, 0)
    assert (last.charged, last.repeated) == (True, True)


async def test_reservations_that_are_over_are_forgotten_before_an_account_has_many(
    redis_store: RedisAccountStore, line: Line
) -> None:
    checks = uploads(5 * MOST_IN_VALUE, WIDE)
    over = dataclasses.replace(checks[0].class_limits, lifetime_us=1)  # each is over when the next upload comes

    results = [await redis_store.take(replace(check, class_limits=over)) for check in checks]

    assert all(each.charged for each in results)
    count, keys = await kept(redis_store, line)
    assert 0 < count <= FEW
    assert keys == 0
