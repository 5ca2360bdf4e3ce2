"""Finds the running system: by flag, then environment, then `up.json` in the state directory, then default ports.

The default ports are a guess. They are used only if the user named no system. A state directory that the user named and
that holds no `up.json` is an error, since another system may listen on the default ports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from gate.errors import SettingInvalid, redact
from gate.records.kafka_address import read_kafka_address
from gate.settings import (
    DEFAULT_ADMIN,
    DEFAULT_GATE,
    DEFAULT_KAFKA,
    DEFAULT_PORTS,
    DEFAULT_PREFIX,
    DEFAULT_REDIS,
    SALT_FILE,
    bracketed_url,
    default_state,
    redis_problem,
)

DEFAULT_METRICS = (f"{DEFAULT_GATE}/metrics", f"http://127.0.0.1:{DEFAULT_PORTS['worker']}/metrics")
UP_FILE = "up.json"
DEFAULT_PORT = "default port"
"""The origin of an address that nothing names."""

_DEFAULTS = {"redis": DEFAULT_REDIS, "kafka": DEFAULT_KAFKA, "gate": DEFAULT_GATE, "admin": DEFAULT_ADMIN}
_NAMES = {"redis": "Redis", "kafka": "Kafka", "gate": "the gate", "admin": "the admin port"}
"""What the parts are called in sentences."""
_SCHEMES = {
    "gate": ("http://", "https://"),
    "admin": ("http://", "https://"),
}

StateFlag = Annotated[Path | None, typer.Option("--state", help="State directory of the system to talk to.")]
RedisFlag = Annotated[
    str | None,
    typer.Option(
        "--redis",
        help="Redis of the system, redis://[:password@]host:port/0, redis+sentinel://host,…/service, or redis+cluster://host,….",
    ),
]
KafkaFlag = Annotated[
    str | None, typer.Option("--kafka", help="Kafka of the system, host:port, or a URL with TLS and a login.")
]
GateFlag = Annotated[str | None, typer.Option("--gate", help="Base URL of a gate, such as http://10.0.0.7:8390.")]
AdminFlag = Annotated[str | None, typer.Option("--admin", help="Base URL of a gate's admin port.")]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The address of each part, or None. `origin` maps a part to the source of its address; `prefix` begins every
    Redis key. `group` is the consumer group that `up.json` names for the Kafka of the same file, `worker_metrics` the
    metrics pages of the workers that it names for that Kafka. `both_channels` is true if Redis and Kafka surely belong to
    one system: both are in `up.json`, or the user named both.

    URLs may hold a password and are not in `repr`; show them through `shown`.
    """

    state: Path
    known: Mapping[str, str] = field(repr=False)
    metrics: tuple[str, ...]
    prefix: str
    origin: Mapping[str, str]
    group: str | None = None
    worker_metrics: tuple[str, ...] = ()
    both_channels: bool = False

    @property
    def redis(self) -> str:
        """The URL of Redis. Raises SettingInvalid if it is unknown."""
        return self._named("redis")

    @property
    def kafka(self) -> str:
        """Kafka's bootstrap servers. Raises SettingInvalid if they are unknown."""
        return self._named("kafka")

    @property
    def gate(self) -> str:
        """A gate's base URL. Raises SettingInvalid if it is unknown."""
        return self._named("gate")

    @property
    def admin(self) -> str | None:
        """The base URL of a gate's admin port; None if it is unknown, as no command depends on it."""
        return self.known.get("admin")

    def command(self, typed: str) -> str:
        """`upload-gate` with the words `typed`, as it is typed for this system, between backticks."""
        state = "" if self.state == default_state(os.environ) else f" --state {self.state}"
        given = "".join(f" --{name} {redact(self.known[name])}" for name in self.known if self.origin[name][:2] == "--")
        return f"`upload-gate {typed}{state}{given}`"

    @property
    def break_glass(self) -> Path:
        """The break-glass file of a gate on this host."""
        named = os.environ.get("UPLOAD_GATE_BREAK_GLASS")
        return Path(named).expanduser() if named else self.state / "break-glass.json"

    def shown(self, name: str) -> str:
        """An address without its password, followed by its source, for people."""
        return f"{redact(self._named(name))} ({self.origin[name]})"

    def _named(self, name: str) -> str:
        if name in self.known:
            return self.known[name]
        raise SettingInvalid(
            f"the state directory {self.state} holds no {UP_FILE}, so it does not say where {_NAMES[name]} is",
            f"start the system with `upload-gate up --state {self.state}`, correct --state or UPLOAD_GATE_STATE, "
            f"or give --{name}",
        )


def resolve_addresses(
    state: Path | None = None,
    *,
    redis: str | None = None,
    kafka: str | None = None,
    gate: str | None = None,
    admin: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Addresses:
    """The addresses by their order of precedence. Each argument is the value of a flag, or None.

    Raises SettingInvalid if a value is unusable, or if `up.json` is and the address of Redis depends on it.
    """
    home, is_named = state_directory(state, environ)
    flags = {"redis": redis, "kafka": kafka, "gate": gate, "admin": admin}
    given = {name: value or environ.get(f"UPLOAD_GATE_{name.upper()}") for name, value in flags.items()}
    written = _up_file(home / UP_FILE, strict=not given["redis"])
    known: dict[str, str] = {}
    origin: dict[str, str] = {}
    for name, default in _DEFAULTS.items():
        up = written.get(name)
        if value := given[name]:
            known[name], origin[name] = value, f"--{name}" if flags[name] else f"UPLOAD_GATE_{name.upper()}"
        elif name == "admin" and given["redis"] not in (None, "", written.get("redis")):
            continue  # the admin port in `up.json` or the default one belongs to a system with another Redis
        elif isinstance(up, str) and up:
            known[name], origin[name] = up, str(home / UP_FILE)
        elif not is_named:
            known[name], origin[name] = default, DEFAULT_PORT
    for name in ("gate", "admin"):
        if name in known:
            known[name] = bracketed_url(known[name]).rstrip("/")
    _check(known, origin)
    pages = written.get("metrics")
    metrics = tuple(str(page) for page in pages) if isinstance(pages, list) else DEFAULT_METRICS
    is_kafka_of_up = written.get("kafka") is not None and known.get("kafka") == written["kafka"]
    group = written.get("group") if is_kafka_of_up else None
    return Addresses(
        home,
        known,
        metrics,
        environ.get("UPLOAD_GATE_PREFIX") or DEFAULT_PREFIX,
        origin,
        environ.get("UPLOAD_GATE_GROUP") or (group if isinstance(group, str) and group else None),
        metrics[1:] if is_kafka_of_up and isinstance(pages, list) else (),  # the first is the gate's
        bool(given["redis"] and given["kafka"])
        or all(written.get(name) is not None and known.get(name) == written[name] for name in ("redis", "kafka")),
    )


def salt_of_up(state: Path, server: str, address: str) -> str | None:
    """The salt of the system that `up` runs with this state directory, None unless its `server` is at `address`.

    A process beside it that hashed under another salt would know none of its devices and networks.
    """
    if _up_file(state / UP_FILE, strict=False).get(server) != address:
        return None
    try:
        return (state / SALT_FILE).read_text().strip() or None
    except OSError:
        return None


def state_directory(flag: Path | None, environ: Mapping[str, str]) -> tuple[Path, bool]:
    """The state directory, and whether the user named it."""
    named = flag or environ.get("UPLOAD_GATE_STATE")
    return (Path(named).expanduser(), True) if named else (default_state(environ), False)


def _up_file(path: Path, strict: bool) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it does not hold a JSON object")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        if not strict:
            return {}
        raise SettingInvalid(
            f"{path} belongs to another user, as it holds secrets",
            "run the command as that user, or name the servers with --redis, --gate and --admin",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        if not strict:
            return {}
        # with the default ports here, a command could pause another system than the user meant
        raise SettingInvalid(
            f"{path} cannot be read: {error}", "name the system with --redis, or remove the file"
        ) from error
    return content


def _check(known: Mapping[str, str], origin: Mapping[str, str]) -> None:
    problem = redis_problem(known["redis"]) if "redis" in known else None
    if problem is not None:
        raise SettingInvalid(
            f"the address of Redis ({origin['redis']}) is not a usable URL: {problem}", "write redis://host:port"
        )
    for name, schemes in _SCHEMES.items():
        if name in known and not (known[name].startswith(schemes) and _is_whole(known[name])):
            raise SettingInvalid(
                f"the address of {_NAMES[name]} ({origin[name]}) is not a usable URL", f"write {schemes[0]}host:port"
            )
    if "kafka" in known:
        source = origin["kafka"]
        read_kafka_address(known["kafka"], f"kafka in {source}" if source.endswith(UP_FILE) else source)


def _is_whole(url: str) -> bool:
    """True for a URL with a host and no port or a usable one, and for the URL of a socket file."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "unix" or (bool(parts.hostname) and parts.port != 0)
    except ValueError:
        return False


def admin_url(addresses: Addresses) -> str:
    """The base URL of a gate's admin port. Raises SettingInvalid if it is unknown."""
    if addresses.admin is None:
        raise SettingInvalid("nothing names a gate's admin port", "give --admin or UPLOAD_GATE_ADMIN")
    return addresses.admin
