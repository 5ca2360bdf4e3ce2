"""The script that settles a reservation, on whatever the values may hold: what moves, what stays, and how long it is kept."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Argument
from gate.stores.redis.lua import script
from tests.bucket_values import MOST_ENTRIES, TAT, Value
from tests.redis_scripts import Left, left_by
from tests.take_requests import NOW_US

LATEST = 2**53 - 1
OPEN, COMMITTED, ABORTED = 1, 2, 3
TATS = (math.nan, math.inf, -1.0, 0.0, 2.0**53, float(LATEST), NOW_US - 1.0, float(NOW_US), NOW_US + 1.0, NOW_US + 5e9)
DELTAS = (1, 1_000, 1_001, 5_000_000, 90_000_000_000, LATEST, 0, -1, -5_000_000, -90_000_000_000)
LIMITS = [b"aaaa", b"bbbb", b"cccc", b"dddd"]


def record(state: int, name: bytes = b"1:u", taken: bytes = b"") -> bytes:
    behind = struct.pack("<BBId6sH", state, 0, 7, NOW_US, bytes(6), 4) + b"what" + taken
    return struct.pack("<HB", 3 + len(name) + len(behind), len(name)) + name + behind


READ = record(OPEN, taken=b"x" * (ord("%") - len(record(OPEN))))
SETTLED = record(COMMITTED, taken=b"x" * (ord(".") - len(record(COMMITTED))))
"""Their first bytes, which are their lengths, are signs of a pattern."""
OTHER = record(OPEN, b"1:other")


@dataclass(frozen=True, slots=True)
class Change:
    """By how much the TAT of a limit in the value of a key moves. Keys count from 1."""

    key: int
    id: bytes
    us: float
    debt: bytes = b"debt"
    kind: int = 0

    def __bytes__(self) -> bytes:
        return struct.pack("<BB4s4sd", self.key, self.kind, self.id, self.debt, self.us)

    def applied(self, value: Value | None) -> tuple[Value | None, int | None]:
        """The value with it, and the TAT to which tokens were taken."""
        known = value or Value("account" if self.key == 1 else "shared", lasts=0, reservations=0)
        tat = known.tat(self.id)
        if self.us <= 0:
            return (value if tat is None else known.moved(self.id, tat + self.us)), None
        if tat is None or not NOW_US <= tat < 2**53:
            tat = NOW_US
        then = min(int(tat) + int(self.us), LATEST)
        return known.moved(self.id, then).moved(self.debt, then), then


@dataclass(slots=True)
class Call:
    """A call with the account's value, that of the upload's own key, and those of entities behind them."""

    account: Value | bytes | None
    own: bytes | None = None
    entities: Sequence[Value | bytes | None] = ()
    changes: Sequence[Change] = ()
    becomes: bytes = SETTLED
    now: Argument = NOW_US
    px: int = 0
    keys: list[str] = field(default_factory=list)

    async def made(self, line: Line, unique: Callable[[], str]) -> Left:
        stored = [None if each is None else bytes(each) for each in (self.account, self.own, *self.entities)]
        self.keys = [unique() for _ in (*stored, "due")]
        await line.execute(b"ZADD", self.keys[-1], 5, self.keys[1], 6, "another", within_s=5.0)
        args = [READ, self.becomes, self.now, b"".join(map(bytes, self.changes))]
        return await left_by(line, script("settle"), dict(zip(self.keys, [*stored, None], strict=True)), args, self.px)


def some_value(draw: random.Random, kind: str, behind: bytes) -> Value:
    ids = draw.sample(LIMITS, draw.randint(0, 3))
    in_layout = draw.randint(0, len(ids))
    tats = [(id_, draw.choice(TATS)) for id_ in ids]
    return Value(kind, tats[:in_layout], tats[in_layout:], behind)


@pytest.mark.parametrize("px", [0, 30_000, 100_000_000])
async def test_buckets_move_by_their_changes_and_nothing_beside_them(
    line: Line, unique: Callable[[], str], px: int
) -> None:
    draw = random.Random(px)
    for _ in range(150):
        kind, is_apart = draw.choice(["account", "earlier account"]), draw.random() < 0.3
        account = (
            None
            if is_apart and draw.random() < 0.3
            else some_value(draw, kind, OTHER + (b"" if is_apart else READ + OTHER))
        )
        entities = [None if draw.random() < 0.3 else some_value(draw, "shared", b"") for _ in range(2)]
        changes = [
            Change(draw.choice([1, 3, 4]), draw.choice(LIMITS), draw.choice(DELTAS)) for _ in range(draw.randint(0, 5))
        ]

        left = await Call(account, READ if is_apart else None, entities, changes, px=px).made(line, unique)

        values: dict[int, Value | None] = {1: account, 3: entities[0], 4: entities[1]}
        before, tops = dict(values), dict[int, int]()
        for change in changes:
            values[change.key], top = change.applied(values[change.key])
            tops[change.key] = max(top or 0, tops.get(change.key, 0))
        assert left.reply == 1
        assert left.values[1] == (SETTLED if is_apart else None)
        for key, value in values.items():
            raw = None if value is None else bytes(value)
            if raw is not None and key == 1 and not is_apart:
                raw = raw.replace(READ, SETTLED)
            assert left.values[key - 1] == raw, (key, before[key], changes)
            need_ms, kept_ms = -(-(tops.get(key, 0) - NOW_US) // 1000) + 60_000, left.kept_ms[key - 1]
            if not tops.get(key):
                assert (kept_ms == -2) if value is None else (0 < kept_ms <= px or (kept_ms, px) == (-1, 0))
            else:
                assert kept_ms == need_ms or need_ms < kept_ms <= px, (key, before[key], changes)


@pytest.mark.parametrize(
    ("account", "own", "reply", "account_after", "own_after"),
    [
        (READ, None, 1, SETTLED, None),
        (b"head" + READ + OTHER, None, 1, b"head" + SETTLED + OTHER, None),
        (OTHER, READ, 1, OTHER, SETTLED),
        (None, READ, 1, None, SETTLED),
        (READ, READ, 1, SETTLED, READ),
        (SETTLED, None, 1, SETTLED, None),
        (None, SETTLED, 1, None, SETTLED),
        (OTHER, SETTLED, 1, OTHER, SETTLED),
        (OTHER, OTHER, 0, OTHER, OTHER),
        (OTHER, None, 0, OTHER, None),
        (None, READ + b"x", 0, None, READ + b"x"),
        (None, None, 0, None, None),
    ],
)
async def test_a_reservation_is_settled_once_if_it_is_what_was_read(
    line: Line, unique: Callable[[], str], account: bytes | None, own: bytes | None, reply: int,
    account_after: bytes | None, own_after: bytes | None,
) -> None:  # fmt: skip
    shared = Value("shared", [(b"aaaa", NOW_US + 100)])
    is_new = READ in (account_after, own_after) or SETTLED not in (account, own)
    call = Call(account, own, [shared], [Change(3, b"aaaa", -40)], px=50_000)

    left = await call.made(line, unique)

    moves = reply == 1 and is_new
    assert (left.reply, left.values[0], left.values[1]) == (reply, account_after, own_after)
    assert left.values[2] == bytes(shared.moved(b"aaaa", NOW_US + (60 if moves else 100)))
    assert all(
        ms == -2 if value is None else 0 < ms <= 50_000
        for value, ms in zip(left.values, left.kept_ms, strict=True)
        if ms != -1
    )
    due = await line.execute(b"ZRANGE", call.keys[-1], 0, -1, within_s=5.0)
    assert due == [*([] if moves else [call.keys[1].encode()]), b"another"]


@pytest.mark.parametrize(("state", "is_due"), [(OPEN, True), (COMMITTED, False), (ABORTED, False), (OPEN + 16, False)])
async def test_a_reservation_stays_due_while_it_is_open(
    line: Line, unique: Callable[[], str], state: int, is_due: bool
) -> None:
    call = Call(READ, becomes=record(state))

    await call.made(line, unique)

    due = await line.execute(b"ZRANGE", call.keys[-1], 0, -1, within_s=5.0)
    assert due == [*([call.keys[1].encode()] if is_due else []), b"another"]


def flights(*found: tuple[bytes, float]) -> bytes:
    return b"".join(id_ + TAT.pack(till) for id_, till in found)


MINE, OTHERS, LATER = (b"mine", 5.0), (b"othr", 5.0), (b"mine", 6.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([MINE], None),
        ([MINE, OTHERS], [OTHERS]),
        ([OTHERS, LATER, MINE], [OTHERS, LATER]),
        ([OTHERS, MINE, LATER], [OTHERS, LATER]),
        ([MINE, MINE], [MINE]),
        ([OTHERS, LATER], [OTHERS, LATER]),
        (None, None),
    ],
)
async def test_one_that_was_in_flight_leaves_and_the_last_one_takes_the_key_with_it(
    line: Line,
    unique: Callable[[], str],
    before: list[tuple[bytes, float]] | None,
    after: list[tuple[bytes, float]] | None,
) -> None:
    value = None if before is None else flights(*before)

    left = await Call(READ, None, [value], [Change(3, b"mine", 5.0, kind=1)], px=50_000).made(line, unique)

    assert left.reply == 1
    assert left.values[2] == (None if after is None else flights(*after))
    assert 0 < left.kept_ms[2] <= 50_000 if after is not None else left.kept_ms[2] == -2


async def test_bytes_behind_the_last_whole_flight_are_none(line: Line, unique: Callable[[], str]) -> None:
    cut = flights(OTHERS) + flights(MINE)[:-1]

    left = await Call(READ, None, [cut], [Change(3, b"mine", 5.0, kind=1)]).made(line, unique)

    assert (left.reply, left.values[2]) == (1, cut)


async def test_an_account_without_room_for_a_limit_stays_as_it_is(line: Line, unique: Callable[[], str]) -> None:
    crowded = Value("account", [], [(b"%04d" % n, NOW_US) for n in range(MOST_ENTRIES)], READ)

    left = await Call(crowded, None, [], [Change(1, b"aaaa", 9)]).made(line, unique)

    assert left.values[0] == bytes(crowded).replace(READ, SETTLED)


async def test_without_a_clock_of_the_callers_it_is_the_servers_and_other_kinds_of_values_are_none(
    line: Line, unique: Callable[[], str]
) -> None:
    call = Call(READ, None, [None], [Change(3, b"aaaa", 1_000_000)], now="")
    before_us = int((await line.execute(b"TIME", within_s=5.0))[0]) * 1_000_000

    left = await call.made(line, unique)

    seconds, us = map(int, await line.execute(b"TIME", within_s=5.0))
    (tat,) = TAT.unpack((left.values[2] or b"")[5:13])
    assert before_us + 1_000_000 <= tat <= (seconds + 1) * 1_000_000 + us
    assert left.values[2] == bytes(Value("shared", [], [(b"aaaa", tat), (b"debt", tat)]))
    assert left.kept_ms[2] == 61_000
