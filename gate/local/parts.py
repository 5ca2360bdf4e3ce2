"""The parts of one machine's Upload Gate as the supervisor sees them: two servers, and three processes of our own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from gate.local.kafka import LocalKafka
from gate.local.plan import Plan
from gate.local.process import Child
from gate.local.redis import LocalRedis

GRACE_S = 6.0


class Process:
    """One of our own Python processes; its output goes to a log file of its name."""

    def __init__(self, name: str, module: str, arguments: list[str], environment: dict[str, str], state: Path) -> None:
        self.name = name
        self.log = state / "log" / f"{name}.log"
        self._child = Child(
            name,
            [sys.executable, "-m", module, *arguments],
            log=self.log,
            pid_file=state / f"{name}.pid",
            env={**os.environ, **environment},
        )

    def start(self) -> None:
        """Start it; whether it is ready is asked over HTTP."""
        self._child.start()

    def poll(self) -> int | None:
        """The exit status once it has ended."""
        return self._child.poll()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what has not ended in time."""
        self._child.stop(GRACE_S)


def redis(plan: Plan) -> LocalRedis:
    """The embedded Redis-compatible server."""
    return LocalRedis(plan.options.state / LocalRedis.name, plan.redis_port or 0)


def kafka(plan: Plan, jars: Path, say: Callable[[str], None]) -> LocalKafka:
    """The embedded Apache Kafka."""
    return LocalKafka(plan.options.state / LocalKafka.name, plan.kafka_port or 0, jars, say)


def gate(plan: Plan) -> Process:
    """The gate itself."""
    given = {
        **plan.environment(),
        "UPLOAD_GATE_PORT": str(plan.gate_port),
        "UPLOAD_GATE_ADMIN_PORT": str(plan.admin_port),
    }
    return Process("gate", "gate.cli.main", ["serve"], given, plan.options.state)


def worker(plan: Plan) -> Process:
    """The stream worker."""
    return Process("worker", "streams.worker", [], plan.environment(), plan.options.state)


def traffic(plan: Plan) -> Process:
    """Simulated uploads, or recorded ones."""
    options = plan.options
    arguments = ["--gate", plan.gate, "--kafka", plan.kafka]
    if options.replay is None:
        arguments += ["--rate", f"{options.rate:g}", "--seed", str(options.seed)]
    else:
        arguments += ["--replay", str(options.replay), "--speed", f"{options.speed:g}"]
    return Process("traffic", "streams.traffic", arguments, plan.environment(), options.state)
