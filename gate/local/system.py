"""The whole system on one machine: starts the parts, waits until all answer, and ends them.

Kafka takes longest to start. The gate and the worker start at the same time and wait for it by themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gate.errors import LocalServerError
from gate.local import parts
from gate.local.jars import default_cache, fetch_jars
from gate.local.plan import Plan
from gate.local.process import tail
from gate.local.sample import pages_of, take_snapshot
from gate.local.stop_request import StopRequest
from gate.local.supervise import Supervisor
from gate.stores.disk.whole_file import write_private

READY_WITHIN_S = 120.0
ACCEPTS_WITHIN_S = 0.3
QUIET_FOR_S = 2.5
"""A wait that lasts longer is explained."""


class System:
    """One run of `upload-gate up`. `say` gets one line per incident; setting `stop_request` requests the end."""

    def __init__(self, plan: Plan, say: Callable[[str], None], stop_request: StopRequest) -> None:
        self.plan = plan
        self.supervisor = Supervisor(say)
        self._say = say
        self._stop_request = stop_request

    def start(self) -> bool:
        """Start all parts and wait until all answer. Returns False if the end was requested meanwhile.

        Raises OperatorError for options that a process cannot use, and LocalServerError. Call `stop` afterwards in any case.
        """
        plan = self.plan
        added = parts.added_processes(plan)
        if plan.redis_port is not None:
            self.supervisor.start(parts.redis(plan))
        jars = fetch_jars(default_cache(), self._say) if plan.kafka_port is not None else None
        if self._stop_request.is_set():
            return False
        own = [parts.gate(plan), *(process for process in added if not process.starts_last)]
        with ThreadPoolExecutor(1) as pool:
            kafka = pool.submit(self._start_kafka, jars)
            for part in own:
                self.supervisor.start(part)
            ready = self._await(kafka.done, own, "Apache Kafka")
            if ready:
                kafka.result()
        if not ready or not self._await(self._answers, own, " and ".join(part.name for part in own)):
            return False
        for part in added:
            if part.starts_last:
                self.supervisor.start(part)
        write_private(plan.options.state / "up.json", plan.up_file() + "\n")
        return True

    def stop(self) -> None:
        """End all parts that were started."""
        (self.plan.options.state / "up.json").unlink(missing_ok=True)
        self.supervisor.stop()

    def _start_kafka(self, jars: Path | None) -> None:
        if jars is not None:
            self.supervisor.start(parts.kafka(self.plan, jars, self._say))

    def _answers(self) -> bool:
        now = take_snapshot(pages_of(self.plan))
        return now.decisions is not None and (self.plan.worker_port is None or now.partitions > 0)

    def _await(self, ready: Callable[[], bool], own: list[parts.Process], what: str) -> bool:
        began = time.monotonic()
        deadline, explained = began + READY_WITHIN_S, False
        while not ready():
            for part in own:
                if (status := part.poll()) is not None:
                    raise LocalServerError(
                        f"{part.name} ended while starting (status {status}); its log is {part.log}, "
                        f"last lines:\n{tail(part.log)}"
                    )
            if not explained and time.monotonic() > began + QUIET_FOR_S:
                explained = True
                self._say(f"waiting for {what} to answer{self._what_for()}")
            if time.monotonic() > deadline:
                raise LocalServerError(
                    f"{what} did not answer within {READY_WITHIN_S:.0f} s; logs: {own[0].log.parent}"
                )
            if self._stop_request.wait(0.1):
                return False
        return True

    def _what_for(self) -> str:
        """The part of a message that names another server for which the parts wait."""
        brokers = (self.plan.options.kafka or "").split(",")
        if brokers == [""] or any(accepts(broker) for broker in brokers):
            return ""
        return f"; nothing accepts connections at {self.plan.options.kafka}, the Kafka that --kafka names"


def accepts(address: str) -> bool:
    """Whether something accepts connections at `host:port`."""
    host, _, port = address.strip().rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ACCEPTS_WITHIN_S):
            return True
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def sole_owner(state: Path) -> Iterator[None]:
    """Hold the lock of the state directory. Raises LocalServerError if another `up` uses it."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds devices, addresses and captions
        lock = (state / "up.lock").open("w")
    except OSError as error:
        is_other = isinstance(error, FileExistsError | NotADirectoryError)
        why = "it, or what it lies in, is a file" if is_other else error.strerror
        raise LocalServerError(f"cannot use the state directory {state}: {why}; choose one with --state") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalServerError(
                f"upload-gate up runs already with the state directory {state}; stop it first, or choose another --state"
            ) from None
        yield
