"""A head that came before is not parsed again, and no request is read otherwise for that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import RequestRejected
from gate.serve.hot.connection import HotConnection
from gate.serve.hot.edge import Edge
from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.hot.exchange import HotRequest
from gate.serve.hot.heads import MOST_BODY_BYTES, MOST_HEADS, MOST_SPELLINGS, KnownHeads
from tests.edges.test_hot_connection import INSERTED, POST, Echo, Recorder, requests

HEAD = POST + b"content-length: 3\r\n\r\n"


class NoneKnown(KnownHeads):
    """Has every head parsed."""

    def request_in(self, data: bytes) -> HotRequest | None:
        return None


async def told(streams: Sequence[Sequence[bytes]], heads: KnownHeads, app: Echo) -> list[tuple[list[bytes], bool]]:
    """What connections of one port, one after the other, are answered without the dates, and whether they were closed."""
    edge = Edge(app, EdgeLimits(), asyncio.get_running_loop())
    edge.heads = heads
    found = []
    for pieces in streams:
        transport = Recorder()
        connection = HotConnection(edge)
        connection.connection_made(cast("asyncio.Transport", transport))
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
            for _ in range(4):
                await asyncio.sleep(0)
        lines = transport.data.split(b"\r\n")
        found.append(([line for line in lines if not line.startswith(b"date: ")], transport.closed))
    return found


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Requests as they come, one or two in a piece, of which some are broken, and some of these pieces again."""
    sent = [b"".join(data for data, _ in some) for some in draw(st.lists(st.lists(requests(), min_size=1, max_size=2)))]
    for n in draw(st.lists(st.integers(0, max(0, len(sent) - 1)), max_size=2)) if sent else ():
        place, put = draw(st.integers(0, len(sent[n]))), draw(st.sampled_from(INSERTED))
        sent[n] = sent[n][:place] + put + sent[n][place + (not put) :]
    return sent + [piece + draw(st.sampled_from([b"", b"\r\n", b"x"])) for piece in sent]


@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("exact_up_to", [MOST_BODY_BYTES, 0])
@given(streams=st.lists(pieces(), min_size=2, max_size=3))
def test_a_port_that_knows_heads_answers_every_stream_as_one_that_parses_them_all(
    streams: list[list[bytes]], exact_up_to: int
) -> None:
    knowing, parsing = Echo(), Echo()

    answered = asyncio.run(told([*streams, *streams], KnownHeads(exact_up_to), knowing))

    assert answered == asyncio.run(told([*streams, *streams], NoneKnown(), parsing))
    assert (knowing.seen, knowing.rejected) == (parsing.seen, parsing.rejected)


async def test_a_head_that_came_before_is_known_on_every_connection_and_its_body_is_that_of_the_request() -> None:
    heads, app = KnownHeads(), Echo()

    await told([[HEAD + b"abc"], [HEAD + b"def"]], heads, app)
    known = heads.request_in(HEAD + b"ghi")

    assert app.seen == [(b"POST", b"/echo", b"abc"), (b"POST", b"/echo", b"def")]
    assert known is not None
    assert (known.method, known.target, known.body) == (b"POST", b"/echo", b"ghi")
    assert known.headers == {b"host": b"x", b"content-length": b"3"}


async def test_the_parser_reads_what_is_more_or_less_than_one_request_with_a_known_head() -> None:
    heads, app = KnownHeads(), Echo()

    await told([[HEAD + b"abc", HEAD + b"de", b"f", HEAD + b"ghi" + HEAD + b"jkl", HEAD + b"mno\r\n"]], heads, app)

    assert [heads.request_in(HEAD + body) for body in (b"", b"de", b"ghij")] == [None] * 3
    assert [body for _, _, body in app.seen] == [b"abc", b"def", b"ghi", b"jkl", b"mno"]


async def test_a_head_is_known_only_if_its_bytes_leave_no_doubt_where_it_ends() -> None:
    heads = KnownHeads()
    doubtful = [
        b"\r\n\r\n" + HEAD,
        POST + b"x: a\ncontent-length: 3\r\n\r\n",
        POST + b"x: a\rb\r\ncontent-length: 3\r\n\r\n",
        POST + b"content-length: 3\n\n",
        HEAD[:-2],
        b"GET" + HEAD[4:],
        POST + b"x: " + b"a" * 1_024 + b"\r\ncontent-length: 3\r\n\r\n",
    ]
    request = HotRequest()
    request.method = b"POST"

    for head in doubtful:
        heads.learn(head + b"abc", request, 3)

    assert [heads.request_in(head + b"abc") for head in doubtful] == [None] * len(doubtful)


def batch(length: bytes, rest: bytes = b"") -> bytes:
    return POST + b"Content-Length: " + length + b"\r\nx: 1\r\n\r\n" + b"a" * int(length) + rest


async def test_a_head_without_its_length_is_known_with_any_length() -> None:
    heads, app = KnownHeads(exact_up_to=2), Echo()

    await told([[batch(b"3")]], heads, app)
    known = [heads.request_in(batch(length)) for length in (b"3", b"7", b"123456")]
    others = [
        batch(b"0"),
        batch(b"3").replace(b" 3", b" "),
        batch(b"07"),
        batch(b"+7"),
        batch(b"7", b"b"),
        batch(b"7").replace(b"x: 1", b"x: 2"),
    ]

    assert [request and (len(request.body), request.headers) for request in known] == [
        (length, {b"host": b"x", b"content-length": b"%d" % length, b"x": b"1"}) for length in (3, 7, 123456)
    ]
    assert [heads.request_in(data) for data in others] == [None] * len(others)


def test_only_the_head_of_a_batch_is_remembered_without_its_length() -> None:
    for length in (MOST_BODY_BYTES, MOST_BODY_BYTES + 1):
        heads, request = KnownHeads(), HotRequest()
        request.method = b"POST"

        heads.learn(batch(b"%d" % length), request, length)

        assert heads.request_in(batch(b"%d" % length)) is not None
        assert (heads.request_in(batch(b"7")) is not None) is (length > MOST_BODY_BYTES)


def test_spellings_of_the_length_are_bounded_and_those_that_are_known_stay_so() -> None:
    heads, request = KnownHeads(exact_up_to=0), HotRequest()
    request.method = b"POST"
    name = b"content-length"
    spellings = [name[:at] + name[at:].upper() for at in range(len(name)) if at != len(b"content")]
    sent = [POST + spelling + b": 3\r\n\r\nabc" for spelling in spellings]

    for data in sent:
        heads.learn(data, request, 3)

    known = [heads.request_in(data) is not None for data in sent]
    assert known == [True] * MOST_SPELLINGS + [False] * (len(sent) - MOST_SPELLINGS)


async def test_the_app_admits_each_request_with_a_known_head_anew() -> None:
    class Closing(Echo):
        def admit(self, request: HotRequest) -> int:
            if len(self.seen) == 2:
                raise RequestRejected("token.unknown", "this token was revoked")
            return super().admit(request)

    app = Closing()

    ((lines, closed),) = await told([[HEAD + b"abc", HEAD + b"def", HEAD + b"ghi"]], KnownHeads(), app)

    assert [line for line in lines if b"HTTP/1.1 " in line][-1].endswith(b"HTTP/1.1 404 Not Found")
    assert app.rejected == ["token.unknown"]
    assert not closed


def test_a_port_whose_heads_never_recur_keeps_a_bounded_number_and_stops_looking_for_them() -> None:
    heads, request = KnownHeads(), HotRequest()
    request.method = b"POST"
    sent = [POST + b"x-request-id: %d\r\ncontent-length: 0\r\n\r\n" % n for n in range(MOST_HEADS + 1)]

    for head in sent[:MOST_HEADS]:
        heads.learn(head, request, 0)
    before = [heads.request_in(head) is not None for head in sent[:2]]
    heads.learn(sent[-1], request, 0)

    assert before == [True, True]
    assert [heads.request_in(head) for head in sent] == [None] * len(sent)
