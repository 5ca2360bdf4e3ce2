"""`serve` and `worker`: become a gate, or the stream worker, in the foreground until a signal ends it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.addresses import RedisFlag, StateFlag, resolve_addresses

KafkaFlag = Annotated[str | None, typer.Option("--kafka", help="Kafka bootstrap servers, host:port.")]
PolicyFlag = Annotated[Path | None, typer.Option("--policy", help="Policy file; the packaged one otherwise.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="serve")(serve)
    app.command(name="worker")(worker)


def serve(
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    policy: PolicyFlag = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port for checks.")] = None,
    admin_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the admin API.")] = None,
) -> None:
    """Run one gate. Flags win over the environment (UPLOAD_GATE_*).

    Example: upload-gate serve --redis redis://10.0.0.5:6379/0 --port 8390
    """
    from gate.serve.wiring import run
    from gate.settings import read_settings

    given = {
        "STATE": state, "REDIS": redis, "KAFKA": kafka, "POLICY": policy, "HOST": host, "PORT": port,
        "ADMIN_PORT": admin_port,
    }  # fmt: skip
    flags = {f"UPLOAD_GATE_{name}": str(value) for name, value in given.items() if value is not None}
    run(read_settings({**os.environ, **flags}))


def worker(state: StateFlag = None, redis: RedisFlag = None, kafka: KafkaFlag = None) -> None:
    """Run one stream worker: events from Kafka in, scores to Kafka and Redis out.

    Example: upload-gate worker --kafka 10.0.0.6:9092
    """
    addresses = resolve_addresses(state, redis=redis, kafka=kafka)
    found = {"STATE": str(addresses.state), "REDIS": addresses.redis, "KAFKA": addresses.kafka}
    environment = {**os.environ, **{f"UPLOAD_GATE_{name}": value for name, value in found.items()}}
    # a process of its own kind: this one imported nothing the worker does not want, and signals reach it directly
    os.execve(sys.executable, [sys.executable, "-m", "streams.worker"], environment)
