"""Every metric of the gate in one closed table: name, labels, meaning. No other metric is exported.

On the hot path a metric is a plain integer; a collector turns the integers into samples at each scrape. Label values
come from closed sets only (verdicts, stages, declared classes, limits' names, the policy's reasons). No account,
address, device or other text of a caller becomes a label value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gate.core.make_room import make_room

BOUNDS_US: Final = (100, 250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
"""Upper bounds of the histogram of checks, µs. They include 1 ms and the default deadline of 100 ms."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Named:
    """One metric of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


TABLE: Final = (
    Named("upload_gate_decisions_total", "counter", ("decision", "class", "stage", "reason"), "Decisions given"),
    Named("upload_gate_check_seconds", "histogram", (), "Time from a decoded check to its decision"),
    Named("upload_gate_degraded_total", "counter", (), "Decisions given without the account store"),
    Named("upload_gate_shed_total", "counter", (), "Checks shed because too many waited for the account store"),
    Named("upload_gate_reports_total", "counter", ("outcome", "met"), "Reports by outcome, and the state they found"),
    Named("upload_gate_shadow_refusals_total", "counter", ("limit",), "Uploads a shadow limit would have refused"),
    Named(
        "upload_gate_lease_takes_total",
        "counter",
        ("source",),
        "Checks whose shared limits are leased, by what they took from",
    ),
    Named(
        "upload_gate_lease_exchanges_total", "counter", ("outcome",), "Leases drawn, given back, or lost with the call"
    ),
    Named(
        "upload_gate_lease_draws_scarce_total",
        "counter",
        (),
        "Draws that got less than half of what was wanted, because the bucket had too few",
    ),
    Named(
        "upload_gate_lease_held", "gauge", ("on", "limit"), "Uploads or bytes of a shared limit that this gate holds"
    ),
    Named("upload_gate_store_errors_total", "counter", ("kind",), "Calls of a store that failed, by what failed"),
    Named("upload_gate_requests_rejected_total", "counter", ("reason",), "Requests that were malformed"),
    Named(
        "upload_gate_check_fields_ignored_total", "counter", ("field", "reason"), "Fields of checks that were ignored"
    ),
    Named(
        "upload_gate_check_fields_unknown_total",
        "counter",
        ("meant",),
        "Fields that no check has, by the field that is meant, in one check and one batch of five seconds",
    ),
    Named("upload_gate_faults_total", "counter", ("where",), "Unexpected errors that the gate caught, by where"),
    Named("upload_gate_pauses_active", "gauge", (), "Pauses in force, break-glass entries included"),
    Named("upload_gate_board_rev", "gauge", (), "Revision of the kill switch this gate obeys"),
    Named("upload_gate_board_age_seconds", "gauge", (), "Time since the kill switch was last read, from anywhere"),
    Named("upload_gate_board_unreadable_total", "counter", (), "Kill switch states that could not be read"),
    Named("upload_gate_board_unreadable_parts", "gauge", (), "Parts of the kill switch that cannot be read now"),
    Named(
        "upload_gate_pause_dry_run_total", "counter", ("action", "reason"), "Uploads a pause in dry run would have held"
    ),
    Named("upload_gate_break_glass_active", "gauge", (), "Pauses in force from the file on this host"),
    Named(
        "upload_gate_pause_unapproved_end_timestamp_seconds",
        "gauge",
        (),
        "When the first pause ends whose rest waits for a second person, Unix time; 0: there is none",
    ),
    Named(
        "upload_gate_drill_last_success_timestamp_seconds",
        "gauge",
        (),
        "When the last drill passed, Unix time; 0: never",
    ),
    Named(
        "upload_gate_controls_age_seconds",
        "gauge",
        (),
        "Time since the second channel last proved alive; 0 without Kafka",
    ),
    Named("upload_gate_policy_info", "gauge", ("hash",), "The policy in force"),
    Named("upload_gate_policy_rejected_total", "counter", (), "Policy files refused because they are wrong"),
    Named(
        "upload_gate_policy_file_refused", "gauge", (), "1 while the policy file is wrong and the last good one holds"
    ),
    Named("upload_gate_salt_differs", "gauge", (), "1 while the stream workers have another salt than this gate"),
    Named(
        "upload_gate_unlisted_values_total", "counter", ("field",), "Checks with a value that the policy does not list"
    ),
    Named("upload_gate_decisions_dropped_total", "counter", (), "Decisions that did not reach the decision log"),
    Named("upload_gate_start_time_seconds", "gauge", (), "When this gate started, Unix time"),
    Named("upload_gate_cpu_seconds_total", "counter", (), "CPU time this process has used"),
)

STORE_ERROR_KINDS: Final = ("unavailable", "fault")
FAULTS: Final = ("check", "http", "watch", "decision_log", "trial", "settle", "lease")

REPORT_OUTCOMES: Final = ("committed", "failed", "aborted", "unanswered", "expired")
"""The ways in which an upload is settled: a report of one of three outcomes, or the gate itself."""
REPORTS_MET: Final = ("settled", "repeated", "expired", "unknown", "error")

LEASE_SOURCES: Final = ("lease", "bucket")
LEASE_OUTCOMES: Final = ("drawn", "given_back", "failed")

LISTED_FIELDS: Final = ("kind", "surface", "country")
"""The fields of a check whose values the policy may list."""

OTHER_PAUSE: Final = "pause.other"
MOST_PAUSES: Final = 1_000

DecisionKey = tuple[str, str, str, str]


@dataclass(slots=True)
class Counts:
    """The counters. Each act increments them in place, because a method call would cost more than the increment.

    `decisions` is keyed (decision, class, stage, reason); a pause's reason that the policy does not list is counted as
    `OTHER_PAUSE`. `buckets` has a count for each of `BOUNDS_US` and one beyond.
    """

    decisions: dict[DecisionKey, int] = field(default_factory=dict)
    shadow: dict[str, int] = field(default_factory=dict)
    reports: dict[tuple[str, str], int] = field(
        default_factory=lambda: dict.fromkeys(product(REPORT_OUTCOMES, REPORTS_MET), 0)
    )
    store_errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STORE_ERROR_KINDS, 0))
    lease_takes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEASE_SOURCES, 0))
    lease_exchanges: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEASE_OUTCOMES, 0))
    lease_draws_scarce: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    fields_ignored: dict[tuple[str, str], int] = field(default_factory=dict)
    fields_unknown: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    dry_run: dict[tuple[str, str], int] = field(default_factory=dict)
    dry_run_pauses: dict[str, int] = field(default_factory=dict)
    check_us: int = 0
    degraded: int = 0
    shed: int = 0
    board_unreadable: int = 0
    policy_rejected: int = 0
    unlisted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LISTED_FIELDS, 0))

    def ignored(self, fields: Mapping[str, str]) -> None:
        """Count the ignored fields of one check, each with its reason. Fields and reasons are closed lists."""
        for key in fields.items():
            self.fields_ignored[key] = self.fields_ignored.get(key, 0) + 1

    def unknown_field(self, meant: str, times: int = 1) -> None:
        """Count fields that no check has; `meant` is a field's name, or `other`."""
        self.fields_unknown[meant] = self.fields_unknown.get(meant, 0) + times

    def would_hold(self, pause: str, action: str, reason: str) -> None:
        """Count an upload that a pause in dry run would have held. Counts by pause are kept for the last `MOST_PAUSES`."""
        self.dry_run[action, reason] = self.dry_run.get((action, reason), 0) + 1
        make_room(self.dry_run_pauses, pause, MOST_PAUSES)
        self.dry_run_pauses[pause] = self.dry_run_pauses.get(pause, 0) + 1

    def reject(self, reason: str) -> None:
        """Count one malformed request; `reason` is a code of a closed list."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Gauges:
    """The values that are read at each scrape."""

    pauses_active: int
    break_glass_active: int
    board_rev: int
    board_age_s: float
    policy: str
    dropped: int
    started_s: float
    cpu_s: float
    board_unreadable_parts: int = 0
    policy_refused: bool = False
    salt_differs: bool = False
    drilled_s: float = 0.0
    controls_age_s: float = 0.0
    unapproved_end_s: float = 0.0
    lease_held: Mapping[tuple[str, str], int] = field(default_factory=dict)


class GateCollector(Collector):
    """Samples from the integers and from `gauges`, read at each scrape."""

    def __init__(self, counts: Counts, gauges: Callable[[], Gauges]) -> None:
        self._counts = counts
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        """Metrics without values. Raises KeyError, naming the metric, where `TABLE` has one without values."""
        if missing := {named.name for named in TABLE if named.kind != "histogram"} - self._values().keys():
            raise KeyError(f"nothing gives the values of {', '.join(sorted(missing))}: see GateCollector._values")
        return [_family(named) for named in TABLE]

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        labelled = self._values()
        for named in TABLE:
            family = _family(named)
            if isinstance(family, HistogramMetricFamily):
                family.add_metric([], *self._histogram())
            else:
                for labels, value in labelled[named.name].items():
                    family.add_metric(list(labels), value)
            yield family

    def _values(self) -> dict[str, dict[tuple[str, ...], float]]:
        """The values of each metric but the histogram, by their labels."""
        counts, now = self._counts, self._gauges()
        return {
            "upload_gate_decisions_total": {tuple(map(str, k)): v for k, v in list(counts.decisions.items())},
            "upload_gate_reports_total": {tuple(k): v for k, v in list(counts.reports.items())},
            "upload_gate_shadow_refusals_total": {(k,): v for k, v in list(counts.shadow.items())},
            "upload_gate_lease_takes_total": {(k,): v for k, v in counts.lease_takes.items()},
            "upload_gate_lease_exchanges_total": {(k,): v for k, v in counts.lease_exchanges.items()},
            "upload_gate_lease_draws_scarce_total": {(): counts.lease_draws_scarce},
            "upload_gate_lease_held": {k: v for k, v in now.lease_held.items()},  # noqa: C416  (of wider types)
            "upload_gate_store_errors_total": {(k,): v for k, v in counts.store_errors.items()},
            "upload_gate_requests_rejected_total": {(k,): v for k, v in list(counts.rejected.items())},
            "upload_gate_check_fields_ignored_total": {
                (f, why): v for (f, why), v in list(counts.fields_ignored.items())
            },
            "upload_gate_check_fields_unknown_total": {(k,): v for k, v in list(counts.fields_unknown.items())},
            "upload_gate_faults_total": {(k,): v for k, v in counts.faults.items()},
            "upload_gate_pause_dry_run_total": {(str(a), r): v for (a, r), v in list(counts.dry_run.items())},
            "upload_gate_degraded_total": {(): counts.degraded},
            "upload_gate_shed_total": {(): counts.shed},
            "upload_gate_board_unreadable_total": {(): counts.board_unreadable},
            "upload_gate_board_unreadable_parts": {(): now.board_unreadable_parts},
            "upload_gate_policy_rejected_total": {(): counts.policy_rejected},
            "upload_gate_policy_file_refused": {(): now.policy_refused},
            "upload_gate_salt_differs": {(): now.salt_differs},
            "upload_gate_unlisted_values_total": {(k,): v for k, v in counts.unlisted.items()},
            "upload_gate_decisions_dropped_total": {(): now.dropped},
            "upload_gate_cpu_seconds_total": {(): now.cpu_s},
            "upload_gate_pauses_active": {(): now.pauses_active},
            "upload_gate_break_glass_active": {(): now.break_glass_active},
            "upload_gate_board_rev": {(): now.board_rev},
            "upload_gate_board_age_seconds": {(): now.board_age_s},
            "upload_gate_policy_info": {(now.policy,): 1},
            "upload_gate_drill_last_success_timestamp_seconds": {(): now.drilled_s},
            "upload_gate_pause_unapproved_end_timestamp_seconds": {(): now.unapproved_end_s},
            "upload_gate_controls_age_seconds": {(): now.controls_age_s},
            "upload_gate_start_time_seconds": {(): now.started_s},
        }

    def _histogram(self) -> tuple[list[tuple[str, float]], float]:
        total = 0
        samples: list[tuple[str, float]] = []
        for bound, count in zip((*BOUNDS_US, None), list(self._counts.buckets), strict=True):
            total += count
            samples.append(("+Inf" if bound is None else f"{bound / 1e6:g}", total))
        return samples, self._counts.check_us / 1e6


def gate_registry(counts: Counts, gauges: Callable[[], Gauges]) -> CollectorRegistry:
    """A registry that holds the gate's metrics and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GateCollector(counts, gauges))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The text of a scrape, of type `CONTENT_TYPE`."""
    return generate_latest(registry)


def _family(named: Named) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    match named.kind:
        case "counter":
            return CounterMetricFamily(named.name, named.meaning, labels=named.labels)
        case "gauge":
            return GaugeMetricFamily(named.name, named.meaning, labels=named.labels)
        case _:
            return HistogramMetricFamily(named.name, named.meaning, labels=named.labels)


PROCESS_TABLE: Final = (
    Named("upload_gate_processes", "gauge", ("state",), "Processes of serve --workers: wanted, and answering"),
    Named("upload_gate_process_restarts_total", "counter", (), "Processes that ended or hung and were started again"),
)
"""The metrics of the supervisor of `serve --workers`; each process exports those of `TABLE`."""


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """The processes of `serve --workers` at a scrape."""

    wanted: int
    answering: int
    restarts: int


class ProcessCollector(Collector):
    """Samples of the supervisor, read at each scrape."""

    def __init__(self, counts: Callable[[], ProcessCounts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """All samples."""
        counts = self._counts()
        running, started = PROCESS_TABLE
        processes = GaugeMetricFamily(running.name, running.meaning, labels=running.labels)
        restarts = CounterMetricFamily(started.name, started.meaning)
        processes.add_metric(["wanted"], counts.wanted)
        processes.add_metric(["answering"], counts.answering)
        restarts.add_metric([], counts.restarts)
        yield processes
        yield restarts


def process_registry(counts: Callable[[], ProcessCounts]) -> CollectorRegistry:
    """A registry that holds the supervisor's metrics and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ProcessCollector(counts))
    return registry
