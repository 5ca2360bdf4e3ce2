"""A light caller of the gate: raw HTTP over many connections that stay open, the next request when the last is answered.

Builds its requests first, says `ready`, on each `go` sends a warm-up or the load, and answers with one JSON object:
`{"checks","allowed","without_store"}`. Light, because it shares the machine with what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator

from gate.local.free_port import LOOPBACK
from tests.bench.crowd import checks

ALLOWED = b'"decision":"allow"'
WITHOUT_STORE = (b'"degraded":["store"]', b'"stage":"overload"')


class _Connection(asyncio.Protocol):
    """Asks, reads until the body is whole, asks again."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[tuple[int, int]]) -> None:
        self._requests = requests
        self._done = done
        self._buffer = b""
        self._allowed = self._without_store = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = buffer.lower().find(b"content-length:", 0, head)
        length = int(buffer[start + 15 : buffer.find(b"\r\n", start)]) if start >= 0 else -1
        if not buffer.startswith(b"HTTP/1.1 200") or length < 0:
            self._fail(f"the gate answered {buffer[:300]!r}")
        elif len(buffer) >= head + 4 + length:
            self._allowed += buffer.count(ALLOWED)
            self._without_store += sum(map(buffer.count, WITHOUT_STORE))
            self._buffer = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._fail(f"the gate closed the connection: {exc}")

    def _next(self) -> None:
        if self._transport is None:
            return
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)
        elif not self._done.done():
            self._done.set_result((self._allowed, self._without_store))
            self._transport.close()

    def _fail(self, why: str) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(why))
        if self._transport is not None:
            self._transport.close()


async def drive(port: int, requests: list[bytes], connections: int) -> tuple[int, int]:
    """Send all requests over that many connections; how many decisions were `allow`, and how many the store had no part in."""
    loop = asyncio.get_running_loop()
    shared = iter(requests)
    waiting: list[asyncio.Future[tuple[int, int]]] = [loop.create_future() for _ in range(connections)]
    for done in waiting:
        await loop.create_connection(lambda done=done: _Connection(shared, done), LOOPBACK, port)  # type: ignore[misc]
    allowed, without_store = zip(*await asyncio.gather(*waiting), strict=True)
    return sum(allowed), sum(without_store)


def requests_of(bodies: list[bytes], batch: int) -> list[bytes]:
    """Raw requests: one check each, or `batch` checks each."""
    if batch > 1:
        groups = [bodies[i : i + batch] for i in range(0, len(bodies), batch)]
        bodies = [b'{"checks":[' + b",".join(group) + b"]}" for group in groups]
    path = b"/v1/checks" if batch > 1 else b"/v1/check"
    head = b"POST " + path + b" HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\nContent-Length: "
    return [head + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    for name in ("port", "count", "warm-up", "batch", "connections", "seed", "first"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    # it must not interrupt what it measures, as one on another machine would not
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    parts = [
        checks(given.warm_up, given.seed, given.first),
        checks(given.count, given.seed, given.first + given.warm_up),
    ]
    loads = [(len(bodies), requests_of(bodies, given.batch)) for bodies in parts]
    print("ready", flush=True)
    for count, requests in loads:
        sys.stdin.readline()
        allowed, without_store = asyncio.run(drive(given.port, requests, given.connections))
        print(json.dumps({"checks": count, "allowed": allowed, "without_store": without_store}), flush=True)


if __name__ == "__main__":
    main()
