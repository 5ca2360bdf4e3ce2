"""Numbers that a store holds are believed as far as they can be true; what cannot be read never opens the gate."""

from __future__ import annotations

import struct

import pytest
from msgspec.structs import replace

from gate.core.duration import HOUR_US
from gate.core.limits.limit import Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.standing import Standing
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import MOST_IN_VALUE
from tests.redis_values import get, put
from tests.take_requests import (
    MINUTE_US,
    NOW_US,
    AccountStore,
    WallClock,
    admitted,
    one_limit,
    override,
    per_minute,
    score,
    take_request,
)

BURST = 6
COST_US = MINUTE_US // BURST
LIMIT = per_minute("minute", BURST)
TAT = struct.Struct("<d")
NUMBERS = {
    "nan": float("nan"),
    "inf": float("inf"),
    "1e300": 1e300,
    "2^53": 2.0**53,
    "an hour": float(NOW_US + HOUR_US),
}
OVERRIDE = struct.Struct("<dB")


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_store: RedisAccountStore) -> AccountStore:
    return MemoryAccountStore(WallClock()) if request.param == "memory" else redis_store


async def test_a_repeated_answer_of_a_shadow_limit_without_room_is_believed(redis_store: RedisAccountStore) -> None:
    full = per_minute("minute", 1, shadow=True)
    await redis_store.take(take_request("first", full))
    checks = [take_request("u", full) for _ in range(2)]

    let_in, again = [await redis_store.take(check) for check in checks]

    assert (let_in.shadow, again.shadow, again.repeated) == (("minute",), ("minute",), True)
    assert redis_store.stats.unreadable == 0


async def test_a_clock_that_is_set_back_an_hour_empties_a_bucket_and_locks_nobody_for_longer(
    store: AccountStore,
) -> None:
    assert await admitted(store, 10, LIMIT) == BURST
    back_us = NOW_US - HOUR_US

    refused = await store.take(take_request("u1", LIMIT, now_us=back_us))
    early = await store.take(take_request("u2", LIMIT, now_us=back_us + COST_US - 1))
    fitting = await store.take(take_request("u3", LIMIT, now_us=back_us + COST_US))

    assert refused.refusal is not None
    assert refused.refusal.retry_after_us == COST_US
    assert (early.charged, fitting.charged) == (False, True)


async def test_a_limit_that_was_tightened_holds_nobody_longer_than_it_takes_to_fill(store: AccountStore) -> None:
    wide, tight = one_limit("account:{a}", "limit", Rate(1, 10 * HOUR_US, 1)), per_minute("limit", 1)
    await store.take(take_request("u0", wide))

    refused = await store.take(take_request("u1", tight))
    later = await store.take(take_request("u1", tight, now_us=NOW_US + MINUTE_US))

    assert refused.refusal is not None
    assert refused.refusal.retry_after_us == MINUTE_US
    assert later.charged


@pytest.mark.parametrize("tat", NUMBERS.values(), ids=NUMBERS.keys())
async def test_a_bucket_value_that_cannot_be_true_is_an_empty_bucket_that_fills_from_now_on(
    redis_store: RedisAccountStore, line: Line, tat: float
) -> None:
    key = f"{redis_store.prefix}2b:account:{{a}}"
    await redis_store.take(take_request("u0", LIMIT))
    await put(line, key, (await get(line, key))[:5] + TAT.pack(tat))

    refused = await redis_store.take(take_request("u1", LIMIT))
    unreadable = redis_store.stats.unreadable
    early = await redis_store.take(take_request("u2", LIMIT, now_us=NOW_US + COST_US - 1))
    fitting = await redis_store.take(take_request("u3", LIMIT, now_us=NOW_US + COST_US))
    full = await admitted_at(redis_store, NOW_US + COST_US + MINUTE_US)

    assert refused.refusal is not None
    assert refused.refusal.retry_after_us == COST_US
    assert (early.charged, fitting.charged, full) == (False, True, BURST)
    assert (unreadable, redis_store.stats.unreadable) == (1, 1)


@pytest.mark.parametrize("tat", [*NUMBERS.values(), None], ids=[*NUMBERS.keys(), "a list"])
async def test_a_report_gives_back_and_counts_the_real_bytes_whatever_another_bucket_of_it_holds(
    redis_store: RedisAccountStore, line: Line, tat: float | None
) -> None:
    own, platform = per_minute("minute", 60), per_minute("bytes", 60, "platform", by_bytes=True)
    redis_store.expect((take_request("u", own, platform).class_limits,))
    many = range(MOST_IN_VALUE + 2)  # the last ones have keys of their own
    await redis_store.take_many([replace(take_request(f"u{n}", own, platform, size=1), now_us=None) for n in many])
    key = f"{redis_store.prefix}2b:platform"
    if tat is None:
        await line.execute(b"DEL", key, within_s=5.0)
        await line.execute(b"LPUSH", key, b"x", within_s=5.0)
    else:
        await put(line, key, (await get(line, key))[:5] + TAT.pack(tat))

    back = await redis_store.settle([Report("a", f"u{n}", UploadOutcome.FAILED) for n in many if n != 36])
    more = await redis_store.settle([Report("a", "u36", UploadOutcome.COMMITTED, 3)])
    peeked = await redis_store.peek(replace(take_request("peek", own, platform), now_us=None))

    assert [each.settled for each in (*back, *more) if isinstance(each, Settlement)] == [SettledAs.SETTLED] * len(many)
    assert peeked.rooms[0].left(peeked.result.now_us) == 59


@pytest.mark.parametrize("outcome", [UploadOutcome.FAILED, UploadOutcome.COMMITTED])
@pytest.mark.parametrize(("old", "new"), [(b"\n1\n", b"\nx\n"), (b"\n1\n", b"\n1 "), (b"\n1\n", b"\xff1\n")])
async def test_a_reservation_with_an_impossible_fingerprint_counts_as_none_and_the_others_are_settled(
    redis_store: RedisAccountStore, line: Line, old: bytes, new: bytes, outcome: UploadOutcome
) -> None:
    key, wide = f"{redis_store.prefix}2a:{{a}}", per_minute("bytes", 60, by_bytes=True)
    sound = take_request("sound", wide, account="b", size=1)
    redis_store.expect((sound.class_limits,))
    for check in (sound, take_request("damaged", wide, size=1)):
        await redis_store.take(replace(check, now_us=None))
    value = await get(line, key)
    assert value.count(old) == 1
    await put(line, key, value.replace(old, new))

    found = await redis_store.settle([Report("a", "damaged", outcome, 2), Report("b", "sound", outcome, 2)])

    assert [each.settled for each in found if isinstance(each, Settlement)] == [SettledAs.UNKNOWN, SettledAs.SETTLED]


async def test_a_value_of_another_kind_at_the_key_of_one_upload_takes_no_other_check_down(
    redis_store: RedisAccountStore, line: Line
) -> None:
    wide = per_minute("minute", 60)
    for n in range(MOST_IN_VALUE + 2):  # the last ones have keys of their own
        await redis_store.take(take_request(f"u{n}", wide))
    await line.execute(b"LPUSH", f"{redis_store.prefix}2r:{{a}}1:new", b"x", within_s=5.0)

    results = await redis_store.take_many([take_request("new", wide), take_request("u", wide, account="b")])
    again = await redis_store.take(take_request("new", wide))

    assert [each.charged for each in results if not isinstance(each, Exception)] == [True, True]
    assert again.repeated


async def admitted_at(store: RedisAccountStore, now_us: int) -> int:
    requests = [take_request(f"at-{now_us}-{i}", LIMIT, now_us=now_us) for i in range(2 * BURST)]
    return sum([(await store.take(request)).charged for request in requests])


@pytest.mark.parametrize("tat", NUMBERS.values(), ids=NUMBERS.keys())
async def test_a_limit_that_is_gone_from_the_policy_cannot_spoil_the_bucket_of_its_neighbour(
    redis_store: RedisAccountStore, line: Line, tat: float
) -> None:
    key = f"{redis_store.prefix}2b:account:{{a}}"
    await redis_store.take(take_request("u0", per_minute("gone", 5), now_us=None))
    await put(line, key, (await get(line, key))[:5] + TAT.pack(tat))

    results = [await redis_store.take(take_request(f"u{i}", LIMIT, now_us=None)) for i in range(1, BURST + 2)]

    assert [result.charged for result in results] == [True] * BURST + [False]
    assert redis_store.down is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        OVERRIDE.pack(float("nan"), 1) + b"{}",
        OVERRIDE.pack(float("inf"), 1) + b"{}",
        OVERRIDE.pack(-1.0, 1) + b"{}",
        OVERRIDE.pack(NOW_US + HOUR_US, 7) + b"{}",
        OVERRIDE.pack(NOW_US + HOUR_US, 1) + b"x" * 70_000,
    ],
    ids=["empty", "short", "expiry NaN", "expiry inf", "expiry below 0", "neither allows nor denies", "long"],
)
async def test_an_override_that_cannot_be_read_denies_charges_nothing_and_is_counted(
    redis_store: RedisAccountStore, line: Line, value: bytes
) -> None:
    await put(line, f"{redis_store.prefix}override:{{a}}", value)

    refused, other = await redis_store.take_many(
        [take_request("u", LIMIT), take_request("u", per_minute("minute", 1, "account:{b}"), account="b")]
    )

    assert not isinstance(refused, Exception)
    assert not isinstance(other, Exception)
    assert (refused.charged, refused.refusal, other.charged) == (False, None, True)
    assert refused.standing.override is not None
    assert (refused.standing.override.allow, refused.standing.override.reason) == (False, "unreadable")
    assert refused.standing.override_in_force(NOW_US) is not None
    assert redis_store.stats.unreadable == 1
    assert await admitted(redis_store, 10, LIMIT, account="c") == BURST


@pytest.mark.parametrize("allow", [True, False])
async def test_an_override_whose_reason_cannot_be_read_is_obeyed_and_counted(
    redis_store: RedisAccountStore, line: Line, allow: bool
) -> None:
    key = f"{redis_store.prefix}override:{{a}}"
    await redis_store.put_override("a", override(allow))
    await put(line, key, (await get(line, key))[:9] + b'{"reason')

    result = await redis_store.take(take_request("u", LIMIT))

    assert result.charged is allow
    assert result.standing.override is not None
    assert (result.standing.override.allow, result.standing.override.reason) == (allow, "unreadable")
    assert result.standing.override.expires_at_us == override(allow).expires_at_us
    assert redis_store.stats.unreadable == 1


@pytest.mark.parametrize(
    ("risk", "at"),
    [
        (float("nan"), float(NOW_US)),
        (1e300, float(NOW_US)),
        (-0.5, float(NOW_US)),
        (0.95, float("nan")),
        (0.95, float("inf")),
        (0.95, 1e300),
    ],
    ids=["risk NaN", "risk 1e300", "risk below 0", "time NaN", "time inf", "time 1e300"],
)
async def test_an_impossible_score_counts_as_none_and_harms_no_other_check_of_its_batch(
    redis_store: RedisAccountStore, line: Line, risk: float, at: float
) -> None:
    key = f"{redis_store.prefix}score:{{a}}"
    await redis_store.put_scores([with_bytes(score("a")), with_bytes(score("b"))])
    await put(line, key, struct.pack("<dd", risk, at) + (await get(line, key))[16:])

    damaged, sound = await redis_store.take_many([take_request("u"), take_request("u", account="b")])

    assert not isinstance(damaged, Exception)
    assert not isinstance(sound, Exception)
    assert (damaged.standing, damaged.charged) == (Standing(), True)
    assert (sound.standing.risk, sound.charged) == (0.95, False)
    assert redis_store.stats.unreadable == 1


@pytest.mark.parametrize("field", ["began", "risk", "at"])
async def test_an_upload_whose_record_cannot_be_true_is_decided_anew(
    redis_store: RedisAccountStore, line: Line, field: str
) -> None:
    key = f"{redis_store.prefix}2a:{{a}}"
    await redis_store.put_scores([with_bytes(score(risk=0.5))])
    await redis_store.take(take_request("u", LIMIT))
    value = await get(line, key)
    stored = {"began": NOW_US, "risk": 0.5, "at": NOW_US}[field]
    at = value.index(TAT.pack(stored)) if field != "at" else value.rindex(TAT.pack(stored))
    await put(line, key, value[:at] + TAT.pack(float("inf")) + value[at + 8 :])

    again = await redis_store.take(take_request("u", LIMIT))

    assert (again.charged, again.repeated, again.now_us) == (True, False, NOW_US)
    assert await admitted(redis_store, 10, LIMIT) == BURST - 2
    assert redis_store.stats.unreadable == 1


async def test_a_score_whose_stored_offset_cannot_be_one_is_replaced(
    redis_store: RedisAccountStore, line: Line
) -> None:
    key = f"{redis_store.prefix}score:{{a}}"
    await redis_store.put_scores([with_bytes(score(risk=0.1))])
    value = await get(line, key)
    await put(line, key, value[:16] + TAT.pack(float("inf")) + value[24:])

    stored = await redis_store.put_scores([with_bytes(score(risk=0.2, offset=2))])

    assert stored == 1


async def test_an_accounts_value_that_is_cut_or_altered_anywhere_fails_no_check(
    redis_store: RedisAccountStore, line: Line
) -> None:
    key, wide = f"{redis_store.prefix}2a:{{a}}", per_minute("wide", 1_000_000, "account:{a}")
    await redis_store.put_scores([with_bytes(score(risk=0.5))])
    for n in range(7):
        await redis_store.take(take_request(f"u{n}", wide, per_minute("shadowed", 0, "platform", shadow=True)))
    value = await get(line, key)
    first = value[: len(value) // 3]  # its head and two reservations
    cut = [value[:length] for length in range(len(value))]
    altered = [value[:at] + b"\xff" + value[at + 1 :] for at in range(len(first))]
    known = take_request("new", wide)
    batch = [known, *(replace(known, upload_id=upload) for upload in ("u0", "u1")), replace(known, account="b")]

    results = []
    for stored in (*cut, *altered):
        await put(line, key, stored)
        results += await redis_store.take_many(batch)

    assert [each for each in results if isinstance(each, Exception)] == []
    assert all(each.charged for each in results[3::4] if not isinstance(each, Exception))
