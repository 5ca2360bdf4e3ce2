"""Every Kafka topic of Upload Gate: name, partitions, retention, compaction. Declared explicitly, never by accident."""

from __future__ import annotations

from dataclasses import dataclass

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `retention_ms` -1 keeps for ever; a compacted topic keeps the last record of each key."""

    name: str
    partitions: int
    compacted: bool
    retention_ms: int

    def config(self) -> dict[str, str]:
        """The broker's settings for it. Records carry the broker's append time; event time stands in the value."""
        common = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(4 << 20)}
        if self.compacted:
            return {**common, "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3"}
        return {**common, "cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


@dataclass(frozen=True, slots=True)
class Topics:
    """The set of topics under one prefix; a replay has a prefix of its own."""

    prefix: str = ""
    partitions: int = PARTITIONS

    @property
    def events(self) -> Topic:
        """What accounts did, keyed by account id, kept for a week."""
        return Topic(f"{self.prefix}uploads.events.v1", self.partitions, False, 7 * 86_400_000)

    @property
    def dead_letters(self) -> Topic:
        """Events that could not be read, with origin and reason, kept for a month."""
        return Topic(f"{self.prefix}uploads.events.v1.dlq", self.partitions, False, 30 * 86_400_000)

    @property
    def states(self) -> Topic:
        """The changelog of account states, and each partition's watermark."""
        return Topic(f"{self.prefix}accounts.state.v1", self.partitions, True, -1)

    @property
    def scores(self) -> Topic:
        """The last score of every account."""
        return Topic(f"{self.prefix}accounts.scores.v1", self.partitions, True, -1)

    @property
    def crowd(self) -> Topic:
        """How many accounts of a partition share a feature; key = partition and feature."""
        return Topic(f"{self.prefix}crowd.counts.v1", 1, True, -1)

    @property
    def decisions(self) -> Topic:
        """Every decision of every gate, keyed by account id, kept for a week."""
        return Topic(f"{self.prefix}gate.decisions.v1", self.partitions, False, 7 * 86_400_000)

    def all(self) -> tuple[Topic, ...]:
        """Every topic."""
        return (self.events, self.dead_letters, self.states, self.scores, self.crowd, self.decisions)
