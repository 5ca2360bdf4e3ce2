"""What an earlier release has stored is read, and goes on where it was."""

from __future__ import annotations

import struct

import pytest
from msgspec.structs import replace

from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, Peek, TakeRequest
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import read_buckets
from tests.take_requests import DAY_US, MINUTE_US, NOW_US, score

BURST = 6
LIMIT, OTHER = (Limit(name, Rate(BURST, MINUTE_US, BURST)) for name in ("minute", "other"))


def request(upload: str, *limits: Limit) -> TakeRequest:
    of = ClassLimits(EntityLimits(limits), None, None, (), 0.9, DAY_US, 10 * MINUTE_US, name="new")
    return TakeRequest("a", upload, of, now_us=NOW_US)


async def admitted(store: RedisAccountStore, count: int, *limits: Limit) -> int:
    """How many of that many uploads more are let in."""
    tag = "-".join(limit.name for limit in limits)
    return sum([(await store.take(request(f"{tag}{count}{n}", *limits))).charged for n in range(count)])


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


OF_BYTES = Limit("bytes", Rate(1_000, MINUTE_US, 1_000), by_bytes=True)
FROM = ClassLimits(
    EntityLimits((OF_BYTES,)),
    EntityLimits((LIMIT,)),
    EntityLimits((OTHER,)),
    (),
    0.9,
    DAY_US,
    10 * MINUTE_US,
    name="new",
)
CHECK = TakeRequest(
    "a", "u", FROM, "0123456789abcdef", "fedcba9876543210", 20, NOW_US, class_="neü", kind="image", attempt=7
)
OTHERS = (
    {"class_": "old"}, {"kind": None}, {"size": 21}, {"size": 20 + (1 << 32)}, {"ip": "0" * 16}, {"device": "0" * 16},
    {"device": None}, {"ip": "x" * 16}, {"ip": "0 1 2 3 4 5 6 7 "},
)  # fmt: skip


async def with_a_fingerprint_as_text(store: RedisAccountStore, line: Line) -> None:
    """Rewrite the one reservation of the account as earlier releases had it."""
    key, text = f"{store.prefix}2a:{{a}}", CHECK.fingerprint.encode()
    value = await line.execute(b"GET", key, within_s=5.0)
    _, records = read_buckets(value, account=True)
    at = 3 + records[2] + 20
    record = records[2:at] + struct.pack("<H", len(text)) + text + records[at + 30 :]
    value = value[: -len(records)] + struct.pack("<H", 2 + len(record)) + record
    await line.execute(b"SET", key, value, b"PX", 3_600_000, within_s=5.0)


@pytest.mark.parametrize("is_text", [False, True])
async def test_a_check_of_the_same_content_is_repeated_and_of_other_content_refused_however_the_fingerprint_is_stored(
    redis_store: RedisAccountStore, line: Line, is_text: bool
) -> None:
    await redis_store.take(CHECK)
    if is_text:
        await with_a_fingerprint_as_text(redis_store, line)

    again = await redis_store.take(CHECK)
    others = [await redis_store.take(replace(CHECK, **other)) for other in OTHERS]
    peeks = [await redis_store.peek(replace(CHECK, **other)) for other in ({}, *OTHERS)]

    assert (again.charged, again.repeated, again.conflict) == (True, True, False)
    assert [each.conflict for each in others] == [True] * len(OTHERS)
    assert [each.result.conflict for each in peeks] == [False] + [True] * len(OTHERS)


@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize(("outcome", "bytes_left"), [(UploadOutcome.FAILED, 1_000), (UploadOutcome.COMMITTED, 970)])
async def test_an_upload_is_settled_however_its_fingerprint_is_stored(
    redis_store: RedisAccountStore, line: Line, is_text: bool, outcome: UploadOutcome, bytes_left: int
) -> None:
    redis_store.expect((FROM,))
    await redis_store.take(CHECK)
    if is_text:
        await with_a_fingerprint_as_text(redis_store, line)

    (settled,) = await redis_store.settle([Report("a", "u", outcome, 30)], NOW_US)
    rooms = (await redis_store.peek(replace(CHECK, upload_id="v"))).rooms

    assert isinstance(settled, Settlement)
    assert settled.settled is SettledAs.SETTLED
    gone = outcome is UploadOutcome.COMMITTED
    assert [room.left(NOW_US) for room in rooms] == [bytes_left, BURST - gone, BURST - gone]


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
