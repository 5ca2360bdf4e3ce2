"""Finds a free loopback port for a server. Another process may still take it before the server binds it.

The port lies below those that the kernel gives to outgoing connections, so that only another server can take it.
"""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

LOWEST = 20_000
"""Below lie the ports that well-known servers listen on."""

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Holds the lowest and the highest port of outgoing connections, on Linux."""

TRIES = 100

CHANCE = random.SystemRandom()
"""Not the shared generator, which a program may have seeded: two such processes would choose the same port."""


def free_port(preferred: int | None = None) -> int:
    """A free TCP port on 127.0.0.1: `preferred` if it is free, any free one otherwise."""
    if preferred is not None and is_free(preferred):
        return preferred
    below = _lowest_ephemeral()
    for _ in range(TRIES if below > LOWEST else 0):
        port = CHANCE.randrange(LOWEST, below)
        if is_free(port):
            return port
    return _any_port()


def is_free(port: int) -> bool:
    """Whether a server could bind `port` on 127.0.0.1 now. Lingering connections of a stopped server do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _lowest_ephemeral() -> int:
    try:
        return int(EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _any_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
