"""The whole on one machine: how soon `upload-gate up` answers when started again, and what it costs while nothing comes.

The first start makes the state directory and is not counted. A start is timed from the command to its JSON line, which
comes once all answer; rest is the CPU and memory of every process below `up`, a while after that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.local.process import tail
from tests.bench import proc
from tests.bench.report import BenchError, Spec
from tests.bench.stage import ROOT, Stage, own_environment

SETTLE_S = 6.0
REST_S = 20.0
STOP_WITHIN_S = 30.0

_START = Spec("upload-gate up, second start to all answering", "s", 15, 8)
_IDLE = Spec("upload-gate up, idle CPU of all processes", "% of a core", 15, 8)
_MEMORY = Spec("upload-gate up, memory of all processes", "MB", 900, 600)
SPECS = (_START, _IDLE, _MEMORY)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Start, rest, stop, `rounds` times on one state directory. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    state = stage.home / "up"
    stage.say("machine: first start, not counted")
    with _up(state):
        pass
    for turn in range(rounds):
        stage.say(f"machine: round {turn + 1} of {rounds}")
        with _up(state) as (pid, seconds):
            found[_START].append(seconds)
            idle, memory = _rest(stage, pid)
            found[_IDLE].append(idle)
            found[_MEMORY].append(memory)
    return found


def _rest(stage: Stage, pid: int) -> tuple[float, float]:
    """CPU in percent of a core, PSS in MB."""
    time.sleep(SETTLE_S)
    processes = proc.tree(pid)
    shares = {one: proc.cpu_s(one) for one in processes}
    before, began = proc.cpu_s(pid), time.monotonic()
    time.sleep(REST_S)
    used, passed = proc.cpu_s(pid) - before, time.monotonic() - began
    if set(processes) - set(proc.tree(pid)):
        raise BenchError("a process of `upload-gate up` ended while it was idle")
    for one in processes[1:]:
        share = (proc.cpu_s(one) - shares[one]) / passed * 100
        stage.say(f"machine: {share:5.1f} % {proc.pss_mb(one):6.0f} MB  {proc.title(one)}")
    return used / passed * 100, proc.pss_mb(pid)


@contextmanager
def _up(state: Path) -> Iterator[tuple[int, float]]:
    """`upload-gate up` that answers: its process id and how many seconds it took."""
    log = state.with_name("up.log")
    began = time.monotonic()
    command = [str(Path(sys.executable).with_name("upload-gate")), "up", "--no-traffic", "--state", str(state)]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "-o", "json"],
            cwd=ROOT, env=own_environment(), stdout=subprocess.PIPE, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout is not None else b""
        seconds = time.monotonic() - began
        try:
            json.loads(line)
        except ValueError:
            raise BenchError(f"upload-gate up said {line!r}; its last lines:\n{tail(log)}") from None
        yield process.pid, seconds
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its children end at its death
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
