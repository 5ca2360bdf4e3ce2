"""The short scripts, each on raw values: boards, acknowledgements, marks of what is filled, scores of the inactive."""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import sha1

import pytest

from gate.ports.boards import LIVE_WITHIN_US
from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Argument, Run, Script
from gate.stores.redis.lua import script
from tests.redis_scripts import left_by

EXPIRES_US = 90_000_001
KEPT_MS = 90_001
"""`EXPIRES_US` in ms, rounded up."""


async def server_us(line: Line) -> int:
    seconds, us = map(int, await line.execute(b"TIME", within_s=5.0))
    return seconds * 1_000_000 + us


async def done(line: Line, name: str, keys: list[str], *args: Argument) -> object:
    (reply,) = await line.run([Run(Script.named(name), keys, args)], 5.0)
    return reply


async def hashed(line: Line, key: str) -> dict[bytes, bytes]:
    flat = await line.execute(b"HGETALL", key, within_s=5.0)
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def ranked(line: Line, key: str) -> dict[bytes, int]:
    flat = await line.execute(b"ZRANGE", key, 0, -1, b"WITHSCORES", within_s=5.0)
    return {name: int(float(us)) for name, us in zip(flat[::2], flat[1::2], strict=True)}


async def test_an_acknowledgement_has_the_servers_time_and_those_that_are_too_old_go(
    line: Line, unique: Callable[[], str]
) -> None:
    times, documents, since = keys = [unique(), unique(), unique()]
    before_us = await server_us(line)
    for name, ago_us in (
        ("old", EXPIRES_US),
        ("older", 10 * EXPIRES_US),
        ("young", EXPIRES_US - 60_000_000),
        ("gate", 5),
    ):
        await line.execute(b"ZADD", times, before_us - ago_us, name, within_s=5.0)
        await line.execute(b"HSET", documents, name, f"of {name}", within_s=5.0)

    left = await left_by(
        line, script("acknowledge"), dict.fromkeys(keys), ["gate", "document", EXPIRES_US, LIVE_WITHIN_US]
    )
    after_us = await server_us(line)
    again = await left_by(
        line, script("acknowledge"), dict.fromkeys(keys), ["gate", "newer", EXPIRES_US, LIVE_WITHIN_US]
    )

    now_us = int(left.reply)
    assert before_us < now_us < after_us < int(again.reply)
    assert await ranked(line, times) == {b"young": before_us - EXPIRES_US + 60_000_000, b"gate": int(again.reply)}
    assert await hashed(line, documents) == {b"young": b"of young", b"gate": b"newer"}
    assert (left.values[2], again.values[2]) == (b"%d" % now_us, b"%d" % now_us)
    assert left.kept_ms == again.kept_ms == [KEPT_MS] * 3
    assert since == keys[2]


async def test_gates_that_acknowledged_lately_are_named_with_their_documents_and_times(
    line: Line, unique: Callable[[], str]
) -> None:
    times, documents, since = keys = [unique(), unique(), unique()]
    before_us = await server_us(line)
    ago = {"old": EXPIRES_US + 1, "young": 5, "lost": 7, "first": EXPIRES_US - 60_000_000}
    for name, ago_us in ago.items():
        await line.execute(b"ZADD", times, before_us - ago_us, name, within_s=5.0)
        if name != "lost":
            await line.execute(b"HSET", documents, name, f"of {name}", within_s=5.0)

    plain = await done(line, "gates", keys, EXPIRES_US)
    await line.execute(b"SET", since, b"123", within_s=5.0)
    marked = await done(line, "gates", keys, EXPIRES_US)

    assert isinstance(plain, list)
    assert isinstance(marked, list)
    assert before_us < int(plain[0]) < int(marked[0]) < await server_us(line)
    assert (plain[1], marked[1]) == (plain[0], b"123")
    named = [b"first", b"of first", b"%d" % (before_us - ago["first"]), b"young", b"of young", b"%d" % (before_us - 5)]
    assert plain[2:] == marked[2:] == named


async def listening(line: Line, channel: str) -> Line:
    hears = line.twin()
    await hears.connect(5.0)
    await hears.send(b"SUBSCRIBE", channel)
    assert (await hears.listen(5.0))[0] == b"subscribe"
    return hears


@pytest.mark.parametrize(
    ("stored", "expected", "is_written"),
    [("7", "7", True), ("7", "8", False), ("7", "0", False), (None, "0", True), (None, "7", False), ("0", "0", True)],
)
async def test_a_board_is_written_and_pushed_if_the_stored_one_is_what_its_writer_read(
    line: Line, unique: Callable[[], str], stored: str | None, expected: str, is_written: bool
) -> None:
    board, channel = unique(), unique()
    before = {} if stored is None else {b"rev": stored.encode(), b"document": b"old"}
    for name, value in before.items():
        await line.execute(b"HSET", board, name, value, within_s=5.0)
    hears = await listening(line, channel)

    reply = await done(line, "replace_board", [board], expected, "9", "new", channel)

    assert reply == int(is_written)
    assert await hashed(line, board) == ({b"rev": b"9", b"document": b"new"} if is_written else before)
    await line.execute(b"PUBLISH", channel, b"end", within_s=5.0)
    assert (await hears.listen(5.0))[2] == (b"new" if is_written else b"end")
    await hears.close()


BROKEN = b"\xff not a board"
DIGEST = sha1(BROKEN).hexdigest()


@pytest.mark.parametrize(
    ("kind", "document", "expected", "is_written"),
    [
        ("hash", BROKEN, DIGEST, True),
        ("hash", b"repaired since", DIGEST, False),
        ("hash", None, DIGEST, False),
        ("string", BROKEN, "string", True),
        ("string", BROKEN, "list", False),
        ("string", BROKEN, DIGEST, False),
        ("list", BROKEN, "list", True),
        ("none", None, DIGEST, False),
        ("none", None, "hash", False),
    ],
)
async def test_a_board_that_cannot_be_read_is_replaced_once_and_set_aside(
    line: Line, unique: Callable[[], str], kind: str, document: bytes | None, expected: str, is_written: bool
) -> None:
    board, aside, channel = unique(), unique(), unique()
    match kind:
        case "hash":
            await line.execute(
                b"HSET", board, b"rev" if document is None else b"document", document or b"5", within_s=5.0
            )
        case "string":
            await line.execute(b"SET", board, BROKEN, within_s=5.0)
        case "list":
            await line.execute(b"LPUSH", board, BROKEN, within_s=5.0)
    hears = await listening(line, channel)

    reply = await done(line, "repair_board", [board, aside], expected, "9", "new", channel)

    assert reply == int(is_written)
    if is_written:
        assert await hashed(line, board) == {b"rev": b"9", b"document": b"new"}
        read = (b"LINDEX", aside, 0) if kind == "list" else (b"GET", aside)
        assert await line.execute(*read, within_s=5.0) == BROKEN
    else:
        assert await line.execute(b"TYPE", board, within_s=5.0) == kind.encode()
        assert await line.execute(b"EXISTS", aside, within_s=5.0) == 0
    await line.execute(b"PUBLISH", channel, b"end", within_s=5.0)
    assert (await hears.listen(5.0))[2] == (b"new" if is_written else b"end")
    await hears.close()


async def test_marks_move_only_from_the_expected_value_and_the_previous_ones_are_returned(
    line: Line, unique: Callable[[], str]
) -> None:
    stored = {unique(): b"a", unique(): None, unique(): b"c", unique(): None}

    left = await left_by(line, script("mark_filled"), stored, ["a", "A", "", "B", "x", "C", "y", "D"])

    assert left.reply == [b"a", b"", b"c", b""]
    assert left.values == [b"A", b"B", b"c", None]


async def test_scores_whose_time_is_before_a_bound_or_cannot_be_read_are_deleted(
    line: Line, unique: Callable[[], str]
) -> None:
    values = [
        struct.pack("<dd", 1e9, 500.0) + b"rest", struct.pack("<dd", 0.5, 499.0), struct.pack("<dd", 0.5, 500.0),
        struct.pack("<dd", 0.5, 900.0)[:15], None, struct.pack("<dd", 600.0, 1.0) + b"rest",
    ]  # fmt: skip
    stored = {unique(): value for value in values}

    left = await left_by(line, script("forget_scores"), stored, [500])

    assert left.reply == 3
    assert left.values == [values[0], None, values[2], None, None, None]


async def test_a_value_of_another_kind_keeps_no_other_score_from_being_deleted(
    line: Line, unique: Callable[[], str]
) -> None:
    strange, old = unique(), unique()
    await line.execute(b"LPUSH", strange, b"x", within_s=5.0)

    left = await left_by(line, script("forget_scores"), {strange: None, old: struct.pack("<dd", 0.5, 1.0)}, [500])

    assert left.reply == 1
    assert await line.execute(b"TYPE", strange, within_s=5.0) == b"list"
