"""No request leaves objects that only Python's collector can free: looking for them stops a gate for tens of milliseconds."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CoroutineType, FunctionType, MethodType

import pytest

from gate.stores.redis.accounts import RedisAccountStore
from tests.edges.running_gate import CHECK, running_gate

ROUNDS = 50
FEW = 10
"""Far less than one a request: a timer or a new connection may leave some."""


def requests_of(path: str, make: Callable[[int], object]) -> list[bytes]:
    bodies = [json.dumps(make(n)).encode() for n in range(ROUNDS)]
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return [f"{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


def check(number: int, **changes: object) -> dict[str, object]:
    return {**CHECK, "upload_id": f"u-{number}", "account": {"id": f"a-{number}"}, **changes}


def report(number: int) -> dict[str, object]:
    return {"account": {"id": f"a-{number}"}, "upload_id": f"u-{number}", "outcome": "failed"}


REQUESTS = {
    "checks": requests_of("/v1/check", check),
    "refused checks": requests_of("/v1/check", lambda n: check(n, account={"id": "the-same"})),
    "checks with an odd field": requests_of("/v1/check", lambda n: check(n, ip=n)),
    "no checks": requests_of("/v1/check", lambda n: {"upload_id": n}),
    "batches": requests_of("/v1/checks", lambda n: {"checks": [check(100 * n + m) for m in range(4)]}),
    "peeks": requests_of("/v1/peek", check),
    "reports": requests_of("/v1/reports", report),
    "unknown paths": requests_of("/v2/check", check),
    "pages": [b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] * ROUNDS,
}


@contextmanager
def kept_garbage() -> Iterator[list[object]]:
    """What is found unreachable in the block, when it has ended."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    yield found
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found += gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def of_the_gate(each: object) -> str | None:
    """The name of an object that the gate's code has made, None for others."""
    if isinstance(each, CoroutineType):
        return each.__qualname__ if "/gate/" in each.cr_code.co_filename else None
    if isinstance(each, FunctionType | MethodType):
        return each.__qualname__ if each.__module__.startswith("gate.") else None
    kind = type(each)
    return kind.__qualname__ if kind.__module__.startswith("gate.") else None


async def exchange(connection: socket.socket, sent: bytes) -> bytes:
    """Send a request and read the answer to its end."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, sent)
    answer = b""
    while True:
        answer += await loop.sock_recv(connection, 1 << 16)
        head, ended, body = answer.partition(b"\r\n\r\n")
        if ended:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) >= int(length.partition(b":")[2]):
                return answer


@pytest.fixture(params=["memory", "redis"])
async def stored(request: pytest.FixtureRequest, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore | None]:
    """A store in Redis, or None for one in memory."""
    if request.param == "memory":
        yield None
        return
    store = RedisAccountStore(request.getfixturevalue("redis_url"), prefix=f"{unique()}:", deadline_s=5.0)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("kind", REQUESTS)
async def test_no_request_leaves_cyclic_garbage(tmp_path: Path, stored: RedisAccountStore | None, kind: str) -> None:
    first, *others = REQUESTS[kind]
    async with running_gate(tmp_path, takes_reports=True, stored=stored) as gate:
        with socket.create_connection(("127.0.0.1", gate.port)) as connection:
            connection.setblocking(False)
            await exchange(connection, first)
            with kept_garbage() as garbage:
                answers = [await exchange(connection, each) for each in others]

    assert len(answers) == ROUNDS - 1
    left = Counter(name for each in garbage if (name := of_the_gate(each)) is not None)
    assert left.total() < FEW, left
