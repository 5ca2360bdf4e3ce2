"""The wire's edges that golden files show best: both CloudEvents modes, unknown fields, and the schema of what is invalid."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gate.core.event import Attempted, Challenged, Completed, Removed, Reported
from streams.core.events import (
    MAX_EVENT_BYTES,
    Fault,
    Unreadable,
    check_record,
    decode,
    decode_counting,
    time_us,
    unknown_fields,
)
from streams.files.schemas import event_schema

FOLDER = Path(__file__).parent / "golden"
GOLDEN: dict[str, dict[str, Any]] = json.loads((FOLDER / "events.v1.json").read_text())
UNREADABLE: dict[str, dict[str, Any]] = json.loads((FOLDER / "unreadable.v1.json").read_text())
DROPPED: dict[str, dict[str, Any]] = json.loads((FOLDER / "dropped.v1.json").read_text())
BEYOND_THE_SCHEMA = frozenset(("made tomorrow", "an address that is none"))
"""A schema knows no clock, and proxies spell addresses in more ways than it could list."""
AT_US = 1_795_428_000_123_000
CE_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e-1"),
    ("ce_source", b"/uploads"),
    ("ce_type", b"org.example.upload"),
    ("content-type", b"application/json"),
)


def written(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def wrapped(event: dict[str, Any]) -> bytes:
    return written({"specversion": "1.0", "id": "e", "source": "/uploads", "type": "org.example.upload", "data": event})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("attempted", Attempted),
        ("completed", Completed),
        ("removed", Removed),
        ("reported", Reported),
        ("challenged", Challenged),
    ],
)
def test_each_type_becomes_its_own_kind_of_event(name: str, kind: type) -> None:
    event = decode(written(GOLDEN[name]))

    assert type(event) is kind
    assert event.id == GOLDEN[name]["id"]
    assert time_us(event) == AT_US


def test_every_field_of_an_attempted_upload_is_read() -> None:
    event = decode(written(GOLDEN["attempted"]))

    assert isinstance(event, Attempted)
    assert event.account.class_ == "new"
    assert event.account.created_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert event.media is not None
    assert (event.media.kind, event.media.bytes, event.media.sha256, event.media.phash) == ("image", 204800, "ab", "cd")
    assert (event.ip, event.device, event.text, event.decision) == ("203.0.113.9", "d-5", "hello", "allow")
    assert event.links == ("https://example.org/a",)


@pytest.mark.parametrize("name", GOLDEN)
def test_cloudevents_of_both_modes_say_the_same_as_plain_json(name: str) -> None:
    plain = decode(written(GOLDEN[name]))

    assert decode(wrapped(GOLDEN[name])) == plain
    assert decode(written(GOLDEN[name]), CE_HEADERS) == plain


def test_a_cloudevent_without_data_misses_a_field() -> None:
    with pytest.raises(Unreadable, match="data is required") as caught:
        decode(b'{"specversion":"1.0","id":"e","source":"/s","type":"t"}')

    assert caught.value.reason == Fault.FIELD_MISSING


def test_unknown_fields_are_counted_at_the_top_level_alone() -> None:
    nested = {**GOLDEN["smallest"], "account": {"id": "a-17", "shoe_size": 44}}

    assert unknown_fields(written(GOLDEN["attempted"])) == 0
    assert unknown_fields(written(GOLDEN["with_unknown_fields"])) == 2
    assert unknown_fields(written(nested)) == 0
    assert unknown_fields(wrapped(GOLDEN["attempted"])) == 0


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_golden_event_that_breaks_the_contract_is_unreadable_and_fails_the_schema(name: str) -> None:
    case = UNREADABLE[name]
    validator = jsonschema.Draft202012Validator(json.loads(event_schema()))

    with pytest.raises(Unreadable) as caught:
        decode(written(case["event"]))

    assert caught.value.reason == case["reason"]
    assert case["names"] in caught.value.detail
    assert "555" not in caught.value.detail
    assert not validator.is_valid(case["event"])


@pytest.mark.parametrize("name", DROPPED)
def test_an_optional_field_that_breaks_its_rule_costs_only_itself_and_fails_the_schema(name: str) -> None:
    case = DROPPED[name]
    validator = jsonschema.Draft202012Validator(json.loads(event_schema()), format_checker=jsonschema.FormatChecker())
    smallest = {key: case["event"][key] for key in ("type", "id", "at")} | {"account": {"id": "a-17"}}

    event, _, dropped = decode_counting(written(case["event"]))

    assert dropped == case["dropped"]
    assert event == decode(written(smallest))
    assert name in BEYOND_THE_SCHEMA or not validator.is_valid(case["event"])


def test_the_schema_is_itself_a_schema_and_has_a_title() -> None:
    schema = json.loads(event_schema())

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]


@pytest.mark.parametrize(
    "value",
    [b"{", b'{"type"', b"\xef\xbb\xbf{}", b'{"id":NaN}', b"{'id':1}", b'{"x":' * 10_000, b'{"id":"\n"}'],
    ids=["cut", "cut in a field", "byte order mark", "no number", "single quotes", "deep", "bare control"],
)
def test_what_is_not_json_is_malformed_however_deep(value: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(value)

    assert caught.value.reason == Fault.MALFORMED


@pytest.mark.parametrize("value", [b"null", b"17", b'"attempted"', b"[]", b'["specversion"]'])
def test_json_that_is_no_object_is_invalid(value: bytes) -> None:
    with pytest.raises(Unreadable, match="object") as caught:
        decode(value)

    assert caught.value.reason == Fault.FIELD_INVALID


def test_an_event_may_be_exactly_as_large_as_the_limit() -> None:
    value = written(GOLDEN["smallest"]).ljust(MAX_EVENT_BYTES)

    assert decode(value).id == "e-5"
    with pytest.raises(Unreadable) as caught:
        decode(value + b" ")
    assert caught.value.reason == Fault.TOO_LARGE


@pytest.mark.parametrize("value", [b'{"id":"\\ud800"}', b'{"type":"\xff"}'], ids=["half a surrogate", "not UTF-8"])
def test_a_character_cut_in_half_is_no_fault_of_the_json(value: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(value)

    assert caught.value.reason in (Fault.FIELD_MISSING, Fault.TYPE_UNKNOWN)


@pytest.mark.parametrize("cut", [b"\\ud83d", b"\xf0\x9f", b"\xed\xa0\xbd", b"\\u0000"])
def test_a_caption_that_was_cut_inside_a_character_is_read_with_a_mark_in_its_place(cut: bytes) -> None:
    value = written({**GOLDEN["attempted"], "text": "hello X"}).replace(b"X", cut)

    event, _, dropped = decode_counting(value)

    assert isinstance(event, Attempted)
    assert (event.text or "").rstrip("\ufffd") == "hello "
    assert event.text != "hello "
    assert event.device == "d-5"
    assert set(dropped) <= {"text"}


def test_an_event_id_may_have_256_bytes_of_utf8_and_not_one_more() -> None:
    longest = {**GOLDEN["attempted"], "id": "é" * 128}

    assert decode(written(longest)).id == "é" * 128
    with pytest.raises(Unreadable, match=r"^id\.too_long: id ") as caught:
        decode(written({**longest, "id": "é" * 128 + "x"}))
    assert caught.value.reason == Fault.ID_TOO_LONG


@pytest.mark.parametrize(
    ("field", "why"), [("upload_id", "value.too_long"), ("ip", "value.invalid"), ("device", "value.hashed")]
)
def test_an_optional_id_of_more_than_256_bytes_does_not_cost_the_event(field: str, why: str) -> None:
    whole = GOLDEN["attempted"]

    event, _, dropped = decode_counting(written({**whole, field: "é" * 128 + "x"}))

    assert dropped == {field: why}
    assert event.id == whole["id"]


def test_two_devices_that_are_too_long_stay_two() -> None:
    one, other = (decode(written({**GOLDEN["attempted"], "device": "d" * 300 + mark})) for mark in "ab")

    assert isinstance(one, Attempted)
    assert isinstance(other, Attempted)
    assert one.device != other.device
    assert len(one.device or "") < 64


@pytest.mark.parametrize("kind", ["uploads.attempted", "com.example.Uploads.Attempted.v1", "attempted", " ATTEMPTED "])
@pytest.mark.parametrize("binary", [True, False])
def test_a_cloudevent_gives_id_time_and_type_by_its_attributes(kind: str, binary: bool) -> None:
    data = {name: value for name, value in GOLDEN["attempted"].items() if name not in ("id", "at", "type")}
    time = "2026-11-23T10:00:00.123Z"
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e-1"), ("ce_time", time.encode()), ("ce_type", kind.encode())]
    envelope = {"specversion": "1.0", "id": "e-1", "source": "/u", "type": kind, "time": time, "data": data}

    event = decode(written(data), headers) if binary else decode(written(envelope))

    assert event == decode(written(GOLDEN["attempted"]))


def test_what_the_data_says_wins_over_the_envelope_and_base64_is_read() -> None:
    packed = b64encode(written(GOLDEN["attempted"])).decode()

    event = decode(written({"specversion": "1.0", "id": "c", "source": "/u", "type": "t", "data_base64": packed}))

    assert event == decode(written(GOLDEN["attempted"]))


def test_the_future_begins_five_minutes_after_the_broker_clock_and_is_not_judged_without_one() -> None:
    event = decode(written(GOLDEN["smallest"]))
    broker_ms = AT_US // 1000 - 300_000

    check_record(event, AT_US, b"a-17", broker_ms)
    check_record(event, AT_US, b"a-17", 0)
    check_record(event, AT_US, b"a-17", -1)
    with pytest.raises(Unreadable) as caught:
        check_record(event, AT_US, b"a-17", broker_ms - 1)
    assert caught.value.reason == Fault.CLOCK_FUTURE
    assert "or the broker's" in str(caught.value)


def test_the_events_that_the_readme_shows_are_read_without_loss() -> None:
    readme = (FOLDER.parents[2] / "README.md").read_text()
    section = readme[readme.index("Then tell what happened") : readme.index("## Pause uploads")]
    plain, structured = (block.partition("```")[0] for block in section.split("```json\n")[1:])
    headers = [
        (name, value.encode())
        for name, value in (line.split(": ") for line in section.split("```text\n")[1].partition("```")[0].splitlines())
    ]

    by_fields, surplus, dropped = decode_counting(plain.encode())
    by_envelope = decode(structured.encode())
    by_headers = decode(json.dumps(json.loads(structured)["data"]).encode(), headers)

    assert (surplus, dict(dropped)) == (0, {})
    assert by_envelope == by_headers
    assert (by_fields.id, by_fields.at) == (by_envelope.id, by_envelope.at)
    assert isinstance(by_envelope, Attempted)
    assert by_envelope.device == "d-5"
