"""A Redis Cluster and a master with Sentinels for tests: real servers on free loopback ports, ended at the end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis

from gate.errors import LocalServerError
from gate.local.free_port import LOOPBACK, free_port, is_free
from gate.local.redis import LocalRedis, server_binary
from gate.local.server import LocalServer
from gate.stores.redis.connections.cluster_map import SLOTS
from gate.stores.redis.connections.line import pack
from tests.waiting import wait_until

ATTEMPTS = 3

Announce = Callable[[int], int]
"""The port at which others reach the server on the given port."""


def itself(port: int) -> int:
    """A server is reached at its own port."""
    return port


def say(port: int, *command: str | int | bytes) -> Any:
    """The reply of the server on that port; an error reply is raised."""
    with socket.create_connection((LOOPBACK, port), timeout=10.0) as connection:
        connection.sendall(pack(command))
        reader = hiredis.Reader()
        while (reply := reader.gets()) is False:
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionError("the server closed the connection")
            reader.feed(data)
    if isinstance(reply, Exception):
        raise reply
    return reply


class Node(LocalRedis):
    """A server with flags of its own, without an append-only file."""

    def __init__(self, home: Path, flags: dict[str, str], announce: Announce = itself) -> None:
        super().__init__(home, free_port())
        self.announced = announce(self.port)
        kind = "cluster" if "cluster-port" in flags else "replica"
        self._more = {**flags, f"{kind}-announce-port": str(self.announced)}
        self.bus_port = int(flags.get("cluster-port", 0))

    def _flags(self) -> list[str]:
        flags = {"appendonly": "no", "repl-diskless-sync-delay": "0", **self._more}
        return [*super()._flags(), *(word for key, value in flags.items() for word in (f"--{key}", value))]


class Cluster:
    """Three masters and a replica of each. The replica of `nodes[n]` is `nodes[n + 3]`."""

    def __init__(self, home: Path, announce: Announce = itself) -> None:
        self.nodes = [Node(home / f"node-{n}", _cluster_flags(), announce) for n in range(6)]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOOPBACK}:{node.announced}' for node in self.nodes[:3])}"

    def start(self) -> None:
        """Start the nodes and wait until all slots are served and each master has its replica."""
        for node in self.nodes:
            node.start()
        first = self.nodes[0].port
        for n, node in enumerate(self.nodes):
            say(node.port, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            if n < 3:
                say(node.port, "CLUSTER", "ADDSLOTSRANGE", SLOTS * n // 3, SLOTS * (n + 1) // 3 - 1)
            if n:
                say(first, "CLUSTER", "MEET", LOOPBACK, node.port, node.bus_port)
        wait_until(lambda: all(len(self._known(node)) == 6 for node in self.nodes))
        for master, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            say(replica.port, "CLUSTER", "REPLICATE", self.id_of(master))
        self.settle()

    def settle(self) -> None:
        """Wait until every node sees all slots served, and each replica follows its master."""
        wait_until(lambda: all(b"cluster_state:ok" in say(node.port, "CLUSTER", "INFO") for node in self.nodes))
        wait_until(
            lambda: all(b"master_link_status:up" in say(node.port, "INFO", "replication") for node in self.replicas)
        )

    @property
    def replicas(self) -> list[Any]:
        return [node for node in self.nodes if b"role:slave" in say(node.port, "INFO", "replication")]

    def id_of(self, node: Node) -> bytes:
        """The node's id in the Cluster."""
        found: bytes = say(node.port, "CLUSTER", "MYID")
        return found

    def master_of(self, slot: int) -> Node:
        """The node that serves the slot."""
        return self._serving(slot, 0)

    def replica_of(self, slot: int) -> Node:
        """The first replica of the node that serves the slot."""
        return self._serving(slot, 1)

    def _serving(self, slot: int, n: int) -> Node:
        for start, end, *nodes in say(self.nodes[1].port, "CLUSTER", "SLOTS"):
            if start <= slot <= end:
                return next(node for node in self.nodes if node.announced == nodes[n][1])
        raise AssertionError(f"nobody serves slot {slot}")

    def move_slot(self, slot: int, source: Node, target: Node, between: Callable[[], None] = lambda: None) -> None:
        """Move a slot with its keys, one key after the other; `between` runs after each."""
        say(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        say(source.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        between()
        while keys := say(source.port, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            say(source.port, "MIGRATE", LOOPBACK, target.port, keys[0], 0, 5000)
            between()
        for node in (target, source):
            say(node.port, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def _known(self, node: Node) -> list[bytes]:
        return [line for line in say(node.port, "CLUSTER", "NODES").splitlines() if b"handshake" not in line]


def _cluster_flags() -> dict[str, str]:
    return {
        "cluster-enabled": "yes",
        "cluster-port": str(free_port()),
        "cluster-node-timeout": "1000",
        "cluster-replica-validity-factor": "0",
        "cluster-require-full-coverage": "no",
    }


class Sentinel(LocalServer):
    """A Sentinel of one master named `uploads`."""

    name = "sentinel"
    title = "the Sentinel"
    stop_within_s = 5.0

    def __init__(self, home: Path, master_port: int, quorum: int) -> None:
        super().__init__(home, free_port())
        self._text = (
            f"port {self.port}\nbind {LOOPBACK}\ndir {home}\n"
            f"sentinel monitor uploads {LOOPBACK} {master_port} {quorum}\n"
            "sentinel down-after-milliseconds uploads 500\nsentinel failover-timeout uploads 2000\n"
        )

    def start(self) -> None:
        self._clear_the_way()
        config = self.home / "sentinel.conf"
        config.write_text(self._text)
        argv = [str(server_binary()), str(config), "--sentinel"]
        self._run("sentinel", argv, lambda: not is_free(self.port) and say(self.port, "PING") == b"PONG", 20.0)


class Watched:
    """A master, its replica, and three Sentinels that watch them."""

    def __init__(self, home: Path, announce: Announce = itself) -> None:
        self._announce = announce
        self.master = Node(home / "master", {}, announce)
        self.replica = Node(home / "replica", {"replicaof": f"{LOOPBACK} {self.master.announced}"}, announce)
        self.sentinels = [Sentinel(home / f"sentinel-{n}", self.master.announced, 2) for n in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOOPBACK}:{self._announce(each.port)}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/uploads/0"

    def start(self) -> None:
        for server in (self.master, self.replica):
            server.start()
        for each in self.sentinels:
            each.start()
        wait_until(lambda: b"master_link_status:up" in say(self.replica.port, "INFO", "replication"))
        for each in self.sentinels:
            wait_until(lambda each=each: len(say(each.port, "SENTINEL", "SENTINELS", "uploads")) == 2)
            wait_until(lambda each=each: len(say(each.port, "SENTINEL", "REPLICAS", "uploads")) == 1)

    def now(self) -> Node:
        """The server that is the master now, as the first Sentinel says."""
        _, port = say(self.sentinels[0].port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "uploads")
        return next(node for node in (self.master, self.replica) if node.announced == int(port))

    def stop(self) -> None:
        for server in (*self.sentinels, self.master, self.replica):
            server.kill()


@contextmanager
def running_cluster(home: Path, announce: Announce = itself) -> Iterator[Cluster]:
    """Three masters with a replica each."""
    cluster = _started(home, 0, announce)
    try:
        yield cluster
    finally:
        cluster.stop()


def _started(home: Path, attempt: int, announce: Announce) -> Cluster:
    """A Cluster on other ports where a connection has just been given one of those that were picked."""
    cluster = Cluster(home / str(attempt), announce)
    try:
        cluster.start()
    except LocalServerError:
        cluster.stop()
        if attempt == ATTEMPTS:
            raise
        return _started(home, attempt + 1, announce)
    except BaseException:
        cluster.stop()
        raise
    return cluster


@contextmanager
def running_sentinels(home: Path, announce: Announce = itself) -> Iterator[Watched]:
    """A master with a replica, watched by three Sentinels."""
    watched = Watched(home, announce)
    try:
        watched.start()
        yield watched
    finally:
        watched.stop()
