"""Counts the instructions of a Redis-compatible server under valgrind: the same work costs the same on a busy machine.

It counts the server's own code and that of its libraries, not the kernel's.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from gate.local.free_port import free_port
from gate.local.redis import LocalRedis, server_binary
from tests.bench.report import Absent, BenchError

_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)
_ANSWERS_WITHIN_S = 120.0


class CountedServer:
    """A server that runs under callgrind, and its client. `instructions` are those of the last `counting`."""

    def __init__(self, client: Redis, pid: int, counts: Path) -> None:
        self.client = client
        self.instructions = 0
        self._pid = pid
        self._counts = counts

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count in this block. Raises BenchError where nothing was counted."""
        self._control("--zero")
        self._control("--instr=on")
        yield
        self._control("--instr=off")
        known = set(self._written())
        self._control("--dump")
        totals = [_TOTAL.search(file.read_text(errors="replace")) for file in self._written() if file not in known]
        self.instructions = sum(int(total[1]) for total in totals if total is not None)
        if not self.instructions:
            raise BenchError("valgrind counted no instruction")

    def _written(self) -> list[Path]:
        return list(self._counts.parent.glob(f"{self._counts.name}.*"))

    def _control(self, *options: str) -> None:
        subprocess.run(["callgrind_control", *options, str(self._pid)], check=True, capture_output=True)


@contextmanager
def counted_server(home: Path) -> Iterator[CountedServer]:
    """A server that keeps nothing on disk. Raises Absent where valgrind is not installed."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        raise Absent("valgrind is not installed")
    home.mkdir(parents=True)
    counts, program = home / "callgrind", home / "redis-under-valgrind"
    options = f"--tool=callgrind --instr-atstart=no --callgrind-out-file='{counts}'"
    program.write_text(f"#!/bin/sh\nexec valgrind {options} '{server_binary()}' \"$@\"\n")
    program.chmod(0o700)
    server = LocalRedis(home / "data", free_port(), program)
    server.start()
    try:
        assert server.pid is not None
        with Redis.from_url(server.url, socket_timeout=_ANSWERS_WITHIN_S) as client:
            client.config_set("appendonly", "no")
            yield CountedServer(client, server.pid, counts)
    finally:
        server.stop()
