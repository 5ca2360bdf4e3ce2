"""What the take script believes of stored numbers, and how long it keeps them: each of its functions by tables of cases."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence

import pytest

from gate.core.score import risk_at
from gate.stores.redis.bucket_layouts import KEPT_MS
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import account_header, header
from tests.bucket_values import TAT, Value
from tests.take_functions import called, literal, ran
from tests.take_requests import DAY_US, MINUTE_US, NOW_US

LATEST = 2.0**53 - 1
NO_TIMES = (math.nan, math.inf, -1.0, 2.0**53)
NOW = float(NOW_US)


def entries(*found: tuple[bytes, float]) -> bytes:
    return b"".join(id_ + TAT.pack(tat) for id_, tat in found)


async def test_a_key_is_kept_at_least_as_long_as_it_is_needed_and_an_hour_where_nobody_knows(line: Line) -> None:
    edges = [ms * 1000 for ms in KEPT_MS]
    needs = [*edges, *(edge + 1 for edge in edges), edges[-1] + 1001, LATEST]

    kept = [(await called(line, "kept_for", need))[0] for need in needs]
    unknown = [await called(line, "kept_for", need) for need in (math.nan, 2.0**53)]
    unknown.append(await called(line, "kept_for", 1.0, recorded=True))

    expected = [next((ms for ms in KEPT_MS if need <= ms * 1000), -(-int(need) // 1000)) for need in needs]
    assert [int(each) for each in kept] == expected  # type: ignore[arg-type]
    assert unknown == [[b"3600000"]] * 3


async def test_limits_that_are_gone_are_kept_until_they_have_been_full_for_a_minute(line: Line) -> None:
    full, filling = NOW - MINUTE_US - 1, NOW - MINUTE_US
    later = (b"more", NOW + 5)
    found = entries((b"full", full), *((b"none", tat) for tat in NO_TIMES), (b"some", filling), later, (b"last", NOW))

    at_once = await called(line, "pruned", found + b"cut", now=NOW)
    recorded = await called(line, "pruned", found, now=NOW, recorded=True)
    nothing = await called(line, "pruned", b"", now=NOW)
    latest = await called(line, "pruned", entries((b"late", LATEST)), now=NOW)

    assert at_once == [entries((b"some", filling), later, (b"last", NOW)), NOW + 5]
    assert recorded == [entries((b"full", full), (b"some", filling), later, (b"last", NOW)), NOW + 5]
    assert nothing == [b"", 0]
    assert latest == [entries((b"late", LATEST)), LATEST]


@pytest.mark.parametrize(
    "us",
    [0, 1, 999_999, 1_000_000, 1_000_001, 4_294_967_293_000_001, 4_294_967_294_000_001, 2**60],
)
async def test_a_time_in_seconds_is_never_before_it(line: Line, us: int) -> None:
    (packed,) = await ran(line, f"return P('<I4', seconds({us}))")

    assert packed == struct.pack("<I", min(-(-us // 1_000_000), 2**32 - 1))


IDS = [b"aaaa", b"bbbb", b"cccc"]


def laid(value: Value, ids: Sequence[bytes]) -> Value:
    """The value in the layout of these limits."""
    tats = dict([*value.tats, *value.entries])
    others = [(id_, tat) for id_, tat in tats.items() if id_ not in ids and tat >= NOW - MINUTE_US]
    if value.kind == "shared":
        return Value("shared", [(id_, tats.get(id_, 0.0)) for id_ in ids], others)
    lasts = -(-value.lasts // 1_000_000) if value.kind == "earlier account" else value.lasts
    return Value("account", [(id_, tats.get(id_, 0.0)) for id_ in ids], others, value.behind, lasts, value.reservations)


async def relaid(line: Line, value: bytes, ids: Sequence[bytes], kind: str) -> tuple[bytes, list[bytes]]:
    """The value anew: its bytes without entries, and its entries in order, which has none in the script."""
    head = account_header(ids) if kind != "shared" else header(ids)
    (raw,) = await called(line, "relaid", value, head, list(ids), kind != "shared", now=NOW)
    assert isinstance(raw, bytes)
    start = 1 + 12 * len(ids) + (0 if kind == "shared" else 6)
    count = (len(raw) - start) // 12 if kind == "shared" else raw[start - 2]
    found = [raw[start + 12 * n : start + 12 * n + 12] for n in range(count)]
    return raw[:start] + raw[start + 12 * count :], sorted(found)


def in_parts(value: Value) -> tuple[bytes, list[bytes]]:
    raw, start = bytes(value), len(bytes(value)) - len(value.behind) - 12 * len(value.entries)
    return raw[:start] + value.behind, sorted(entries(each) for each in value.entries)


@pytest.mark.parametrize("kind", ["shared", "account", "earlier account"])
async def test_a_value_of_another_policy_or_release_keeps_each_tat_and_all_reservations(line: Line, kind: str) -> None:
    numbers = {b"aaaa": NOW + 1, b"bbbb": NOW - MINUTE_US, b"cccc": NOW - MINUTE_US - 1, b"dddd": NOW + 3}
    layouts = [list(each) for size in range(4) for each in itertools.permutations(IDS, size)]
    lasts = 7_000_001 if kind == "earlier account" else 7
    for known, wanted in itertools.product(layouts[::3], layouts[::2]):
        value = Value(
            kind, [(id_, numbers[id_]) for id_ in known],
            [(id_, tat) for id_, tat in numbers.items() if id_ not in known],
            b"" if kind == "shared" else b"reservations", lasts, 9,
        )  # fmt: skip

        found = await relaid(line, bytes(value), wanted, kind)

        assert found == in_parts(laid(value, wanted)), (known, wanted)


@pytest.mark.parametrize("kind", ["shared", "account", "earlier account"])
async def test_a_value_that_is_cut_has_what_is_whole_in_it(line: Line, kind: str) -> None:
    value = Value(kind, [(b"aaaa", NOW), (b"bbbb", NOW + 2)], [(b"cccc", NOW + 3), (b"dddd", NOW + 4)], b"behind")
    raw, tats_end = bytes(value), 25
    entries_at = tats_end + {"shared": 0, "account": 6, "earlier account": 10}[kind]
    none = Value("shared" if kind == "shared" else "account", [(id_, 0.0) for id_ in IDS], lasts=0, reservations=0)
    for length in range(len(raw)):
        found, others = await relaid(line, raw[:length], IDS, kind)

        if length < entries_at:
            assert (found, others) == in_parts(none), length
            continue
        count = (length - entries_at) // 12 if kind == "shared" else 2 * (length >= entries_at + 24)
        whole = Value(kind, value.tats, value.entries[:count], lasts=77, reservations=3 if count == 2 else 0)
        behind = raw[entries_at + 12 * count : length] if kind != "shared" else b""
        expected = laid(Value(kind, whole.tats, whole.entries, behind, 77, whole.reservations), IDS)
        assert (found, others) == in_parts(expected), length


@pytest.mark.parametrize(("count", "kept"), [(100, 100), (101, 0)])
async def test_an_account_keeps_at_most_a_hundred_limits_that_are_gone(line: Line, count: int, kept: int) -> None:
    value = Value("account", [], [(b"%04d" % n, NOW) for n in range(count)], b"behind")

    found, others = await relaid(line, bytes(value), [b"aaaa"], "account")

    assert len(others) == kept
    assert (
        found
        == bytes(Value("account", [(b"aaaa", 0.0)], [], b"behind"))[: -len(b"behind") - 2]
        + bytes([kept, 3])
        + b"behind"
    )


@pytest.mark.parametrize(
    ("debts", "believed"),
    [
        ([], False),
        ([(b"debt", NOW + 90)], True),
        ([(b"debt", NOW + 89)], False),
        ([(b"debt", LATEST)], True),
        ([(b"othr", LATEST), (b"debt", NOW + 91)], True),
        ([(b"othr", LATEST)], False),
        *(([(b"debt", tat)], False) for tat in NO_TIMES),
        ([(b"debt", 2.0**60)], False),
    ],
)
async def test_a_tat_beyond_its_limit_is_a_debt_or_becomes_an_empty_bucket(
    line: Line, debts: list[tuple[bytes, float]], believed: bool
) -> None:
    met = await called(
        line, "late", entries(*debts) + entries((b"debt", LATEST))[:-1], b"debt", NOW + 90, 60.0, now=NOW
    )

    assert met == ([NOW + 90, False] if believed else [NOW + 60, True])


@pytest.mark.parametrize(
    ("tills", "burst", "wait"),
    [
        ([], 0, None),
        ([], 1, 0),
        ([9], 1, 9),
        ([9], 2, 0),
        ([7, 9, 5], 3, 5),
        ([7, 9, 5], 2, 7),
        ([7, 9, 5], 1, 9),
        ([0, -1, 1], 2, 0),
        ([0, -1, 1], 1, 1),
        ([LATEST - NOW], 1, LATEST - NOW),
        ([tat - NOW for tat in NO_TIMES], 1, 0),
    ],
)
async def test_what_is_in_flight_makes_room_one_by_one(
    line: Line, tills: list[float], burst: int, wait: float | None
) -> None:
    found = entries((b"othr", NOW + 1), *((b"mine", NOW + till) for till in tills))

    met = await called(line, "flying", found + b"cut off too", b"mine", burst, now=NOW)

    assert met == [wait]


async def test_one_more_in_flight_forgets_those_that_are_over_and_is_kept_until_the_last_ends(line: Line) -> None:
    over = entries((b"mine", NOW), (b"mine", NOW - 1), *((b"mine", tat) for tat in NO_TIMES))
    cases: list[tuple[bytes | None, float, bytes, float]] = [
        (None, 5e8, entries((b"mine", NOW + 5e8)), 5e8),
        (over, 5e8, entries((b"mine", NOW + 5e8)), 5e8),
        (entries((b"othr", NOW + 1)), 5e8, entries((b"othr", NOW + 1), (b"mine", NOW + 5e8)), 5e8),
        (entries((b"othr", NOW + 9e8)), 5e8, entries((b"othr", NOW + 9e8), (b"mine", NOW + 5e8)), 9e8),
        (entries((b"othr", LATEST)), 5e8, entries((b"othr", LATEST), (b"mine", NOW + 5e8)), LATEST - NOW),
    ]
    for known, till, expected, need in cases:
        value, kept, alike = await ran(
            line,
            f"now, V[1] = {NOW!r}, {literal(known)}\ntake_off(1, 'mine', {NOW + till!r})\n"
            f"return V[1], ttl[1], tostring(ttl[1]) == tostring(kept_for({need!r})) and dirty[1] == 1 and nd == 1",
        )

        assert (value, alike) == (expected, True), (known, kept)


async def test_a_key_is_written_once_and_kept_as_long_as_it_was_needed_last(line: Line) -> None:
    found = await ran(
        line, "write(3, 'a')\nwrite(5, 'b')\nwrite(3, 'c')\nreturn nd, dirty[1], dirty[2], ttl[3], ttl[5]"
    )

    assert found == [2, 3, 5, b"c", b"b"]


RISKS = (0.0, 1e-9, 1e-6, 2e-6, 0.1, 0.5, 0.9, 1 - 2e-6, 1 - 1e-6, 1 - 1e-9, 1.0)


async def test_a_risk_decays_as_the_model_says(line: Line) -> None:
    cases = [
        (risk, age, half_life, base)
        for risk, base in itertools.product(RISKS, RISKS)
        for age, half_life in (
            (0, 1),
            (-5, 1),
            (5, 0),
            (1, DAY_US),
            (DAY_US, DAY_US),
            (3 * DAY_US, DAY_US),
            (DAY_US, -1),
        )
    ]

    lines = [f"risk_at({risk!r}, {NOW_US - age}, {half_life}, {base!r})" for risk, age, half_life, base in cases]
    found = []
    for n in range(0, len(lines), 200):
        found += await ran(line, f"now = {NOW_US}\nreturn {', '.join(lines[n : n + 200])}")

    for met, (risk, age, half_life, base) in zip(found, cases, strict=True):
        assert met == pytest.approx(risk_at(risk, NOW_US - age, half_life, base, NOW_US), abs=1e-15, rel=1e-12)


def a_score(
    risk: float = 0.75, at: float = NOW - 60, epoch: bytes = b"c/a", decay: bytes = b"", rest: bytes = b"{}"
) -> bytes:
    return struct.pack("<dddH", risk, at, 5.0, len(epoch)) + epoch + decay + rest


def decay(half_life: float = 60, base: float = 0.25, acts: int = 1, *, earlier: bool = False) -> bytes:
    if earlier:
        return struct.pack("<BddB", 17, half_life, base, acts)
    return struct.pack("<B7sIB", 12, int(half_life).to_bytes(7, "little"), round(base * 1e6), acts)


NO_SCORE = [0, 0, 0, 0, 0, True]
DECAYED = risk_at(0.75, NOW_US - 60, 60, 0.25, NOW_US)
PLAIN = [4, 0.75, NOW - 60, 0, 0, False]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", NO_SCORE),
        (a_score()[:15], NO_SCORE),
        (a_score()[:16], PLAIN),
        (a_score()[:25], PLAIN),
        (a_score(epoch=b"", rest=b""), PLAIN),
        (a_score(), PLAIN),
        (a_score(0.0), [4, 0.0, *PLAIN[2:]]),
        (a_score(1.0, 0.0), [4, 1.0, 0.0, 0, 0, False]),
        (a_score(at=LATEST), [4, 0.75, LATEST, 0, 0, False]),
        *((a_score(risk), NO_SCORE) for risk in (-0.001, 1.001, math.nan, math.inf)),
        *((a_score(at=at), NO_SCORE) for at in NO_TIMES),
        (a_score(decay=decay()), [4, DECAYED, NOW - 60, 60, 0.25, False]),
        (a_score(decay=decay(earlier=True)), [4, DECAYED, NOW - 60, 60, 0.25, False]),
        (a_score(decay=decay(acts=0)), [36, DECAYED, NOW - 60, 60, 0.25, False]),
        (a_score(decay=decay(acts=0, earlier=True)), [36, DECAYED, NOW - 60, 60, 0.25, False]),
        (a_score(decay=decay(0)), [4, 0.75, NOW - 60, 0, 0.25, False]),
        (a_score(decay=decay(base=0)), [4, risk_at(0.75, NOW_US - 60, 60, 0.0, NOW_US), NOW - 60, 60, 0, False]),
        (a_score(decay=decay(base=1)), [4, 0.75, NOW - 60, 60, 1, False]),
        (a_score(decay=decay(acts=2)), [4, 0.75, NOW - 60, 0, 0, True]),
        (a_score(decay=decay(base=1.5)), [4, 0.75, NOW - 60, 0, 0, True]),
        *((a_score(decay=decay(base=base, earlier=True)), [4, 0.75, NOW - 60, 0, 0, True]) for base in (-0.1, 1.1, math.nan)),
        *((a_score(decay=decay(half, earlier=True)), [4, 0.75, NOW - 60, 0, 0, True]) for half in NO_TIMES),
        (a_score(decay=decay()[:-1], rest=b""), PLAIN),
        (a_score(decay=decay(), rest=b""), [4, DECAYED, NOW - 60, 60, 0.25, False]),
        (a_score(decay=decay(earlier=True)[:-1], rest=b""), PLAIN),
        (a_score(epoch=b"a longer epoch", decay=decay(acts=0)), [36, DECAYED, NOW - 60, 60, 0.25, False]),
    ],
)  # fmt: skip
async def test_a_stored_score_is_believed_as_far_as_it_can_be_true(
    line: Line, value: bytes, said: list[object]
) -> None:
    assert await called(line, "score_of", value, now=NOW) == pytest.approx(said, rel=1e-12)


def an_override(expires: float = NOW + 1, kind: int = 1, rest: bytes = b'{"reason":"x"}') -> bytes:
    return struct.pack("<dB", expires, kind) + rest


DENIED = [b"?", False, True]
LIMITS = b"\x03newrest"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (an_override(), [an_override(), True, False, False]),
        (an_override(kind=0), [an_override(kind=0), False, True, False]),
        (an_override(kind=2, rest=LIMITS), [an_override(kind=2, rest=LIMITS), False, False, b"new"]),
        (an_override(kind=2, rest=b""), DENIED),
        (an_override(kind=2, rest=b"\0"), [an_override(kind=2, rest=b"\0"), False, False, b""]),
        (an_override(kind=3), DENIED),
        (an_override(NOW), [b"", False, False]),
        (an_override(NOW - 1, 0), [b"", False, False]),
        (an_override(0.0), [b"", False, False]),
        *((an_override(expires), DENIED) for expires in NO_TIMES),
        (an_override(LATEST), [an_override(LATEST), True, False, False]),
        (an_override(rest=b""), [an_override(rest=b""), True, False, False]),
        (an_override(rest=b"")[:8], DENIED),
        (b"", DENIED),
        (an_override(rest=b"x" * 16384), [an_override(rest=b"x" * 16384), True, False, False]),
        (an_override(rest=b"x" * 16385), DENIED),
    ],
)
async def test_an_override_that_cannot_be_read_denies(line: Line, value: bytes, said: list[object]) -> None:
    assert await called(line, "override_of", value, now=NOW) == said
