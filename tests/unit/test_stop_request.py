"""A request to stop survives signals that interrupt each other, and wakes every thread that waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from gate.local.stop_request import StopRequest

SIGNALLED = """
import signal, sys
from gate.local.stop_request import StopRequest
request = StopRequest()
signal.signal(signal.SIGUSR1, lambda *_: request.set())
print("ready", flush=True)
while not request.wait(0.0005):
    pass
for _ in range(20000):
    request.set()
print("ended", flush=True)
"""


def test_a_storm_of_signals_ends_the_wait_once_and_blocks_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", SIGNALLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    deadline = time.monotonic() + 30.0
    while process.poll() is None and time.monotonic() < deadline:
        try:
            os.kill(process.pid, signal.SIGUSR1)
        except ProcessLookupError:
            break
    said, _ = process.communicate(timeout=10)

    assert said == "ended\n"
    assert process.returncode in (0, -signal.SIGUSR1)


def test_every_thread_that_waits_is_woken() -> None:
    request = StopRequest()
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(request.wait(30.0))) for _ in range(5)]
    for thread in threads:
        thread.start()

    request.set()
    for thread in threads:
        thread.join(30.0)

    assert woken == [True] * 5
    assert request.is_set()


def test_without_a_request_the_wait_ends_with_its_time() -> None:
    assert not StopRequest().wait(0.001)
