"""What can be read as an event and what cannot: each fault has its own reason and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gate.core.event import Attempted
from streams.core.crowd import Crowd
from streams.core.events import MAX_EVENT_BYTES, Fault, decode, encode
from streams.files.public_suffixes import load_web_links
from streams.files.schemas import FILE, event_schema, fields_table
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import Effects
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

ROOT = Path(__file__).parents[2]
GOLDEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "events.v1.json").read_text())
WEB = load_web_links()
AT_MS = 1_795_428_000_500
SECRET = "meet me at 203.0.113.77"


def event(**changes: Any) -> bytes:
    made = {**GOLDEN["attempted"], "text": SECRET, **changes}
    return json.dumps({key: value for key, value in made.items() if value is not None}).encode()


def run(*records: Record) -> Effects:
    return process(records, {}, Crowd(), load_scorecard(None), Hashes(b"salt"), WEB, ("events", 3), "epoch", 7)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_events_are_read_and_survive_being_written_again(name: str) -> None:
    event = decode(json.dumps(GOLDEN[name]).encode())

    assert decode(encode(event)) == event
    assert event.account.id == "a-17"


def test_the_schema_in_the_tree_is_the_structs_own_and_takes_every_golden_event() -> None:
    checked_in = (ROOT / "config" / "schemas" / FILE).read_bytes()
    validator = jsonschema.Draft202012Validator(json.loads(checked_in))

    assert checked_in == event_schema()
    for golden in GOLDEN.values():
        validator.validate(golden)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**GOLDEN["attempted"], "account": {}})


def test_the_rules_that_people_read_are_the_table() -> None:
    assert fields_table() in (ROOT / "config" / "README.md").read_text()


def test_cloudevents_carry_the_same_object_structured_and_binary() -> None:
    plain = GOLDEN["attempted"]
    envelope = {"specversion": "1.0", "id": "x", "source": "/s", "type": "uploads.attempted", "data": plain}
    headers = [("ce_specversion", b"1.0"), ("ce_type", b"uploads.attempted"), ("content-type", b"application/json")]

    structured = decode(json.dumps(envelope).encode())
    binary = decode(json.dumps(plain).encode(), headers)

    assert structured == binary
    assert isinstance(binary, Attempted)


def test_a_caption_that_mentions_cloudevents_is_still_a_plain_event() -> None:
    read = decode(event(text='{"specversion"'))

    assert isinstance(read, Attempted)
    assert read.text == '{"specversion"'


UNREADABLE = {
    "no value": (None, b"a-17", Fault.EMPTY, "no value"),
    "not JSON": (b'{"type":', b"a-17", Fault.MALFORMED, "not JSON"),
    "not UTF-8": (b'{"type":"\xff\xfe"}', b"a-17", Fault.TYPE_UNKNOWN, "type"),
    "too large": (event(text="x" * MAX_EVENT_BYTES), b"a-17", Fault.TOO_LARGE, "bytes"),
    "unknown type": (event(type="liked"), b"a-17", Fault.TYPE_UNKNOWN, "type"),
    "no id": (event(id=None), b"a-17", Fault.FIELD_MISSING, "id is required"),
    "no at": (event(at=None), b"a-17", Fault.FIELD_MISSING, "at is required"),
    "no account id": (event(account={}), b"a-17", Fault.FIELD_MISSING, "account.id is required"),
    "wrong type of field": (event(account=[]), b"a-17", Fault.FIELD_INVALID, "account must be an object"),
    "wrong type of id": (event(id=7), b"a-17", Fault.FIELD_INVALID, "id must be a string"),
    "id of no event": (event(id="undefined"), b"a-17", Fault.FIELD_INVALID, "id is empty or a word for unknown"),
    "time without zone": (event(at="2026-11-23T10:00:00"), b"a-17", Fault.FIELD_INVALID, "at has no time zone"),
    "empty account id": (event(account={"id": ""}), b"", Fault.FIELD_INVALID, "account.id"),
    "account id of 10 kB": (event(account={"id": "a" * 10_000}), b"a" * 10_000, Fault.ID_TOO_LONG, "account.id"),
    "the year 2100": (event(at="2100-01-01T00:00:00Z"), b"a-17", Fault.CLOCK_FUTURE, "at"),
    "before 1970": (event(at="1969-01-01T00:00:00Z"), b"a-17", Fault.CLOCK_ABSURD, "at"),
    "another account's key": (event(), b"a-18", Fault.KEY_MISMATCH, "account.id"),
    "no key": (event(), None, Fault.KEY_MISMATCH, "account.id"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_event_is_one_dead_letter_and_its_neighbours_are_folded(name: str) -> None:
    value, key, reason, named = UNREADABLE[name]
    good, other = event(), event(id="e-other")

    effects = run(
        Record(10, b"a-17", good, (), AT_MS), Record(11, key, value, (), AT_MS), Record(12, b"a-17", other, (), AT_MS)
    )

    (letter,) = effects.dead
    assert (letter.topic, letter.partition, letter.offset) == ("events", 3, 11)
    assert letter.reason == reason
    assert named in letter.detail
    assert letter.event == (value or b"")
    assert "203.0.113" not in letter.detail
    assert effects.events == {"attempted": 2}
    assert effects.next_offset == 13


def test_unknown_fields_are_counted_and_kept_out_of_state() -> None:
    value = json.dumps(GOLDEN["with_unknown_fields"]).encode()

    effects = run(Record(0, b"a-17", value, (), AT_MS))

    assert effects.unknown_fields == 2
    assert b"flavour" not in effects.states["a-17"]
