"""uvicorn as the gate runs it for its admin port and the pages of workers, and what their ASGI apps share.

uvicorn writes the head of a response as soon as it has it. That second system call, and the second packet that wakes the
caller, cost as much as a small page; so `OneWriteProtocol` holds the head back until the body follows. Interim responses
(1xx) have no body and are written at once: the caller waits for them. It also bounds what a connection may cost: the size
of a head, the time of a request, the number of connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gate.serve.hot.edge_limits import MAX_HEAD_BYTES, EdgeConfig, refusal_response
from gate.serve.hot.exchange import JSON

Header = tuple[bytes, bytes]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SWEEP_EVERY: Final = 5
"""Of uvicorn's ticks, ten a second."""
_STATUS_LINE: Final = b"HTTP/1."
_INTERIM: Final = (b"HTTP/1.1 1", b"HTTP/1.0 1")


async def answer(send: Send, status: int, body: bytes, kind: bytes = JSON, extra: Sequence[Header] = ()) -> None:
    """Send one complete response."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class OneWrite:
    """A transport that holds the head of a final response back until its body follows."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, in the order given."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_STATUS_LINE) and not data.startswith(_INTERIM):
            self._head = data
            return
        self._write(data)

    def flush(self) -> None:
        """Write a head without a body."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        """Write the held head and close."""
        self.flush()
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`; for apps that have the body ready when they send the head."""

    config: EdgeConfig
    awaited_since: float | None = None
    """Since when a request is awaited or incomplete, by the loop's clock; None while one is answered or none is due."""
    _head_bytes = 0
    """What has arrived of a request, at least of its head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._one_write = OneWrite(transport)
        self.awaited_since = self.loop.time()
        super().connection_made(self._one_write)  # type: ignore[arg-type]
        if len(self.connections) > self.config.limits.connections:
            self.refuse("connections.too_many", "too many connections; use a pool, or ask another gate")

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._head_bytes += len(data)
        super().data_received(data)
        if (self._head_bytes > MAX_HEAD_BYTES or len(data) > MAX_HEAD_BYTES) and self._head_is_too_large():
            self.refuse("header.too_large", f"target and headers have at most {MAX_HEAD_BYTES} bytes")

    def _head_is_too_large(self) -> bool:
        if self.transport.is_closing():
            return False
        if self.scope is None or self.cycle is None or self.cycle.scope is not self.scope:
            return True  # this much has arrived, and the head is not complete
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._head_bytes = size
        return size > MAX_HEAD_BYTES and not self.cycle.response_started

    def on_message_begin(self) -> None:
        """A request begins."""
        self.awaited_since = self.loop.time()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request has arrived in full."""
        self.awaited_since = None
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The request is no HTTP."""
        self.refuse("request.malformed", "this is not an HTTP/1.1 request")

    def refuse(self, reason: str, detail: str) -> None:
        """Answer with a problem, unless a response has begun, and close the connection."""
        self.config.limits.rejected(reason)
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self._one_write.write(refusal_response(reason, detail))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def on_response_complete(self) -> None:
        """Also where a response without a body ends."""
        self._one_write.flush()
        super().on_response_complete()


class SweepingServer(uvicorn.Server):
    """Closes the connections whose request is late. Every connection is looked at, twice a second."""

    config: EdgeConfig

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        if counter % SWEEP_EVERY == 0:
            limit_s = self.config.limits.request_s
            latest = asyncio.get_running_loop().time() - limit_s
            for connection in list(self.server_state.connections):
                if not isinstance(connection, OneWriteProtocol) or connection.awaited_since is None:
                    continue
                if connection.awaited_since < latest:
                    connection.refuse("request.timeout", f"the request did not arrive within {limit_s:g} s")
        return await super().on_tick(counter)
