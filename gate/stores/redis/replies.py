"""The replies of one open connection, read by hiredis as the bytes come: no stream, no task, one wake-up a call.

redis-py connects, greets and authenticates; then `Replies` takes its place behind the transport. The line decides what
to send and how long to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import hiredis
from redis.exceptions import ConnectionError, InvalidResponse, NoScriptError, ReadOnlyError, ResponseError

_ERRORS: Final = {"NOSCRIPT": NoScriptError, "READONLY": ReadOnlyError}


class Replies(asyncio.Protocol):
    """Replies that the server sent and nobody has read yet. Error replies are values, instances of ResponseError."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.lost: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._before = transport.get_protocol()
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=_error)
        self._found: deque[Any] = deque()
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    def send(self, packed: bytes) -> None:
        """Hand bytes to the transport. Raises redis' ConnectionError where the connection is lost."""
        if self.lost is not None:
            raise self.lost
        self._transport.write(packed)

    async def next(self, count: int, within_s: float) -> list[Any]:
        """The next `count` replies. Raises TimeoutError, and ConnectionError where the connection is lost."""
        if len(self._found) < count:
            await self._wait(count, within_s)
        return [self._found.popleft() for _ in range(count)]

    async def _wait(self, count: int, within_s: float) -> None:
        if self.lost is not None:
            raise self.lost
        self._wanted = count
        self._enough = enough = self._loop.create_future()
        late = self._loop.call_later(within_s, self._give_up, enough)
        try:
            await enough
        finally:
            late.cancel()
            self._enough = None

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        reader, found = self._reader, self._found
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False:
                found.append(reply)
                reply = reader.gets()
        except InvalidResponse as error:
            self._lose(error)
            self._transport.abort()
            return
        enough = self._enough
        if enough is not None and len(found) >= self._wanted and not enough.done():
            enough.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. redis-py opened the connection, and its own protocol must hear of the loss as well."""
        self._lose(ConnectionError(str(exc) if exc is not None else "the server closed the connection"))
        self._before.connection_lost(exc)

    def _lose(self, error: Exception) -> None:
        self.lost = self.lost or error
        if self._enough is not None and not self._enough.done():
            self._enough.set_exception(self.lost)

    @staticmethod
    def _give_up(enough: asyncio.Future[None]) -> None:
        if not enough.done():
            enough.set_exception(TimeoutError())


def _error(message: str) -> ResponseError:
    return _ERRORS.get(message.partition(" ")[0], ResponseError)(message)
