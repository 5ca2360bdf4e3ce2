"""The script that draws tokens for leases, on whatever a bucket's value may hold: it leaves what the integer model leaves."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from gate.core.limits.gcra import GRACE_US
from gate.core.limits.limit import Limit, Rate
from gate.core.limits.token_lease import Exchange, exchange
from gate.stores.redis.connections.line import Line
from gate.stores.redis.lua import script
from tests.bucket_values import MOST_ENTRIES, TAT, Value
from tests.redis_scripts import left_by
from tests.take_requests import NOW_US

UPLOADS = Limit("uploads", Rate(1, 7, 100))
BYTES = Limit("bytes", Rate(1, 1, 700), by_bytes=True)
FULL_US = NOW_US + 700
"""When a bucket without a token left will be full; both limits allow 700 µs."""
TATS = (
    None, math.nan, math.inf, -1.0, 5.0, 700.0, 2.0**53, 2.0**53 + 700, 2.0**60,
    NOW_US - 5, NOW_US, NOW_US + 1, FULL_US - 7, FULL_US, FULL_US + 1,
    FULL_US + GRACE_US, FULL_US + GRACE_US + 1, 2**53 - 1,
)  # fmt: skip
WANTED = (-700, -5, 0, 1, 6, 7, 22, 10_000)


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange with a bucket, and the value that holds it."""

    limit: Limit
    value: Value | None
    is_own: bool
    us: int

    def packed(self, key: int) -> bytes:
        unit = 1 if self.limit.by_bytes else self.limit.unit_us
        numbers = self.limit.tolerance_us, unit, self.us
        return struct.pack("<BB4s4sddd", key, self.is_own, self.limit.id, self.limit.debt_id, *numbers)

    def expected(self) -> tuple[Value | None, int, int]:
        """The value afterwards, what was exchanged, and when the bucket will be full, by the model."""
        was = None if self.value is None else self.value.tat(self.limit.id)
        debt = None if self.value is None else self.value.tat(self.limit.debt_id)
        can_be_one = was is not None and (self.us > 0 or 0 <= was + self.us < 2**53)
        if self.us < 0 and not can_be_one:
            return self.value, self.us, NOW_US
        # what is no time is later than any
        late = was is not None and not was < 2**62
        tats = {} if was is None else {("e", self.limit.name): 2**62 if late else int(was)}
        if debt is not None:
            tats["e", Limit.debt_of(self.limit.name)] = int(debt)
        before = dict(tats)
        met = exchange(tats, Exchange("e", self.limit, self.us), NOW_US)
        if tats == before:
            return self.value, met.us, met.full_at_us
        fresh = Value("account" if self.is_own else "shared", lasts=0, reservations=0)
        return (self.value or fresh).moved(self.limit.id, tats["e", self.limit.name]), met.us, met.full_at_us


def values(limit: Limit, kind: str) -> Iterator[Value | None]:
    """Values with each TAT in the layout and among the entries, each with and without a debt."""
    yield None
    beside = (b"abcd", float(NOW_US))
    for tat in TATS:
        if tat is None:
            yield Value(kind, [beside], [beside])
            continue
        for debt in (None, tat - 1, tat, tat + 1):
            found = [beside] if debt is None or not math.isfinite(debt) else [(limit.debt_id, debt), beside]
            yield Value(kind, [beside, (limit.id, tat)], found)
            yield Value(kind, [beside], [*found, (limit.id, tat)])


CASES = [
    Case(limit, value, kind == "account", us)
    for limit, kind in itertools.product((UPLOADS, BYTES), ("shared", "account"))
    for value in values(limit, kind)
    for us in WANTED
]


@pytest.mark.parametrize("kept_ms", [0, 30_000, 100_000_000])
async def test_what_is_answered_stored_and_kept_is_by_the_model(
    line: Line, unique: Callable[[], str], kept_ms: int
) -> None:
    cases = CASES[:: 1 if kept_ms == 30_000 else 3]
    for some in (cases[n : n + 100] for n in range(0, len(cases), 100)):
        stem = unique()
        stored = {f"{stem}{n}": None if case.value is None else bytes(case.value) for n, case in enumerate(some)}
        packed = b"".join(case.packed(n) for n, case in enumerate(some, 1))

        left = await left_by(line, script("exchange"), stored, [NOW_US, packed], kept_ms)

        now_us, *met = struct.unpack(f"<{1 + 2 * len(some)}d", left.reply)
        assert now_us == NOW_US
        for n, case in enumerate(some):
            value, us, full_at_us = case.expected()
            assert (met[2 * n], met[2 * n + 1]) == (us, full_at_us), case
            assert left.values[n] == (None if value is None else bytes(value)), case
            if value is None or value == case.value or case.us < 0:  # to give back is no reason to keep it longer
                assert left.kept_ms[n] < 0 or left.kept_ms[n] <= kept_ms, case
            else:
                need_ms = -(-(int(value.tat(case.limit.id) or 0) - NOW_US) // 1000) + 60_000
                assert left.kept_ms[n] == need_ms or need_ms < left.kept_ms[n] <= kept_ms, case


async def test_an_accounts_value_that_has_no_room_for_one_more_limit_gives_nothing(
    line: Line, unique: Callable[[], str]
) -> None:
    crowded = Value("account", [], [(b"%04d" % n, float(NOW_US)) for n in range(MOST_ENTRIES)], b"behind")
    roomy = replace(crowded, entries=crowded.entries[1:])
    cases = [Case(UPLOADS, value, True, 14) for value in (crowded, roomy)]
    stored = {f"{unique()}{n}": bytes(case.value or b"") for n, case in enumerate(cases)}

    left = await left_by(
        line, script("exchange"), stored, [NOW_US, b"".join(case.packed(n) for n, case in enumerate(cases, 1))]
    )

    assert left.reply == struct.pack("<5d", NOW_US, 0, NOW_US, 14, NOW_US + 14)
    assert left.values == [bytes(crowded), bytes(roomy.moved(UPLOADS.id, NOW_US + 14))]
    assert left.kept_ms == [-1, 60_001]


async def test_a_bucket_is_kept_a_minute_longer_than_it_takes_to_fill(line: Line, unique: Callable[[], str]) -> None:
    slow = Limit("slow", Rate(1, 1_000_000, 100_000))
    cases = [Case(slow, None, False, us) for us in (1_000_000, 90_000_000_000)]

    left = await left_by(
        line, script("exchange"), {unique(): None, unique(): None},
        [NOW_US, b"".join(case.packed(n) for n, case in enumerate(cases, 1))],
    )  # fmt: skip

    assert left.kept_ms == [61_000, 90_060_000]


async def test_without_a_clock_of_the_callers_it_is_the_servers(line: Line, unique: Callable[[], str]) -> None:
    async def server_us() -> int:
        seconds, us = map(int, await line.execute(b"TIME", within_s=5.0))
        return seconds * 1_000_000 + us

    before_us = await server_us()

    left = await left_by(line, script("exchange"), {unique(): None}, ["", Case(UPLOADS, None, False, 7).packed(1)])

    now_us, us, full_at_us = struct.unpack("<3d", left.reply)
    assert before_us < now_us < await server_us()
    assert (us, full_at_us) == (7, now_us + 7)
    assert left.values[0] == bytes(Value("shared", [], [(UPLOADS.id, now_us + 7)]))


async def test_a_value_of_another_kind_is_an_empty_one(line: Line, unique: Callable[[], str]) -> None:
    key = unique()
    await line.execute(b"LPUSH", key, b"x", within_s=5.0)

    left = await left_by(line, script("exchange"), {key: None}, [NOW_US, Case(BYTES, None, True, 5).packed(1)])

    fresh = Value("account", lasts=0, reservations=0)
    assert left.reply == struct.pack("<3d", NOW_US, 5, NOW_US + 5)
    assert left.values[0] == bytes(fresh.moved(BYTES.id, NOW_US + 5))
    assert TAT.pack(NOW_US + 5) in (left.values[0] or b"")
