"""Bytes of HTTP in and out: read a body up to a cap, answer once, write head and body together.

uvicorn parses HTTP and writes the head of a response as soon as it has it. On a busy gate that second system call, and
the second packet that wakes the caller, cost as much as decoding the request; so `OneWriteProtocol` holds the head back
until the body follows. Interim responses (1xx) have no body and are written at once: the caller waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gate.errors import RequestRejected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"

_STATUS_LINE: Final = b"HTTP/1."
_INTERIM: Final = (b"HTTP/1.1 1", b"HTTP/1.0 1")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body, which must not call itself anything but JSON.

    Raises RequestRejected: another media type, more than `limit` bytes, or a caller that went away.
    """
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value != JSON:
                _require_json(value)
        elif name == b"content-length" and (not value.isdigit() or int(value[:20]) > limit):
            raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _rest_of_body(message, body, receive, limit)


async def _rest_of_body(message: Message, body: bytes, receive: Receive, limit: int) -> bytes:
    parts, size = [body], len(body)
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    if message["type"] != "http.request":
        raise RequestRejected("body.incomplete", "the connection closed before the body was complete")
    return b"".join(parts)


def _require_json(content_type: bytes) -> None:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind != JSON and not kind.endswith(b"+json"):
        detail = "send the body as JSON, with the header content-type: application/json"
        raise RequestRejected("media_type.unsupported", detail)


def _too_large(limit: int) -> RequestRejected:
    return RequestRejected("body.too_large", f"the body has at most {limit} bytes")


async def answer(send: Send, status: int, body: bytes, kind: bytes = JSON, extra: tuple[Header, ...] = ()) -> None:
    """One complete response."""
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
        """Write a head that no body followed."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        """Close once everything is written."""
        self.flush()
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`; for apps that have the body ready when they send the head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._one_write = OneWrite(transport)
        super().connection_made(self._one_write)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Also where a response without a body ends."""
        self._one_write.flush()
        super().on_response_complete()
