"""Where the running system is: by flag, then environment, then `up.json` in the state directory, then default ports."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from gate.errors import SettingInvalid
from gate.settings import (
    DEFAULT_ADMIN,
    DEFAULT_GATE,
    DEFAULT_KAFKA,
    DEFAULT_PORTS,
    DEFAULT_PREFIX,
    DEFAULT_REDIS,
    default_state,
)

DEFAULT_METRICS = (f"{DEFAULT_GATE}/metrics", f"http://127.0.0.1:{DEFAULT_PORTS['worker']}/metrics")
UP_FILE = "up.json"

StateFlag = Annotated[Path | None, typer.Option("--state", help="State directory of the system to talk to.")]
RedisFlag = Annotated[str | None, typer.Option("--redis", help="Redis of the system, redis://[:password@]host:port/0.")]
GateFlag = Annotated[str | None, typer.Option("--gate", help="A gate's base URL.")]
AdminFlag = Annotated[str | None, typer.Option("--admin", help="A gate's admin base URL.")]


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to find each part. `origin` tells where an address came from, `prefix` begins every Redis key.

    URLs may hold a password and are not in `repr`; show them through `redact`.
    """

    state: Path
    redis: str = field(repr=False)
    kafka: str = field(repr=False)
    gate: str = field(repr=False)
    admin: str = field(repr=False)
    metrics: tuple[str, ...]
    prefix: str
    origin: Mapping[str, str]


def resolve_addresses(
    state: Path | None = None,
    *,
    redis: str | None = None,
    kafka: str | None = None,
    gate: str | None = None,
    admin: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Addresses:
    """The addresses by their order of precedence; an argument is a flag that was given or None.

    Raises SettingInvalid where a value is unusable, or `up.json` is and the address of Redis depends on it.
    """
    home = state or Path(environ.get("UPLOAD_GATE_STATE") or default_state(environ))
    flags = {"redis": redis, "kafka": kafka, "gate": gate, "admin": admin}
    given = {name: value or environ.get(f"UPLOAD_GATE_{name.upper()}") for name, value in flags.items()}
    written = _up_file(home / UP_FILE, strict=not given["redis"])
    defaults = {"redis": DEFAULT_REDIS, "kafka": DEFAULT_KAFKA, "gate": DEFAULT_GATE, "admin": DEFAULT_ADMIN}
    origin: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, default in defaults.items():
        up = written.get(name)
        if value := given[name]:
            found[name], origin[name] = value, "flag" if flags[name] else f"UPLOAD_GATE_{name.upper()}"
        elif isinstance(up, str) and up:
            found[name], origin[name] = up, str(home / UP_FILE)
        else:
            found[name], origin[name] = default, "default port"
    _check(found, origin)
    pages = written.get("metrics")
    metrics = tuple(str(page) for page in pages) if isinstance(pages, list) else DEFAULT_METRICS
    return Addresses(
        state=home,
        redis=found["redis"],
        kafka=found["kafka"],
        gate=found["gate"].rstrip("/"),
        admin=found["admin"].rstrip("/"),
        metrics=metrics,
        prefix=environ.get("UPLOAD_GATE_PREFIX") or DEFAULT_PREFIX,
        origin=origin,
    )


def _up_file(path: Path, strict: bool) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        if not strict:
            return {}
        # falling back to the default ports here could pause a system nobody meant
        raise SettingInvalid(
            f"{path} cannot be read: {error}", "name the system with --redis, or remove the file"
        ) from error
    return content


def _check(found: Mapping[str, str], origin: Mapping[str, str]) -> None:
    for name, schemes in (
        ("redis", ("redis://", "rediss://", "unix://")),
        ("gate", ("http://", "https://")),
        ("admin", ("http://", "https://")),
    ):
        if not found[name].startswith(schemes):
            raise SettingInvalid(
                f"the address of {name} ({origin[name]}) is no URL this can use", f"write {schemes[0]}host:port"
            )
