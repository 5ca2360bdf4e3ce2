"""Topics as they are declared: what is compacted, what is deleted, and when."""

from __future__ import annotations

import pytest

from gate.records.topics import DAY_MS, Topic, Topics
from streams.core.crowd import WINDOW_US

TOPICS = Topics("p.")


@pytest.mark.parametrize(
    ("topic", "policy", "kept_ms"),
    [
        (TOPICS.events, "delete", 7 * DAY_MS),
        (TOPICS.dead_letters, "delete", 30 * DAY_MS),
        (TOPICS.states, "compact", None),
        (TOPICS.scores, "compact", None),
        (TOPICS.crowd, "compact,delete", 31 * DAY_MS),
        (TOPICS.rescores, "compact", None),
        (TOPICS.hot, "compact,delete", 8 * DAY_MS),
        (TOPICS.decisions, "delete", 7 * DAY_MS),
        (TOPICS.controls, "compact,delete", DAY_MS),
        (TOPICS.acknowledgements, "compact,delete", DAY_MS),
    ],
)
def test_each_topic_is_cleaned_as_its_meaning_demands(topic: Topic, policy: str, kept_ms: int | None) -> None:
    config = topic.config()

    assert config["cleanup.policy"] == policy
    assert config.get("retention.ms") == (None if kept_ms is None else str(kept_ms))
    assert config["message.timestamp.type"] == "LogAppendTime"


def test_crowd_counts_outlive_the_crowds_window_and_not_twice_that() -> None:
    assert WINDOW_US < TOPICS.crowd.retention_ms * 1_000 <= 2 * WINDOW_US


def test_every_topic_carries_the_prefix_once() -> None:
    assert all(topic.name.count("p.") == 1 and topic.name.startswith("p.") for topic in TOPICS.all())
    assert len({topic.name for topic in TOPICS.all()}) == 13


def test_what_gates_write_each_second_is_compacted_in_small_files() -> None:
    config = TOPICS.pauses.config()

    assert (config["cleanup.policy"], config["segment.bytes"]) == ("compact", str(8 << 20))
    assert TOPICS.acknowledgements.config()["segment.bytes"] == str(8 << 20)
    assert "segment.bytes" not in TOPICS.audit.config()
    assert TOPICS.audit.config()["retention.ms"] == "-1"
