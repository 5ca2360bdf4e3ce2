"""How the take script reads, keeps and forgets the reservations of an account: each of its functions by tables of cases."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from hashlib import sha1

import pytest

from gate.core.limits.reservation import MOST_HOLDERS
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import MOST_IN_VALUE
from tests.take_functions import Lua, called, literal, ran
from tests.take_requests import NOW_US

NOW = float(NOW_US)
FEW = 6
"""`FEW` of `lua/take.lua`."""
SCORED, HELD, ACTS_NOT, RETURNS, SHARED, NAMED = 1, 2, 8, 16, 32, 64
OPEN, KEPT_BACK, FAILED, REFUSED = 1, 2, 3, 5


def record(
    name: bytes = b"1:u", state: int = OPEN, flags: int = 0, attempt: int = 7, began: float = NOW, span: int = 60,
    what: bytes = b"what", rest: bytes = b"", size: int | None = None,
) -> bytes:  # fmt: skip
    """A reservation; `rest` are the parts that its flags announce, and what was taken."""
    behind = struct.pack("<BBId6sH", state, flags, attempt, began, span.to_bytes(6, "little"), len(what)) + what + rest
    return struct.pack("<HB", 3 + len(name) + len(behind) if size is None else size, len(name)) + name + behind


def scored(risk: float = 0.5, at: float = NOW) -> bytes:
    return struct.pack("<dd", risk, at)


def names(some: bytes) -> bytes:
    return struct.pack("<H", len(some)) + some


ONE, TWO, LONG = record(b"1:a"), record(b"1:b", what=b"x" * 300), record(b"1:" + b"n" * 200)
WHOLE = ONE + TWO + LONG
SHORTEST = record(b"", what=b"")


@pytest.mark.parametrize(
    ("records", "name", "first", "place"),
    [
        (WHOLE, b"1:a", 1, (1, len(ONE))),
        (WHOLE, b"1:b", 1, (len(ONE) + 1, len(ONE + TWO))),
        (WHOLE, b"1:" + b"n" * 200, 1, (len(ONE + TWO) + 1, len(WHOLE))),
        (b"head" + WHOLE, b"1:b", 5, (len(ONE) + 5, len(ONE + TWO) + 4)),
        (WHOLE, b"1:c", 1, None),
        (WHOLE, b"1:", 1, None),
        (WHOLE, b"1:aa", 1, None),
        (b"", b"1:a", 1, None),
        (WHOLE + SHORTEST, b"", 1, (len(WHOLE) + 1, len(WHOLE) + 25)),
        (record(b"1:x", size=24) + ONE, b"1:a", 1, None),
        (record(b"1:a", size=24), b"1:a", 1, None),
        (ONE[:-1], b"1:a", 1, None),
        (ONE + TWO[:-1], b"1:b", 1, None),
        (ONE + TWO[:2], b"1:b", 1, None),
        (ONE + TWO[:3], b"1:b", 1, None),
    ],
)  # fmt: skip
async def test_an_upload_is_found_by_its_whole_name_among_whole_reservations(
    line: Line, records: bytes, name: bytes, first: int, place: tuple[int, int] | None
) -> None:
    found = await called(line, "located", records, name, first)

    assert [each for each in found if each is not None] == list(place or ())


def said(state: int = OPEN, flags: int = 0, attempt: int = 7, began: float = NOW, until: float = NOW + 60,
         what: bytes = b"what", shadowed: bytes = b"", risk: float = 0, at: float = 0) -> list[Lua]:  # fmt: skip
    return [state, flags, attempt, began, until, what, shadowed, risk, at]


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (record(), said()),
        (record(what=b""), said(what=b"")),
        (SHORTEST, said(what=b"")),
        (record(state=KEPT_BACK, attempt=2**32 - 1, span=2**47), said(KEPT_BACK, 0, 2**32 - 1, NOW, NOW + 2**47)),
        (record(state=REFUSED, flags=NAMED, rest=names(b"a")), said(REFUSED, NAMED, shadowed=b"a")),
        (record(state=REFUSED), None),
        (record(state=REFUSED, flags=NAMED, rest=names(b"")), None),
        (record(rest=b"taken"), said()),
        (record(flags=SCORED, rest=scored()), said(flags=SCORED, risk=0.5, at=NOW)),
        (record(flags=SCORED, rest=scored(0.0, 0.0) + b"taken"), said(flags=SCORED)),
        (record(flags=SCORED, rest=scored(1.0, 2.0**53 - 1)), said(flags=SCORED, risk=1, at=2.0**53 - 1)),
        (record(flags=NAMED, rest=names(b"a\nb") + b"taken"), said(flags=NAMED, shadowed=b"a\nb")),
        (record(flags=NAMED, rest=names(b"")), said(flags=NAMED)),
        (record(flags=NAMED + SCORED, rest=names(b"a") + scored()), said(flags=NAMED + SCORED, shadowed=b"a", risk=0.5, at=NOW)),
        (record(flags=128), said(flags=128)),
        (record(flags=128 + NAMED, rest=names(b"a")), said(flags=128 + NAMED, shadowed=b"a")),
        (record(began=0.0), said(began=0, until=60)),
        (record(began=2.0**53 - 1), said(began=2.0**53 - 1, until=2.0**53 + 59)),
        *((record(began=began), None) for began in (math.nan, math.inf, -1.0, 2.0**53)),
        *((record(flags=SCORED, rest=scored(risk)), None) for risk in (math.nan, -0.001, 1.001)),
        *((record(flags=SCORED, rest=scored(at=at)), None) for at in (math.nan, -1.0, 2.0**53)),
        (record(flags=SCORED, rest=scored()[:-1]), None),
        (record(flags=SCORED + NAMED, rest=names(b"a") + scored()[:-1]), None),
        (record(flags=NAMED), None),
        (record(flags=NAMED, rest=b"\0"), None),
        (record(flags=NAMED, rest=b"\2\0a"), None),
        (record(size=24), None),
        (record(size=1000), None),
        (record()[:-1], None),
        (record()[:24], None),
        (record(b"n" * 250)[:200], None),
        (b"", None),
    ],
)  # fmt: skip
async def test_a_reservation_is_believed_if_all_of_it_can_be_true(
    line: Line, raw: bytes, meant: list[Lua] | None
) -> None:
    assert await called(line, "reservation_of", raw) == (meant or [None])


@pytest.mark.parametrize(
    ("raw", "recorded", "is_needless"),
    [
        (record(), False, False),
        (record(span=0), False, True),
        (record(span=1), False, False),
        (record(began=NOW - 1, span=1), False, True),
        (record(span=0), True, False),
        (record(state=KEPT_BACK), False, False),
        (record(state=KEPT_BACK, span=0), False, True),
        (record(state=REFUSED), False, True),
        (record(state=REFUSED), True, True),
        (record(state=REFUSED, flags=NAMED, rest=names(b"a")), False, True),
        (record(state=REFUSED, span=0, flags=128), False, False),
        (record(state=REFUSED, began=NOW - 60_000_000, span=1, flags=128), False, False),
        (record(state=REFUSED, began=NOW - 60_000_000, span=0, flags=128), False, True),
        (record(state=REFUSED, began=NOW - 60_000_000, span=0, flags=128), True, False),
        (record(span=0, flags=RETURNS), False, False),
        (record(span=0, flags=RETURNS + SHARED + NAMED + 128), False, False),
        (record(span=0, flags=RETURNS - 1), False, True),
        (record(span=0, flags=SHARED), False, True),
        (record(state=KEPT_BACK, span=0, flags=RETURNS), False, True),
        (record(what=b""), False, False),
        (record(what=b"")[:-3], False, True),
    ],
)  # fmt: skip
async def test_reservations_that_are_over_and_refusals_are_dropped_unless_their_tokens_return(
    line: Line, raw: bytes, recorded: bool, is_needless: bool
) -> None:
    alone = await called(line, "needless", raw, 1, raw[2], now=NOW, recorded=recorded)
    behind = await called(line, "needless", b"head" + raw, 5, raw[2], now=NOW, recorded=recorded)
    unnamed = await called(line, "needless", raw, 1, None, now=NOW, recorded=recorded)

    assert (alone, behind, unnamed) == ([is_needless], [is_needless], [True])


OVER, RETURNING = record(b"1:o", span=0), record(b"1:r", span=0, flags=RETURNS)


@pytest.mark.parametrize(
    ("records", "left"),
    [
        ([], []),
        ([ONE], [ONE]),
        ([OVER], []),
        ([ONE, OVER, TWO, record(state=REFUSED), RETURNING, OVER], [ONE, TWO, RETURNING]),
        ([ONE, TWO[:-1]], [ONE]),
        ([ONE, record(size=24), TWO], [ONE]),
        ([ONE, b"\0\1"], [ONE]),
        ([ONE, b"\0"], [ONE]),
    ],
)
async def test_reservations_are_tidied_up_to_where_they_cannot_be_read(
    line: Line, records: Sequence[bytes], left: Sequence[bytes]
) -> None:
    assert await called(line, "tidied", b"".join(records), now=NOW) == [b"".join(left), len(left)]


def some(count: int, first: bytes = ONE) -> list[bytes]:
    return [first, *(record(b"2:%04d" % n) for n in range(count - 1))]


NEW, GIVEN_BACK = record(b"1:new"), record(b"1:f", state=FAILED)
APART = "V[2] == RECORD and apart['own'] == 2 and dirty[1] == 2 and ttl[2] == kept_for(5000000)"


@pytest.mark.parametrize(
    ("known", "replaced", "lasts", "left", "is_apart"),
    [
        ([], None, True, [NEW], False),
        (some(FEW - 1), None, True, [*some(FEW - 1), NEW], False),
        (some(FEW), None, True, [*some(FEW), NEW], False),
        (some(FEW, OVER), None, True, [*some(FEW)[1:], NEW], False),
        (some(FEW - 1, OVER), None, True, [*some(FEW - 1, OVER), NEW], False),
        ([*some(FEW), OVER], None, True, [*some(FEW), OVER, NEW], False),
        (some(3), 1, True, [some(3)[0], some(3)[2], NEW], False),
        (some(3), 2, True, [*some(3)[:2], NEW], False),
        (some(MOST_IN_VALUE - 1), None, True, [*some(MOST_IN_VALUE - 1), NEW], False),
        (some(MOST_IN_VALUE), None, True, some(MOST_IN_VALUE), True),
        (some(MOST_IN_VALUE), 5, True, [*(each for n, each in enumerate(some(MOST_IN_VALUE)) if n != 5), NEW], False),
        (some(MOST_IN_VALUE, OVER), None, True, [*some(MOST_IN_VALUE)[1:], NEW], False),
        (some(FEW - 1), None, False, [*some(FEW - 1), NEW], False),
        (some(FEW), None, False, some(FEW), False),
        (some(FEW), 0, False, [*some(FEW)[1:], NEW], False),
        (some(FEW + 1, OVER), 0, False, some(FEW + 1)[1:], False),
        (some(FEW + 1, GIVEN_BACK), 0, False, [*some(FEW + 1)[1:], GIVEN_BACK], False),
        (some(FEW + 1, record(b"1:a", state=REFUSED)), 0, False, some(FEW + 1)[1:], False),
        (some(FEW, record(b"1:a", state=REFUSED)), None, False, [*some(FEW)[1:], NEW], False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spilled", [0, 128])
async def test_a_reservation_is_kept_in_the_accounts_value_while_there_is_room(
    line: Line, known: list[bytes], replaced: int | None, lasts: bool, left: list[bytes], is_apart: bool, spilled: int
) -> None:
    head = b"some head"
    q, number = len(head) + 1, len(known) + spilled
    start = q + len(b"".join(known[:replaced])) if replaced is not None else None
    end = None if start is None or replaced is None else start + len(known[replaced]) - 1
    given = ", ".join(
        map(literal, (head + b"".join(known), q, number, NEW, start, end, 2, 5_000_000 if lasts else None))
    )

    records, count, written, own = await ran(
        line,
        f"now = {NOW!r}\nlocal RECORD = {literal(NEW)}\nlocal records, count = with_record({given})\n"
        f"return records, count, nd, {APART}",
        ["account", "own"],
        1,
    )

    assert records == b"".join(left)
    assert count == len(left) + (128 if is_apart else spilled)
    assert (written, own) == ((1, True) if is_apart else (0, False))


async def test_a_second_reservation_of_one_upload_in_a_batch_takes_the_first_ones_place(line: Line) -> None:
    full = literal(b"".join(some(MOST_IN_VALUE)))
    put = f"with_record({full}, 1, {MOST_IN_VALUE}, 'RECORD', nil, nil, NUMBER, 5000000)"

    found = await ran(
        line,
        f"now = {NOW!r}\n{put.replace('RECORD', 'first').replace('NUMBER', '2')}\n"
        f"{put.replace('RECORD', 'second').replace('NUMBER', '3')}\nreturn V[2], V[3], nd, apart.own",
        ["account", "own", "own"],
        2,
    )

    assert found == [b"second", None, 1, 2]


async def test_from_the_second_upload_on_those_of_all_that_follow_are_read_at_once(line: Line) -> None:
    keys = [f"own-value-{name}" for name in ("account", "a", "b", "c", "d")]
    for key in keys[:4]:
        await line.execute(b"SET", key, key, within_s=5.0)
    counted = "local plain, read = call, {}\ncall = function(...) read[#read + 1] = select('#', ...) - 1 return plain(...) end\n"

    found = await ran(
        line,
        counted + "local all = {own_value(1), own_value(1), own_value(2), own_value(3), own_value(4), own_value(2)}\n"
        "local a, b, c, d, e, f = unpack(all)\nreturn a, b, c, d, e, f, table.concat(read, ' ')",
        keys,
        4,
    )

    (a, b, c) = (key.encode() for key in keys[1:4])
    assert found == [a, a, b, c, False, b, b"1 3"]


async def test_what_is_known_of_an_upload_is_not_read_again(line: Line) -> None:
    keys = ["known-account", "known-a", "known-b", "known-c"]
    for key in keys:
        await line.execute(b"SET", key, key, within_s=5.0)

    found = await ran(line, "kept['known-c'] = 'newer'\nreturn own_value(1), own_value(2), own_value(3)", keys, 3)

    assert found == [b"known-a", b"known-b", b"newer"]


def fingerprint(kind: bytes, size: int, ip: bytes, device: bytes) -> bytes:
    return b"\1" + size.to_bytes(7, "little") + ip + device + sha1(kind).digest()[:4]


IP, DEVICE = bytes(range(8)), bytes(range(248, 256))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (b"new\nimage\n5\n%b\n%b", fingerprint(b"new\nimage", 5, IP, DEVICE)),
        (b"new\nimage\n%d\n%%b\n%%b" % (2**32 + 7), fingerprint(b"new\nimage", 2**32 + 7, IP, DEVICE)),
        (b"\n\n0\n%b\n%b", fingerprint(b"\n", 0, IP, DEVICE)),
        (b"new\nimage\nx\n%b\n%b", None),
        (b"new\nimage\n5\n0%b\n%b", None),
        (b"new\nimage\n5\n%b\n%b0", None),
        (b"new\nimage\n5\n%b\n%b ", None),
    ],
)
async def test_a_fingerprint_in_text_is_the_short_one_of_the_same_content(
    line: Line, text: bytes, short: bytes | None
) -> None:
    assert await called(line, "short", text % (IP.hex().encode(), DEVICE.hex().encode())) == [short]


def holders(*attempts: int) -> bytes:
    return struct.pack(f"<{len(attempts)}IB", *attempts, len(attempts))


FIRST, MANY = 7, tuple(range(100, 100 + MOST_HOLDERS - 1))


@pytest.mark.parametrize(
    ("flags", "behind", "attempt", "new_flags", "new_behind"),
    [
        (0, b"taken", FIRST, None, b""),
        (0, b"taken", 8, SHARED + HELD, b"taken" + holders(FIRST, 8)),
        (4 + RETURNS + 128, b"taken", 8, SHARED + HELD + 4 + RETURNS + 128, b"taken" + holders(FIRST, 8)),
        (ACTS_NOT + NAMED, names(b"a"), 8, SHARED + HELD + ACTS_NOT + NAMED, names(b"a") + holders(FIRST, 8)),
        (NAMED, names(b"a"), 8, SHARED + HELD + NAMED, names(b"a") + holders(FIRST, 8)),
        (SHARED + NAMED, names(b"a"), 8, None, b""),
        (SCORED, scored(), 8, SHARED + HELD + SCORED, scored() + holders(FIRST, 8)),
        (0, b"taken", 0, SHARED, b"taken"),
        (SHARED, b"taken", 8, None, b""),
        (SHARED, b"taken", FIRST, None, b""),
        (SHARED + HELD, b"taken" + holders(FIRST, 8), 8, None, b""),
        (SHARED + HELD, b"taken" + holders(FIRST, 8), FIRST, None, b""),
        (HELD, b"taken" + holders(FIRST, 8), FIRST, None, b""),
        (SHARED + HELD, b"taken" + holders(FIRST, 8), 9, SHARED + HELD, b"taken" + holders(FIRST, 8, 9)),
        (SHARED + HELD, b"taken" + holders(FIRST, 8), 0, SHARED, b"taken"),
        (SHARED + HELD, b"t" + holders(FIRST, *MANY[:-1]), 9, SHARED + HELD, b"t" + holders(FIRST, *MANY[:-1], 9)),
        (SHARED + HELD, b"t" + holders(FIRST, *MANY), 9, SHARED, b"t"),
        (SHARED + HELD, b"\xff", 9, None, b""),
    ],
)  # fmt: skip
async def test_each_check_that_has_the_answer_is_named_once(
    line: Line, flags: int, behind: bytes, attempt: int, new_flags: int | None, new_behind: bytes
) -> None:
    (found,) = await called(line, "with_holder", record(flags=flags, rest=behind), flags, FIRST, attempt)

    assert found == (None if new_flags is None else record(flags=new_flags, rest=new_behind))


def table(value: bytes | None) -> str:
    opened = f"opened({literal(value)}, {literal(HEAD)}, {1 + 12 * 2}, '<c9dd', {{'aaaa', 'bbbb'}})"
    return f"now = {NOW!r}\nlocal t = {opened}\nreturn #t, t[1], t[2], t.head, t.format, t.others"


HEAD = b"\2aaaabbbb"
TATS, OTHERS = struct.pack("<dd", NOW + 1, NOW + 2), b"cccc" + struct.pack("<d", NOW + 3)


@pytest.mark.parametrize(
    ("value", "tats", "others"),
    [
        (None, (0, 0), b""),
        (HEAD + TATS, (NOW + 1, NOW + 2), b""),
        (HEAD + TATS + OTHERS, (NOW + 1, NOW + 2), OTHERS),
        (HEAD + TATS[:-1], (0, 0), b""),
        (b"\2bbbbaaaa" + TATS + OTHERS, (NOW + 2, NOW + 1), OTHERS),
        (b"\1cccc" + struct.pack("<d", NOW + 3), (0, 0), OTHERS),
        (b"\3ccccaaaabbbb" + OTHERS[4:] + TATS, (NOW + 1, NOW + 2), OTHERS),
    ],
)
async def test_a_shared_value_is_opened_in_the_layout_of_the_policy(
    line: Line, value: bytes | None, tats: tuple[float, float], others: bytes
) -> None:
    assert await ran(line, table(value)) == [2, *tats, HEAD, b"<c9dd", others]
