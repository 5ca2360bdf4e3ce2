"""Misspelt fields of checks: the name that is meant, and a look at them that is bounded in names and log lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.fields import MessageType
from gate.core.fields.rules import BY_SUBJECT
from gate.core.fields.unknown import meant, unknown_names
from gate.metrics import Counts
from gate.serve.hot.unknown_fields import LARGEST, MOST_NAMES, OTHER, UnknownFields

CHECK = {"upload_id": "u-1", "account": {"id": "a-1"}, "media": {"kind": "image"}}
NOW_US = 1_800_000_000_000_000


def body(**more: object) -> bytes:
    return json.dumps({**CHECK, **more}).encode()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("acount", "account"), ("devise", "device"), ("contry", "country"), ("class", "account.class"), ("Device", "device"),
        ("account.clas", "account.class"), ("account.createdAt", "account.created_at"), ("media.sha-256", "media.sha256"),
        ("kind", "media.kind"), ("session", None), ("x" * 500, None), ("uploadId", "upload_id"), ("", None),
    ],
)  # fmt: skip
def test_a_misspelt_name_is_met_with_the_field_that_is_meant(name: str, field: str | None) -> None:
    assert meant(name, MessageType.CHECK) == field


@given(st.text(max_size=50))
def test_whatever_a_field_is_called_only_our_own_names_are_counted(name: str) -> None:
    known = {rule.name for rule in BY_SUBJECT[MessageType.CHECK]} | {"account", "media"}

    assert meant(name, MessageType.CHECK) in {*known, None}


def test_no_field_of_the_table_is_unknown() -> None:
    whole = {
        "account": {},
        "media": {},
        **{rule.name: 1 for rule in BY_SUBJECT[MessageType.CHECK] if "." not in rule.name},
    }

    assert unknown_names(whole, MessageType.CHECK) == []
    assert unknown_names({**CHECK, "account": 5, "media": [1]}, MessageType.CHECK) == []


def test_each_unknown_field_is_counted_and_logged_once_also_in_a_batch() -> None:
    counts, said = Counts(), list[str]()
    fields = UnknownFields(counts, said.append)

    for _ in range(3):
        fields.look_at_check(body(devise="d-1", session=5), NOW_US)
    fields.look_at_batch(json.dumps({"checks": [json.loads(body(contry="DE"))] * 2}).encode(), NOW_US)

    assert counts.fields_unknown == {"device": 3, OTHER: 3, "country": 2}
    assert said == [
        "checks carry devise, a field that no check has and that is not used (did you mean device?)",
        "checks carry session, a field that no check has and that is not used",
        "checks carry contry, a field that no check has and that is not used (did you mean country?)",
    ]


def test_the_names_that_are_logged_are_bounded_and_cannot_steer_a_terminal() -> None:
    counts, said = Counts(), list[str]()
    fields = UnknownFields(counts, said.append)

    for number in range(2 * MOST_NAMES):
        fields.look_at_check(body(**{f"\x1b{number}": 1}), NOW_US)

    assert counts.fields_unknown == {OTHER: 2 * MOST_NAMES}
    assert len(said) == MOST_NAMES
    assert not any("\x1b" in line for line in said)


def test_of_a_body_full_of_unknown_fields_a_bounded_number_is_compared_with_ours() -> None:
    counts, said = Counts(), list[str]()
    fields = UnknownFields(counts, said.append)
    full = {"devise": 1, **{f"x{number}": 1 for number in range(2 * MOST_NAMES)}, "contry": 1}

    fields.look_at_check(body(**full), NOW_US)

    assert counts.fields_unknown == {"device": 1, OTHER: 2 * MOST_NAMES + 1}
    assert len(said) == MOST_NAMES


def test_the_next_look_is_seconds_later_and_a_large_body_is_left_alone() -> None:
    counts = Counts()
    fields = UnknownFields(counts, print)

    fields.look_at_check(body(text="x" * LARGEST, devise="d-1"), NOW_US)
    untouched = dict(counts.fields_unknown)
    fields.look_at_batch(body(devise="d-1"), NOW_US + 7)

    assert untouched == {}
    assert counts.fields_unknown == {"device": 1}
    assert (fields.check_due_us, fields.batch_due_us) == (NOW_US + 5_000_000, NOW_US + 5_000_007)


@pytest.mark.parametrize("bytes_", [b"", b"[1]", b"5", b"{", b'{"checks":[1,null]}', b"\xff"])
def test_what_is_no_check_is_passed_over(bytes_: bytes) -> None:
    counts = Counts()

    UnknownFields(counts, print).look_at_check(bytes_, NOW_US)

    assert counts.fields_unknown == {}
