"""From a farm's events to the gate: a worker and a gate as processes of their own, over real servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from gate.local.free_port import free_port
from gate.stores.kafka.topics import declare
from tests.waiting import eventually, wait_until
from tests.workers import WorkerProcess, drained, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

START = "import os; from gate.settings import read_settings; from gate.serve.wiring import run; run(read_settings(os.environ))"
HOUR_S, DAY_S = 3_600, 86_400
FARM, TABLET = "a farm's phone", "a school's tablet"


class GateProcess:
    """A gate that shares salt and prefixes with a worker."""

    def __init__(self, worker: WorkerProcess, redis: str, kafka: str | None, home: Path) -> None:
        self.port, self.numbers, self.log = free_port(), count(), home / "gate.log"
        env = {
            **os.environ,
            "UPLOAD_GATE_REDIS": redis,
            "UPLOAD_GATE_KAFKA": kafka or "",
            "UPLOAD_GATE_PORT": str(self.port),
            "UPLOAD_GATE_ADMIN_PORT": str(free_port()),
            "UPLOAD_GATE_STATE": str(home / "gate"),
        }
        for name in ("UPLOAD_GATE_PREFIX", "UPLOAD_GATE_TOPIC_PREFIX", "UPLOAD_GATE_SALT"):
            env[name] = worker.env[name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", START], env=env, stdout=log, stderr=log)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def check(self, device: str) -> Any:
        """The decision on the first upload of an account that nobody has seen."""
        number = next(self.numbers)
        body = {
            "upload_id": f"u-{number}",
            "account": {"id": f"nobody-{number}", "class": "new"},
            "media": {"kind": "image"},
            "device": device,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/check", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())


@contextmanager
def gate_of(worker: WorkerProcess, redis: str, kafka: str | None, home: Path) -> Iterator[GateProcess]:
    """A gate, answering; ended at the end."""
    gate = GateProcess(worker, redis, kafka, home)
    try:
        wait_until(gate.answers, timeout_s=30.0)
        yield gate
    finally:
        gate.process.terminate()
        gate.process.wait(20)


def attempted(account: str, device: str, ago_s: float, age_s: float) -> tuple[bytes, bytes]:
    now = time.time() - ago_s
    body = {
        "type": "attempted",
        "id": f"e-{account}-{ago_s}",
        "at": _utc(now),
        "account": {"id": account, "created_at": _utc(now - age_s)},
        "upload_id": f"u-{account}-{ago_s}",
        "media": {"kind": "image", "bytes": 1_000},
        "device": device,
    }
    return account.encode(), json.dumps(body).encode()


def _utc(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


@pytest.mark.parametrize("way", ["kafka", "redis"])
async def test_the_first_upload_from_a_farms_device_meets_what_the_farm_has_earned(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path, way: str
) -> None:
    only_kafka = way == "kafka"
    with worker_of(unique(), kafka_bootstrap, None if only_kafka else redis_url, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=30.0)
        with gate_of(worker, redis_url, kafka_bootstrap if only_kafka else None, tmp_path) as gate:
            pupils = [
                attempted(f"pupil-{pupil}", TABLET, ago_s=hours * HOUR_S, age_s=400 * DAY_S)
                for hours in (12, 10, 8, 6, 4, 2)
                for pupil in range(30)
            ]
            await write(kafka_bootstrap, worker.topics, pupils)
            await drained(kafka_bootstrap, worker)
            before = gate.check(FARM)

            bots = [attempted(f"bot-{bot}", FARM, ago_s=1, age_s=20) for bot in range(30)]
            await write(kafka_bootstrap, worker.topics, bots)
            began = time.monotonic()
            met = await _challenged(gate)
            took_s = time.monotonic() - began

            school = gate.check(TABLET)

    print(f"\nfrom the farm's last event to the gate by {way}: {took_s * 1000:.0f} ms")
    assert before["decision"] == "allow"
    assert (met["decision"], met["stage"], met["reason"]) == ("challenge", "score", "score.challenge")
    assert school["decision"] == "allow"


async def _challenged(gate: GateProcess) -> Any:
    """The first refusal by score of an account that nobody has seen."""
    async with asyncio.timeout(30.0):
        while True:
            answer = await asyncio.to_thread(gate.check, FARM)
            if answer["stage"] == "score" and answer["decision"] != "review":
                return answer
            await asyncio.sleep(0.01)
