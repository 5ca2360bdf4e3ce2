"""Every metric of the stream worker: name, labels, meaning. The registry is passed in; all label sets are closed."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.pipeline.effects import Increment

EVENT_TYPES = ("attempted", "completed", "removed", "reported", "challenged")


class WorkerMetrics:
    """Counts of one worker. Touched once a batch, never once an event."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("upload_gate_events", "Events folded into account states.", ["type"], registry=registry)
        self.unknown_fields = Counter(
            "upload_gate_event_unknown_fields", "Fields of events that this version does not know.", registry=registry
        )
        self.duplicates = Counter(
            "upload_gate_event_duplicates", "Events delivered before, which changed nothing.", registry=registry
        )
        self.late_uploads = Counter(
            "upload_gate_event_late_uploads",
            "Uploads whose events came too late to count as a burst or a gap.",
            registry=registry,
        )
        self.dead_letters = Counter(
            "upload_gate_dead_letters", "Events that could not be read, by reason.", ["reason"], registry=registry
        )
        self.scores = Counter("upload_gate_scores", "Scores computed and committed.", registry=registry)
        self.lag = Gauge(
            "upload_gate_worker_lag_records", "Events behind the partition's end.", ["partition"], registry=registry
        )
        self.batch_seconds = Histogram(
            "upload_gate_batch_seconds",
            "From handing a batch over until it is committed.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
            registry=registry,
        )
        self.batch_failures = Counter(
            "upload_gate_batch_failures",
            "Batches given up and done again, by kind (fenced, kafka, misplaced, other).",
            ["kind"],
            registry=registry,
        )
        self.owed_scores = Gauge(
            "upload_gate_redis_owed_scores", "Scores committed that Redis may not have.", registry=registry
        )
        self.partitions = Gauge("upload_gate_worker_partitions", "Partitions this worker owns.", registry=registry)
        self.halted = Gauge(
            "upload_gate_worker_halted_partitions",
            "Partitions not read on because most of their events are unreadable.",
            registry=registry,
        )
        self.accounts = Gauge("upload_gate_worker_accounts", "Accounts held in memory.", registry=registry)
        self.forgotten = Counter(
            "upload_gate_worker_states_forgotten",
            "Accounts that start anew because an older release wrote their state, counted when a partition is opened.",
            registry=registry,
        )
        self.kafka_up = Gauge("upload_gate_worker_kafka_up", "1 while Kafka answers.", registry=registry)
        self.redis_up = Gauge("upload_gate_worker_redis_up", "1 while Redis takes scores.", registry=registry)
        self._of_effects = {
            "upload_gate_events": self.events,
            "upload_gate_event_unknown_fields": self.unknown_fields,
            "upload_gate_event_duplicates": self.duplicates,
            "upload_gate_event_late_uploads": self.late_uploads,
            "upload_gate_dead_letters": self.dead_letters,
            "upload_gate_scores": self.scores,
        }
        for kind in EVENT_TYPES:
            self.events.labels(kind)
        for kind in ("fenced", "kafka", "misplaced", "other"):
            self.batch_failures.labels(kind)

    def count(self, increment: Increment) -> None:
        """Count what a part of a batch's effects says."""
        counter = self._of_effects[increment.metric]
        (counter.labels(*increment.labels) if increment.labels else counter).inc(increment.amount)
