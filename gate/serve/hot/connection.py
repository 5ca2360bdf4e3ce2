"""One connection of the hot port: HTTP/1.1 on `httptools`, one request after the other, each response in one write.

llhttp, the parser in `httptools`, rejects requests on whose end two servers may disagree: both lengths, a repeated
length, bad chunks, folded lines, bare line feeds. This file rejects what it lets pass: a version other than 1.0 and
1.1, a transfer coding other than `chunked`, no `Host` or several, an upgrade with a chunked body. After such a
rejection the connection ends.

Requests that a client sends ahead wait in order, and no more is read until they are answered. A request that is refused
by its head is answered at once; its body is read and dropped. A head that came before is looked up, see `heads`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from http import HTTPStatus
from typing import Final

import httptools

from gate.errors import RequestRejected
from gate.serve.hot.edge import Edge
from gate.serve.hot.edge_limits import KEEP_ALIVE_S, MAX_HEAD_BYTES, WIRE_BYTES, refusal_response, too_large
from gate.serve.hot.exchange import HotRequest, Response

log = logging.getLogger("upload_gate.http")

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODY_FOLLOWS: Final = b"POST / HTTP/1.1\r\nhost: -\r\ncontent-length: %b\r\n\r\n"
"""The head after which a new parser reads the body of a request that offered an upgrade; nothing else of it is used."""
_UNUSUAL: Final = frozenset((b"connection", b"transfer-encoding", b"upgrade", b"expect"))  # these are looked at twice
_MALFORMED: Final = ("request.malformed", "this is not an HTTP/1.1 request")
_LARGE_HEAD: Final = ("header.too_large", f"target and headers have at most {MAX_HEAD_BYTES} bytes")


class HotConnection(asyncio.Protocol):
    """One connection; its methods named `on_…` are called by the parser."""

    _transport: asyncio.Transport

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._parser = httptools.HttpRequestParser(self)
        self._reading: HotRequest | None = None
        self._in_head = False
        self._offering: HotRequest | None = None
        """A request that offers an upgrade, whose body has not begun."""
        self._begun_by = b""
        """The bytes that came first after a request, until a head is complete."""
        self._fed = 0
        """Bytes of the request that is being read, as far as they came without the end of another."""
        self._ended = 0
        """How many requests were read to their end."""
        self._waiting: deque[HotRequest] = deque()
        self._answering: HotRequest | None = None
        self._is_proceeding = self._is_paused = self._stalled = False
        self._is_last = False
        """No request is read any more."""
        self._since_s = 0.0
        """Since when the next thing is awaited: a request or its rest; that the client reads; that the connection ends."""
        self._is_idle = False
        """A request was answered, and none has begun since."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        edge = self._edge
        self._transport = transport
        self._since_s = edge.loop.time()
        edge.connections.add(self)
        if len(edge.connections) > edge.limits.connections:
            self._refuse("connections.too_many", "too many connections; use a pool, or ask another gate")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_last:
            return
        if self._reading is None and self._offering is None:
            request = self._edge.heads.request_in(data)
            if request is not None:
                self._is_idle = True
                if self._admits(request, len(request.body)):
                    self._accept(request)
                return
            self._begun_by = data
        at = 0  # in pieces, so that no head beyond its limit is ever complete
        while at < len(data) and not self._is_last:
            piece = data[at : at + (MAX_HEAD_BYTES - self._fed if self._in_head else MAX_HEAD_BYTES)]
            at += len(piece)
            self._feed(piece)

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client does not read."""
        self._stalled = True
        self._since_s = self._edge.loop.time()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._stalled = False
        self._proceed()

    def eof_received(self) -> bool:
        """See asyncio.Protocol: the client sends no more. Over TCP it still gets the answer to what it sent whole.

        It may also be gone altogether. An interim response tells: the host of a closed socket answers it with a reset.
        """
        request = self._waiting[-1] if self._waiting else self._answering
        if request is None or self._transport.get_extra_info("sslcontext") is not None:
            return False
        request.keep_alive, self._is_last = False, True
        for each in (self._answering, *self._waiting):
            if each is not None:
                each.is_reset = partial(self._edge.is_reset, self._transport)
        if not request.is_of_1_0:
            self._transport.write(_CONTINUE)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._is_last = True
        self._waiting.clear()
        reading = self._reading
        if reading is not None and reading.early is None and not self._in_head:
            incomplete = RequestRejected("body.incomplete", "the connection closed before the body was complete")
            self._edge.app.refused(reading, incomplete)
        del self._parser  # it refers to this object
        self._edge.lost(self, self._answering)

    # The parser

    def _feed(self, data: bytes) -> None:
        ended = self._ended
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as upgrade:  # the offer is not taken, and HTTP/1.1 goes on
                    self._parser = httptools.HttpRequestParser(self)
                    data = b"" if self._is_last else data[upgrade.args[0] :]
                    if self._offering is not None:
                        self._parser.feed_data(_BODY_FOLLOWS % self._offering.headers[b"content-length"])
        except httptools.HttpParserCallbackError:
            log.exception("unexpected error while reading a request")
            self._refuse("fault.internal", "the gate failed; this is no decision, send the check again")
        except httptools.HttpParserError:
            if not self._is_last:  # else the bytes come after the last request
                self._refuse(*_MALFORMED)
        if self._reading is not None and not self._is_last:
            self._weigh(len(data) if ended == self._ended else 0)

    def _weigh(self, more: int) -> None:
        """Refuse a request that is not complete after more bytes than one may have."""
        reading = self._reading
        assert reading is not None
        if not self._fed:
            self._since_s = self._edge.loop.time()
        self._fed += more or 1
        if self._in_head:
            if self._fed >= MAX_HEAD_BYTES:
                self._refuse(*_LARGE_HEAD)
        elif self._fed > MAX_HEAD_BYTES + WIRE_BYTES * reading.limit and reading.early is None:
            self._reject(reading, too_large(reading.limit))

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._offering is not None:
            return
        self._reading = request = HotRequest()
        if self._is_last:
            request.early = b""
        self._in_head = True
        self._is_idle = False
        self._fed = 0

    def on_url(self, target: bytes) -> None:
        """A part of the target has arrived."""
        assert self._reading is not None
        if self._in_head:
            self._reading.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has arrived. A trailer is dropped."""
        request = self._reading
        if self._in_head and request is not None:
            name, headers = name.lower(), request.headers
            if name not in headers:
                headers[name] = value
            elif name == b"host":
                request.is_of_several_hosts = True

    def on_headers_complete(self) -> None:
        """The head is complete: refuse the request, or let its body come."""
        request, parser, begun_by = self._reading, self._parser, self._begun_by
        assert request is not None
        self._in_head = False
        self._begun_by = b""
        if self._offering is not None or request.early is not None:
            self._offering = None
            return
        headers = request.headers
        request.method = parser.get_method()
        goes_on = parser.should_keep_alive()
        # only of version 1.1 a connection goes on without being asked to; to be told the version costs more
        is_usual = goes_on and _UNUSUAL.isdisjoint(headers) and b"host" in headers
        if not is_usual or request.is_of_several_hosts:
            version = parser.get_http_version()
            request.is_of_1_0 = version == "1.0"
            request.keep_alive = goes_on and version == "1.1"
            if not request.is_sound(version):
                self._refuse(*_MALFORMED)
                return
        if request.method == b"CONNECT":
            request.keep_alive = False
        length = headers.get(b"content-length")
        if not self._admits(request, 0 if length is None else int(length)):
            return
        if is_usual:
            if begun_by and length is not None:
                self._edge.heads.learn(begun_by, request, int(length))
        elif headers.get(b"expect", b"").lower() == b"100-continue" and not request.is_of_1_0:
            request.awaits_continue = True
            self._continue()

    def on_body(self, part: bytes) -> None:
        """A part of the body has arrived."""
        request = self._reading
        assert request is not None
        if request.early is not None:
            return
        if not request.body:
            request.body, size = part, len(part)
        else:
            if request.rest is None:
                request.rest = bytearray()
            request.rest += part
            size = len(request.body) + len(request.rest)
        if size > request.limit:
            self._reject(request, too_large(request.limit))

    def on_message_complete(self) -> None:
        """The request is complete, or the head of one that offers an upgrade is: the parser ends there, its body follows."""
        request = self._reading
        assert request is not None
        if self._parser.should_upgrade() and int(request.headers.get(b"content-length", 0)):
            self._offering = request
            return
        self._reading = None
        self._fed = 0
        self._ended += 1
        self._is_idle = True
        if request.early is None:
            if request.rest is not None:
                request.body += request.rest
            self._accept(request)

    # The responses

    def _admits(self, request: HotRequest, length: int) -> bool:
        """Whether the app lets a request of that length in. One that it does not let in is answered."""
        try:
            request.limit = limit = self._edge.app.admit(request)
            if length > limit:
                raise too_large(limit)
        except RequestRejected as error:
            self._reject(request, error)
            return False
        return True

    def _reject(self, request: HotRequest, error: RequestRejected) -> None:
        """Answer a request of which the body is not wanted."""
        request.early = response = self._edge.app.refused(request, error)
        if response[0] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or b"expect" in request.headers:
            request.keep_alive = False  # the client may send the body or not; so nobody knows what follows
        self._accept(request)

    def _refuse(self, reason: str, detail: str) -> None:
        """Refuse bytes that are not a request, after the answers to requests before them, and end the connection."""
        self._edge.limits.rejected(reason)
        request = self._reading if self._reading is not None else HotRequest()
        if request.early is None:
            request.early, request.keep_alive = refusal_response(reason, detail), False
            self._accept(request)
        self._is_last = True
        self._proceed()

    def _accept(self, request: HotRequest) -> None:
        """Answer a request now, or after those before it."""
        if self._is_last:
            return
        if not request.keep_alive:
            self._is_last = True
        if self._answering is None and not self._waiting and not self._stalled:
            self._begin(request)
        else:
            self._waiting.append(request)
            if not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()

    def _begin(self, request: HotRequest) -> None:
        if request.early is not None:
            self._write(request, request.early)
        else:
            self._answering = request
            request.answered = self._answered
            self._edge.begin(request)

    def _answered(self, request: HotRequest, response: Response) -> None:
        self._answering = None
        if request.gone:
            self._edge.answered_nobody(request)
            return
        try:
            self._write(request, response)
            if self._waiting or self._is_paused or self._reading is not None:
                self._proceed()
        except Exception:  # other connections still wait for answers that were made with this one
            log.exception("unexpected error while writing a response; its connection ends")
            self.abort()

    def _write(self, request: HotRequest, response: Response | bytes) -> None:
        """Write a response, and end the connection if it was its last."""
        edge, transport = self._edge, self._transport
        if isinstance(response, bytes):
            transport.write(response)
        else:
            status, body, kind, lines = response
            if edge.draining:
                request.keep_alive = False
            if not request.keep_alive:
                lines += b"connection: close\r\n"
            start = edge.starts.get((status, kind)) or edge.start_of(status, kind)
            shown = b"" if request.method == b"HEAD" else body
            transport.write(b"%bcontent-length: %d\r\n%b\r\n%b" % (start, len(body), lines, shown))
        self._since_s = edge.loop.time()
        if not request.keep_alive:
            self._is_last = True
            self._waiting.clear()
            transport.close()

    def _proceed(self) -> None:
        """Go on with the requests that wait; when all are answered, read on, or end the connection."""
        if self._is_proceeding:  # an answer that was there at once
            return
        self._is_proceeding = True
        while self._waiting and self._answering is None and not self._stalled:
            self._begin(self._waiting.popleft())
        self._is_proceeding = False
        if self._waiting or self._answering is not None or self._transport.is_closing():
            return
        if self._is_last:
            self._transport.close()
            return
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._continue()

    def _continue(self) -> None:
        """Let the client send the body that it holds back, once it is its turn."""
        reading = self._reading
        if reading is not None and reading.awaits_continue and self._answering is None and not self._waiting:
            reading.awaits_continue = False
            self._transport.write(_CONTINUE)

    # The time

    def close_if_late(self, now_s: float) -> None:
        """End the connection if the client lets it wait for too long."""
        request_s = self._edge.limits.request_s
        waited_s = now_s - self._since_s
        if self._transport.is_closing() or self._stalled:
            if waited_s > request_s:
                self.abort()
        elif self._answering is not None or self._waiting:
            return
        elif self._is_idle:
            if waited_s > KEEP_ALIVE_S:
                self._is_last = True
                self._transport.close()
        elif waited_s > request_s:
            self._refuse("request.timeout", f"the request did not arrive within {request_s:g} s")

    def close_if_idle(self) -> None:
        """End the connection unless a request has begun."""
        if self._reading is None and self._answering is None and not self._waiting:
            self._is_last = True
            self._transport.close()

    def abort(self) -> None:
        """End the connection now, and what works for it."""
        self._is_last = True
        if self._answering is not None and (handling := self._answering.handling) is not None:
            self._answering.handling = None
            handling.cancel()
        self._transport.abort()
