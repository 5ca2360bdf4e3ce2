"""A signal at any moment of a worker's life ends it properly: while it imports, connects, opens partitions, works."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.local.free_port import free_port
from tests.waiting import wait_until
from tests.workers import WorkerProcess, worker_of

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks at processes through /proc"),
]


def _proc(worker: WorkerProcess, name: str) -> str:
    assert worker.process is not None
    return Path(f"/proc/{worker.process.pid}/{name}").read_text()


def _hears(worker: WorkerProcess) -> bool:
    caught = next(line for line in _proc(worker, "status").splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


MOMENTS: dict[str, Callable[[WorkerProcess], object]] = {
    "it hears signals": _hears,
    "it is half way through its imports": lambda worker: "aiokafka" in _proc(worker, "maps"),
    "it starts": lambda worker: worker.said("worker of group"),
    "it joined the group": lambda worker: worker.said("assigned"),
    "its first partition is open": lambda worker: worker.said("this worker reads from offset"),
    "all its partitions are open": lambda worker: worker.said("this worker reads from offset") == 4,
}


def _ended_properly(worker: WorkerProcess, code: int) -> None:
    assert code == 0, worker.log.read_text()
    for trouble in ("Traceback", "never retrieved", "Unclosed", "not everything"):
        assert worker.said(trouble) == 0, worker.log.read_text()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_the_worker_properly_once(
    moment: str, kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()
        wait_until(lambda: MOMENTS[moment](worker), timeout_s=30.0, every_s=0.001)

        code = worker.end()

    _ended_properly(worker, code)


def test_a_signal_while_kafka_is_away_ends_the_worker_properly(unique: Callable[[], str], tmp_path: Path) -> None:
    with worker_of(unique(), f"127.0.0.1:{free_port()}", None, tmp_path) as worker:
        worker.start()
        wait_until(lambda: worker.said("Kafka is away"), timeout_s=30.0)

        code = worker.end(signal.SIGINT)

    _ended_properly(worker, code)


def test_a_signal_before_the_interpreter_comes_to_us_leaves_nothing_begun(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        worker.start()

        code = worker.end()

    assert code in (0, -signal.SIGTERM)
    assert worker.log.read_text() == ""


def test_nothing_that_takes_time_is_imported_before_signals_are_heard() -> None:
    slow = ("faust", "aiokafka", "uvloop", "asyncio", "msgspec", "logging", "prometheus_client")
    code = f"import sys, streams.worker; print(*[name for name in {slow} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stdout.split() == []
