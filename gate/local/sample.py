"""Reads the state of the running parts: numbers from `/metrics`, pauses from the admin port's board.

`live` displays it. A part that does not answer yields None, never an exception.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from gate.core.pause.board import Board
from gate.errors import StateUnreadable
from gate.local.plan import Plan
from gate.records.board_page import decode_board_page

FETCH_WITHIN_S = 1.0
FETCH_EVERY_S = 0.5
FRESH_FOR_S = 1.5
"""An answer older than this counts as no answer: the part hangs, or its next answer is overdue."""

STORE_AWAY = '"store_answers":false'
"""What a board page holds while the gate's Redis does not answer."""

NO_TOKEN = ("token.missing", "token.unknown")
"""The reasons for which a gate answers 401."""

KAFKA_UP = "upload_gate_worker_kafka_up"

Samples = list[tuple[str, dict[str, str], float]]


@dataclass(frozen=True, slots=True)
class MetricsPages:
    """The URLs to read. `worker` is None if no worker runs."""

    gate: str
    board: str
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The system at one moment. Counters are totals since the parts started; None if that part does not answer."""

    at_us: int
    decisions: dict[str, float] | None = None
    stages: dict[str, float] = field(default_factory=dict)
    scores: float | None = None
    events: float | None = None
    dead_letters: float = 0.0
    lag: float | None = None
    partitions: float = 0.0
    store_errors: float = 0.0
    board: Board | None = None
    has_worker: bool = True
    redis_answers: bool = True
    kafka_answers: bool = True
    """False while the worker says that Kafka is away."""
    board_rev: int = 0
    without_token: float = 0.0
    """Requests that were answered with 401."""
    policy_refused: bool = False
    """The policy file was changed and is wrong, so the last good policy is in force."""


def pages_of(plan: Plan) -> MetricsPages:
    """The URLs of a system that `up` runs."""
    return MetricsPages(f"{plan.gate}/metrics", f"{plan.admin}/v1/board", plan.worker_metrics)


def parse(text: str) -> Samples:
    """The samples of a Prometheus text page as (name, labels, value). Raises ValueError for other text."""
    return [
        (sample.name, dict(sample.labels), float(sample.value))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def fetch(url: str, timeout_s: float = FETCH_WITHIN_S) -> str | None:
    """The body of a page that answers 200 within `timeout_s` seconds, else None."""
    parts = urlsplit(url)
    if parts.hostname is None:
        return None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        body = response.read().decode("utf-8", "replace")
        return body if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class Sampler:
    """Fetches each page repeatedly in a thread of its own, so that a part that hangs does not delay the others.

    Use it as a context manager; `snapshot` returns at once. `read` fetches one page, like `fetch`.
    """

    def __init__(self, pages: MetricsPages, read: Callable[[str], str | None] = fetch) -> None:
        self._pages = pages
        self._read = read
        self._ended = threading.Event()
        self._latest: dict[str, tuple[float, str | None]] = {}
        urls = [pages.gate, pages.board, *([pages.worker] if pages.worker else [])]
        self._threads = [
            threading.Thread(target=self._run, args=(url,), name=f"reads {url}", daemon=True) for url in urls
        ]

    def __enter__(self) -> Sampler:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def snapshot(self) -> Snapshot:
        """The latest answers of all parts."""
        return _snapshot(self._pages, self._fresh)

    def _run(self, url: str) -> None:
        while not self._ended.is_set():
            body = self._read(url)
            self._latest[url] = (time.monotonic(), body)
            self._ended.wait(FETCH_EVERY_S)

    def _fresh(self, url: str) -> str | None:
        at_s, body = self._latest.get(url, (0.0, None))
        return body if time.monotonic() - at_s <= FRESH_FOR_S else None


def take_snapshot(pages: MetricsPages, read: Callable[[str], str | None] = fetch) -> Snapshot:
    """Fetch the page of each part once, in turn. A part that hangs takes up to `FETCH_WITHIN_S` seconds."""
    return _snapshot(pages, read)


def _snapshot(pages: MetricsPages, read: Callable[[str], str | None]) -> Snapshot:
    gate = _samples(read(pages.gate))
    board, rev = _board(page) if (page := read(pages.board)) is not None else (None, 0)
    worker = None if pages.worker is None else _samples(read(pages.worker))
    return Snapshot(
        at_us=time.time_ns() // 1000,
        decisions=None if gate is None else _by(gate, "upload_gate_decisions_total", "decision"),
        stages=_by(gate or [], "upload_gate_decisions_total", "stage"),
        scores=None if worker is None else _total(worker, "upload_gate_scores_total"),
        events=None if worker is None else _total(worker, "upload_gate_events_total"),
        dead_letters=_total(worker or [], "upload_gate_dead_letters_total"),
        lag=None if worker is None else _total(worker, "upload_gate_worker_lag_records"),
        partitions=_total(worker or [], "upload_gate_worker_partitions"),
        store_errors=_total(gate or [], "upload_gate_store_errors_total"),
        without_token=sum(
            _by(gate or [], "upload_gate_requests_rejected_total", "reason").get(r, 0.0) for r in NO_TOKEN
        ),
        board=board,
        board_rev=rev,
        policy_refused=_total(gate or [], "upload_gate_policy_file_refused") > 0,
        redis_answers=page is None or STORE_AWAY not in page,
        kafka_answers=all(value for name, _, value in worker or [] if name == KAFKA_UP),
        has_worker=pages.worker is not None,
    )


def _samples(body: str | None) -> Samples | None:
    if body is None:
        return None
    try:
        return parse(body)
    except ValueError:
        return None


def _board(body: str) -> tuple[Board | None, int]:
    try:
        return decode_board_page(body.encode())
    except StateUnreadable:
        return None, 0


def _by(samples: Samples, name: str, label: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for sample, labels, value in samples:
        if sample == name:
            key = labels.get(label, "")
            totals[key] = totals.get(key, 0.0) + value
    return totals


def _total(samples: Samples, name: str) -> float:
    return sum(value for sample, _, value in samples if sample == name)
