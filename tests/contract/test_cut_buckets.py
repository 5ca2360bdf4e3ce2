"""Values of buckets that are cut or altered anywhere keep no report from being settled, and no tokens from a lease."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gate.core.duration import DAY_US, HOUR_US
from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.limits.token_lease import Exchange, Exchanged
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.token_leases import RedisTokenLeases
from tests.redis_values import get, put
from tests.take_requests import NOW_US, per_minute, take_request

WIDE = per_minute("wide", 1_000_000, "platform")
OTHER = per_minute("other", 1_000_000, "platform")


def damaged(value: bytes) -> list[bytes]:
    cut = [value[:length] for length in range(len(value))]
    altered = [
        value[:at] + bytes([byte]) + value[at + 1 :] for at in range(min(len(value), 24)) for byte in (0, 63, 255)
    ]
    return [*cut, *altered, value + b"\xff" * 5]


@pytest.mark.parametrize("outcome", [UploadOutcome.FAILED, UploadOutcome.COMMITTED])
async def test_a_damaged_bucket_keeps_neither_its_own_report_nor_the_others_from_being_settled(
    redis_store: RedisAccountStore, line: Line, outcome: UploadOutcome
) -> None:
    key = f"{redis_store.prefix}2b:platform"
    by_bytes = per_minute("wide", 1_000_000, "platform", by_bytes=True)
    of = take_request("u", by_bytes, size=3)
    redis_store.expect((of.class_limits,))
    await redis_store.take(replace(of, upload_id="first"))
    values = damaged(await get(line, key))
    uploads = [replace(of, upload_id=f"u{n}") for n in range(len(values))]
    for start in range(0, len(uploads), 20):
        await redis_store.take_many(uploads[start : start + 20])
        for upload in uploads[start : start + 20]:
            await redis_store.take(replace(upload, account="b"))

    settled: list[Settlement | Exception] = []
    for upload, value in zip(uploads, values, strict=True):
        await put(line, key, value)
        settled += await redis_store.settle([Report(account, upload.upload_id, outcome, 9) for account in "ab"], NOW_US)

    assert {each.settled if isinstance(each, Settlement) else str(each) for each in settled} == {SettledAs.SETTLED}


async def test_a_damaged_bucket_fails_no_exchange(redis_store: RedisAccountStore, line: Line, redis_url: str) -> None:
    key, limit = f"{redis_store.prefix}2b:platform", Limit("wide", Rate(1_000_000, 60_000_000, 1_000_000))
    leases = RedisTokenLeases(redis_url, redis_store.prefix, 5.0)
    await redis_store.take(take_request("u", WIDE, OTHER))
    values = damaged(await get(line, key))

    met: list[Exchanged | Exception] = []
    for value in values:
        for us in (5 * limit.unit_us, -5 * limit.unit_us):
            await put(line, key, value)
            met += await leases.exchange([Exchange("platform", limit, us)], NOW_US)
    await leases.close()

    assert [each for each in met if isinstance(each, Exception)] == []


async def test_an_accounts_damaged_value_fails_no_report(redis_store: RedisAccountStore, line: Line) -> None:
    key = f"{redis_store.prefix}2a:{{a}}"
    own = EntityLimits((Limit("own", Rate(9, HOUR_US, 9)), Limit("bytes", Rate(99, HOUR_US, 99), by_bytes=True)))
    of = TakeRequest(
        "a", "u", ClassLimits(own, None, None, (), None, DAY_US, HOUR_US, name="new"), size=3, now_us=NOW_US
    )
    redis_store.expect((of.class_limits,))
    await redis_store.take(of)
    value = await get(line, key)

    found: list[Settlement | Exception] = []
    for stored in damaged(value):
        await put(line, key, stored)
        found += await redis_store.settle([Report("a", "u", UploadOutcome.COMMITTED, 9)], NOW_US)

    assert [each for each in found if isinstance(each, Exception)] == []
