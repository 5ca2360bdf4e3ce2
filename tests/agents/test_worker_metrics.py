"""Where a worker's metrics are served, and whether what operators can set is written down."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from gate.errors import SettingInvalid
from gate.local.free_port import free_port
from streams.worker.metrics import WorkerMetrics, serve_metrics
from streams.worker.settings import read_worker_settings

ROOT = Path(__file__).parents[2]


def fetched(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_a_taken_port_is_passed_over_and_the_next_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    first, second = CollectorRegistry(), CollectorRegistry()
    WorkerMetrics(first)
    WorkerMetrics(second).partitions.set(3)

    with serve_metrics("127.0.0.1", port, first) as one, serve_metrics("127.0.0.1", port, second) as other:
        texts = fetched(one), fetched(other)

    assert one == port
    assert other > port
    assert "upload_gate_worker_partitions 3.0" in texts[1]
    assert f"port {port} is taken: metrics are at http://127.0.0.1:{other}/metrics" in caplog.text


def test_an_address_that_is_not_this_hosts_is_a_setting_that_cannot_be_used() -> None:
    with (
        pytest.raises(SettingInvalid, match="UPLOAD_GATE_WORKER_METRICS_HOST"),
        serve_metrics("192.0.2.1", free_port(), CollectorRegistry()),
    ):
        pass


def test_metrics_listen_on_loopback_and_pages_nowhere_unless_set() -> None:
    bare = read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1"})
    wide = read_worker_settings({"UPLOAD_GATE_KAFKA": "k:1", "UPLOAD_GATE_WORKER_METRICS_HOST": "0.0.0.0"})

    assert (bare.metrics_host, bare.web_port) == ("127.0.0.1", 0)
    assert wide.metrics_host == "0.0.0.0"


def test_every_setting_of_the_worker_is_in_the_readme_of_the_configuration() -> None:
    names = set(re.findall(r"UPLOAD_GATE_\w+", (ROOT / "streams" / "worker" / "settings.py").read_text()))
    table = (ROOT / "config" / "README.md").read_text().split("## Environment of a stream worker")[1]

    assert names
    assert {name for name in names if f"`{name}`" not in table} == set()
