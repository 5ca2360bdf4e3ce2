"""`buckets.lua` finds a TAT in every layout of a stored value, and moves it without a change to anything beside it."""

from __future__ import annotations

import itertools

import pytest

from gate.stores.redis.connections.line import Line
from gate.stores.redis.lua import with_included
from tests.bucket_values import TAT, Value

SCRIPT = b"""
local P, U, sub, byte = struct.pack, struct.unpack, string.sub, string.byte
--@include buckets
local v, own, id = ARGV[1], ARGV[2] == '1', ARGV[3]
return {place_of(v, own, id) or 0, with_tat(v, own, id, U('<d', ARGV[4]))}
"""


def limits(name: str, count: int) -> list[tuple[bytes, float]]:
    return [(f"{name}{n:03}".encode(), 1e15 + n) for n in range(count)]


VALUES = [
    Value(kind, limits("t", tats), limits("e", entries), behind)
    for kind, tats, entries in itertools.product(("shared", "account", "earlier account"), (0, 1, 2, 3), (0, 1, 2))
    for behind in ((b"",) if kind == "shared" else (b"", b"t000 reservations e000"))
]
LIKE_AN_ENTRY = b"none" + TAT.pack(2e15)
FULL = [
    Value(kind, limits("t", 1), limits("e", count), b"" if kind == "shared" else LIKE_AN_ENTRY)
    for kind in ("shared", "account")
    for count in (99, 100, 101)
]


async def placed(line: Line, value: Value, id_: bytes) -> tuple[int, bytes]:
    place, moved = await line.execute(
        b"EVAL", with_included(SCRIPT), 0, bytes(value), b"%d" % value.is_own, id_, TAT.pack(1.5e15), within_s=5.0
    )
    return place, moved


async def test_a_tat_is_found_and_moved_in_every_layout_and_nothing_else_changes(line: Line) -> None:
    for value in (*VALUES, *FULL):
        for id_ in {b"none", *(each for each, _ in (*value.tats, *value.entries))}:
            place, moved = await placed(line, value, id_)

            assert place == value.place(id_), (value, id_)
            assert moved == bytes(value.moved(id_, 1.5e15)), (value, id_)


@pytest.mark.parametrize("kind", ["account", "earlier account"])
async def test_an_accounts_value_that_is_cut_before_its_entries_has_none(line: Line, kind: str) -> None:
    whole = Value(kind, limits("t", 2), limits("e", 1))
    cut = bytes(whole)[: 1 + 12 * 2]

    place, _ = await line.execute(b"EVAL", with_included(SCRIPT), 0, cut, b"1", b"e000", TAT.pack(1.0), within_s=5.0)

    assert place == 0


async def test_bytes_behind_the_last_whole_entry_of_a_shared_value_are_none(line: Line) -> None:
    value = Value("shared", limits("t", 1), limits("e", 1), b"e001" + TAT.pack(3.0)[:-1])

    place, _ = await placed(line, value, b"e001")

    assert place == 0
