"""What `dlq` commands say and decide, as far as no server is needed."""

from __future__ import annotations

import json

import msgspec
import pytest

from gate.cli import main as cli
from gate.errors import SettingInvalid
from streams.cli.dlq.replay import as_json, lines, since_ms
from streams.cli.dlq.resume import sentence
from streams.cli.dlq.text import OTHER_REASON, REMEDIES, event_lines, remedy, selected
from streams.core.events import MAX_EVENT_BYTES, Fault
from streams.pipeline.effects.dead_letters import REPLAYED_FROM, DeadLetter, encode_dead_letter
from streams.worker.control_records import ResumeAnswer, ResumeOutcome
from streams.worker.dead_letters import DeadLetterBody, FoundLetter, Origin
from streams.worker.replay_letters import Fate, ReplayCounts, judge, replay_headers

EVENT = b'{"type":"completed","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-1"},"bytes":7}'
EVENT_MS = 1_795_428_000_000
"""The time of that event, in ms since 1970."""


def letter(event: bytes = EVENT, replayed: str | None = None, **more: object) -> FoundLetter:
    body = {"origin": Origin("events", 2, 1417), "reason": "key.mismatch", "detail": "", "event": event}
    return FoundLetter(DeadLetterBody(**body, replayed=replayed, **more), b"wrong", 2, 7, 1_000)  # type: ignore[arg-type]


def test_every_reason_says_what_to_correct() -> None:
    assert set(REMEDIES) == {fault.value for fault in Fault}
    assert remedy("of.tomorrow") == OTHER_REASON


def test_the_remedy_for_a_large_event_names_the_limit_that_events_have() -> None:
    assert f"larger than {MAX_EVENT_BYTES // 1024} KiB" in remedy("size.exceeded")


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (b"", ["(no value)"]),
        (b'{"id":"e","links":[]}', ["{", '  "id": "e",', '  "links": []', "}"]),
        (b"not json\nat all", ["not json", "at all"]),
        (b"[" * 100_000, ["[" * 100_000]),
        (b"\xff\xfeab", ["0000  ff fe 61 62                                      ..ab"]),
    ],
)
def test_an_event_is_shown_as_what_it_is(event: bytes, shown: list[str]) -> None:
    assert event_lines(event) == shown


def test_of_long_binary_the_beginning_is_shown_and_the_rest_counted() -> None:
    found = event_lines(b"\xff" * 10_000)

    assert len(found) == 65
    assert found[-1] == "… 8,976 more bytes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, 0), ("24h", 1_000_000_000 - 86_400_000), ("1970-01-02T00:00:00Z", 86_400_000)],
)
def test_since_is_a_span_or_a_time(text: str | None, expected: int) -> None:
    assert since_ms(text, lambda: 1_000_000_000) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-11-26T15:00:00", ""])
def test_since_without_a_zone_or_a_meaning_is_a_usage_error(text: str) -> None:
    with pytest.raises(SettingInvalid, match="Write 24h"):
        since_ms(text, lambda: 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "2"), "PARTITION:OFFSET"),
        (("show", "a:b"), "PARTITION:OFFSET"),
        (("show", "\x1b[2J:1"), "is not a position"),
        (("replay", "--since", "yesterday"), "Write 24h"),
        (("resume", "--partition", "-1"), "--partition"),
        (("list", "--limit", "0"), "--limit"),
    ],
)
def test_what_is_typed_wrongly_is_named_before_any_server_is_needed(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["dlq", *arguments])

    out, err = capsys.readouterr()
    assert code == 2
    assert says in err
    assert "\x1b" not in err
    assert out == ""


@pytest.mark.parametrize("outcome", list(ResumeOutcome))
def test_every_outcome_of_a_resume_has_a_sentence(outcome: ResumeOutcome) -> None:
    assert sentence(ResumeAnswer("r", 2, outcome, offset=1417)).startswith("partition 2 ")


@pytest.mark.parametrize(
    ("given", "was_replayed", "again", "fate", "key"),
    [
        (letter(), False, False, Fate.READABLE, b"a-1"),
        (letter(), True, True, Fate.REPLAYED_BEFORE, None),
        (letter(replayed="2:3"), False, False, Fate.FAILED_AGAIN, None),
        (letter(replayed="2:3"), False, True, Fate.READABLE, b"a-1"),
        (letter(truncated=9_000_000), False, False, Fate.TRUNCATED, None),
        (letter(key_truncated=9_000), False, False, Fate.READABLE, b"a-1"),
        (letter(b"junk"), False, False, Fate.STILL_UNREADABLE, b"wrong"),
        (letter(b"junk", key_truncated=9_000), False, False, Fate.TRUNCATED, None),
    ],
)
def test_each_letter_has_one_fate(
    given: FoundLetter, was_replayed: bool, again: bool, fate: Fate, key: bytes | None
) -> None:
    judged = judge(given, was_replayed, again, EVENT_MS)

    assert (judged.fate, judged.key) == (fate, key)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (b"1969-12-31T23:59:59Z", "clock.absurd"),
        (b"3000-01-01T00:00:00Z", "clock.future"),
        (b"2026-11-23T10:05:00Z", None),
        (b"2026-11-23T10:05:00.001Z", "clock.future"),
    ],
)
def test_an_event_whose_time_the_worker_refuses_now_still_cannot_be_read(at: bytes, reason: str | None) -> None:
    given = letter(EVENT.replace(b"2026-11-23T10:00:00Z", at), key_truncated=9_000)

    judged = judge(given, False, False, EVENT_MS)

    assert (judged.fate, judged.reason) == (Fate.STILL_UNREADABLE if reason else Fate.READABLE, reason)
    assert judged.key == b"a-1"


def test_a_replayed_event_keeps_its_headers_and_says_where_it_first_stood() -> None:
    first = letter(headers=(("ce_type", b"x"),)).body
    second = letter(replayed="0:3", headers=((REPLAYED_FROM, b"0:3"), ("ce_type", b"x"))).body

    assert replay_headers(first) == [("ce_type", b"x"), (REPLAYED_FROM, b"2:1417")]
    assert replay_headers(second) == [("ce_type", b"x"), (REPLAYED_FROM, b"0:3")]


def test_an_event_whose_id_and_time_stood_in_headers_can_be_read_again_from_its_letter() -> None:
    headers = (("ce_id", b"e-1"), ("ce_type", b"uploads.completed"), ("ce_time", b"2026-11-23T10:00:00Z"))
    data = b'{"account":{"id":"a-1"},"bytes":7}'
    dead = DeadLetter("events", 2, 1417, "key.mismatch", "", data, b"wrong").of_record(data, headers)
    key, value = encode_dead_letter(dead)

    body = msgspec.json.decode(value, type=DeadLetterBody)
    judged = judge(FoundLetter(body, key, 2, 7, 1_000), False, False, EVENT_MS)

    assert (judged.fate, judged.key) == (Fate.READABLE, b"a-1")
    assert replay_headers(body) == [*headers, (REPLAYED_FROM, b"2:1417")]


def test_counts_are_told_by_fate_and_none_as_none() -> None:
    counts = ReplayCounts()
    counts.by_fate.update({Fate.READABLE: 1_200, Fate.STILL_UNREADABLE: 2})
    counts.unreadable["json.malformed"] = 2

    assert [line.split()[0] for line in lines(counts, "sent")] == ["1,200", "2"]
    assert "json.malformed 2" in lines(counts, "sent")[1]
    assert lines(ReplayCounts(), "sent") == []
    assert json.loads(json.dumps(as_json(counts, 1_202)))["letters"]["readable"] == 1_200


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (None, ""),
        ("key.mismatch", " of the reason key.mismatch"),
        (
            "json.malformd",
            " of the reason json.malformd, which this release does not have; did you mean json.malformed?",
        ),
        ("x", f" of the reason x, which this release does not have; reasons are {', '.join(REMEDIES)}"),
    ],
)
def test_where_no_letter_has_the_reason_a_misspelt_one_is_corrected(reason: str | None, said: str) -> None:
    assert selected(reason) == said
    assert selected(reason, 3, "noon") == f" of partition 3 written since noon{said}"
