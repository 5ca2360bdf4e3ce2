"""The header fields that tell of limits: whatever a limit is called, each stays one field of visible ASCII."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.limit import Limit, Rate, Room
from gate.records.decision import rate_limit_lines
from gate.records.peek import peek_lines

NOW_US = 1_000_000


def let_in(name: str) -> Decision:
    room = Room(Limit(name, Rate(5, 60_000_000, 5)), NOW_US + 12_000_000)
    return Decision("u", "a", "new", Verdict.ALLOW, Stage.DEFAULT, "allow", None, None, "p", 0, None, (), room=room,
                    room_at_us=NOW_US)  # fmt: skip


def refused(name: str, limit: Limit | None = None, wait_us: int | None = 1_500_000) -> Decision:
    return Decision("u", "a", "new", Verdict.THROTTLE, Stage.BUCKET, name, wait_us, None, "p", 0, None, (),
                    refused_by=limit)  # fmt: skip


def fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a head; each line must end as RFC 9112 says."""
    assert lines.endswith(b"\r\n")
    fields = [line.partition(b": ") for line in lines.removesuffix(b"\r\n").split(b"\r\n")]
    return [(name, value) for name, _, value in fields]


def rate_limit_fields(decision: Decision) -> list[tuple[bytes, bytes]]:
    return fields_of(rate_limit_lines(decision))


def test_an_upload_that_is_let_in_is_told_of_the_limit_with_the_least_room() -> None:
    fields = rate_limit_fields(let_in("account.minute"))

    assert fields == [(b"ratelimit-policy", b'"account.minute";q=5;w=60'), (b"ratelimit", b'"account.minute";r=4;t=12')]


def test_an_upload_that_is_refused_is_told_of_the_limit_that_refused_and_when_to_come_back() -> None:
    fields = rate_limit_fields(refused("account.minute"))

    assert fields == [(b"ratelimit", b'"account.minute";r=0;t=2'), (b"retry-after", b"2")]


@pytest.mark.parametrize(
    ("limit", "quota"),
    [
        (Limit("l", Rate(5, 60_000_000, 5)), b"q=5;w=60"),
        (Limit("l", Rate(3, 60_000_000, 5)), b"q=5;w=100"),
        (Limit("l", Rate(7, 1, 7)), b"q=7;w=1"),
        (Limit("l", Rate(0, 60_000_000, 5)), b"q=5;w=60"),
        (
            Limit("l", Rate(1 << 50, 86_400_000_000, 1 << 50), by_bytes=True),
            b'q=999999999999999;qu="content-bytes";w=86400',
        ),
        (Limit("l", Rate(1, 86_400_000_000, 1 << 50)), b"q=999999999999999;w=999999999999999"),
        (Limit("l", Rate(1, 1_000_000, 3), in_flight=True), b'q=3;qu="concurrent-requests"'),
    ],
)
def test_a_refusal_tells_the_burst_of_its_limit_and_the_time_that_fills_it(limit: Limit, quota: bytes) -> None:
    fields = rate_limit_fields(refused("l", limit))

    assert fields == [(b"ratelimit-policy", b'"l";' + quota), (b"ratelimit", b'"l";r=0;t=2'), (b"retry-after", b"2")]


def test_an_upload_that_never_fits_is_told_the_burst_and_no_time() -> None:
    limit = Limit("l", Rate(2_000, 60_000_000, 4_000), by_bytes=True)

    assert rate_limit_fields(refused("l", limit, None)) == [
        (b"ratelimit-policy", b'"l";q=4000;qu="content-bytes";w=120')
    ]


def test_room_beyond_what_a_field_may_hold_is_shown_as_the_most_it_may() -> None:
    room = Room(Limit("l", Rate(1 << 50, 86_400_000_000, 1 << 50), by_bytes=True), NOW_US)
    decision = structs.replace(let_in("l"), room=room)

    assert rate_limit_fields(decision)[1] == (b"ratelimit", b'"l";r=999999999999999;t=0')
    assert fields_of(peek_lines(decision, [room]))[1] == (b"ratelimit", b'"l";r=999999999999999;t=0')


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\r\nset-cookie: b", b'"a??set-cookie: b"'),
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("größe", b'"gr??e"'),
    ],
)
def test_a_name_is_shown_as_a_string_of_a_header_field(name: str, shown: bytes) -> None:
    assert rate_limit_fields(refused(name))[0][1].startswith(shown + b";r=0")
    assert rate_limit_fields(let_in(name))[0][1].startswith(shown + b";q=5")


@given(st.text(max_size=20))
def test_no_name_of_a_limit_ends_its_field(name: str) -> None:
    room = let_in(name).room
    assert room is not None

    for fields in (
        rate_limit_fields(let_in(name)),
        rate_limit_fields(refused(name)),
        rate_limit_fields(refused(name, room.limit)),
        fields_of(peek_lines(let_in(name), [room])),
    ):
        assert {name for name, _ in fields} <= {b"ratelimit-policy", b"ratelimit", b"retry-after"}
        for _, value in fields:
            assert value.isascii()
            assert value.decode().isprintable()
