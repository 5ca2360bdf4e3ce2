"""Reads what the running parts say of themselves: numbers from `/metrics`, pauses from the admin port.

Leaves to `live` how it is shown. A part that does not answer yields None, never an exception.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = list[tuple[str, dict[str, str], float]]


def parse(text: str) -> Samples:
    """The samples of a Prometheus text page as (name, labels, value); comments are passed over."""
    found: Samples = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is not None:
            found.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return found


def fetch(url: str, timeout_s: float = 1.0) -> str | None:
    """The body of a page that answers 200 within the time, else None."""
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


class PauseSeen(msgspec.Struct, frozen=True):
    """A pause in force as the admin port shows it; `seconds_left` until it expires."""

    id: str
    action: str
    covers: str
    reason: str
    text: str
    owner: str
    seconds_left: float


class _BoardSeen(msgspec.Struct, frozen=True):
    pauses: tuple[PauseSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the system. Counters are totals since the parts started; None: that part does not answer."""

    at_us: int
    decisions: dict[str, float] | None = None
    stages: dict[str, float] = field(default_factory=dict)
    scores: float | None = None
    events: float | None = None
    dead_letters: float = 0.0
    lag: float | None = None
    partitions: float = 0.0
    store_errors: float = 0.0
    pauses: tuple[PauseSeen, ...] = ()


def look(gate_metrics: str, worker_metrics: str, board_url: str, now_us: int) -> Snapshot:
    """Ask gate, worker and admin once each. `now_us` is the wall clock."""
    gate = fetch(gate_metrics)
    worker = fetch(worker_metrics)
    gate_samples = parse(gate) if gate is not None else []
    worker_samples = parse(worker) if worker is not None else []
    return Snapshot(
        at_us=now_us,
        decisions=None if gate is None else _by(gate_samples, "upload_gate_decisions_total", "decision"),
        stages=_by(gate_samples, "upload_gate_decisions_total", "stage"),
        scores=None if worker is None else _total(worker_samples, "upload_gate_scores_total"),
        events=None if worker is None else _total(worker_samples, "upload_gate_events_total"),
        dead_letters=_total(worker_samples, "upload_gate_dead_letters_total"),
        lag=None if worker is None else _total(worker_samples, "upload_gate_worker_lag_records"),
        partitions=_total(worker_samples, "upload_gate_worker_partitions"),
        store_errors=_total(gate_samples, "upload_gate_store_errors_total"),
        pauses=_pauses(fetch(board_url)),
    )


def _pauses(body: str | None) -> tuple[PauseSeen, ...]:
    if body is None:
        return ()
    try:
        return msgspec.json.decode(body, type=_BoardSeen).pauses
    except msgspec.DecodeError:
        return ()


def _by(samples: Samples, name: str, label: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for sample, labels, value in samples:
        if sample == name:
            key = labels.get(label, "")
            totals[key] = totals.get(key, 0.0) + value
    return totals


def _total(samples: Samples, name: str) -> float:
    return sum(value for sample, _, value in samples if sample == name)
