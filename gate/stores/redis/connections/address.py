"""Where Redis is: one server, the master that Sentinels name, or the nodes of a Cluster, by the URL of the settings.

    redis://[user:password@]host:port/db                      one server; `rediss://` with TLS, `unix://` for a socket file
    redis+sentinel://[user:password@]host:port,…/service[/db] the master of `service`, as the Sentinels at these addresses say
    redis+cluster://[user:password@]host:port,…               a Cluster, of which any of these nodes tells the others

`rediss+sentinel://` and `rediss+cluster://` speak TLS. User and password are those of Redis; Sentinels get
`?sentinel_username=` and `?sentinel_password=`. Other parameters go to each connection, such as `ssl_ca_certs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from gate.errors import SettingInvalid, redact

SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
SENTINELS: Final = frozenset(("redis+sentinel", "rediss+sentinel"))
CLUSTERS: Final = frozenset(("redis+cluster", "rediss+cluster"))


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Host and port of one server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The servers of a Sentinel or Cluster URL. `service` is the name of the master; it is empty for a Cluster."""

    servers: tuple[Endpoint, ...]
    service: str
    _scheme: str
    _user: str = field(repr=False)
    _path: str
    _query: str = field(repr=False)
    _sentinel_user: str = field(repr=False)

    def url(self, at: Endpoint) -> str:
        """The URL of one Redis server of them."""
        return f"{self._scheme}://{self._user}{at}{self._path}{'?' if self._query else ''}{self._query}"

    def sentinel_url(self, at: Endpoint) -> str:
        """The URL of one Sentinel."""
        return f"{self._scheme}://{self._sentinel_user}{at}{'?' if self._query else ''}{self._query}"


def is_cluster(url: str) -> bool:
    """Whether the URL names a Cluster."""
    return url.partition("://")[0] in CLUSTERS


def read_endpoints(url: str) -> Endpoints | None:
    """The servers that a Sentinel or Cluster URL names, None for the URL of one server. Raises SettingInvalid."""
    scheme = url.partition("://")[0]
    if scheme not in SENTINELS | CLUSTERS:
        return None
    try:
        return _read(url)
    except ValueError as error:
        raise SettingInvalid(f"not a Redis URL: {redact(url)}: {error}") from None


def _read(url: str) -> Endpoints:
    parts = urlsplit(url)
    before, at, hosts = parts.netloc.rpartition("@")
    clustered = parts.scheme in CLUSTERS
    servers = tuple(_endpoint(each, REDIS_PORT if clustered else SENTINEL_PORT) for each in hosts.split(","))
    service, _, db = parts.path.strip("/").partition("/")
    if clustered:
        if service not in ("", "0") or db:
            raise ValueError("a Cluster has no databases")
        service = ""
    elif not service:
        raise ValueError("it names no service; write redis+sentinel://host:port,host:port/service")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    user, password = given.pop("sentinel_username", ""), given.pop("sentinel_password", "")
    sentinel_user = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return Endpoints(
        servers,
        service,
        parts.scheme.partition("+")[0],
        f"{before}{at}",
        f"/{db or '0'}",
        urlencode(given),
        sentinel_user,
    )


def _endpoint(text: str, port: int) -> Endpoint:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text[:80]!r} names no host")
    return Endpoint(parts.hostname, parts.port or port)
