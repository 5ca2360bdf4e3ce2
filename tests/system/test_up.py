"""`upload-gate up` as typed: everything answers, a pause stops uploads, scores arrive, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until

PROGRAM = str(Path(sys.executable).parent / "upload-gate")
STOP_WITHIN_S = 20.0


class Up:
    """One running `up`, in a process group of its own as a terminal would give it."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.state = state
        command = [PROGRAM, "up", "-o", "json", "--state", str(state), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.addresses: dict[str, Any] = json.loads(line)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Type `upload-gate …` against this system."""
        environment = {**os.environ, "UPLOAD_GATE_STATE": str(self.state)}
        return subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False)

    def check(self, upload: str, account: str, class_: str) -> dict[str, Any]:
        body = {"upload_id": upload, "account": {"id": account, "class": class_}, "media": {"kind": "image"}}
        answer: dict[str, Any] = post(f"{self.addresses['gate']}/v1/check", body)
        return answer

    def metrics(self) -> str:
        return "\n".join(urllib.request.urlopen(url).read().decode() for url in self.addresses["metrics"])

    def total(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = [line for line in self.metrics().splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def end(self) -> tuple[int, float, str]:
        """Signal the whole group twice, as Ctrl-C under make does; status, seconds and what it said."""
        began = time.monotonic()
        for _ in range(2):
            os.killpg(self.process.pid, signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, time.monotonic() - began, said


def post(url: str, body: object) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def left_over(state: Path) -> list[str]:
    """Command lines of live processes that name the state directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            told = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(state) in words or f"UPLOAD_GATE_STATE={state}" in told:
            found.append(words)
    return found


@pytest.fixture
def up(kafka_jars: None, tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "state", "--rate", "40")
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()


@pytest.mark.slow
def test_traffic_flows_a_pause_stops_one_class_and_ctrl_c_leaves_nothing(up: Up) -> None:
    wait_until(lambda: up.total("upload_gate_scores_total") > 50, timeout_s=30)
    wait_until(lambda: up.total("upload_gate_decisions_total") > 50, timeout_s=30)
    before = up.check("u-before", "a-1", "new")["decision"]

    paused = up.command("pause", "--class", "new", "--for", "10m", "--reason", "raid", "-m", "test", "--yes")
    pause_id = paused.stdout.strip()
    status = json.loads(up.command("status", "-o", "json").stdout)
    during, other = up.check("u-during", "a-1", "new"), up.check("u-other", "a-2", "regular")
    released = up.command("release", pause_id, "--yes")
    after = up.check("u-after", "a-1", "new")["decision"]
    code, _, said = up.end()

    assert before == "allow"
    assert paused.returncode == 0, paused.stderr
    assert pause_id in json.dumps(status)
    assert (during["decision"], during["stage"], during["pause"]) == ("paused", "pause", pause_id)
    assert other["decision"] == "allow"
    assert released.returncode == 0, released.stderr
    assert after == "allow"
    assert code == 0, said
    assert left_over(up.state) == []


@pytest.mark.slow
def test_after_kill_9_nothing_is_orphaned_and_the_next_start_carries_on(kafka_jars: None, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = Up(state, "--no-traffic")
    first.command("pause", "--class", "new", "--for", "10m", "--reason", "raid", "-m", "kept", "--yes")

    first.process.kill()
    first.process.communicate()
    wait_until(lambda: left_over(state) == [], timeout_s=STOP_WITHIN_S)
    second = Up(state, "--no-traffic")
    kept = second.check("u-1", "a-1", "new")
    code, _, said = second.end()

    assert kept["decision"] == "paused"
    assert code == 0, said


@pytest.mark.slow
def test_a_worker_that_is_killed_comes_back_and_a_second_up_is_refused(kafka_jars: None, tmp_path: Path) -> None:
    state = tmp_path / "state"
    running = Up(state, "--no-traffic")
    worker = int((state / "worker.pid").read_text())

    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: int((state / "worker.pid").read_text()) != worker, timeout_s=20)
    second = running.command("up", "-o", "json", "--state", str(state))
    code, _, said = running.end()

    assert second.returncode == 1
    assert "runs already" in second.stderr
    assert second.stdout == ""
    assert "worker was killed by signal 9; starting it again" in said
    assert code == 0
