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
    """A transport that holds a response's head back for its body."""

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
        elif data.startswith(_HEAD):
            self._head = data
            return
        self._write(data)

    def flush(self) -> None:
        """Write a head that has met no body."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)

    def close(self) -> None:
        """Close once all is written."""
        self.flush()
        self._transport.close()


class OneWriteProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`; for apps that have the body ready when they send the head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._one_write = OneWrite(transport)
        super().connection_made(self._one_write)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """A response without a body ends here as well."""
        self._one_write.flush()
        super().on_response_complete()
