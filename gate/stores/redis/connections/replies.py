"""The replies of one open connection to Redis: parsed as they arrive, without a stream or a task.

A call is one of two kinds. `send` and `next` are for a task, which awaits as many replies as it wants. `begin` sends a command
and has a function called in the turn of the event loop that reads the reply; so the work goes on without another turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final

import hiredis
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)

POLLS_WHEN_LATE: Final = 2
"""Turns of the event loop between a deadline and its effect. Timers run before sockets are read, in a turn of uvloop also those
that a timer calls soon; so it takes two."""
POLLS_OF_A_PART: Final = 64
"""Further turns while the part of a reply is there: each turn reads a part of a long one, 256 KiB at most."""

_ERRORS: Final = {"NOPERM": NoPermissionError, "NOSCRIPT": NoScriptError, "READONLY": ReadOnlyError}


class Replies(asyncio.Protocol):
    """The unread replies of one open connection. Error replies are values, instances of ResponseError."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.lost: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self._transport = transport
        self._before = transport.get_protocol()
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=self._error)
        self._found: deque[Any] = deque()
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None
        self._done: Callable[[Any], None] | None = None
        """Gets the reply to the command that `begin` has sent."""
        self._until_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        """Looks whether that reply is late. It runs on from call to call, as a timer for each costs more."""
        self._look_at_s = inf
        transport.set_protocol(self)

    def send(self, packed: bytes) -> None:
        """Hand bytes to the transport. Raises redis' ConnectionError if the connection is lost."""
        if self.lost is not None:
            raise self.lost
        self._transport.write(packed)

    def begin(self, packed: bytes, until_s: float, done: Callable[[Any], None]) -> None:
        """Send one command on a connection that is not lost and awaits no reply. `done` gets the reply once it is read,
        an error if the connection is lost, and TimeoutError after `until_s` (the loop's time)."""
        self._transport.write(packed)
        self._done, self._until_s = done, until_s
        if until_s < self._look_at_s:
            self._look_at(until_s)

    async def next(self, count: int, within_s: float) -> list[Any]:
        """The next `count` replies. Raises TimeoutError, and ConnectionError if the connection is lost."""
        found = self._found
        if len(found) < count:
            if self.lost is not None:
                raise self.lost
            self._wanted = count
            self._enough = enough = self.loop.create_future()
            late = self.loop.call_later(within_s, self._give_up, enough)
            try:
                await enough
            finally:
                late.cancel()
                self._enough = None
        return [found.popleft() for _ in range(count)]

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
        done = self._done
        if done is not None:
            if found:
                self._done = None
                done(found.popleft())
            return
        enough = self._enough
        if enough is not None and len(found) >= self._wanted and not enough.done():
            enough.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. redis-py opened the connection, so its own protocol must be told of the loss too."""
        self._lose(ConnectionError(str(exc) if exc is not None else "the server closed the connection"))
        self._before.connection_lost(exc)

    def _lose(self, error: Exception) -> None:
        self.lost = self.lost or error
        if self._watch is not None:
            self._watch.cancel()
        if self._enough is not None and not self._enough.done():
            self._enough.set_exception(self.lost)
        self._fail(self._done, self.lost)

    def _fail(self, done: Callable[[Any], None] | None, error: Exception) -> None:
        if done is not None and done is self._done:
            self._done = None
            done(error)

    def _look(self) -> None:
        """Fail the command under way if its reply is late, else look again when it would be."""
        self._watch, self._look_at_s = None, inf
        if self._done is None:
            return
        if self.loop.time() < self._until_s:
            self._look_at(self._until_s)
        else:
            self._be_late(self._done)

    def _look_at(self, at_s: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._look_at_s = at_s
        self._watch = self.loop.call_at(at_s, self._look)

    def _be_late(self, done: Callable[[Any], None], polls: int = POLLS_WHEN_LATE) -> None:
        """As `_give_up`."""
        if done is self._done and self._may_come(polls):
            self.loop.call_soon(self._be_late, done, polls - 1)
        else:
            self._fail(done, TimeoutError())

    def _give_up(self, enough: asyncio.Future[None], polls: int = POLLS_WHEN_LATE) -> None:
        """Fail once the event loop has read what came before the deadline: it may be the loop that is late."""
        if enough.done():
            return
        if self._may_come(polls):
            self.loop.call_soon(self._give_up, enough, polls - 1)
        else:
            enough.set_exception(TimeoutError())

    def _may_come(self, polls: int) -> bool:
        """Whether a reply that came before the deadline may still be unread, with so many turns of the loop left."""
        return polls > 0 or (polls > -POLLS_OF_A_PART and bool(self._reader.has_data()))

    @staticmethod
    def _error(message: str) -> ResponseError:
        return _ERRORS.get(message.partition(" ")[0], ResponseError)(message)
