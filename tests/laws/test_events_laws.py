"""Laws of reading: the quick way to read an event says nothing else than the thorough one, and remembering is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.events import ReadEvent, Unreadable, decode_counting, decode_thoroughly, encode, kind_of, time_us
from streams.core.fold import MAX_RING
from streams.core.rings import remembered

WHOLE: dict[str, Any] = {
    "type": "attempted",
    "id": "e-1",
    "at": "2026-11-23T10:00:00.123Z",
    "account": {"id": "a", "class": "new", "created_at": "2026-11-20T08:00:00+02:00", "verified": True},
    "upload_id": "u",
    "media": {"kind": "image", "bytes": 1, "sha256": "s", "phash": "p"},
    "surface": "post",
    "ip": "203.0.113.9",
    "device": "d",
    "country": "DE",
    "text": "hello",
    "links": ["https://example.org/a"],
    "decision": "allow",
    "bytes": 7,
    "by": "staff",
    "reason": "spam",
    "reporter": "r",
    "reporter_created_at": "2026-11-01T08:00:00Z",
    "media_group": "g",
    "outcome": "passed",
}
kinds = st.sampled_from(["attempted", "completed", "removed", "reported", "challenged", "liked", ""])
ids = st.sampled_from(
    ["", "x", "x" * 64, "x" * 65, "ü" * 64, "ü" * 128, "ü" * 129, "𝕏" * 64, "𝕏" * 65, "x" * 256, "x" * 257]
)
moments = st.sampled_from(
    [
        "2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00",
        "2026-11-23 10:00:00+05:30",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "2016-12-31T23:59:60Z",
        "",
        1_795_428_000,
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | ids | moments
nested = st.dictionaries(st.sampled_from(["id", "class", "created_at", "verified", "kind", "bytes", "x"]), scalars)
anything = scalars | st.lists(scalars, max_size=3) | nested
names = st.sampled_from([*sorted(WHOLE), "specversion", "data", "x"])
spoilt = st.builds(
    lambda kind, drop, changes: json.dumps(
        {name: value for name, value in {**WHOLE, "type": kind}.items() if name not in drop} | changes
    ).encode(),
    kinds,
    st.sets(names, max_size=12),
    st.dictionaries(names, anything, max_size=3),
)
apt = st.builds(
    lambda kind, id_, at, account, made, extra: json.dumps(
        {"type": kind, "id": id_, "at": at, "account": {"id": account, "created_at": made}, **extra}
    ).encode(),
    kinds,
    ids,
    moments,
    ids,
    st.none() | moments,
    st.dictionaries(st.sampled_from(["upload_id", "ip", "device", "text"]), ids | st.none()),
)
doubled = st.builds(lambda one, two: one[:-1] + b"," + two[1:], spoilt, spoilt)
cut = st.builds(lambda value, at: value[: at % (len(value) + 1)], spoilt, st.integers(0, 2_000))
cloud = st.builds(lambda data: b'{"specversion":"1.0","id":"e","data":' + data + b"}", spoilt | apt)
values = spoilt | apt | doubled | cut | cloud | st.binary(max_size=40)

marks = st.sampled_from([0x01010101, 0x01010102, 0x02010101, 0x01020101, 0, 0xFFFFFFFF, 0x00FFFFFF]) | st.integers(
    0, 2**32 - 1
)


def what_comes_of(read: Callable[[bytes], ReadEvent], value: bytes) -> object:
    try:
        event, surplus, dropped = read(value)
    except Unreadable as error:
        return error.reason, error.detail
    return kind_of(event), time_us(event), msgspec.to_builtins(event), encode(event), surplus, dict(dropped)


@given(values)
@settings(max_examples=1_000, deadline=None)
def test_the_quick_way_to_read_an_event_finds_what_the_thorough_one_does(value: bytes) -> None:
    quick = what_comes_of(decode_counting, value)

    assert quick == what_comes_of(decode_thoroughly, value)


@pytest.mark.parametrize("size", [3, 4])
@given(st.lists(marks, max_size=40))
@example([0x04030201, 0x08070605, 0x06050403, 0x06050403])
@example([0x030201, 0x060504, 0x050403, 0x050403])
@settings(max_examples=400, deadline=None)
def test_a_ring_remembers_the_last_dozen_and_nothing_that_lies_across_two_of_them(size: int, items: list[int]) -> None:
    ring, model = b"", list[int]()
    for whole in items:
        item = whole & ((1 << 8 * size) - 1)
        after = remembered(ring, item.to_bytes(size, "little"), MAX_RING)

        assert (after is ring) == (item in model)
        if item not in model:
            model = [*model, item][-MAX_RING:]
        ring = after

        assert [int.from_bytes(ring[at : at + size], "little") for at in range(0, len(ring), size)] == model
