"""The parts of one machine's Upload Gate as the supervisor sees them: two servers, the gate, and what packages add.

Other packages add processes through entry points of the group `upload_gate.processes`: the entry's name is the
process's, its value a function from the plan to a `ProcessSpec`, or to None if this run does not need the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

from gate.errors import LocalServerError
from gate.local.kafka import LocalKafka
from gate.local.plan import Plan, process_entries
from gate.local.process import Child
from gate.local.redis import LocalRedis

GRACE_S = 6.0


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How to run one process: `python -m module arguments`, with the plan's environment and `environment` on top.

    A process that `starts_last` is started once all others answer, and `up` does not wait for it. `when_done` is what `up`
    says once the process has ended with status 0; a process without it is started again then.
    """

    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    starts_last: bool = False
    when_done: str = ""


class Process:
    """One Python process. Its output goes to a log file with its name."""

    def __init__(self, name: str, spec: ProcessSpec, environment: Mapping[str, str], state: Path) -> None:
        self.name = name
        self.starts_last = spec.starts_last
        self.when_done = spec.when_done
        self.log = state / "log" / f"{name}.log"
        self._child = Child(
            name,
            [sys.executable, "-m", spec.module, *spec.arguments],
            log=self.log,
            pid_file=state / f"{name}.pid",
            env={**os.environ, **environment, **spec.environment},
        )

    def start(self) -> None:
        """Start it and return at once. `System` checks over HTTP whether it is ready."""
        self._child.start()

    def poll(self) -> int | None:
        """The exit status once it has ended."""
        return self._child.poll()

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it has not ended within `GRACE_S`."""
        self._child.stop(GRACE_S)


def redis(plan: Plan) -> LocalRedis:
    """The embedded Redis-compatible server."""
    return LocalRedis(plan.options.state / LocalRedis.name, plan.redis_port or 0)


def kafka(plan: Plan, jars: Path, say: Callable[[str], None]) -> LocalKafka:
    """The embedded Apache Kafka."""
    return LocalKafka(plan.options.state / LocalKafka.name, plan.kafka_port or 0, jars, say)


def gate(plan: Plan) -> Process:
    """The gate itself."""
    ports = {"UPLOAD_GATE_PORT": str(plan.gate_port), "UPLOAD_GATE_ADMIN_PORT": str(plan.admin_port)}
    return Process("gate", ProcessSpec("gate.cli.main", ("serve",), ports), plan.environment(), plan.options.state)


def added_processes(plan: Plan, entries: Sequence[EntryPoint] | None = None) -> list[Process]:
    """The processes that installed packages add to this run, in the order of their names.

    Raises LocalServerError if one cannot be loaded.
    """
    processes = []
    for entry in process_entries() if entries is None else entries:
        try:
            spec = entry.load()(plan)
        except (ImportError, AttributeError) as error:
            raise LocalServerError(f"the process {entry.name} ({entry.value}) cannot be loaded: {error}") from error
        if spec is not None:
            processes.append(Process(entry.name, spec, plan.environment(), plan.options.state))
    return processes
