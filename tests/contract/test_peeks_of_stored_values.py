"""A peek reads stored values as the next take does, also those that are damaged or of a newer release."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import HOUR_US
from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.score import Stamp
from gate.records.score import decode_stored_risk, stored_score, with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.take_batch import Batch
from tests.take_requests import MINUTE_US, NOW_US, per_minute, score, take_request

LIMIT = per_minute("minute", 6)
OF_ACCOUNT = ClassLimits(
    EntityLimits(
        (Limit("minute", Rate(6, MINUTE_US, 6)), Limit("bytes", Rate(600, MINUTE_US, 900), by_bytes=True)),
    ),
    None, None, (), 0.9, 24 * HOUR_US, 10 * MINUTE_US, False, "new",
)  # fmt: skip
TAT = struct.Struct("<d")
DECAYING = msgspec.structs.replace(score(risk=0.742, at_us=NOW_US - HOUR_US), half_life_us=HOUR_US, base=0.02)

Change = Callable[[bytes], bytes]


def at_byte(at: int, new: bytes) -> Change:
    return lambda value: value[:at] + new + value[at + len(new) :]


async def changed(store: RedisAccountStore, line: Line, key: str, change: Change) -> None:
    name = f"{store.prefix}{key}"
    value = await line.execute(b"GET", name, within_s=5.0)
    await line.execute(b"SET", name, change(value), b"PX", 3_600_000, within_s=5.0)


async def assert_alike(store: RedisAccountStore, upload: str) -> None:
    check = take_request(upload, LIMIT, at=0.7, now_us=NOW_US + 1)

    peeked = await store.peek(check)

    assert peeked.result == await store.take(check)


@pytest.mark.parametrize("made", [score(risk=0.5), score(risk=0.95), DECAYING], ids=["plain", "refused", "decaying"])
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.replace(b'"bot":', b'"bots":'),
        lambda value: value[: value.index(b"{")] + b'{"version":2}',
        lambda value: value[:20],
        lambda value: value[:15],
        at_byte(0, TAT.pack(float("nan"))),
        at_byte(8, TAT.pack(1e300)),
        lambda value: value.replace(b"\x0c" + HOUR_US.to_bytes(7, "little"), b"\x0c" + b"\xff" * 7),
        lambda value: value[: value.index(b"\x0c") + 5] if b"\x0c" in value else value,
    ],
    ids=["a field is gone", "a newer version", "cut at 20", "cut at 15", "risk NaN", "late", "half-life", "cut decay"],
)
async def test_a_peek_judges_by_the_score_that_a_take_judges_by(
    redis_store: RedisAccountStore, line: Line, made: object, change: Change
) -> None:
    await redis_store.put_scores([with_bytes(made)])  # type: ignore[arg-type]
    await changed(redis_store, line, "score:{a}", change)

    await assert_alike(redis_store, "u")


@pytest.mark.parametrize(
    "tat", [float("nan"), float("inf"), -float("inf"), -1.0, 1e300, 2.0**53, float(NOW_US + HOUR_US)]
)
@pytest.mark.parametrize("debt", [False, True])
async def test_a_peek_believes_of_a_bucket_what_a_take_believes(
    redis_store: RedisAccountStore, line: Line, tat: float, debt: bool
) -> None:
    await redis_store.take(take_request("u0", LIMIT))
    (limit,) = take_request("u0", LIMIT).buckets[0].limits.limits
    entry = limit.debt_id + TAT.pack(tat) if debt else b""
    late = TAT.pack(float(NOW_US + HOUR_US) if debt else tat)
    await changed(redis_store, line, "2b:account:{a}", lambda value: value[:5] + late + entry)

    await assert_alike(redis_store, "u1")


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1.0, 2.0])
async def test_a_peek_takes_for_none_the_reservation_that_a_take_takes_for_none(
    redis_store: RedisAccountStore, line: Line, number: float
) -> None:
    await redis_store.put_scores([with_bytes(score(risk=0.5))])
    await redis_store.take(take_request("u", LIMIT))
    risk = TAT.pack(0.5)
    await changed(redis_store, line, "2a:{a}", lambda value: value.replace(risk, TAT.pack(number)))

    await assert_alike(redis_store, "u")


@pytest.mark.parametrize("state", [0, 8, 255])
async def test_a_reservation_in_an_unknown_state_counts_as_none(
    redis_store: RedisAccountStore, line: Line, state: int
) -> None:
    await redis_store.take(take_request("u", LIMIT))
    await changed(
        redis_store,
        line,
        "2a:{a}",
        lambda value: value.replace(b"\x03" + b"1:u" + b"\1", b"\x03" + b"1:u" + bytes([state])),
    )

    peeked, again = await redis_store.peek(take_request("u", LIMIT)), await redis_store.take(take_request("u", LIMIT))

    assert (again.charged, again.repeated) == (True, False)
    assert peeked.result == again


@pytest.mark.parametrize("pseudonyms", [{}, {"ip": "1f" * 8, "device": "2e" * 8}], ids=["as text", "short"])
@pytest.mark.parametrize("damage", [b"\xff", b"9"])
async def test_a_peek_of_an_upload_whose_fingerprint_is_damaged_meets_the_conflict_that_a_take_meets(
    redis_store: RedisAccountStore, line: Line, pseudonyms: dict[str, str], damage: bytes
) -> None:
    check = TakeRequest("a", "u", OF_ACCOUNT, size=50, now_us=NOW_US, class_="new", kind="image", **pseudonyms)
    await redis_store.take(check)
    stored = Batch.fingerprint(check, {})
    await changed(redis_store, line, "2a:{a}", lambda value: value.replace(stored, stored[:3] + damage + stored[4:]))

    peeked = await redis_store.peek(check)

    assert peeked.result == await redis_store.take(check)
    assert peeked.result.conflict


@pytest.mark.parametrize("seed", range(4))
async def test_a_peek_reads_a_damaged_account_as_a_take_does(
    redis_store: RedisAccountStore, line: Line, seed: int
) -> None:
    rng = random.Random(seed)
    differ = []
    for case in range(100):
        account = f"a-{seed}-{case}"
        check = TakeRequest(account, "u", OF_ACCOUNT, size=50, now_us=NOW_US, class_="new", kind="image", attempt=1)
        if rng.random() < 0.3:
            await redis_store.put_scores([with_bytes(score(account, risk=0.5))])
        for attempt in range(rng.choice((1, 1, 2))):
            await redis_store.take(msgspec.structs.replace(check, attempt=attempt))
        if rng.random() < 0.5:
            check = msgspec.structs.replace(check, upload_id="refused", size=900)
            await redis_store.take(check)
        at, byte = rng.random(), rng.choice((0, 1, 10, 128, 255, rng.randrange(256)))
        await changed(
            redis_store, line, f"2a:{{{account}}}", lambda value, at=at, byte=byte: at_byte(
                int(at * len(value)), bytes([byte]))(value),
        )  # fmt: skip

        again = msgspec.structs.replace(check, attempt=9, now_us=NOW_US + 1)
        peeked, taken = (await redis_store.peek(again)).result, await redis_store.take(again)
        if peeked != taken:
            differ.append((case, at, byte, peeked, taken))

    assert not differ, f"seed {seed}"


@given(
    st.floats(0, 1), st.integers(0, 1 << 51), st.sampled_from([0, 1, MINUTE_US, HOUR_US]), st.floats(0, 1), st.booleans(),
    st.sampled_from([Stamp("e", 1), Stamp("café", 7, 1, 4, 9), Stamp("", 0, 0, 0, 1)]),
)  # fmt: skip
def test_the_numbers_that_a_check_reads_are_those_of_the_score(
    risk: float, at_us: int, half_life_us: int, base: float, acts: bool, stamp: Stamp
) -> None:
    made = msgspec.structs.replace(
        score(risk=risk, at_us=at_us), half_life_us=half_life_us, base=base, acts=acts, stamp=stamp
    )

    read = decode_stored_risk(stored_score(with_bytes(made)))

    assert read.risk == pytest.approx(risk, abs=1e-6)
    assert read.base == pytest.approx(base, abs=1e-6) or not half_life_us
    assert (read.at_us, read.half_life_us, read.acts) == (at_us, half_life_us, acts)
