"""Every metric of the stream worker: name, labels, meaning. The registry is passed in; all label sets are closed."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from gate.errors import SettingInvalid
from streams.core.campaigns import CampaignKind
from streams.pipeline.effects import Increment
from streams.pipeline.effects.shadow import BANDS, LEVELS
from streams.worker.continuity import LogChange

log = logging.getLogger("upload_gate.worker")

PORTS_TRIED = 20
EVENT_TYPES = ("attempted", "completed", "removed", "reported", "challenged")


class WorkerMetrics:
    """Counts of one worker. Touched once a batch, never once an event."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of_scores(registry)
        self._of_batches(registry)
        self._of_worker(registry)
        self._of_campaigns(registry)
        self._of_continuity(registry)
        self._begin_at_zero()

    def _of_scores(self, registry: CollectorRegistry) -> None:
        """The counters of scores."""
        self.scores = Counter("upload_gate_scores", "Scores computed and committed.", registry=registry)
        self.scores_lagging = Counter(
            "upload_gate_scores_lagging",
            "Scores among them that refuse nothing, since their partition was far behind.",
            registry=registry,
        )
        self.scores_backfilled = Counter(
            "upload_gate_scores_backfilled",
            "Scores among them of accounts without a new event, because other accounts share what they showed.",
            registry=registry,
        )
        self.scores_backfill_skipped = Counter(
            "upload_gate_scores_backfill_skipped",
            "Accounts that should have been scored without a new event and were too many.",
            registry=registry,
        )

        self.shadow_scores = Counter(
            "upload_gate_shadow_scores",
            "Scores beside which models in shadow made one, by how far risks are apart: up to the bound, beyond the one before.",
            ["apart"],
            registry=registry,
        )
        self.shadow_disagreements = Counter(
            "upload_gate_shadow_disagreements",
            "Scores among them of which only one, live or shadow, reaches a risk.",
            ["risk", "only"],
            registry=registry,
        )

    def _of_batches(self, registry: CollectorRegistry) -> None:
        """The counters of a batch's effects, by the names that its parts give them."""
        self.events = Counter("upload_gate_events", "Events folded into account states.", ["type"], registry=registry)
        self.unknown_fields = Counter(
            "upload_gate_event_unknown_fields", "Fields of events that this version does not know.", registry=registry
        )
        self.dropped_fields = Counter(
            "upload_gate_event_fields_dropped",
            "Fields of folded events that were not kept as they were sent, by field and reason.",
            ["field", "reason"],
            registry=registry,
        )
        self.duplicates = Counter(
            "upload_gate_event_duplicates", "Events delivered before, which changed nothing.", registry=registry
        )
        self.late_uploads = Counter(
            "upload_gate_event_late_uploads",
            "Uploads whose events came too late to count as a burst or a gap.",
            registry=registry,
        )
        self.foreign_accounts = Counter(
            "upload_gate_event_foreign_accounts",
            "Accounts, once a batch, whose events stood in a partition that their keys do not belong to.",
            registry=registry,
        )
        self.dead_letters = Counter(
            "upload_gate_dead_letters", "Events that could not be read, by reason.", ["reason"], registry=registry
        )
        self.dead_letters_skipped = Counter(
            "upload_gate_dead_letters_skipped",
            "Events that could not be read and, in a quarantine, became no dead letter.",
            registry=registry,
        )
        self.accounts_forgotten = Counter(
            "upload_gate_worker_accounts_forgotten", "Accounts forgotten because they were inactive.", registry=registry
        )
        self._of_effects = {
            "upload_gate_events": self.events,
            "upload_gate_event_unknown_fields": self.unknown_fields,
            "upload_gate_event_fields_dropped": self.dropped_fields,
            "upload_gate_event_duplicates": self.duplicates,
            "upload_gate_event_late_uploads": self.late_uploads,
            "upload_gate_dead_letters": self.dead_letters,
            "upload_gate_dead_letters_skipped": self.dead_letters_skipped,
            "upload_gate_scores": self.scores,
            "upload_gate_scores_backfilled": self.scores_backfilled,
            "upload_gate_scores_backfill_skipped": self.scores_backfill_skipped,
            "upload_gate_event_foreign_accounts": self.foreign_accounts,
            "upload_gate_scores_lagging": self.scores_lagging,
            "upload_gate_shadow_scores": self.shadow_scores,
            "upload_gate_shadow_disagreements": self.shadow_disagreements,
            "upload_gate_worker_accounts_forgotten": self.accounts_forgotten,
        }

    def _begin_at_zero(self) -> None:
        """Make every series of a closed label set before its first count, so that its rise is seen."""
        for kind in EVENT_TYPES:
            self.events.labels(kind)
        for campaign in CampaignKind:
            self.campaign_members.labels(campaign.value)
        for band in BANDS:
            self.shadow_scores.labels(band)
        for level in LEVELS:
            for side in ("live", "shadow"):
                self.shadow_disagreements.labels(f"{level:g}", side)
        for kind in ("fenced", "kafka", "misplaced", "other"):
            self.batch_failures.labels(kind)
        for change in LogChange:
            if change not in (LogChange.NONE, LogChange.FIRST):
                self.log_changes.labels(change.value)
        for change in (LogChange.EXPIRED, LogChange.TRUNCATED):
            self.events_lost.labels(change.value)

    def _of_campaigns(self, registry: CollectorRegistry) -> None:
        """The metrics of campaigns. Every worker knows those of all partitions."""
        self.campaigns = Gauge(
            "upload_gate_campaigns",
            "Campaigns of four accounts or more, those of names of three, that this worker knows over all partitions, by kind.",
            ["kind"],
            registry=registry,
        )
        self.campaign_largest = Gauge(
            "upload_gate_campaign_largest_accounts",
            "Accounts of the largest campaign, by kind.",
            ["kind"],
            registry=registry,
        )
        self.campaign_members = Counter(
            "upload_gate_campaign_members_joined",
            "Accounts that joined a campaign, counted for each campaign by the owner of their partition, by kind.",
            ["kind"],
            registry=registry,
        )
        self._of_effects["upload_gate_campaign_members_joined"] = self.campaign_members

    def _of_worker(self, registry: CollectorRegistry) -> None:
        """The metrics of the worker itself, its partitions, batches and servers."""
        self.lag = Gauge(
            "upload_gate_worker_lag_records",
            "Events of a partition of this worker that are not committed; no series for a partition it does not own.",
            ["partition"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "upload_gate_batch_seconds",
            "From handing a batch over until it is committed.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
            registry=registry,
        )
        self.batch_failures = Counter(
            "upload_gate_batch_failures",
            "Batches given up and repeated, by kind (fenced, kafka, misplaced, other).",
            ["kind"],
            registry=registry,
        )
        self._add_gauges(registry)

    def _add_gauges(self, registry: CollectorRegistry) -> None:
        self.redis_missing_scores = Gauge(
            "upload_gate_redis_missing_scores", "Scores committed that Redis may not have.", registry=registry
        )
        self.partitions = Gauge("upload_gate_worker_partitions", "Partitions this worker owns.", registry=registry)
        self.halted = Gauge(
            "upload_gate_partitions_halted",
            "Partitions of this worker not read on because practically none of their events is readable.",
            registry=registry,
        )
        self.quarantined = Gauge(
            "upload_gate_partitions_quarantined",
            "Partitions of this worker whose readable events are scored while most are unreadable.",
            registry=registry,
        )
        self.events_partitions = Gauge(
            "upload_gate_events_partitions", "Partitions of the events topic, owned or not.", registry=registry
        )
        self.accounts = Gauge("upload_gate_worker_accounts", "Accounts held in memory.", registry=registry)
        self.forgotten = Counter(
            "upload_gate_worker_states_forgotten",
            "Accounts without history because an older release wrote their state, counted when a partition is opened.",
            registry=registry,
        )
        self.kafka_up = Gauge("upload_gate_worker_kafka_up", "1 while Kafka answers.", registry=registry)
        self.redis_up = Gauge("upload_gate_worker_redis_up", "1 while Redis takes scores.", registry=registry)
        self.agents = Gauge("upload_gate_worker_agents", "Agents that run.", registry=registry)
        self.rebalances = Counter(
            "upload_gate_worker_rebalances", "Rebalances of the consumer group.", registry=registry
        )
        self.rebalance_seconds = Gauge(
            "upload_gate_worker_rebalance_seconds", "Mean length of the recent rebalances.", registry=registry
        )

    def _of_continuity(self, registry: CollectorRegistry) -> None:
        """The metrics of states that grow, are deleted or scored again, and of logs that changed."""
        self.state_bytes = Gauge(
            "upload_gate_worker_state_bytes",
            "Bytes of the packed states of a partition of this worker.",
            ["partition"],
            registry=registry,
        )
        self.partition_accounts = Gauge(
            "upload_gate_worker_partition_accounts",
            "Accounts of a partition of this worker.",
            ["partition"],
            registry=registry,
        )
        self.unscored = Gauge(
            "upload_gate_worker_accounts_to_rescore",
            "Accounts that are still to be scored again.",
            registry=registry,
        )
        self.log_changes = Counter(
            "upload_gate_worker_log_changes",
            "Partitions whose log or changelog was found changed when they were opened, by what became of it (recreated, "
            "truncated, expired, changelog_lost).",
            ["change"],
            registry=registry,
        )
        self.events_lost = Counter(
            "upload_gate_worker_events_lost",
            "Events that expired before they were read (expired), or were folded and then lost by the log (truncated).",
            ["change"],
            registry=registry,
        )

    def show_campaigns(self, sizes: Mapping[CampaignKind, tuple[int, int]]) -> None:
        """Update the gauges: how many campaigns of a kind are visible, and the most strangers of one."""
        for kind, (count, largest) in sizes.items():
            self.campaigns.labels(kind.value).set(count)
            self.campaign_largest.labels(kind.value).set(largest)

    def count(self, increment: Increment) -> None:
        """Count what a part of a batch's effects says."""
        counter = self._of_effects[increment.metric]
        (counter.labels(*increment.labels) if increment.labels else counter).inc(increment.amount)

    def forget_partition(self, partition: int) -> None:
        """Remove the metrics of a partition that this worker no longer owns."""
        for gauge in (self.lag, self.state_bytes, self.partition_accounts):
            with contextlib.suppress(KeyError):
                gauge.remove(str(partition))


@contextmanager
def serve_metrics(host: str, port: int, registry: CollectorRegistry) -> Iterator[int]:
    """Serve `/metrics` on the first free port from `port` on; gives that port, 0 where none of the next few is free.

    A second worker on the same host takes the next port rather than die.
    """
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        try:
            server, thread = start_http_server(candidate, addr=host, registry=registry)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingInvalid(
                    f"no metrics can be served on {host}:{candidate}: {error.strerror or error}",
                    "Set UPLOAD_GATE_WORKER_METRICS_HOST and UPLOAD_GATE_WORKER_METRICS_PORT to an address of this host",
                ) from error
            continue
        if candidate != port:
            log.warning("port %d is taken: metrics are at http://%s:%d/metrics", port, host, candidate)
        try:
            yield candidate
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        return
    log.warning("ports %d to %d are taken: this worker serves no metrics", port, port + PORTS_TRIED - 1)
    yield 0
