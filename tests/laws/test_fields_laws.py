"""Laws of fields: the check and the event take every value alike, quickly or not, and reading what was kept keeps it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.core.event import Attempted
from gate.core.fields import FIELD_NAMES, RULES, FieldRefused, MessageType, read_fields
from gate.core.fields.rules import BY_SUBJECT
from gate.core.fields.text import repaired
from gate.core.request import CheckRequest
from gate.errors import RequestRejected
from gate.records.check import MAX_BODY_BYTES, decode_check, decode_checks, decode_plain_checks, labels_of
from streams.core.events import Unreadable, decode_counting

AT = "2026-11-23T10:00:00Z"
AT_US = 1_795_428_000_000_000
WHOLE: dict[str, Any] = {
    "upload_id": "u-1",
    "account": {"id": "a-1", "class": "new", "created_at": "2026-11-20T08:00:00Z", "verified": False},
    "media": {"kind": "image", "bytes": 7, "sha256": "ab" * 32, "phash": "cd" * 8},
    "surface": "post",
    "ip": "203.0.113.9",
    "device": "d-5",
    "country": "DE",
    "text": "hello",
    "links": ["https://example.org/a"],
}
OF_CHECKS = [rule.name for rule in BY_SUBJECT[MessageType.CHECK]]
SHARED = [name for name in OF_CHECKS if name in {rule.name for rule in BY_SUBJECT[MessageType.ATTEMPTED]}]
NAUGHTY: list[Any] = [
    None, True, False, 0, -1, 7.0, 1.5, 1e300, 2**63, 10**50, [], {}, [None], ["x", 7], {"id": "a"}, "", " ", "\t\n", "null",
    "NULL", "Null", "nULL", "undefined", "None", "nan", "n/a", "-", "0", "00", "-1", "false", "true", "unknown", "UNKNOWN",
    "(null)", "[object Object]", "00000000-0000-0000-0000-000000000000", "F" * 32, "f" * 64, "0" * 64,
    "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "a" * 64, "a" * 65, "x" * 256, "x" * 257, "é" * 64, "é" * 128, "é" * 129, "x" * 9_000,
    "𝕏" * 65, " x", "x ", "x y", "X", "Image", "IMAGE", "image ", "im\u200bage", "ﬁle", "İ", "ß", "ǅ", "\u0130", "a\x00b", "\x7f",
    "a\u202eb", "\ud83d", "\udc00\ud800", "\u2028", "\ufeff", "\ufffe", "👩‍🚀", "e\u0301", "\u3164", "1", "1.2.3.4", "1.2.3.4:80",
    " 1.2.3.4", "1.2.3.4, 5.6.7.8", "01.2.3.4", "0.0.0.0", "255.255.255.255", "127.0.0.1", "::", "::1", "::ffff:1.2.3.4",
    "[2001:db8::1]:443", "2001:DB8::1", "2001:db8::1%eth0", "64:ff9b::1", "fe80::1", "for=1.2.3.4", "_x", "1.2.3.4/32", "de",
    "DE", "De", "DEU", "XX", "NA", "A1", "1A", "ＤＥ", "2026-11-23T10:00:00Z", "2026-11-23T10:05:00Z", "2026-11-23T10:05:01Z",
    "2026-11-23T10:00:00", "1989-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "0x" + "ab" * 8,
    "sha256:" + "ab" * 32, "AB" * 32, "https://example.org", ["https://a.example"] * 51, ["\ud83d"], [" "],
    ["x" * 3_000], ["a\x00"],
]  # fmt: skip


def changed(name: str, value: Any) -> dict[str, Any]:
    part, _, inner = name.rpartition(".")
    return {**WHOLE, part: {**WHOLE[part], inner: value}} if part else {**WHOLE, name: value}


def of_check(given: dict[str, Any]) -> Any:
    try:
        request, ignored = decode_check(json.dumps(given).encode(), AT_US)
    except RequestRejected as error:
        return error.field
    return msgspec.to_builtins(request), dict(ignored)


def of_check_in_a_batch(given: dict[str, Any], separators: tuple[str, str]) -> Any:
    body = json.dumps({"checks": [WHOLE, given]}, separators=separators).encode()
    try:
        read = decode_checks(body, AT_US)
    except RequestRejected as error:
        return (error.field or "").removeprefix("checks[1].")
    assert read.labels == set(map(labels_of, read.requests))
    return msgspec.to_builtins(read.requests[1]), dict(read.ignored[1])


def of_check_with_others(given: dict[str, Any]) -> Any:
    """What `decode_check` reads of the last of three bodies, if the three are not read together."""
    body = json.dumps(given).encode()
    read = decode_plain_checks([json.dumps(WHOLE).encode()] * 2 + [body], AT_US)
    if read is None:
        return of_check(given)
    assert read.labels == set(map(labels_of, read.requests))
    return msgspec.to_builtins(read.requests[2]), dict(read.ignored[2])


def of_event(given: dict[str, Any]) -> Any:
    value = json.dumps({"type": "attempted", "id": "e-1", "at": AT, **given}).encode()
    try:
        event, _, dropped = decode_counting(value)
    except Unreadable as error:
        return error.detail
    assert isinstance(event, Attempted)
    whole = msgspec.to_builtins(event)
    for own in ("type", "id", "at"):
        del whole[own]
    return whole, dict(dropped)


def assert_alike(name: str, given: dict[str, Any]) -> None:
    check, event = of_check(given), of_event(given)
    required_here_only = name in ("upload_id", "media.kind")
    if isinstance(check, str):
        assert check == name or name in ("account", "media")
        # the event can do without these two, so it drops what the check refuses
        assert required_here_only or name == "media" or isinstance(event, str)
    else:
        assert check == event


def spelt(value: Any) -> str:
    return ascii(value)[:30]


@pytest.mark.parametrize("name", [*SHARED, "account", "media"])
def test_the_check_and_the_event_take_each_naughty_value_alike(name: str) -> None:
    for value in NAUGHTY:
        assert_alike(name, changed(name, value))


@given(st.sampled_from(SHARED), st.text(max_size=70) | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=1_500, deadline=None)
@example("device", "\ud83d")
def test_the_check_and_the_event_take_any_value_alike(name: str, value: Any) -> None:
    assert_alike(name, changed(name, value))


def thoroughly(given: dict[str, Any]) -> Any:
    try:
        return read_fields(given, MessageType.CHECK, AT_US)
    except FieldRefused as refused:
        return refused.field


@pytest.mark.parametrize("name", OF_CHECKS)
def test_the_quick_way_to_read_a_check_says_what_the_table_says(name: str) -> None:
    for value in NAUGHTY:
        given = changed(name, value)
        quick, slow = of_check(given), thoroughly(json.loads(json.dumps(given)))

        if isinstance(slow, str):
            assert quick == slow, spelt(value)
        else:
            assert quick[0] == msgspec.to_builtins(msgspec.convert(slow.kept, CheckRequest)), spelt(value)
            assert quick[1] == slow.dropped, spelt(value)
        assert of_check_in_a_batch(given, (",", ":")) == of_check_in_a_batch(given, (", ", ": ")) == quick, spelt(value)
        assert of_check_with_others(given) == quick, spelt(value)


def test_plain_bodies_are_read_together_and_no_body_makes_up_for_another() -> None:
    whole = json.dumps(WHOLE).encode()

    assert decode_plain_checks([whole] * 3, AT_US) is not None
    assert decode_plain_checks([whole, whole + b"," + whole[:40], whole[40:]], AT_US) is None
    assert decode_plain_checks([whole, whole + b" " * MAX_BODY_BYTES], AT_US) is None


numbers = st.sampled_from(
    ["0", "1", "9", "99", "255", "256", "00", "01", "1 ", "\u0663", "+1", "0x1", "1e1", "1\x00", ""]
)


@given(st.lists(numbers, min_size=3, max_size=5).map(".".join))
@settings(max_examples=600, deadline=None)
def test_the_quick_way_tells_an_address_from_what_nearly_is_one_as_the_table_does(ip: str) -> None:
    given = changed("ip", ip)

    quick, slow = of_check(given), thoroughly(given)

    assert quick == (msgspec.to_builtins(msgspec.convert(slow.kept, CheckRequest)), slow.dropped)


@given(st.sampled_from(OF_CHECKS), st.sampled_from(NAUGHTY) | st.text(max_size=80))
@settings(max_examples=1_000, deadline=None)
def test_reading_what_was_kept_keeps_it_and_drops_nothing(name: str, value: Any) -> None:
    once = thoroughly(changed(name, value))
    if isinstance(once, str):
        return

    again = read_fields(once.kept, MessageType.CHECK, AT_US)

    assert again.kept == once.kept
    assert again.dropped == {}


@given(st.dictionaries(st.sampled_from([rule.name for rule in RULES]), st.sampled_from(NAUGHTY), max_size=8))
@settings(max_examples=300, deadline=None)
def test_only_fields_of_the_table_are_ever_dropped(values: dict[str, Any]) -> None:
    given: dict[str, Any] = {"account": {"id": "a-1"}, "media": {}}
    for name, value in values.items():
        part, _, inner = name.rpartition(".")
        (given[part] if part else given)[inner if part else name] = value
    value = json.dumps({"type": "attempted", "id": "e", "at": AT, **given}).encode()

    try:
        _, _, dropped = decode_counting(value)
    except Unreadable:
        return

    assert set(dropped) <= set(FIELD_NAMES)


@given(st.text(st.sampled_from("a?é\ufffd\U0001f600\x00\ud83d\udc00")))
def test_what_cannot_be_written_becomes_one_sign_each_and_the_rest_stays(text: str) -> None:
    table = dict.fromkeys((0, *range(0xD800, 0xE000)), "\ufffd")

    assert repaired(text) == text.translate(table)
