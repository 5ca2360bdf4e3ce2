"""Gate processes of the bench: started with a Redis of the stage, awaited until they answer, ended with the block."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gate.local.free_port import LOOPBACK, free_port
from gate.local.process import Child
from gate.local.sample import fetch
from tests.bench.report import BenchError
from tests.bench.stage import Stage, await_


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate that answers."""

    child: Child
    port: int
    admin_port: int

    @property
    def pid(self) -> int:
        """Its process id. Raises BenchError when it has ended."""
        if self.child.pid is None:
            raise BenchError(f"{self.child.name} has ended:\n{self.child.tail()}")
        return self.child.pid

    def decide(self, class_: str) -> str:
        """The decision for one upload of an account of that class."""
        return decide_at(self.port, class_)


def decide_at(port: int, class_: str) -> str:
    """The decision of the gate at `port` for one upload of an account of that class. Raises OSError without an answer."""
    body = {"upload_id": f"try-{free_port()}", "account": {"id": "try", "class": class_}, "media": {"kind": "image"}}
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("POST", "/v1/check", json.dumps(body), {"Content-Type": "application/json"})
        return str(json.loads(connection.getresponse().read())["decision"])
    finally:
        connection.close()


@contextmanager
def gate(stage: Stage, environment: dict[str, str]) -> Iterator[Gate]:
    """Start a gate and wait until it answers. `environment` is what all gates of one system share."""
    port, admin_port = free_port(), free_port()
    state = stage.home / f"gate-{port}"
    state.mkdir()
    ports = {"UPLOAD_GATE_PORT": str(port), "UPLOAD_GATE_ADMIN_PORT": str(admin_port)}
    given = {**environment, **ports, "UPLOAD_GATE_STATE": str(state)}
    with stage.process("gate", ["-m", "gate.cli.main", "serve"], given) as child:
        await_(child, lambda: fetch(f"http://{LOOPBACK}:{port}/metrics") is not None, "its first answer", 30)
        yield Gate(child, port, admin_port)


def gate_environment(stage: Stage, name: str, kafka: bool = False) -> dict[str, str]:
    """The settings of the gates of one system: servers of the stage, names nobody else uses."""
    state = stage.home / name
    state.mkdir(exist_ok=True)
    given = {
        "UPLOAD_GATE_REDIS": stage.redis().url,
        "UPLOAD_GATE_SALT": "bench",
        "UPLOAD_GATE_STATE": str(state),
        "UPLOAD_GATE_PREFIX": f"{name}.",
        "UPLOAD_GATE_TOPIC_PREFIX": f"{name}.",
    }
    return {**given, "UPLOAD_GATE_KAFKA": stage.kafka().bootstrap} if kafka else given
