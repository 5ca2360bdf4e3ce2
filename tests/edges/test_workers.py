"""`serve --workers`: real processes on one port; they share the connections, come back after a crash, and end together."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import SettingInvalid
from gate.local.free_port import free_port
from gate.policyfile import parse_policy
from gate.serve import workers as supervisor
from gate.serve.clock import SystemClock
from gate.serve.workers import Worker
from gate.settings import read_settings, worker_settings
from gate.stores.disk.snapshot import BoardSnapshot
from tests.edges.running_gate import CHECK
from tests.edges.test_serving import answer
from tests.waiting import eventually, wait_until

POLICY = 'version = 1\ndefault_class = "regular"\n[classes.regular]\n'


class Workers:
    """A supervisor with its ports. The metrics and admin ports of the workers follow on its own."""

    def __init__(self, process: subprocess.Popen[str], port: int, metrics: int, admin: int) -> None:
        self.process = process
        self.port = port
        self.metrics = metrics
        self.admin = admin

    def ready(self) -> dict[str, Any]:
        reply = answer(self.metrics, "GET", "/readyz")
        return {} if reply is None else dict(json.loads(reply[1]))

    def pids(self) -> list[int]:
        """The processes, once all of them answer; else none."""
        ready = self.ready()
        return [] if ready.get("degraded", True) else [state["pid"] for state in ready["workers"]]


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row. They lie below those that the system gives to connections, since one of
    another test might take a port before the worker listens on it."""
    while True:
        first = random.randrange(20_000, 32_000)
        if all(free_port(first + n) == first + n for n in range(count)):
            return first


@contextmanager
def workers(state: Path, count: int, redis: str, **more: str) -> Iterator[Workers]:
    port = free_ports(1 + (count + 1) + count)  # of one row: of three rows one might hold a port of another
    metrics, admin = port + 1, port + 1 + count + 1
    environment = {
        **os.environ, "UPLOAD_GATE_STATE": str(state), "UPLOAD_GATE_REDIS": redis, "UPLOAD_GATE_SALT": "s",
        "UPLOAD_GATE_PORT": str(port), "UPLOAD_GATE_ADMIN_PORT": str(admin), "UPLOAD_GATE_METRICS_PORT": str(metrics),
        **more,
    }  # fmt: skip
    command = [sys.executable, "-m", "gate.cli.main", "serve", "--workers", str(count)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield Workers(process, port, metrics, admin)
    finally:
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        if process.poll() is None:
            process.kill()
        process.communicate()
        psutil.wait_procs(children, timeout=10)


def decided_by(port: int) -> float:
    """How many checks the worker whose metrics port this is has decided."""
    reply = answer(port, "GET", "/metrics")
    lines = reply[1].splitlines() if reply else []
    return sum(float(line.split()[-1]) for line in lines if line.startswith("upload_gate_decisions_total{"))


def test_workers_share_a_port_each_with_its_own_name_metrics_and_snapshot(
    tmp_path: Path, redis_url: str, unique: Callable[[], str]
) -> None:
    with workers(tmp_path, 3, redis_url, UPLOAD_GATE_PREFIX=f"{unique()}:", UPLOAD_GATE_NAME="host") as system:
        wait_until(system.pids, 60)
        replies = [answer(system.port, "POST", "/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(60)]
        targets = answer(system.metrics, "GET", "/prometheus/targets")
        metrics = answer(system.metrics, "GET", "/metrics")
        shares = [decided_by(system.metrics + n) for n in (1, 2, 3)]
        hidden = answer(system.port, "GET", "/metrics")
        wait_until(lambda: all((tmp_path / f"board-{n}.json").exists() for n in (1, 2, 3)))
        wait_until(lambda: json.loads((answer(system.metrics + 1, "GET", "/readyz") or (0, "{}"))[1])["instances"] == 3)
        system.process.send_signal(signal.SIGTERM)
        _, told = system.process.communicate(timeout=20)

    decisions = Counter(json.loads(reply[1])["decision"] for reply in replies if reply)
    assert decisions == {"allow": 5, "throttle": 55}
    assert sum(shares) == 60
    assert sum(share > 0 for share in shares) >= 2
    assert targets is not None
    assert json.loads(targets[1]) == [
        {"targets": [f"127.0.0.1:{system.metrics}"], "labels": {"part": "supervisor"}},
        *(
            {"targets": [f"127.0.0.1:{system.metrics + n}"], "labels": {"part": "gate", "worker": str(n)}}
            for n in (1, 2, 3)
        ),
    ]
    assert metrics is not None
    assert 'upload_gate_processes{state="answering"} 3.0' in metrics[1]
    assert hidden is not None
    assert hidden[0] == 404
    assert system.process.returncode == 0
    assert "worker 3 WARNING" in told
    assert "another gate runs under the name" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("crash", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_worker_that_crashes_or_hangs_comes_back_and_the_log_says_so(tmp_path: Path, crash: signal.Signals) -> None:
    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0") as system:
        first = wait_until(system.pids, 60)
        os.kill(first[1], crash)
        second = wait_until(lambda: system.pids() if first[1] not in system.pids() else None, 40)
        reply = answer(system.port, "POST", "/v1/check", CHECK)
        metrics = answer(system.metrics, "GET", "/metrics")
        system.process.send_signal(signal.SIGTERM)
        _, told = system.process.communicate(timeout=20)

    assert second[0] == first[0]
    assert reply is not None
    assert metrics is not None
    assert "upload_gate_process_restarts_total 1.0" in metrics[1]
    assert "worker 2 was ended by SIGKILL" in told
    assert ("worker 2 does not answer and is killed" in told) is (crash is signal.SIGSTOP)


def test_a_request_under_way_is_answered_while_the_workers_end(tmp_path: Path) -> None:
    import http.client

    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0") as system:
        wait_until(system.pids, 60)
        connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
        body = json.dumps(CHECK).encode()
        connection.putrequest("POST", "/v1/check")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:10])
        wait_until(lambda: answer(system.port, "POST", "/v1/check", CHECK))
        system.process.send_signal(signal.SIGTERM)
        wait_until(lambda: answer(system.metrics, "GET", "/healthz") is None or not system.pids())
        connection.send(body[10:])
        status = connection.getresponse().status
        connection.close()
        system.process.communicate(timeout=20)

    assert status == 200
    assert system.process.returncode == 0


def test_without_any_store_each_worker_obeys_the_pauses_of_all_snapshots(tmp_path: Path) -> None:
    """Worker 1 finds its own file torn, worker 2 an old one; a third process ran before."""
    now_us = SystemClock().now_us()
    for number in (2, 3):
        pause = Pause(
            f"p-{number}",
            number,
            Scope(),
            Action.STOP,
            "raid",
            "",
            "ann",
            None,
            now_us + 3_600_000_000,
            set_at_us=now_us,
        )
        BoardSnapshot(tmp_path / f"board-{number}.json").write(Board({pause.id: pause}))
    (tmp_path / "board-1.json").write_text('{"version": 1, "sha')
    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0") as system:
        wait_until(system.pids, 60)
        pages = [answer(system.admin + n, "GET", "/v1/board") for n in (0, 1)]

    obeyed = [sorted(each["id"] for each in json.loads(page[1])["pauses"]) for page in pages if page]
    assert obeyed == [["p-2", "p-3"]] * 2
    assert (tmp_path / "board-1.json.unreadable").read_text() == '{"version": 1, "sha'


def test_when_the_supervisor_is_killed_its_workers_end(tmp_path: Path) -> None:
    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0") as system:
        pids = wait_until(system.pids, 60)
        system.process.kill()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 15)


def test_a_changed_policy_reaches_every_worker(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY)
    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0", UPLOAD_GATE_POLICY=str(policy)) as system:
        wait_until(system.pids, 60)
        policy.write_text(POLICY + "[classes.new]\n")
        system.process.send_signal(signal.SIGHUP)
        hash_ = parse_policy(POLICY + "[classes.new]\n", "p").hash
        for port in (system.metrics + 1, system.metrics + 2):
            wait_until(lambda port=port: hash_ in (answer(port, "GET", "/readyz") or (0, ""))[1])  # type: ignore[misc]


def test_a_port_that_another_gate_has_is_not_shared_with_it(tmp_path: Path) -> None:
    redis = f"redis://127.0.0.1:{free_port()}/0"
    with workers(tmp_path, 2, redis) as first:
        wait_until(first.pids, 60)
        with workers(tmp_path, 2, redis, UPLOAD_GATE_PORT=str(first.port)) as second:
            _, told = second.process.communicate(timeout=20)

    assert second.process.returncode != 0
    assert f"cannot listen on 127.0.0.1:{first.port}" in told


def test_settings_that_no_worker_could_use_end_the_supervisor_at_once(tmp_path: Path) -> None:
    with workers(tmp_path, 2, f"redis://127.0.0.1:{free_port()}/0", UPLOAD_GATE_POLICY="nowhere.toml") as wrong:
        _, told = wrong.process.communicate(timeout=20)
    with workers(tmp_path, 2, "redis://127.0.0.1:1/0", UPLOAD_GATE_KAFKA="nohost") as other:
        _, said = other.process.communicate(timeout=20)

    assert (wrong.process.returncode, other.process.returncode) == (2, 2)
    assert "nowhere.toml: cannot be read" in told
    assert "UPLOAD_GATE_KAFKA is unusable" in said


async def test_a_worker_that_cannot_use_its_settings_is_not_started_again(tmp_path: Path) -> None:
    worker = a_worker(tmp_path, UPLOAD_GATE_PREFIX="{}")

    async with asyncio.timeout(30):
        await worker.run()

    assert (worker.failed, worker.restarts, worker.state.pid) == (2, 0, None)


async def test_a_worker_that_waits_to_be_started_again_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 3_600.0)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 3_600.0)
    monkeypatch.setattr("gate.serve.workers.sys.executable", script(tmp_path, "exit 1"))
    worker = a_worker(tmp_path)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: worker.restarts == 1)

    worker.stop()

    async with asyncio.timeout(30):
        await running
    assert (worker.failed, worker.state.pid) == (None, None)


async def test_a_worker_that_is_stopped_while_it_is_started_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.serve.workers.sys.executable", script(tmp_path, "exec sleep 600"))
    worker = a_worker(tmp_path)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    before = worker.state.pid

    worker.stop()

    async with asyncio.timeout(30):
        await running
    assert before is None
    assert worker.restarts == 0


async def test_a_worker_that_cannot_be_started_for_a_moment_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr("gate.serve.workers.sys.executable", str(tmp_path / "program"))
    worker = a_worker(tmp_path)
    running = asyncio.create_task(worker.run())
    await eventually(lambda: worker.restarts >= 2)
    script(tmp_path, "exec sleep 600")

    await eventually(lambda: worker.state.pid)

    worker.stop()
    async with asyncio.timeout(30):
        await running


def a_worker(state: Path, **more: str) -> Worker:
    settings = read_settings({"UPLOAD_GATE_METRICS_PORT": str(free_ports(2)), "UPLOAD_GATE_STATE": str(state)})
    return Worker(1, settings, {**os.environ, **more})


def script(folder: Path, line: str) -> str:
    """A program in the place of Python, which does this one thing."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("http://gate-1", "http://gate-1:8392"),
        ("https://gate-1/admin", "https://gate-1:8392/admin"),
        ("http://[::1]:9000", "http://[::1]:8392"),
        ("http://[::1]", "http://[::1]:8392"),
    ],
)
def test_a_worker_reads_the_address_of_its_admin_port_however_the_hosts_is_written(given: str, own: str) -> None:
    settings = read_settings({"UPLOAD_GATE_METRICS_PORT": "8500", "UPLOAD_GATE_ADMIN": given})

    second = worker_settings(settings, 2)

    assert read_settings(second.environment).admin == own


def test_each_worker_has_its_own_name_and_ports() -> None:
    settings = read_settings({"UPLOAD_GATE_METRICS_PORT": "8500", "UPLOAD_GATE_NAME": "host"})

    second = worker_settings(settings, 2)

    assert (second.name, second.admin_port, second.metrics_port) == ("host/2", 8392, 8502)
    assert (second.metrics, second.admin) == ("http://127.0.0.1:8502", "http://127.0.0.1:8392")
    assert second.board_snapshot.name == "board-2.json"
    assert read_settings(second.environment).name == "host/2"
    with pytest.raises(SettingInvalid, match="METRICS_PORT"):
        worker_settings(read_settings({}), 1)
