"""The environment as one frozen record. Every variable starts with UPLOAD_GATE_; an unset one has its default here.

Secrets are not in `repr`. A command decides whether a flag or a file wins over a variable, and passes the winner.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from gate.errors import SettingInvalid, redact
from gate.records.kafka_address import read_kafka_address

PREFIX: Final = "UPLOAD_GATE_"
DEFAULT_PORTS: Final[Mapping[str, int]] = {
    "redis": 6390, "kafka": 9392, "gate": 8390, "admin": 8391, "worker": 8392, "metrics": 8393,
}  # fmt: skip
"""The default port of each part of a system on one machine, by name."""
DEFAULT_REDIS: Final = f"redis://127.0.0.1:{DEFAULT_PORTS['redis']}/0"
DEFAULT_KAFKA: Final = f"127.0.0.1:{DEFAULT_PORTS['kafka']}"
DEFAULT_GATE: Final = f"http://127.0.0.1:{DEFAULT_PORTS['gate']}"
DEFAULT_ADMIN: Final = f"http://127.0.0.1:{DEFAULT_PORTS['admin']}"
DEFAULT_PREFIX: Final = "ug:"
DEFAULT_SALT: Final = "upload-gate"
SALT_FILE: Final = "salt"
"""The file of the state directory in which `up` keeps its salt."""

DOCUMENTED: Final[Mapping[str, str]] = {
    "STATE": "directory for what a process keeps on disk: the last snapshot of the pauses, the break-glass file",
    "REDIS": "URL of the Redis that all gates and workers share: redis://host:port/db, rediss:// with TLS, "
    "redis+sentinel://host:port,host:port/service, or redis+cluster://host:port,host:port",
    "KAFKA": "bootstrap servers, host:port,host:port; with TLS and a login "
    "sasl_ssl://user@host:port?password_file=FILE&ca=FILE; without it no decision is published",
    "GATE": "base URL at which others reach this gate",
    "ADMIN": "base URL at which others reach this gate's admin port",
    "HOST": "address to listen on for checks",
    "PORT": "port to listen on for checks",
    "ADMIN_HOST": "address to listen on for the admin API; beyond loopback it needs an admin token",
    "ADMIN_PORT": "port to listen on for the admin API",
    "METRICS_HOST": "address to listen on for /metrics and health, where they have a port of their own",
    "METRICS_PORT": "port of their own for /metrics and health; without it they are on the check port if that is on "
    "loopback, else on 8393",
    "TLS_CERT": "certificate chain of the check port, PEM; it then speaks HTTPS",
    "TLS_KEY": "private key of the certificate, PEM",
    "TLS_CLIENT_CA": "authorities of clients, PEM: a client needs a certificate of one of them, and no token",
    "TOKENS": "file of service tokens; default tokens.json in the state directory",
    "MAX_CONNECTIONS": "connections that the check port holds at once; further ones are refused",
    "REQUEST_TIMEOUT": "seconds in which a whole request must have arrived",
    "POLICY": "policy file; without it the packaged default",
    "BREAK_GLASS": "file of pauses that this host obeys above all else; default break-glass.json in the state directory",
    "SALT": "secret under which IP addresses and devices are hashed; one value for all gates and workers",
    "PREFIX": "prefix of every Redis key",
    "TOPIC_PREFIX": "prefix of every Kafka topic",
    "WORKER": "number of this process; set by serve --workers for the processes it starts",
    "NAME": "this gate's name among all gates; default this machine's host name and the port",
}
"""Every variable, without its prefix, and its meaning. No other variable with the prefix is read here."""

MAX_PORT: Final = 65_535

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files by which the check port speaks TLS. With `client_ca` every client must show a certificate."""

    cert: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one gate process. `redis` may hold a password and `salt` is a secret: neither is in `repr`."""

    state: Path
    redis: str = field(repr=False)
    kafka: str | None
    gate: str
    admin: str
    host: str
    port: int
    admin_host: str
    admin_port: int
    metrics_host: str
    metrics_port: int | None
    metrics: str
    tokens: Path
    tls: TlsFiles | None
    max_connections: int
    request_timeout_s: float
    policy: Path | None
    break_glass: Path
    salt: bytes = field(repr=False)
    prefix: str
    topic_prefix: str
    name: str
    worker: int | None = None

    @property
    def redis_shown(self) -> str:
        """The Redis URL without its password."""
        return redact(self.redis)

    @property
    def board_snapshot(self) -> Path:
        """The file of the board's snapshot, which is kept between runs; each worker process has its own."""
        return self.state / ("board.json" if self.worker is None else f"board-{self.worker}.json")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that differ between the workers of one host."""
        given = {
            "WORKER": self.worker, "NAME": self.name, "ADMIN_PORT": self.admin_port, "METRICS_PORT": self.metrics_port,
            "ADMIN": self.admin,
        }  # fmt: skip
        return {f"{PREFIX}{name}": str(value) for name, value in given.items() if value is not None}

    @property
    def salt_is_default(self) -> bool:
        """True if no salt is set. Pseudonyms can then be reversed by trying all addresses."""
        return self.salt == DEFAULT_SALT.encode()


def default_state(environ: Mapping[str, str]) -> Path:
    """The state directory if none is named: below XDG_STATE_HOME, or ~/.local/state."""
    base = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "upload-gate"


def read_settings(environ: Mapping[str, str], machine: Callable[[], str] = socket.gethostname) -> Settings:
    """The settings in `environ`; an empty value counts as not set. Raises SettingInvalid naming the variable.

    `machine` returns this machine's host name. It is part of the gate's default name, and the host in the URL of a
    gate that listens on all interfaces.
    """
    given = _Given(environ)
    state = given.read("STATE", Path, str(default_state(environ))).expanduser()
    host = given.read("HOST", _host, "127.0.0.1")
    port = given.read("PORT", _port, str(DEFAULT_PORTS["gate"]))
    admin_port = given.read("ADMIN_PORT", _port, str(DEFAULT_PORTS["admin"]))
    metrics_host = given.read("METRICS_HOST", _host, host)
    own_port = "" if is_loopback(host) else str(DEFAULT_PORTS["metrics"])
    metrics_port = given.read("METRICS_PORT", lambda text: _port(text) if text else None, own_port)
    ports = {"PORT": port, "ADMIN_PORT": admin_port, "METRICS_PORT": metrics_port}
    for (one, its), (other, others) in combinations(ports.items(), 2):
        if its == others:
            problem = f"{PREFIX}{one} and {PREFIX}{other} are both {its}"
            raise SettingInvalid(problem, "give each a port of its own")
    here = re.sub(r"[^A-Za-z0-9._-]", "-", machine())[:100] or "localhost"
    reached, metrics_reached = (here if each in ("0.0.0.0", "::") else each for each in (host, metrics_host))
    tls = _tls(given)
    scheme = "http" if tls is None else "https"
    gate = given.read("GATE", _url, f"{scheme}://{_bracketed(reached)}:{port}")
    if tls is not None and metrics_port is None:
        raise SettingInvalid(
            f"{PREFIX}TLS_CERT is set, and metrics and health have no port of their own", f"set {PREFIX}METRICS_PORT"
        )
    own_metrics = gate if metrics_port is None else f"http://{_bracketed(metrics_reached)}:{metrics_port}"
    return Settings(
        state=state,
        redis=given.read("REDIS", _redis, DEFAULT_REDIS),
        kafka=given.read("KAFKA", _kafka, "") or None,
        gate=gate,
        admin=given.read("ADMIN", _url, f"http://127.0.0.1:{admin_port}"),
        host=host,
        port=port,
        admin_host=given.read("ADMIN_HOST", _host, "127.0.0.1"),
        admin_port=admin_port,
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        metrics=own_metrics,
        tokens=given.path("TOKENS") or state / "tokens.json",
        tls=tls,
        max_connections=given.read("MAX_CONNECTIONS", _count, "4096"),
        request_timeout_s=given.read("REQUEST_TIMEOUT", _count, "10"),
        policy=given.path("POLICY"),
        break_glass=given.path("BREAK_GLASS") or state / "break-glass.json",
        salt=given.read("SALT", str.encode, DEFAULT_SALT),
        prefix=given.read("PREFIX", _prefix, DEFAULT_PREFIX),
        topic_prefix=given.read("TOPIC_PREFIX", _topic_prefix, ""),
        name=given.read("NAME", _name, f"{here}:{port}"),
        worker=given.read("WORKER", lambda text: _count(text) if text else None, ""),
    )


def worker_settings(settings: Settings, worker: int) -> Settings:
    """The settings of worker process `worker`, from 1 on: a name, a snapshot, an admin and a metrics port of its own.

    The supervisor has the metrics port itself, worker 1 the next, and worker 1 the admin port, worker 2 the next.
    """
    if settings.metrics_port is None:
        raise SettingInvalid("workers need a metrics port each", f"set {PREFIX}METRICS_PORT")
    metrics, admin = settings.metrics_port + worker, settings.admin_port + worker - 1
    if max(metrics, admin) > MAX_PORT:
        raise SettingInvalid(f"worker {worker} would have port {max(metrics, admin)}", "choose lower ports")
    return replace(
        settings,
        worker=worker,
        name=f"{settings.name}/{worker}",
        admin_port=admin,
        metrics_port=metrics,
        metrics=_with_port(settings.metrics, metrics),
        admin=_with_port(settings.admin, admin),
    )


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    place = re.sub(r":[0-9]*$", "", parts.netloc)
    return f"{parts.scheme}://{place}:{port}{parts.path}"


class _Given:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def read(self, name: str, parse: Callable[[str], T], default: str) -> T:
        value = self._environ.get(PREFIX + name) or default
        try:
            return parse(value)
        except ValueError as error:
            raise SettingInvalid(f"{PREFIX}{name} is unusable: {error}", f"it means: {DOCUMENTED[name]}") from None

    def path(self, name: str) -> Path | None:
        value = self._environ.get(PREFIX + name)
        return Path(value).expanduser() if value else None


def _port(value: str) -> int:
    if value.startswith("tcp://"):
        raise ValueError(
            f"{value[:40]!r} is what Kubernetes sets for a Service; set enableServiceLinks: false in the pod"
        )
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:6]) <= MAX_PORT:
        raise ValueError(f"{value[:40]!r} is not a port between 1 and 65535")
    return int(value)


def _tls(given: _Given) -> TlsFiles | None:
    cert, key, client_ca = (given.path(name) for name in ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA"))
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        missing = "TLS_CERT" if cert is None else "TLS_KEY"
        raise SettingInvalid(f"{PREFIX}{missing} is not set", f"it means: {DOCUMENTED[missing]}")
    for name, path in (("TLS_CERT", cert), ("TLS_KEY", key), ("TLS_CLIENT_CA", client_ca)):
        if path is not None and not path.is_file():
            raise SettingInvalid(f"{PREFIX}{name} is unusable: {path} is not a file", f"it means: {DOCUMENTED[name]}")
    return TlsFiles(cert, key, client_ca)


def _count(value: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", value) or int(value) == 0:
        raise ValueError(f"{value[:40]!r} is not a whole number from 1 to 999999")
    return int(value)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,255}", value):
        raise ValueError(f"{value[:40]!r} is not a host name or address")
    return value


def bracketed_url(url: str) -> str:
    """`url` with brackets around an IPv6 address that has none, as Kubernetes gives a pod's; of its groups the last is the port.

    A URL without such an address is returned as it is.
    """
    scheme, mark, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    host, _, port = place.rpartition(":")
    if mark and host.count(":") > 1 and is_ipv6(host) and port.isdigit():
        return f"{scheme}://[{host}]:{port}{slash}{path}"
    return f"{scheme}://[{place}]{slash}{path}" if mark and is_ipv6(place) else url


def is_ipv6(text: str) -> bool:
    """Whether the text is an IPv6 address, without brackets."""
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def _url(value: str) -> str:
    value = bracketed_url(value)
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{redact(value)[:80]!r} is not an http:// or https:// URL")
    return value.rstrip("/")


def _redis(value: str) -> str:
    problem = redis_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def redis_problem(value: str) -> str | None:
    """The mistake in the URL of Redis, None if it has none."""
    parts = urlsplit(value)
    kind, plus, nodes = parts.scheme.partition("+")
    if kind not in ("redis", "rediss", "unix") or (plus and (kind == "unix" or nodes not in ("sentinel", "cluster"))):
        return "it must start with redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    if kind == "unix":
        return None
    hosts = parts.netloc.rpartition("@")[2]
    for host in hosts.split(",") if plus else (hosts,):
        one = urlsplit(f"//{host}")
        if not one.hostname:
            return f"it names no host; write {kind}{plus}{nodes}://{_EXAMPLES.get(nodes, 'host:6379/0')}"
        try:
            usable = one.port != 0
        except ValueError:
            usable = False
        if not usable:
            return "its port is not a number between 1 and 65535"
    path = parts.path.strip("/")
    if nodes == "sentinel" and not re.fullmatch(r"[A-Za-z0-9._-]+(/[0-9]+)?", path):
        return "it names no service; write redis+sentinel://host:26379,host:26379/service"
    if nodes == "cluster" and path not in ("", "0"):
        return "a Cluster has no databases; leave the path out"
    return None


_EXAMPLES: Final = {"sentinel": "host:26379,host:26379/service", "cluster": "host:6379,host:6379"}


def _kafka(value: str) -> str:
    if value:
        read_kafka_address(value, f"{PREFIX}KAFKA")
    return value


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:._-]{1,64}", value):
        raise ValueError("it may hold letters, digits and : . _ -, at most 64, and no braces")
    return value


def topic_prefix(environ: Mapping[str, str]) -> str:
    """The prefix of every Kafka topic, for programs that read no other setting. Raises SettingInvalid."""
    try:
        return _topic_prefix(environ.get(f"{PREFIX}TOPIC_PREFIX", ""))
    except ValueError as error:
        raise SettingInvalid(f"{PREFIX}TOPIC_PREFIX is unusable: {error}") from None


def _topic_prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", value):
        raise ValueError("it may hold letters, digits and . _ -, at most 64")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{1,128}", value):
        raise ValueError("it may hold printable ASCII without spaces, at most 128")
    return value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
