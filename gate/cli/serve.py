"""`serve`: runs a gate in the foreground until a signal ends it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

PolicyFlag = Annotated[
    Path | None,
    typer.Option("--policy", help="Policy file, or a preset (calm, raid, closed); the shipped one otherwise."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="serve")(serve)


def serve(
    state: Annotated[
        Path | None, typer.Option("--state", help="Directory for the snapshot of the pauses and the break-glass file.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option("--redis", help="Redis of all gates, redis://[:password@]host:port/0.")
    ] = None,
    kafka: Annotated[
        str | None, typer.Option("--kafka", help="Kafka for the decisions, host:port; none are published without it.")
    ] = None,
    policy: PolicyFlag = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Check port: the port at which upload services ask.")
    ] = None,
    admin_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the admin API.")] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Separate port for /metrics, /healthz and /readyz.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes on the check port, each with its own metrics port.")
    ] = 1,
    tokens: Annotated[Path | None, typer.Option(help="File of service tokens, which `token new` writes.")] = None,
) -> None:
    """Run one gate. Flags win over the environment (UPLOAD_GATE_*).

    On loopback it answers everyone until there is a token (`upload-gate token new NAME`). Beyond loopback it starts only
    with a token, asks every caller for one, and serves /metrics and health on a port of their own.

    With --workers N it supervises N such processes on one port, and starts a crashed process again. The metrics port is
    then the supervisor's: its page /prometheus/targets lists the metrics port of each process, for Prometheus' HTTP service
    discovery. Their admin ports are --admin-port and the next ones.

    Example: upload-gate serve --redis redis://10.0.0.5:6379/0 --port 8390
    """
    from gate.cli.addresses import salt_of_up
    from gate.errors import LocalServerError, SettingInvalid
    from gate.serve.wiring import run, run_workers
    from gate.settings import PREFIX, read_settings

    given = {
        "STATE": state, "REDIS": redis, "KAFKA": kafka, "POLICY": policy, "HOST": host, "PORT": port,
        "ADMIN_PORT": admin_port, "METRICS_PORT": metrics_port, "TOKENS": tokens,
    }  # fmt: skip
    flags = {f"{PREFIX}{name}": str(value) for name, value in given.items() if value is not None}
    environment = {**os.environ, **flags}
    try:
        settings = read_settings(environment)
        if settings.salt_is_default and (salt := salt_of_up(settings.state, "redis", settings.redis)):
            environment[f"{PREFIX}SALT"] = salt
        if workers == 1:
            run(read_settings(environment))
        else:
            run_workers(workers, environment)
    except (SettingInvalid, LocalServerError) as error:
        raise type(error)(typed_names(error.problem, flags), typed_names(error.remedy, flags)) from None


def typed_names(text: str, flags: Iterable[str]) -> str:
    """`text` with the flag that was typed in place of the variable it stands for."""
    for variable in sorted(flags, key=len, reverse=True):
        flag = "--" + variable.removeprefix("UPLOAD_GATE_").lower().replace("_", "-")
        text = re.sub(rf"\b{variable}\b", flag, text)
    return text
