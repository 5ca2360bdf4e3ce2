"""The connections of a store to Redis: to one server, to the master that Sentinels name, or to the nodes of a Cluster."""

from __future__ import annotations

from gate.stores.redis.connections.address import is_cluster, read_endpoints
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.line import Line, Stats
from gate.stores.redis.connections.sentinel import SentinelLine

AnyLine = Line | ClusterLine


def line_to(
    url: str, name: str = "upload-gate", stats: Stats | None = None, *, patient: bool = True
) -> AnyLine:  # fmt: skip
    """A connection that opens on first use. Raises SettingInvalid. See ClusterLine for `patient`."""
    endpoints = read_endpoints(url)
    if endpoints is None:
        return Line(url, name, stats)
    if is_cluster(url):
        return ClusterLine(endpoints, name, stats, patient)
    return SentinelLine(endpoints, name, stats)


def single_line_to(url: str, name: str = "upload-gate", stats: Stats | None = None) -> Line:
    """`line_to` for a URL that names no Cluster."""
    line = line_to(url, name, stats)
    assert isinstance(line, Line)
    return line
