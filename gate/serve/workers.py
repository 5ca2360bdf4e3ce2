"""`serve --workers N`: N gate processes on one port, supervised. Each is a gate of its own with its own name and metrics.

The kernel deals the connections out to the processes (SO_REUSEPORT). A process that ends or stops answering is started
again, and the log says so. On SIGTERM all processes finish their requests and end. When the supervisor dies, its
processes see their standard input end, and end too.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from gate.core.pause.board import Board, merge
from gate.errors import LocalServerError, OperatorError, StateUnreadable, file_problem
from gate.policyfile import load_policy
from gate.serve.server import listening, serving
from gate.serve.service_tokens import tokens_of
from gate.serve.worker_pages import TARGETS_PATH, WorkerPages, WorkerState
from gate.settings import PREFIX, Settings, worker_settings
from gate.stores.disk.snapshot import BoardSnapshot

log = logging.getLogger("upload_gate.workers")

CHECK_EVERY_S: Final = 1.0
ANSWERS_WITHIN_S: Final = 2.0
UNANSWERED: Final = 3
"""After so many checks of its health without an answer a process is killed; each takes up to `ANSWERS_WITHIN_S`."""
STARTS_WITHIN_S: Final = 30.0
END_WITHIN_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
USAGE: Final = 2
"""The exit status of a process whose settings are unusable: starting it again would change nothing."""


class Worker:
    """One process, started again for as long as the supervisor runs."""

    def __init__(self, number: int, settings: Settings, environment: Mapping[str, str]) -> None:
        self.number = number
        self.restarts = 0
        self.answers = False
        self.failed: int | None = None
        self._settings = worker_settings(settings, number)
        self._environment = {**environment, **self._settings.environment}
        self._process: Process | None = None
        self._stop = asyncio.Event()

    @property
    def state(self) -> WorkerState:
        """The state of the process, for the pages."""
        pid = None if self._process is None or self._process.returncode is not None else self._process.pid
        return WorkerState(
            self.number,
            pid,
            self.answers and pid is not None,
            self.restarts,
            self._settings.metrics,
            self._settings.admin,
        )

    async def run(self) -> None:
        """Run the process until `stop`; return early, with `failed`, where it cannot start."""
        pause_s = 0.0
        while not self._stop.is_set():
            began = asyncio.get_running_loop().time()
            how = await self._once()
            if self._stop.is_set():
                return
            if self.failed is not None:
                log.error("worker %d cannot start (%s)", self.number, how)
                return
            lived_s = asyncio.get_running_loop().time() - began
            pause_s = 0.0 if lived_s > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, pause_s * 2))
            self.restarts += 1
            log.error("worker %d %s after %.0f s; it is started again in %.1f s", self.number, how, lived_s, pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()

    async def _once(self) -> str:
        """Run it once to its end, and return how it ended."""
        _hand_down_board(self._settings)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gate.cli.main", "serve", env=self._environment, stdin=PIPE
            )
        except OSError as error:  # the machine may lack memory or files for a moment, and the other processes go on
            return f"could not be started ({file_problem(error)})"
        self._process = process
        if self._stop.is_set():  # while the process was started there was none to stop
            self.stop()
        answered_once = False
        missed, deadline = 0, asyncio.get_running_loop().time() + STARTS_WITHIN_S
        while process.returncode is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY_S):
                    await process.wait()
                    break
            self.answers = await _answers(self._settings)
            missed = 0 if self.answers else missed + 1
            answered_once = answered_once or self.answers
            late = missed >= UNANSWERED if answered_once else asyncio.get_running_loop().time() > deadline
            if late and not self._stop.is_set():
                log.error("worker %d does not answer and is killed", self.number)
                self.kill()
        self.answers = False
        status = await process.wait()
        if status == USAGE and not answered_once and self.restarts == 0:
            self.failed = status
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Let it finish its requests and end."""
        self._stop.set()
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)


async def supervise(settings: Settings, workers: int, environment: Mapping[str, str]) -> None:
    """Serve with `workers` processes until SIGTERM or SIGINT. `environment` is that of the processes.

    Raises OperatorError if no process could start with these settings.
    """
    load_policy(settings.policy)
    tokens_of(settings, lambda text: None)
    with listening(settings.host, settings.port, f"{PREFIX}PORT"):
        pass  # the kernel would let another gate share the port without an error
    pool = [Worker(number, settings, environment) for number in range(1, workers + 1)]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _signal_all, pool, signal.SIGHUP)
    pages = WorkerPages(lambda: [worker.state for worker in pool], settings.metrics)
    async with AsyncExitStack() as stack:
        assert settings.metrics_port is not None
        place = stack.enter_context(listening(settings.metrics_host, settings.metrics_port, f"{PREFIX}METRICS_PORT"))
        await stack.enter_async_context(serving(pages, place))
        tasks = [asyncio.create_task(worker.run(), name=f"worker {worker.number}") for worker in pool]
        log.info("%d workers on %s; their metrics: %s%s", workers, settings.gate, settings.metrics, TARGETS_PATH)
        waiting = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await _end(pool, tasks)
    if any(worker.failed is not None for worker in pool):
        raise OperatorError("the workers cannot start with these settings", "the log above says why")
    if not stop.is_set():
        raise LocalServerError("the workers have ended by themselves", "the log above says why")


def _signal_all(pool: list[Worker], number: signal.Signals) -> None:
    for worker in pool:
        worker.signal(number)


async def _end(pool: list[Worker], running: list[asyncio.Task[None]]) -> None:
    """Let every process finish its requests; kill those that do not end."""
    for worker in pool:
        worker.stop()
    _, late = await asyncio.wait(running, timeout=END_WITHIN_S)
    if late:
        log.error("%d workers did not end within %.0f s and are killed", len(late), END_WITHIN_S)
        for worker in pool:
            worker.kill()
        for task in late:
            task.cancel()  # it may also wait to start its process again
    await asyncio.gather(*running, return_exceptions=True)


async def _answers(settings: Settings) -> bool:
    """Whether a process answers on its metrics port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.metrics_host, settings.metrics_host)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            reader, writer = await asyncio.open_connection(host, settings.metrics_port)
            try:
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


def _hand_down_board(settings: Settings) -> None:
    """Write into a process's snapshot the pauses that only its siblings' hold, so that pauses survive any count of
    processes, and a snapshot that cannot be read.
    """
    own = BoardSnapshot(settings.board_snapshot)
    known, board, clock = _snapshot_of(own), Board(), None
    for path in sorted({own.path, *settings.state.glob("board*.json")}, key=_modified):
        snapshot = BoardSnapshot(path)
        found = _snapshot_of(snapshot)
        if found is not None:
            board, clock = merge(board, found), snapshot.clock or clock
    if not board.rev or (known is not None and merge(known, board) == known):
        return
    with suppress(OSError, StateUnreadable):
        if known is None and own.path.exists():
            log.error("%s cannot be read and is kept as %s", own.path, own.set_aside())
        own.write(board, clock)


def _snapshot_of(snapshot: BoardSnapshot) -> Board | None:
    """The board of a snapshot; None where there is none that can be read."""
    with suppress(OSError, StateUnreadable):
        return snapshot.read()
    return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
