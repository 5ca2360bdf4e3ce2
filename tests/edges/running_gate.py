"""One gate over memory stores behind a real uvicorn, and a plain HTTP/1.1 client that can also be rude."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.app.check import Check
from gate.app.settle import Reports
from gate.app.watch import Watch
from gate.core.pseudonym import Pseudonyms
from gate.metrics import Counts
from gate.policyfile import load_policy, load_policy_file
from gate.ports.boards import Acknowledgement
from gate.records.decision import ReservationSigner
from gate.serve.admin.app import AdminApp
from gate.serve.admin.policy_trials import PolicyTrials
from gate.serve.clock import SystemClock
from gate.serve.health import Health
from gate.serve.hot.app import GateApp
from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.policy_in_force import PolicyInForce
from gate.serve.server import NO_LIMITS, listening, serving
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.memory.boards import MemoryBoardStore
from gate.stores.redis.accounts import RedisAccountStore

CHECK = {"upload_id": "u-1", "account": {"id": "a-1", "class": "new"}, "media": {"kind": "image"}}


@dataclass(frozen=True, slots=True)
class Reply:
    """The response of the gate."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Gate:
    """The parts a test wants to hold."""

    port: int
    admin_port: int
    check: Check
    watch: Watch
    boards: MemoryBoardStore
    accounts: MemoryAccountStore | RedisAccountStore
    app: GateApp
    admin_app: AdminApp
    health: Health

    async def post(self, path: str, body: object, **headers: str) -> Reply:
        """POST a body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await ask(self.port, "POST", path, data, {"content-type": "application/json", **headers})

    async def get(self, path: str, admin: bool = False, method: str = "GET") -> Reply:
        """GET a page of the gate or of its admin port."""
        return await ask(self.admin_port if admin else self.port, method, path, b"", {})


@asynccontextmanager
async def running_gate(
    state: Path, limits: EdgeLimits = NO_LIMITS, takes_reports: bool = False, jitter: float = 0.0,
    stored: RedisAccountStore | None = None,
) -> AsyncIterator[Gate]:  # fmt: skip
    """A gate on free loopback ports, whose jitter is always the same; the watch is not running. It may take reports.

    It keeps its accounts in memory unless they are `stored`.
    """
    clock = SystemClock()
    accounts, boards = stored or MemoryAccountStore(clock), MemoryBoardStore(clock)
    counts = Counts()
    reports = Reports(accounts, counts, every_s=0.05)
    check = Check(
        load_policy(None), accounts, clock, Pseudonyms(b"salt"), counts, time.perf_counter_ns, LocalBuckets,
        reports=reports,
    )  # fmt: skip
    said = Acknowledgement("gate", "http://gate", 0, 0)
    snapshot, glass = BoardSnapshot(state / "board.json"), BreakGlassFile(state / "glass.json")
    watch = Watch(check, boards, clock, said, snapshot, glass, lambda text: None)
    in_force = PolicyInForce(None, load_policy_file(None), check, lambda text: None)
    health = Health(check, watch, clock, lambda: 0, lambda: None, in_force)
    signer = ReservationSigner(b"salt")
    app = GateApp(check, health, clock, lambda: jitter)
    if takes_reports:
        app = GateApp(check, health, clock, lambda: jitter, reports=reports, signer=signer)
    admin_app = AdminApp(health, PolicyTrials(check, Pseudonyms(b"salt"), clock, LocalBuckets))
    with listening("127.0.0.1", 0, "PORT") as port, listening("127.0.0.1", 0, "ADMIN_PORT") as admin_port:
        async with (
            serving(app, port, limits),
            serving(admin_app, admin_port),
        ):
            numbers = port.getsockname()[1], admin_port.getsockname()[1]
            yield Gate(*numbers, check, watch, boards, accounts, app, admin_app, health)


async def ask(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
    """One request on a connection of its own."""
    given = {"host": "127.0.0.1", "content-length": str(len(body)), "connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return await raw(port, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)


async def raw(port: int, data: bytes) -> Reply:
    """Send bytes, read the answer to its end."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
            length = 0 if data.startswith(b"HEAD") else int(headers.get("content-length", 0))
            return Reply(int(head[0].split()[1]), headers, await reader.readexactly(length))
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except ConnectionError:
                pass
