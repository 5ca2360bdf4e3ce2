"""uvicorn's HTTP protocol with each answer written to the socket at once, head and body together.

uvicorn writes the head of a response as soon as it has it; on a busy gate the second system call, and the second packet
that wakes the caller, cost as much as decoding the request. What HTTP is stays uvicorn's to know.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD: Final = b"HTTP/1."


class OneWrite:
    """A transport that holds a response's head back for its body, at most until the loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._flush_soon: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, in the order given."""
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD):
            self._head = data
            self._flush_soon = self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._flush_soon is not None:
            self._flush_soon.cancel()
            self._flush_soon = None
            head, self._head = self._head, b""
            self._transport.write(head)


class OneWriteProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]
