"""The server of the hot port against the rules of HTTP/1.1 (RFC 9112), with h11 as the oracle.

Most tests hand bytes to a connection over a transport that only records, so that thousands of streams are tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import RequestRejected, SettingInvalid
from gate.serve.hot import server as hot_server
from gate.serve.hot.connection import HotConnection
from gate.serve.hot.edge import Edge
from gate.serve.hot.edge_limits import KEEP_ALIVE_S, MAX_HEAD_BYTES, EdgeLimits
from gate.serve.hot.exchange import HotRequest, Response
from gate.serve.server import listening, serving
from gate.settings import TlsFiles
from tests.waiting import eventually

LIMIT = 1_000
POST = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
GET = b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


class Echo:
    """Answers each request with its method, target and body. `/missing…` is refused; `/slow` is answered on `go`."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.rejected: list[str] = []
        self.gone: list[bool] = []
        self.go = asyncio.Event()

    def admit(self, request: HotRequest) -> int:
        request.path = request.target
        if request.target.startswith(b"/missing"):
            raise RequestRejected("path.unknown", "there is no such path")
        return LIMIT

    async def respond(self, request: HotRequest) -> Response:
        self.seen.append((request.method, request.target, bytes(request.body)))
        if request.target == b"/slow":
            await self.go.wait()
        self.gone.append(request.is_gone())
        return 200, request.method + b" " + request.target + b" " + request.body, b"text/plain", b""

    def refused(self, request: HotRequest, error: RequestRejected) -> Response:
        self.rejected.append(error.reason)
        return 413 if error.reason == "body.too_large" else 404, b"refused", b"text/plain", b""


class Recorder:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = self.aborted = False
        self.reads = True

    def write(self, data: bytes) -> None:
        assert not self.closed, data
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    @property
    def data(self) -> bytes:
        return b"".join(self.written)


class Line:
    """One connection to an `Echo`, without a socket."""

    def __init__(self, limits: EdgeLimits | None = None) -> None:
        self.app = Echo()
        self.refused: list[str] = []
        self.edge = Edge(self.app, limits or EdgeLimits(rejected=self.refused.append), asyncio.get_running_loop())
        self.transport = Recorder()
        self.connection = HotConnection(self.edge)
        self.connection.connection_made(cast("asyncio.Transport", self.transport))

    async def feed(self, *pieces: bytes) -> None:
        """Hand over bytes, and let what they began go as far as it can."""
        for piece in pieces:
            if not self.transport.closed:
                self.connection.data_received(piece)
        for _ in range(3 + 2 * self.transport_turns(pieces)):
            await asyncio.sleep(0)

    @staticmethod
    def transport_turns(pieces: Sequence[bytes]) -> int:
        return sum(piece.count(b"HTTP/1.1") for piece in pieces)


def answers(data: bytes, methods: Sequence[str]) -> list[tuple[int, bytes]]:
    """Status and body of the responses to requests with these methods, read by h11. Raises if they are no HTTP."""
    client, found = h11.Connection(h11.CLIENT), []
    client.receive_data(data)
    for method in methods:
        client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        event = client.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = client.next_event()
        assert isinstance(event, h11.Response), event
        status, body = event.status_code, b""
        while isinstance(event := client.next_event(), h11.Data):
            body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        found.append((status, body))
        if client.our_state is h11.MUST_CLOSE:
            break
        client.start_next_cycle()
    return found


def read_by_oracle(stream: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The complete requests that h11 reads from a stream before it finds fault with it."""
    server, found = h11.Connection(h11.SERVER), []
    server.receive_data(stream)
    method = target = body = b""
    try:
        while True:
            event = server.next_event()
            if isinstance(event, h11.Request):
                method, target, body = bytes(event.method), bytes(event.target), b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                found.append((method, target, body))
                server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                server.send(h11.EndOfMessage())
                server.start_next_cycle()
            else:
                return found
    except h11.ProtocolError:
        return found


INSERTED = (
    b"", b"\r", b"\n", b" ", b"\t", b"\0", b":", b"0", b"7", b",", b"chunked", b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
)  # fmt: skip
"""Bytes that break a stream; an empty one leaves a byte out."""
bodies = st.binary(max_size=60)
chunks = st.lists(st.binary(min_size=1, max_size=20), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[bytes, bytes, bytes]]:
    """The bytes of a valid request, and what it says."""
    target = draw(st.sampled_from([b"/echo", b"/a?b=c", b"/%41", b"http://x/echo"]))
    more = draw(
        st.sampled_from([b"", b"x-a: b\r\n", b"X-Empty:\r\nUser-Agent: \tq \r\n", b"Cookie: a\r\nCookie: b\r\n"])
    )
    name = draw(st.sampled_from([b"host", b"Host", b"HOST"]))
    kind = draw(st.sampled_from(["none", "length", "chunks"]))
    if kind == "none":
        return b"GET %b HTTP/1.1\r\n%b: x\r\n%b\r\n" % (target, name, more), (b"GET", target, b"")
    start = b"POST %b HTTP/1.1\r\n%b%b: x\r\n" % (target, more, name)
    if kind == "length":
        body = draw(bodies)
        return start + b"Content-Length: %d\r\n\r\n%b" % (len(body), body), (b"POST", target, body)
    parts = draw(chunks)
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return start + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n", (b"POST", target, b"".join(parts))


def cut(stream: bytes, at: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in at)})
    return [stream[a:b] for a, b in pairwise(edges)]


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=5), st.lists(st.integers(0, 2_000), max_size=8))
def test_valid_requests_are_answered_in_order_however_their_bytes_arrive(
    sent: list[tuple[bytes, tuple[bytes, bytes, bytes]]], at: list[int]
) -> None:
    stream, said = b"".join(data for data, _ in sent), [said for _, said in sent]

    async def talk() -> tuple[Echo, bytes]:
        line = Line()
        await line.feed(*cut(stream, at))
        await line.feed(*[b""] * len(sent))
        return line.app, line.transport.data

    app, data = asyncio.run(talk())

    assert app.seen == said == read_by_oracle(stream)
    assert answers(data, [method.decode() for method, _, _ in said]) == [(200, b" ".join(each)) for each in said]


@settings(max_examples=1_000, deadline=None)
@given(
    st.lists(requests(), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 500), st.sampled_from(INSERTED)), min_size=1, max_size=3),
)
def test_a_broken_stream_never_makes_a_request_that_the_oracle_reads_otherwise(
    sent: list[tuple[bytes, tuple[bytes, bytes, bytes]]], changes: list[tuple[int, bytes]]
) -> None:
    stream = b"".join(data for data, _ in sent)
    for place, put in changes:
        place %= len(stream)
        stream = stream[:place] + put + stream[place + (not put) :]

    async def talk() -> list[tuple[bytes, bytes, bytes]]:
        line = Line()
        await line.feed(stream, *[b""] * 4)
        return line.app.seen

    seen, expected = asyncio.run(talk()), read_by_oracle(stream)

    for ours, theirs in zip(seen, expected, strict=False):
        assert ours == theirs


@pytest.mark.parametrize(
    "stream",
    [
        POST + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        POST + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        POST + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        POST + b"content-length: 3, 3\r\n\r\nabc",
        POST + b"content-length: +3\r\n\r\nabc",
        POST + b"content-length: -3\r\n\r\nabc",
        POST + b"content-length: 0x3\r\n\r\nabc",
        POST + b"content-length: 99999999999999999999999\r\n\r\nabc",
        POST + b"content-length:\r\n\r\nabc",
        POST + b"content-length : 3\r\n\r\nabc",
        POST + b"x: a\r\n b\r\ncontent-length: 3\r\n\r\nabc",
        POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: identity\r\n\r\nabc",
        POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3;a\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffff\r\nabc",
        CHUNKED + b"0\r\ncontent-length: 5\r\n\r\n",
        b"POST /echo HTTP/1.1\nhost: x\ncontent-length: 0\n\n",
        POST + b"x: a\ncontent-length: 0\r\n\r\n",
        POST + b"x: a\rcontent-length: 0\r\n\r\n",
        POST + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
        POST + b"content-length: 0\r\n\n",
        POST + b": a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n x: a\r\nhost: x\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET /echo HTTP/1.2\r\nhost: x\r\n\r\n",
        b"GET /echo HTTP/2.0\r\nhost: x\r\n\r\n",
        b"GET /echo\r\n\r\n",
        b"GET\t/echo HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /echo http/1.1\r\nhost: x\r\n\r\n",
        b"BREW /echo HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
@pytest.mark.parametrize("bytewise", [False, True], ids=["at once", "byte by byte"])
async def test_a_request_with_doubtful_bounds_is_refused_and_nothing_after_it_is_read(
    stream: bytes, bytewise: bool
) -> None:
    line = Line()
    whole = GET + stream + GET

    await line.feed(*([whole[n : n + 1] for n in range(len(whole))] if bytewise else [whole]))

    assert line.app.seen == [(b"GET", b"/next", b"")]
    assert [status for status, _ in answers(line.transport.data, ["GET", "POST"])] == [200, 400]
    assert line.refused == ["request.malformed"]
    assert line.transport.closed


async def test_requests_sent_ahead_wait_for_those_before_them_and_stop_the_reading() -> None:
    line = Line()

    await line.feed(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + GET + b"GET /missing HTTP/1.1\r\nhost: x\r\n\r\n")
    before = line.transport.data, line.transport.reads
    line.app.go.set()
    await line.feed(b"", GET)

    assert before == (b"", False)
    assert line.transport.reads
    assert [status for status, _ in answers(line.transport.data, ["GET"] * 4)] == [200, 200, 404, 200]


async def test_thousands_of_requests_sent_ahead_are_all_answered() -> None:
    line = Line()

    await line.feed(b"GET /missing HTTP/1.1\r\nhost: x\r\n\r\n" * 3_000 + GET * 3_000)

    assert line.transport.data.count(b"HTTP/1.1 404 ") == line.transport.data.count(b"HTTP/1.1 200 ") == 3_000


async def test_a_client_that_reads_nothing_gets_no_further_answer_and_is_dropped() -> None:
    line = Line()

    line.connection.pause_writing()
    await line.feed(GET * 3)
    stalled = line.transport.data
    line.connection.close_if_late(asyncio.get_running_loop().time() + line.edge.limits.request_s + 1)

    assert stalled == b""
    assert line.transport.aborted


async def test_a_client_that_reads_again_gets_the_answers_that_waited() -> None:
    line = Line()

    line.connection.pause_writing()
    await line.feed(GET * 3)
    line.connection.resume_writing()
    await line.feed(b"", b"", b"")

    assert line.transport.data.count(b"HTTP/1.1 200 ") == 3


async def test_a_refused_body_is_dropped_and_the_next_request_is_answered() -> None:
    line = Line()

    await line.feed(b"POST /missing HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + b"x" * 100)
    early = line.transport.data
    await line.feed(b"x" * 4_900 + GET)

    assert early.startswith(b"HTTP/1.1 404 ")
    assert [status for status, _ in answers(line.transport.data, ["POST", "GET"])] == [404, 200]
    assert line.app.seen == [(b"GET", b"/next", b"")]


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"content-length: %d\r\n\r\n" % (LIMIT + 1),
        CHUNKED + b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        CHUNKED + b"1;" + b"x" * (MAX_HEAD_BYTES * 2),
        CHUNKED + b"0\r\nx-trailer: " + b"x" * (MAX_HEAD_BYTES * 2),
    ],
    ids=["declared", "chunked", "a chunk's extension", "a trailer"],
)
async def test_a_body_beyond_its_limit_ends_the_connection(sent: bytes) -> None:
    line = Line()

    await line.feed(sent, GET)

    assert [status for status, _ in answers(line.transport.data, ["POST"])] == [413]
    assert b"connection: close\r\n" in line.transport.data
    assert line.transport.closed
    assert (line.app.seen, line.app.rejected) == ([], ["body.too_large"])


async def test_one_hundred_continue_comes_when_it_is_the_requests_turn_and_not_for_one_that_is_refused() -> None:
    line, refused = Line(), Line()
    waits = POST + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n"

    await line.feed(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n" + waits)
    before = line.transport.data
    line.app.go.set()
    await line.feed(b"")
    between = line.transport.written[1:]
    await line.feed(b"abc")
    await refused.feed(waits.replace(b"/echo", b"/missing"))

    assert before == b""
    assert between == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    assert line.transport.written[2].endswith(b"POST /echo abc")
    assert refused.transport.data.startswith(b"HTTP/1.1 404 ")
    assert refused.transport.closed


async def test_a_head_request_gets_the_length_and_no_body() -> None:
    line = Line()

    await line.feed(GET.replace(b"GET", b"HEAD") + GET)

    assert b"content-length: 11\r\n\r\nHTTP/1.1" in line.transport.data
    assert answers(line.transport.data, ["HEAD", "GET"]) == [(200, b""), (200, b"GET /next ")]


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: x, Close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", True),
        (b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", False),
        (b"\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n", False),
    ],
)
async def test_a_connection_ends_where_its_request_says_so_and_goes_on_otherwise(head: bytes, closes: bool) -> None:
    line = Line()

    await line.feed(head + GET)

    assert line.transport.closed == closes
    assert len(line.app.seen) == (1 if closes else 2)
    assert line.transport.data.count(b"connection: close\r\n") == closes


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
async def test_the_body_of_a_request_that_offers_an_upgrade_is_read_to_its_length_and_no_further(piece: int) -> None:
    line = Line()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\nupgrade: h2c\r\n"
    sent = POST + offer + b"content-length: %d\r\n\r\n" % len(GET) + GET + GET

    await line.feed(*(sent[at : at + piece] for at in range(0, len(sent), piece)))

    assert line.app.seen == [(b"POST", b"/echo", GET), (b"GET", b"/next", b"")]
    assert [status for status, _ in answers(line.transport.data, ["POST", "GET"])] == [200, 200]
    assert not line.transport.closed


async def test_a_refused_request_that_offers_an_upgrade_has_its_body_dropped() -> None:
    line = Line()
    unknown = POST.replace(b"/echo", b"/missing")

    await line.feed(
        unknown + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(GET) + GET + GET
    )

    assert line.app.seen == [(b"GET", b"/next", b"")]
    assert [status for status, _ in answers(line.transport.data, ["POST", "GET"])] == [404, 200]


async def test_an_upgrade_with_a_chunked_body_is_refused_because_its_end_is_not_certain() -> None:
    line = Line()

    await line.feed(POST + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + GET)

    assert line.app.seen == []
    assert [status for status, _ in answers(line.transport.data, ["POST"])] == [400]
    assert line.transport.closed


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES - 200, MAX_HEAD_BYTES + 1, 3 * MAX_HEAD_BYTES])
@pytest.mark.parametrize("piece", [700, 20_000, 1 << 20])
async def test_a_head_is_refused_exactly_beyond_its_limit_however_it_arrives(size: int, piece: int) -> None:
    line = Line()
    head = b"GET /next HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * size + b"\r\n\r\n"

    await line.feed(*(head[at : at + piece] for at in range(0, len(head), piece)))

    large = size > MAX_HEAD_BYTES
    assert line.transport.data.startswith(b"HTTP/1.1 431 " if large else b"HTTP/1.1 200 ")
    assert line.refused == (["header.too_large"] if large else [])


async def test_a_caller_that_goes_away_is_known_to_be_gone_and_gets_no_answer() -> None:
    line, half = Line(), Line()

    await line.feed(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    line.connection.connection_lost(None)
    line.app.go.set()
    await line.feed(b"")
    await half.feed(POST + b"content-length: 3\r\n\r\na")
    half.connection.connection_lost(None)

    assert (line.app.gone, line.transport.data) == ([True], b"")
    assert half.app.rejected == ["body.incomplete"]
    assert line.edge.connections == set()


async def test_an_idle_connection_ends_after_its_time_and_a_busy_one_does_not() -> None:
    idle, busy, fresh = Line(), Line(), Line()
    await idle.feed(GET)
    await busy.feed(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    now_s = asyncio.get_running_loop().time()

    idle.connection.close_if_late(now_s + KEEP_ALIVE_S - 1)
    kept = not idle.transport.closed
    for line in (idle, busy, fresh):
        line.connection.close_if_late(now_s + KEEP_ALIVE_S + 1)

    assert kept
    assert idle.transport.closed
    assert b"408" not in idle.transport.data
    assert not busy.transport.closed
    assert fresh.refused == ["request.timeout"]
    busy.app.go.set()
    await busy.feed(b"")


async def test_a_fault_while_a_request_is_read_is_a_500_and_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = Line()

    def broken(request: HotRequest) -> int:
        raise RuntimeError("a bug with a secret in its text")

    monkeypatch.setattr(line.app, "admit", broken)
    await line.feed(GET)

    assert line.transport.data.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in line.transport.data
    assert line.transport.closed


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_a_server_that_stops_closes_idle_connections_and_lets_the_busy_ones_end() -> None:
    app = Echo()
    with listening("127.0.0.1", 0, "PORT") as port:
        number = port.getsockname()[1]
        async with asyncio.timeout(10), connected(number) as idle, connected(number) as busy:
            async with serving(app, port):
                idle[1].write(GET)
                await idle[0].readuntil(b"/next ")
                busy[1].write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
                assert await eventually(lambda: len(app.seen) == 2)
                asyncio.get_running_loop().call_later(0.05, app.go.set)
            rest, answer = await idle[0].read(), await busy[0].read()

    assert rest == b""
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in answer


async def test_a_server_that_stops_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_server, "DRAIN_S", 0.05)
    app = Echo()
    with listening("127.0.0.1", 0, "PORT") as port:
        async with asyncio.timeout(10), connected(port.getsockname()[1]) as (reader, writer):
            async with serving(app, port):
                writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
                assert await eventually(lambda: len(app.seen) == 1)
            assert await reader.read() == b""


async def test_connections_beyond_the_cap_are_refused_and_counted_until_others_end() -> None:
    rejected: list[str] = []
    with listening("127.0.0.1", 0, "PORT") as port:
        number = port.getsockname()[1]
        async with asyncio.timeout(10), serving(Echo(), port, EdgeLimits(connections=1, rejected=rejected.append)):
            async with connected(number) as (reader, writer):
                writer.write(GET)
                await reader.readuntil(b"/next ")
                async with connected(number) as (refused, _):
                    answer = await refused.read()

            async def admitted() -> bool:
                async with connected(number) as (reader, writer):
                    writer.write(GET)
                    return b"503" not in await reader.readuntil(b"\r\n")

            assert await eventually(admitted)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert rejected[0] == "connections.too_many"


async def test_requests_sent_ahead_behind_a_slow_one_are_all_answered_however_many_they_are() -> None:
    line, ahead = Line(), 2_000
    await line.feed(GET.replace(b"/next", b"/slow") + GET * ahead)
    assert line.transport.data == b""

    line.app.go.set()

    await eventually(lambda: len(line.app.seen) == ahead + 1)
    assert [status for status, _ in answers(line.transport.data, ["GET"] * (ahead + 1))] == [200] * (ahead + 1)


async def test_files_of_tls_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")

    with listening("127.0.0.1", 0, "PORT") as port, pytest.raises(SettingInvalid, match="cannot be used"):
        async with serving(Echo(), port, tls=TlsFiles(wrong, wrong, None)):
            raise AssertionError


async def over_tcp(end: Callable[[asyncio.StreamWriter], None]) -> tuple[Echo, bytes]:
    """What a client reads that ends its connection in this way while its request is answered."""
    app = Echo()
    with listening("127.0.0.1", 0, "PORT") as port:
        async with serving(app, port) as running:
            assert isinstance(running, hot_server.HotServer)
            reader, writer = await asyncio.open_connection(*port.getsockname())
            writer.write(GET.replace(b"/next", b"/slow"))
            await eventually(lambda: app.seen)
            (connection,) = running._edge.connections
            assert isinstance(connection, HotConnection)
            end(writer)
            await eventually(lambda: connection._is_last)

            app.go.set()

            await eventually(lambda: app.gone)
            answer = b"" if writer.is_closing() else await reader.read()
            writer.close()
    return app, answer


async def test_a_client_that_shuts_its_side_down_after_its_request_still_gets_the_answer() -> None:
    app, answer = await over_tcp(asyncio.StreamWriter.write_eof)

    assert app.gone == [False]
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"GET /slow ")


async def test_a_client_that_closes_its_connection_before_the_answer_is_gone() -> None:
    app, _ = await over_tcp(asyncio.StreamWriter.close)

    assert app.gone == [True]
