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


class Redis:
    """The embedded Redis-compatible server."""

    name = "redis"

    def __init__(self, plan: Plan) -> None:
        self._server = LocalRedis(plan.options.state / "redis", plan.redis_port or 0)
        self.log = self._server.log

    def start(self) -> None:
        """Start and wait until it answers."""
        self._server.start()

    def poll(self) -> int | None:
        """The exit status once it has ended."""
        return self._server.poll()

    def stop(self) -> None:
        """End it with its data on disk."""
        self._server.stop()


class Kafka:
    """The embedded Apache Kafka; its jars are fetched at the first start."""

    name = "kafka"

    def __init__(self, plan: Plan, jars: Path, say: Callable[[str], None]) -> None:
        self._server = LocalKafka(plan.options.state / "kafka", plan.kafka_port or 0, jars, say)
        self.log = self._server.log

    def start(self) -> None:
        """Start and wait until it answers."""
        self._server.start()

    def poll(self) -> int | None:
        """The exit status once it has ended."""
        return self._server.poll()

    def stop(self) -> None:
        """End it with its logs closed."""
        self._server.stop()


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
