"""Every Kafka topic of Upload Gate: name, partitions, retention, compaction. Declared explicitly, never by accident."""

from __future__ import annotations

from dataclasses import dataclass

PARTITIONS = 4
DAY_MS = 86_400_000
MAX_MESSAGE_BYTES = 4 << 20
"""Most bytes of a batch of records that a topic takes, or of one larger record."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `retention_ms` -1 keeps for ever; a compacted topic keeps the last record of each key so long."""

    name: str
    partitions: int
    compacted: bool
    retention_ms: int
    segment_bytes: int | None = None
    """Size of a file of the log, None: the broker's. Compaction leaves the newest file alone, and readers read it whole."""

    def config(self) -> dict[str, str]:
        """The broker's settings for it. Records carry the broker's append time; event time stands in the value."""
        common = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
        policies = ["compact"] if self.compacted else []
        if self.compacted:
            common["min.cleanable.dirty.ratio"] = "0.3"
        if not self.compacted or self.retention_ms >= 0:
            policies.append("delete")
            common["retention.ms"] = str(self.retention_ms)
        if len(policies) == 2:  # what is written to is not deleted, and little is written
            common["segment.ms"] = str(DAY_MS)
        if self.segment_bytes is not None:
            common["segment.bytes"] = str(self.segment_bytes)
        return {**common, "cleanup.policy": ",".join(policies)}


@dataclass(frozen=True, slots=True)
class Topics:
    """The set of topics under one prefix; a replay has a prefix of its own."""

    prefix: str = ""
    partitions: int = PARTITIONS

    @property
    def events(self) -> Topic:
        """What accounts did, keyed by account id, kept for a week."""
        return Topic(f"{self.prefix}uploads.events.v1", self.partitions, False, 7 * DAY_MS)

    @property
    def dead_letters(self) -> Topic:
        """Events that could not be read, with origin and reason, kept for a month."""
        return Topic(f"{self.prefix}uploads.events.v1.dlq", self.partitions, False, 30 * DAY_MS)

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
        """How many accounts of a partition share a feature; key = partition and feature. Kept as long as the crowd
        remembers at most, which is a month."""
        return Topic(f"{self.prefix}crowd.counts.v1", 1, True, 31 * DAY_MS)

    @property
    def campaigns(self) -> Topic:
        """How many accounts of a partition belong to a campaign, with examples by hash; key = partition and campaign."""
        return Topic(f"{self.prefix}campaigns.v1", 1, True, 8 * DAY_MS)

    @property
    def rescores(self) -> Topic:
        """Requests to score all accounts again; workers look only at how many there were."""
        return Topic(f"{self.prefix}accounts.rescore.v1", 1, True, -1)

    @property
    def hot(self) -> Topic:
        """The devices and networks that many accounts share, with what they have earned; key = kind and pseudonym."""
        return Topic(f"{self.prefix}crowd.hot.v1", 1, True, 8 * DAY_MS)

    @property
    def decisions(self) -> Topic:
        """Every decision of every gate, keyed by account id, kept for a week."""
        return Topic(f"{self.prefix}gate.decisions.v1", self.partitions, False, 7 * DAY_MS)

    @property
    def controls(self) -> Topic:
        """Commands of operators to the stream workers, and the workers' answers; the key names the subject. A worker
        hears what is written while it runs, so little is kept, and for a day.
        """
        return Topic(f"{self.prefix}worker.controls.v1", 1, True, DAY_MS)

    @property
    def pauses(self) -> Topic:
        """The second channel of the kill switch: each pause; key = what it is about. Its readers read it from its beginning,
        so its files are small."""
        return Topic(f"{self.prefix}gate.controls.v1", 1, True, -1, 8 << 20)

    @property
    def acknowledgements(self) -> Topic:
        """Which board each gate process obeys, written once a second; a topic of its own, so that gates need no right to
        write pauses."""
        return Topic(f"{self.prefix}gate.acknowledgements.v1", 1, True, DAY_MS, 8 << 20)

    @property
    def audit(self) -> Topic:
        """Every change of the kill switch, done or refused, in the order of each host's chain. Kept for ever."""
        return Topic(f"{self.prefix}gate.audit.v1", 1, False, -1)

    def all(self) -> tuple[Topic, ...]:
        """Every topic."""
        return (
            self.events, self.dead_letters, self.states, self.scores, self.crowd, self.hot, self.campaigns,
            self.rescores, self.decisions, self.controls, self.pauses, self.acknowledgements, self.audit,
        )  # fmt: skip

    def of_worker(self) -> tuple[Topic, ...]:
        """Those that have a partition for each of the events topic's, because a worker writes to its own number."""
        return (self.dead_letters, self.states, self.scores)
