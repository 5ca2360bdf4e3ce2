"""`upload-gate events check`: each line told, in words and as JSON, and nothing that a file holds breaks it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gate.cli.main import build
from gate.errors import SettingInvalid

EVENT: dict[str, Any] = {"type": "attempted", "id": "e-1", "at": "2024-11-20T08:00:00Z", "account": {"id": "a-1"}}
CHECK: dict[str, Any] = {"upload_id": "u-1", "account": {"id": "a-1"}, "media": {"kind": "IMAGE"}}


def run(tmp_path: Path, *lines: object, as_: str = "event", output: str = "json") -> tuple[int, str, str]:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines) + b"\n")
    arguments = ["events", "check", str(file), "--as", as_, "-o", output]
    done = CliRunner().invoke(build(arguments), arguments)
    return done.exit_code, done.stdout, done.stderr


def test_a_line_is_told_as_it_is_kept_with_what_was_dropped_and_its_hosts(tmp_path: Path) -> None:
    full = {
        **EVENT,
        "ip": "203.0.113.9:443",
        "device": "unknown",
        "links": ["https://a.test"],
        "text": "or b.com \ud83d",
    }

    code, out, _ = run(tmp_path, full)

    assert code == 0
    assert json.loads(out) == [{
        "line": 1, "read": True, "reason": None, "detail": None, "hosts": ["a.test", "b.com"],
        "event": {**EVENT, "ip": "203.0.113.9", "links": ["https://a.test"], "text": "or b.com \ufffd"},
        "dropped": {"device": "value.unknown", "text": "text.repaired"},
    }]  # fmt: skip


def test_what_cannot_be_read_is_told_with_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        b"",
        b"{",
        b"[1]",
        b'"' + b"x" * 3_000_000 + b'"',
        {**EVENT, "id": ""},
        {**EVENT, "at": "yesterday"},
        {**EVENT, "at": "2999-12-31T23:59:59Z"},
        b"\xff",
        EVENT,
    ]

    code, out, _ = run(tmp_path, *lines)

    told = json.loads(out)
    assert code == 1
    assert [line["line"] for line in told] == list(range(1, 10))
    assert [line["reason"] for line in told] == [
        "value.empty", "json.malformed", "field.invalid", "size.exceeded", "field.invalid", "field.invalid",
        "clock.future", "json.malformed", None,
    ]  # fmt: skip
    assert [line["read"] for line in told] == [False] * 8 + [True]


def test_the_same_line_is_read_alike_as_a_check_and_as_an_event(tmp_path: Path) -> None:
    both = {**CHECK, **EVENT, "country": "de", "device": "x" * 300, "links": None, "ip": "unknown", "surface": " POST"}

    _, as_event, _ = run(tmp_path, both)
    _, as_check, _ = run(tmp_path, both, as_="check")

    (event,), (check,) = json.loads(as_event), json.loads(as_check)
    assert event["dropped"] == check["dropped"] == {"device": "value.hashed", "ip": "value.unknown"}
    assert event["event"] == {**EVENT, **check["event"]}
    assert check["event"]["media"] == {"kind": "image"}


def test_a_check_that_is_refused_names_its_field(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, {**CHECK, "media": {}}, as_="check")

    assert code == 1
    assert json.loads(out)[0]["detail"] == "media.kind is required"


def test_in_words_it_tells_what_is_kept_and_dropped_and_the_sum_is_on_stderr(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, {**EVENT, "ip": "x", "links": ["https://a.test"]}, b"{", output="text")

    assert code == 1
    *first, last = out.splitlines()
    assert first == [
        "1: read",
        "   kept     type attempted, id e-1, at 2024-11-20T08:00:00Z, account.id a-1, links https://a.test",
        "   dropped  ip (value.invalid: it is not one of the values that the field may hold: "
        "an IPv4 or IPv6 address as a proxy writes it; the first of several)",
        "   hosts    a.test",
    ]
    assert last.startswith("2: not read: json.malformed: not JSON: ")
    assert last.count("JSON") == 1
    assert err.splitlines() == ["2 lines: 1 read, 1 not; 1 field dropped"]


@pytest.mark.parametrize(
    ("line", "as_", "says"),
    [
        ({"account_id": "a-1", "t": 1, "label": 0}, "event", "seems to be a labelled stream, which `replay`, `fit`"),
        ({"account_id": "a-1", "t": 1, "label": 0}, "check", "seems to be a labelled stream, which `replay`, `fit`"),
        (CHECK, "event", "seems to hold checks: read them with --as check"),
        ({"type": "removed", "id": "e", "account": {"id": "a"}}, "check", "seems to hold events: read them without"),
    ],
)
def test_a_file_of_another_kind_is_named_once_in_place_of_each_line(
    tmp_path: Path, line: dict[str, Any], as_: str, says: str
) -> None:
    code, out, err = run(tmp_path, *[line] * 50, as_=as_, output="text")
    _, mixed, said_of_mixed = run(tmp_path, *[line] * 50, b"{", as_=as_, output="text")

    assert (code, len(out.splitlines())) == (1, 3)
    assert says in err
    assert err.splitlines()[-1].startswith("50 lines: 0 read, 50 not")
    assert len(mixed.splitlines()) == 51
    assert says not in said_of_mixed


@pytest.mark.parametrize("as_", ["event", "check"])
def test_a_misspelt_field_is_named_with_the_one_that_is_meant(tmp_path: Path, as_: str) -> None:
    lost = {**CHECK, **(EVENT if as_ == "event" else {}), "devise": "d-5", "class": "new", "x-trace": "1"}
    lost["media"] = {"kind": "image", "byte": 5}

    code, out, _ = run(tmp_path, lost, as_=as_)
    _, text, err = run(tmp_path, lost, as_=as_, output="text")

    assert code == 0
    assert json.loads(out)[0]["unknown"] == {
        "devise": "device", "class": "account.class", "x-trace": None, "media.byte": "media.bytes",
    }  # fmt: skip
    assert "unknown  devise (did you mean device?), class (did you mean account.class?), x-trace, " in text
    assert err.strip().endswith("4 not known")


@pytest.mark.parametrize("as_", ["event", "check"])
def test_a_field_that_is_written_flat_is_named_with_its_place(tmp_path: Path, as_: str) -> None:
    flat = {**CHECK, **(EVENT if as_ == "event" else {}), "account.class": "new", "media.bytes": 5}

    code, out, _ = run(tmp_path, flat, as_=as_)
    _, text, _ = run(tmp_path, flat, as_=as_, output="text")

    assert code == 0
    assert json.loads(out)[0]["unknown"] == {"account.class": "account.class", "media.bytes": "media.bytes"}
    assert (
        "unknown  account.class (did you mean class inside account?), media.bytes (did you mean bytes inside " in text
    )


def test_stdin_is_read_and_a_file_that_is_not_there_is_an_error_of_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["events", "check", "-", "-o", "json"]
    piped = CliRunner().invoke(build(arguments), arguments, input=json.dumps(EVENT))
    missing = ["events", "check", str(tmp_path / "none")]

    with pytest.raises(Exception, match="cannot be read") as caught:
        CliRunner().invoke(build(missing), missing, catch_exceptions=False)

    assert (piped.exit_code, json.loads(piped.stdout)[0]["read"]) == (0, True)
    assert getattr(caught.value, "exit_code", None) == 2


@pytest.mark.parametrize("given", ["attemptd", "org.example.uploads.attemptd.v1"])
def test_a_misspelt_type_is_named_with_the_one_that_is_meant(tmp_path: Path, given: str) -> None:
    code, out, _ = run(tmp_path, {**EVENT, "type": given})

    (told,) = json.loads(out)
    assert code == 1
    assert told["detail"].endswith("(did you mean attempted?)")


@pytest.mark.parametrize(
    ("document", "is_spread"),
    [
        (json.dumps(EVENT, indent=1), True),
        (json.dumps([EVENT, EVENT], indent=1), True),
        (json.dumps(EVENT, indent=1)[:-1], False),
        ("\n".join(["{", json.dumps(EVENT), "}"]), False),
        ("[1]", False),
    ],
)
def test_one_document_over_several_lines_is_told_to_be_written_on_one(
    tmp_path: Path, document: str, is_spread: bool
) -> None:
    code, _, err = run(tmp_path, document.encode(), output="text")

    assert code == 1
    assert ("write each event or check on one line of its own" in err) is is_spread


def test_a_packed_file_is_read_as_the_other_commands_read_it(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(EVENT).encode() + b"\n"))
    arguments = ["events", "check", str(file), "-o", "json"]

    done = CliRunner().invoke(build(arguments), arguments)

    assert done.exit_code == 0
    assert [(told["line"], told["read"]) for told in json.loads(done.stdout)] == [(1, True)]


def test_a_packed_file_that_was_cut_is_no_file_of_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(EVENT).encode() * 9)[:-9])
    arguments = ["events", "check", str(file)]

    done = CliRunner().invoke(build(arguments), arguments)

    assert isinstance(done.exception, SettingInvalid)
    assert "cannot be read" in str(done.exception)
