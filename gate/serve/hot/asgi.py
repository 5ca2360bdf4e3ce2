"""The little of ASGI that both apps need: read a capped body, send one answer. No framework on the hot path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from gate.errors import RequestRejected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body, which must not call itself anything but JSON.

    Raises RequestRejected (415), and where it has more than `limit` bytes or the caller went away.
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
        raise RequestRejected("media_type.unsupported", detail, status=415)


async def answer(send: Send, status: int, body: bytes, kind: bytes = JSON, extra: tuple[Header, ...] = ()) -> None:
    """One complete response."""
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _too_large(limit: int) -> RequestRejected:
    return RequestRejected("body.too_large", f"the body has at most {limit} bytes", status=413)
