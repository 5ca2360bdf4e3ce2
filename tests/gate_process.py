"""A gate as a process of its own, with the host's clock of a test's choice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate.cli.http_json import get_json, post_json
from gate.errors import UploadGateError
from gate.local.free_port import free_port
from tests.waiting import wait_until

PROGRAM = str(Path(sys.executable).parent / "upload-gate")
WITH_CLOCK = """
import sys, time
ahead_s = int(sys.argv.pop(1))
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + ahead_s
time.time_ns = lambda: now_ns() + ahead_s * 1_000_000_000
from gate.cli.main import main
main()
"""
"""Runs the command line on a host whose wall clock is ahead. No part of the product reads another wall clock."""


@dataclass
class Running:
    """A gate process."""

    process: subprocess.Popen[bytes]
    admin: str
    log: Path
    url: str = ""

    def paused(self) -> list[str]:
        """The ids of the pauses that it obeys."""
        try:
            page = get_json(f"{self.admin}/v1/board")
        except UploadGateError:
            return []
        assert isinstance(page, dict)
        return [pause["id"] for pause in page["pauses"]]

    def decision(self, account: str, class_: str = "new") -> str:
        """What it decides about an upload."""
        upload = f'{{"upload_id":"u-{account}","account":{{"id":"{account}","class":"{class_}"}},"media":{{"kind":"image"}}}}'
        answer = post_json(f"{self.url}/v1/check", upload.encode(), None)
        assert isinstance(answer, dict)
        return str(answer["decision"])

    def end(self, how: signal.Signals) -> None:
        """End it and wait until it is over."""
        self.process.send_signal(how)
        self.process.wait(20)


@contextmanager
def gate(state: Path, redis: str, prefix: str, name: str, clock_ahead_s: int = 0) -> Iterator[Running]:
    """A gate that runs and answers; with `clock_ahead_s` its host's clock is ahead of everybody's by so much."""
    port, admin = free_port(), free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("UPLOAD_GATE_")},
        "UPLOAD_GATE_STATE": str(state), "UPLOAD_GATE_REDIS": redis, "UPLOAD_GATE_PREFIX": prefix,
        "UPLOAD_GATE_SALT": "a salt for this test", "UPLOAD_GATE_NAME": name,
        "UPLOAD_GATE_PORT": str(port), "UPLOAD_GATE_ADMIN_PORT": str(admin),
    }  # fmt: skip
    state.mkdir(exist_ok=True)
    with (state / "log").open("wb") as log:
        process = subprocess.Popen([*_program(clock_ahead_s), "serve"], env=environment, stderr=log)
    running = Running(process, f"http://127.0.0.1:{admin}", state / "log", f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _answers(running), timeout_s=30)
        yield running
    finally:
        if process.poll() is None:
            running.end(signal.SIGTERM)


def _program(clock_ahead_s: int) -> list[str]:
    return [sys.executable, "-c", WITH_CLOCK, str(clock_ahead_s)] if clock_ahead_s else [PROGRAM]


def _answers(running: Running) -> bool:
    assert running.process.poll() is None, running.log.read_text()
    try:
        get_json(f"{running.admin}/v1/board")
    except UploadGateError:
        return False
    return True
