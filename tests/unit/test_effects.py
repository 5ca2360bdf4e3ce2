"""A batch's effects: every part merges, knows its topic, spells its records and counts; a new kind needs no other code."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pytest
from prometheus_client import CollectorRegistry

from gate.core.score import Score, Stamp
from gate.records.score import with_bytes
from gate.records.topics import Topic, Topics
from streams.core.campaigns import CampaignKind
from streams.pipeline import effects as package
from streams.pipeline.effects import (
    KINDS,
    CampaignCounts,
    CrowdCount,
    CrowdCounts,
    DeadLetter,
    DeadLetters,
    DroppedFields,
    Effects,
    EventCounts,
    Increment,
    KeyedRecord,
    Scores,
    States,
    merged,
)
from streams.worker.metrics import WorkerMetrics

SCORE = with_bytes(Score("a", 0.1, 0.2, 0.28, (), 1, 2, Stamp("e", 3), "card"))
LETTER = DeadLetter("events", 3, 7, "json.malformed", "not JSON", b"{", b"a")
FULL = Effects.of(
    8,
    States({"a": b"state"}),
    Scores([SCORE]),
    DeadLetters([LETTER, LETTER]),
    CrowdCounts([CrowdCount("f", 4, 1, b"[2,9,[4],[1]]")]),
    CampaignCounts([CrowdCount("50000000000000007", 4, 1, b"{}")], {CampaignKind.CONTENT: 4}),
    EventCounts({"attempted": 2}, 1),
    DroppedFields({("ip", "value.invalid"): 3}),
)


def test_each_part_names_its_topic_its_partition_and_its_records() -> None:
    topics = Topics()

    written = {
        topic.name: (part.partition(3), list(part.records(3)))
        for part in FULL.parts
        if (topic := part.topic(topics)) is not None
    }

    assert written == {
        topics.states.name: (3, [(b"a", b"state")]),
        topics.scores.name: (3, [(b"a", SCORE.data)]),
        topics.dead_letters.name: (3, list(FULL.part(DeadLetters).records(3))),
        topics.crowd.name: (0, [(b"3:f", b"[2,9,[4],[1]]")]),
        topics.campaigns.name: (0, [(b"3:content-0000000000000007", b"{}")]),
    }


def test_each_part_counts_what_the_worker_shows() -> None:
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)

    for part in FULL.parts:
        for increment in part.increments():
            metrics.count(increment)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert shown("upload_gate_events_total", type="attempted") == 2
    assert shown("upload_gate_dead_letters_total", reason="json.malformed") == 2
    assert shown("upload_gate_scores_total") == 1
    assert shown("upload_gate_event_unknown_fields_total") == 1
    assert shown("upload_gate_event_fields_dropped_total", field="ip", reason="value.invalid") == 3


def test_a_part_that_is_not_given_has_no_effect() -> None:
    empty = Effects.of(5)

    assert [type(part) for part in empty.parts] == list(KINDS)
    assert all(not list(part.records(0)) for part in empty.parts)
    assert sum(i.amount for part in empty.parts for i in part.increments()) == 0


def test_merging_with_nothing_changes_nothing_but_the_position() -> None:
    assert merged([FULL, Effects.of(9)]) == Effects(9, FULL.parts)


def test_a_new_kind_of_effect_needs_a_class_and_a_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Notes:
        given: tuple[str, ...]

        @classmethod
        def merged(cls, parts: Sequence[Self]) -> Self:
            return cls(tuple(note for part in parts for note in part.given))

        @staticmethod
        def topic(topics: Topics) -> Topic | None:
            return topics.decisions

        @staticmethod
        def partition(own: int) -> int:
            return own

        def records(self, own: int) -> Iterable[KeyedRecord]:
            return ((None, note.encode()) for note in self.given)

        def increments(self) -> Iterable[Increment]:
            return ()

    monkeypatch.setattr(package, "KINDS", (*KINDS, Notes))

    both = merged([Effects.of(1, Notes(("one",))), Effects.of(2), Effects.of(3, Notes(("two",)))])

    assert list(both.part(Notes).records(0)) == [(None, b"one"), (None, b"two")]


def test_a_dead_letter_says_where_it_stood_and_why_and_keeps_the_bytes() -> None:
    ((key, value),) = DeadLetters([LETTER]).records(3)

    assert key == b"a"
    assert json.loads(value) == {
        "origin": {"topic": "events", "partition": 3, "offset": 7},
        "reason": "json.malformed",
        "detail": "not JSON",
        "event": base64.b64encode(b"{").decode(),
    }


@pytest.mark.parametrize(("length", "kept"), [(1024, 1024), (1025, 1024), (5 << 20, 1024)])
def test_a_key_of_any_length_makes_a_record_that_a_broker_takes(length: int, kept: int) -> None:
    letter = DeadLetter("events", 3, 7, "key.mismatch", "", b"x" * (4 << 20), b"k" * length)

    ((key, value),) = DeadLetters([letter]).records(3)

    body: dict[str, Any] = json.loads(value)
    assert key == b"k" * kept
    assert body["truncated"] == 4 << 20
    assert body.get("key_truncated") == (length if length > kept else None)
    assert len(key) + len(value) < 4_000_000
