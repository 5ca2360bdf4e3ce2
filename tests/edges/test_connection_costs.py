"""What a connection may cost: late bodies, late heads, large heads, too many connections, and how long an idle one lives."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gate.serve.asgi import Send
from gate.serve.hot.edge_limits import KEEP_ALIVE_S, MAX_HEAD_BYTES, EdgeLimits
from gate.serve.server import Server, allow_files, listening, serving
from tests.edges.running_gate import CHECK, Reply, raw, running_gate
from tests.waiting import eventually

HEAD = b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


async def plain(scope: object, receive: object, send: Send) -> None:
    """An app that answers 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def a_port(limits: EdgeLimits) -> AsyncIterator[int]:
    with listening("127.0.0.1", 0, "PORT") as port:
        async with serving(plain, port, limits):
            yield port.getsockname()[1]


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int, count: int = 1) -> AsyncIterator[list[Streams]]:
    """Connections, closed at the end."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield streams
    finally:
        for _, writer in streams:
            await ended(writer)


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> Reply:
    """What the server sends before it closes."""
    async with asyncio.timeout(10):
        data = await reader.read()
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Reply(int(lines[0].split()[1]), headers, body)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/check HT",
        HEAD,
        HEAD + b"content-length: 100\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk"],
)
async def test_a_request_that_does_not_arrive_in_time_is_a_problem_and_the_connection_ends(
    tmp_path: Path, sent: bytes
) -> None:
    limits = EdgeLimits(request_s=0.2)
    async with running_gate(tmp_path, limits) as gate, connected(gate.port) as [(reader, writer)]:
        writer.write(sent)
        reply = await answer_of(reader)
        well = await gate.post("/v1/check", CHECK)

    assert (reply.status, json.loads(reply.body)["reason"]) == (408, "request.timeout")
    assert reply.headers["connection"] == "close"
    assert well.status == 200


async def test_two_hundred_half_sent_bodies_are_all_closed(tmp_path: Path) -> None:
    limits = EdgeLimits(request_s=0.2)
    async with running_gate(tmp_path, limits) as gate, connected(gate.port, 200) as streams:
        for _, writer in streams:
            writer.write(HEAD + b"content-length: 100\r\n\r\n{")
        replies = await asyncio.gather(*(answer_of(reader) for reader, _ in streams))

    assert {reply.status for reply in replies} == {408}


async def test_a_connection_between_two_requests_is_not_late(tmp_path: Path) -> None:
    body = json.dumps(CHECK).encode()
    request = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    limits = EdgeLimits(request_s=0.2)
    async with running_gate(tmp_path, limits) as gate, connected(gate.port) as [(reader, writer)]:
        writer.write(request)
        first = await reader.readuntil(b"}")
        async with connected(gate.port) as [(late, _)]:
            await answer_of(late)  # when this one is refused, the idle one was looked at too
        writer.write(request)
        second = await reader.readuntil(b'"decision"')

    assert first.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 200" in second


@pytest.mark.parametrize("whole", [True, False], ids=["complete", "without an end"])
@pytest.mark.parametrize("size", [MAX_HEAD_BYTES + 1, 3 << 20])
async def test_a_large_head_is_refused_before_it_costs_more(tmp_path: Path, size: int, whole: bool) -> None:
    async with running_gate(tmp_path) as gate, connected(gate.port) as [(reader, writer)]:
        writer.write(HEAD + b"x-long: " + b"a" * size + (b"\r\ncontent-length: 0\r\n\r\n" if whole else b""))
        head = await reader.readuntil(b"\r\n")

    assert head == b"HTTP/1.1 431 Request Header Fields Too Large\r\n"


async def test_a_large_body_is_no_large_head(tmp_path: Path) -> None:
    body = json.dumps({**CHECK, "text": "a" * (MAX_HEAD_BYTES + 8_000)}).encode()
    async with running_gate(tmp_path) as gate:
        replies = [await gate.post("/v1/check", body) for _ in range(2)]

    assert [reply.status for reply in replies] == [200, 200]


async def test_bytes_that_are_not_http_get_a_problem(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await raw(gate.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20)

    assert (reply.status, reply.json["reason"]) == (400, "request.malformed")
    assert reply.headers["content-type"] == "application/problem+json"


async def test_connections_beyond_the_cap_are_refused_and_counted_until_others_end() -> None:
    rejected: list[str] = []
    limits = EdgeLimits(connections=3, rejected=rejected.append)
    async with a_port(limits) as port, connected(port, 3) as held:
        async with connected(port) as [(reader, _)]:
            reply = await answer_of(reader)
        await ended(held[0][1])

        async def admitted() -> bool:
            async with connected(port) as [(reader, writer)]:
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                return b"503" not in await reader.readuntil(b"\r\n")

        assert await eventually(admitted)

    assert (reply.status, json.loads(reply.body)["reason"]) == (503, "connections.too_many")
    assert rejected[0] == "connections.too_many"


def test_an_idle_connection_lives_longer_than_the_pools_of_clients_keep_theirs() -> None:
    server = Server(plain, EdgeLimits())

    assert server.config.timeout_keep_alive == KEEP_ALIVE_S > 60


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "set_to", "may_open"),
    [
        (1024, 4096, 2000, 2000, 2000), (1024, 1500, 2000, 1500, 1500), (4096, 4096, 2000, None, 4096),
        (1024, resource.RLIM_INFINITY, 2000, 2000, 2000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2000, None, resource.RLIM_INFINITY),
    ],
)  # fmt: skip
def test_a_gate_may_open_as_many_files_as_it_holds_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, wanted: int, set_to: int | None, may_open: int
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: limits.append(both))

    assert allow_files(wanted) == may_open
    assert limits == ([] if set_to is None else [(set_to, hard)])
