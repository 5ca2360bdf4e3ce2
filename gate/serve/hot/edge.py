"""What the connections of the hot port share, and what is done to all of them: the sweep, twice a second, and the end.

Also the work on requests starts here. Under load, those that the app answers in one piece of work wait for the end of the
turn of the event loop: many checks that are decided at once cost half of what they cost one by one. After a turn of few
requests the first ones of the next turn start at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.hot.exchange import GatheringApp, Handling, HotApp, HotRequest, Response
from gate.serve.hot.heads import KnownHeads

SWEEP_EVERY_S: Final = 0.5
LEAST_GATHERED: Final = 3
"""Fewer requests of a turn are answered one by one, which costs less."""
MOST_GATHERED: Final = 32
"""More requests of a turn are answered in several parts, as the store takes no more in one call."""
_TCP_CLOSED: Final = 7
"""The state of a connection that was reset, as Linux numbers it."""


class OpenConnection(Protocol):
    """One connection, as the sweep sees it."""

    def close_if_late(self, now_s: float) -> None:
        """End it if the client lets it wait for too long."""
        ...

    def close_if_idle(self) -> None:
        """End it unless a request has begun."""
        ...

    def abort(self) -> None:
        """End it now, and what works for it."""
        ...


class Edge:
    """What the connections of one port share. `sweep` goes over them twice a second."""

    def __init__(self, app: HotApp, limits: EdgeLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.app = app
        self.limits = limits
        self.loop = loop
        self.connections: set[OpenConnection] = set()
        self.heads = KnownHeads()
        self.draining = False
        self.emptied = asyncio.Event()
        """Set while draining, when the last connection and the work on each request have ended."""
        self.starts: dict[tuple[int, bytes], bytes] = {}
        """The first lines of responses that were written since the last sweep; `start_of` makes others."""
        self._timer: asyncio.TimerHandle | None = None
        self._gathering = app if isinstance(app, GatheringApp) else None
        self._gathered = None if self._gathering is None else self._gathering.gathered
        self._turn: list[HotRequest] = []
        """Requests that are answered together when the turn of the event loop ends."""
        self._started = 0
        """Requests of this turn that were started at once."""
        self.at_once = LEAST_GATHERED - 1
        """How many requests of this turn are started at once."""
        self._together: dict[int, Handling[Sequence[HotRequest], Sequence[Response]]] = {}
        """The work under way on requests that are answered together, by the identity of their list."""
        self._abandoned: set[HotRequest] = set()
        """Requests of which the connection has ended, and not the work on them alone."""

    def begin(self, request: HotRequest) -> None:
        """Start the work on a request, now or at the end of the turn."""
        if request.path != self._gathered:
            self._work_on(request)
            return
        if not self._started and not self._turn:
            self.loop.call_soon(self._end_turn)
        if self._started < self.at_once:
            self._started += 1
            self._work_on(request)
        else:
            self._turn.append(request)

    def _work_on(self, request: HotRequest) -> None:
        request.handling = handling = Handling(self.loop, request, self.app.respond(request), request.answered)
        handling.go_on()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        self.at_once = LEAST_GATHERED - 1 if self._started + len(turn) < LEAST_GATHERED else 0
        self._started = 0
        if self._gathering is None or len(turn) < LEAST_GATHERED:
            for request in turn:
                self._work_on(request)
            return
        for at in range(0, len(turn), MOST_GATHERED):
            for requests, work in self._gathering.respond_to_all(turn[at : at + MOST_GATHERED]):
                handling = self._together[id(requests)] = Handling(self.loop, requests, work, self._answer_all)
                handling.go_on()

    def _answer_all(self, requests: Sequence[HotRequest], responses: Sequence[Response]) -> None:
        del self._together[id(requests)]
        for request, response in zip(requests, responses, strict=True):
            request.answered(request, response)
        self._look_whether_empty()

    def start_of(self, status: int, kind: bytes) -> bytes:
        """Status line, date and content type of a response."""
        date = formatdate(time.time(), usegmt=True)
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ndate: {date}\r\n".encode()
        start = self.starts[status, kind] = line + b"content-type: %b\r\n" % kind
        return start

    def sweep(self) -> None:
        """Close the connections that are late, and forget the date."""
        self._timer = self.loop.call_later(SWEEP_EVERY_S, self.sweep)
        self.starts.clear()
        now_s = self.loop.time()
        for connection in list(self.connections):
            connection.close_if_late(now_s)

    def drain(self) -> None:
        """Close the idle connections, and each other one after its response."""
        self.draining = True
        self._look_whether_empty()
        for connection in list(self.connections):
            connection.close_if_idle()

    def stop(self) -> None:
        """Abort what is left. Work that is cancelled gives back, in the next turn of the event loop, what it took."""
        if self._timer is not None:
            self._timer.cancel()
        self._turn.clear()
        for connection in list(self.connections):
            connection.abort()
        for handling in (*self._together.values(), *(request.handling for request in self._abandoned)):
            if handling is not None:
                handling.cancel()
        self._together.clear()
        self._abandoned.clear()

    def lost(self, connection: OpenConnection, answering: HotRequest | None) -> None:
        """A connection has ended. The work on the request that it was `answering` goes on."""
        self.connections.discard(connection)
        if answering is not None:
            answering.gone = True
            if answering.handling is not None or answering in self._turn:
                self._abandoned.add(answering)
        self._look_whether_empty()

    def answered_nobody(self, request: HotRequest) -> None:
        """The work on a request has ended after its connection."""
        self._abandoned.discard(request)
        self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self.draining and not (self.connections or self._together or self._abandoned):
            self.emptied.set()

    @staticmethod
    def is_reset(transport: asyncio.Transport) -> bool:
        """Whether the client's host has reset a connection, which is no longer read."""
        port = transport.get_extra_info("socket")
        return port is not None and port.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSED
