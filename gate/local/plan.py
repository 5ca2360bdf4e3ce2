"""What `upload-gate up` is to start, where, and on which ports: all of it settled before the first process runs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gate.local.free_port import LOOPBACK, free_port
from gate.settings import DEFAULT_PORTS

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator typed. A `redis` or `kafka` that is given is used, not started."""

    state: Path
    redis: str | None = None
    kafka: str | None = None
    policy: Path | None = None
    scorecard: Path | None = None
    traffic: bool = True
    rate: float = 20.0
    seed: int = 7
    replay: Path | None = None
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything will be. `notes` tells which ports had to move."""

    options: Options
    redis: str
    redis_port: int | None
    kafka: str
    kafka_port: int | None
    gate_port: int
    admin_port: int
    worker_port: int
    salt: str = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def gate(self) -> str:
        """The gate's base URL."""
        return f"http://{LOOPBACK}:{self.gate_port}"

    @property
    def admin(self) -> str:
        """The admin port's base URL."""
        return f"http://{LOOPBACK}:{self.admin_port}"

    @property
    def metrics(self) -> tuple[str, str]:
        """Every page to scrape, the gate's first."""
        return (f"{self.gate}/metrics", f"http://{LOOPBACK}:{self.worker_port}/metrics")

    def address_line(self) -> str:
        """The one line of JSON that tells other programs where everything is."""
        line = {"gate": self.gate, "admin": self.admin, "redis": self.redis, "kafka": self.kafka}
        return json.dumps({**line, "metrics": list(self.metrics)})

    def addresses(self) -> list[tuple[str, str]]:
        """The same for people."""
        return [
            ("gate", f"{self.gate}/v1/check"),
            ("admin", self.admin),
            ("metrics", "  ".join(self.metrics)),
            ("redis", self.redis),
            ("kafka", self.kafka),
            ("logs", str(self.options.state / "log")),
        ]

    def environment(self) -> dict[str, str]:
        """What our own processes are told."""
        given = {
            "UPLOAD_GATE_STATE": str(self.options.state),
            "UPLOAD_GATE_REDIS": self.redis,
            "UPLOAD_GATE_KAFKA": self.kafka,
            "UPLOAD_GATE_GATE": self.gate,
            "UPLOAD_GATE_ADMIN": self.admin,
            "UPLOAD_GATE_SALT": self.salt,
            "UPLOAD_GATE_WORKER_METRICS_PORT": str(self.worker_port),
        }
        if self.options.policy is not None:
            given["UPLOAD_GATE_POLICY"] = str(self.options.policy)
        if self.options.scorecard is not None:
            given["UPLOAD_GATE_SCORECARD"] = str(self.options.scorecard)
        return given


def make_plan(options: Options, pick: Callable[[int | None], int] = free_port) -> Plan:
    """Settle ports and salt. A taken default port moves to a free one, and a note says so."""
    notes: list[str] = []

    def port(name: str) -> int:
        wanted = DEFAULT_PORTS[name]
        got = pick(wanted)
        if got != wanted:
            notes.append(f"port {wanted} is taken: {name} moves to {got}")
        return got

    redis_port = None if options.redis is not None else port("redis")
    kafka_port = None if options.kafka is not None else port("kafka")
    return Plan(
        options=options,
        redis=options.redis or f"redis://{LOOPBACK}:{redis_port}/0",
        redis_port=redis_port,
        kafka=options.kafka or f"{LOOPBACK}:{kafka_port}",
        kafka_port=kafka_port,
        gate_port=port("gate"),
        admin_port=port("admin"),
        worker_port=port("worker"),
        salt=keep_salt(options.state / "salt"),
        notes=tuple(notes),
    )


def keep_salt(path: Path) -> str:
    """The salt of the pseudonyms on this machine, made once and kept where only its owner reads it."""
    if path.exists():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    salt = secrets.token_hex(SALT_BYTES)
    path.touch(mode=0o600)
    path.write_text(salt + "\n")
    return salt
