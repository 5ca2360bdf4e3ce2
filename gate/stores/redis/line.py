"""One dedicated connection to Redis. It packs and reads with hiredis, never retries, and gives each call a deadline.

redis-py's own defaults would repeat a lost call up to ten times and wait 5 s for a dead server, and its packing is pure
Python. So a `Line` lets redis-py connect, greet and authenticate, and then sends and reads by itself, one call at a
time: `Replies` replaces redis-py's protocol on the transport and parses bytes as they arrive, without a stream or a
task. A connection whose reply was not read to the end is closed and never used again. The stores decide which calls may
be repeated.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from gate.errors import SettingInvalid, StoreUnavailable, redact
from gate.stores.redis.script_call import Argument, ScriptCall
from gate.stores.redis.trouble import redis_trouble

CLOSE_WITHIN_S = 1.0
POLLS_WHEN_LATE: Final = 2
"""Turns of the event loop between a deadline and its effect. Timers run before sockets are read, in a turn of uvloop also those
that a timer calls soon; so it takes two."""

Routed = tuple[str | bytes, Sequence[Argument]]
"""A command and the key that says which node of a Cluster carries it out."""


class ReplyLost(StoreUnavailable):
    """The connection broke during a call, or no reply came in time. The server may or may not have run the call."""


@dataclass(slots=True)
class Stats:
    """Counters of a store since its creation, for the metrics."""

    calls: int = 0
    """Batches of checks that were sent."""
    checks: int = 0
    """Checks in these batches."""
    noscript: int = 0
    """Scripts that the server had lost and that were sent again."""
    errors: int = 0
    """Calls that failed: no answer in time, a lost connection, or a refusal by the server."""
    reconnects: int = 0
    shed: int = 0
    """Checks that were not sent because too many waited."""
    probes: int = 0
    """Probes of the server, at the start and after a failure."""
    unreadable: int = 0
    """Stored scores, overrides and bucket values that a take rejected as impossible."""


def pack(command: Sequence[Argument]) -> bytes:
    """The bytes of one command. Arguments are not split: `SCRIPT LOAD` takes two arguments."""
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub takes tuples of one only
    return packed


class Line:
    """A connection that opens on first use. It is not for concurrent use; its owner closes it."""

    is_clustered = False

    def __init__(self, url: str, name: str = "upload-gate", stats: Stats | None = None) -> None:
        self._url, self._name = url, name
        self._where = redact(url)
        self._stats = stats if stats is not None else Stats()
        self._connection = connection_to(url, name)
        self._replies: Replies | None = None
        self._was_open = False

    @property
    def is_open(self) -> bool:
        """True while it is connected; a loss that was not noticed yet still counts as connected."""
        return self._replies is not None and self._replies.lost is None

    async def connect(self, within_s: float) -> None:
        """Open it unless it is open. Raises StoreUnavailable."""
        if not self.is_open:
            await self.call((), asyncio.get_running_loop().time() + within_s)

    async def close(self) -> None:
        """Close it and wait until it is closed; the next call opens it again."""
        self._replies = None
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._connection.disconnect()

    async def _drop(self) -> None:
        self._replies = None
        await self._connection.disconnect(nowait=True)

    async def call(self, packed: Sequence[bytes], until_s: float) -> list[Any]:
        """Send all packed commands and read one reply each, until the loop's time `until_s`. Error replies are values.

        Raises StoreUnavailable; its subclass ReplyLost if an open connection broke or gave no reply in time.
        """
        opened = self.is_open
        within_s = until_s - self._now_s()
        try:
            replies = self._replies if opened else None
            if replies is None:
                replies = await self._open(within_s)
            replies.send(packed[0] if len(packed) == 1 else b"".join(packed))
            return await replies.next(len(packed), until_s - replies.loop.time())
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            await self._drop()
            self._stats.errors += 1
            late = isinstance(error, TimeoutError)
            what = (
                f"did not answer within {within_s * 1000:.0f} ms"
                if late
                else f"cannot be reached: {redis_trouble(error)}"
            )
            kind = ReplyLost if opened else StoreUnavailable
            raise kind(f"Redis at {self._where} {what}") from error
        except BaseException:
            await self._drop()
            raise

    async def run(self, runs: Sequence[ScriptCall], within_s: float, *, again: bool = False) -> list[Any]:
        """Run scripts and return one reply each. If the server has lost a script, only that call is sent again.

        With `again`, calls are repeated once if the connection broke, or if half the time has passed without a reply.
        Use it for idempotent scripts only. `within_s` bounds all of it, repetitions included. Raises StoreUnavailable,
        also if the server refuses a call.
        """
        now_s = self._now_s()
        until_s, packed = now_s + within_s, [run.packed(known=True) for run in runs]
        try:  # as `_call` does, without one more coroutine for each batch of checks
            replies = await self.call(packed, now_s + within_s / 2 if again and self.is_open else until_s)
        except ReplyLost:
            if not again:
                raise
            replies = await self.call(packed, until_s)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            self._stats.noscript += len(unknown)
            late = await self._call([runs[i].packed(known=False) for i in unknown], until_s, again)
            for i, reply in zip(unknown, late, strict=True):
                replies[i] = reply
        for reply in replies:
            if isinstance(reply, ResponseError):
                await self.refuse(reply)
        return replies

    async def refuse(self, reply: ResponseError) -> None:
        """Raise StoreUnavailable for an error reply. Closes the connection to a server that has become a replica."""
        self._stats.errors += 1
        if isinstance(reply, ReadOnlyError):
            await self._drop()
        raise StoreUnavailable(f"Redis at {self._where} refused a call: {reply}") from reply

    async def execute(self, *command: Argument, within_s: float, at: str | None = None) -> Any:
        """The reply to one idempotent command, repeated once if the connection broke. Raises StoreUnavailable.

        `at` is the key whose node of a Cluster is meant.
        """
        (reply,) = await self.pipeline(((at or "", command),), within_s)
        return reply

    async def pipeline(self, calls: Sequence[Routed], within_s: float) -> list[Any]:
        """The replies to idempotent commands, all repeated once if the connection broke. Raises StoreUnavailable."""
        until_s = asyncio.get_running_loop().time() + within_s
        replies = await self._call([pack(command) for _, command in calls], until_s, again=True)
        for reply in replies:
            if isinstance(reply, ResponseError):
                await self.refuse(reply)
        return replies

    async def line_at(self, key: str, within_s: float) -> Line:
        """A new connection to the node of a Cluster that serves the key; here to the one server. Its owner closes it."""
        return self.twin()

    def twin(self) -> Line:
        """A new connection to the same server."""
        return Line(self._url, self._name, self._stats)

    async def values(self, keys: Sequence[str], within_s: float) -> list[bytes | None]:
        """The values of the keys, in order. Raises StoreUnavailable."""
        found: list[bytes | None] = await self.execute(b"MGET", *keys, within_s=within_s)
        return found

    async def delete(self, keys: Sequence[bytes], within_s: float) -> int:
        """Delete the keys; returns how many there were. Raises StoreUnavailable."""
        return int(await self.execute(b"UNLINK", *keys, within_s=within_s))

    async def scan(self, match: str, count: int, within_s: float) -> AsyncIterator[list[bytes]]:
        """The keys that match a pattern, some at a time; a key may come twice. Raises StoreUnavailable."""
        cursor: bytes = b"0"
        while True:
            reply = await self.execute(b"SCAN", cursor, b"MATCH", match, b"COUNT", count, within_s=within_s)
            if not isinstance(reply, list) or len(reply) != 2:
                raise StoreUnavailable("Redis did not answer SCAN with a list of keys")
            cursor, keys = reply
            yield keys
            if cursor == b"0":
                return

    async def send(self, *command: Argument) -> None:
        """Send a command on an open connection without waiting for a reply. Raises StoreUnavailable."""
        try:
            self._open_replies().send(pack(command))
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis at {self._where} is gone: {error}") from error

    async def listen(self, within_s: float) -> Any:
        """The next message of an open connection. Raises StoreUnavailable, also if none comes in time."""
        try:
            (message,) = await self._open_replies().next(1, within_s)
        except TimeoutError as error:
            raise StoreUnavailable(f"Redis at {self._where} has been silent for {within_s:.1f} s") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis at {self._where} is gone: {error}") from error
        return message

    def _open_replies(self) -> Replies:
        if self._replies is None:
            raise StoreUnavailable(f"Redis at {self._where} is not connected")
        return self._replies

    async def _call(self, packed: Sequence[bytes], until_s: float, again: bool) -> list[Any]:
        try:
            return await self.call(packed, (self._now_s() + until_s) / 2 if again and self.is_open else until_s)
        except ReplyLost:
            if not again:
                raise
            return await self.call(packed, until_s)

    def _now_s(self) -> float:
        """The time of the loop. An open connection knows the loop, and to look it up is a system call."""
        return (asyncio.get_running_loop() if self._replies is None else self._replies.loop).time()

    async def _open(self, within_s: float) -> Replies:
        await self._drop()
        async with asyncio.timeout(within_s):
            await self._connection.connect()  # type: ignore[no-untyped-call]
        self._replies = Replies(cast("asyncio.StreamWriter", self._connection._writer).transport)
        if self._was_open:
            self._stats.reconnects += 1
        self._was_open = True
        return self._replies


def connection_to(url: str, name: str) -> Connection | UnixDomainSocketConnection:
    """A connection of redis-py that is not open yet and repeats nothing. Raises SettingInvalid."""
    try:
        settings: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise SettingInvalid(f"not a Redis URL: {redact(url)}: {error}") from error
    kind = settings.pop("connection_class", Connection)
    settings |= {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # the asyncio class; the sync one would be ignored without a message
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "client_name": name,
    }
    connection: Connection | UnixDomainSocketConnection = kind(**settings)
    return connection


_ERRORS: Final = {"NOSCRIPT": NoScriptError, "READONLY": ReadOnlyError}


class Replies(asyncio.Protocol):
    """The unread replies of one open connection. Error replies are values, instances of ResponseError."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self.lost: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self._transport = transport
        self._before = transport.get_protocol()
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=_error)
        self._found: deque[Any] = deque()
        self._wanted = 0
        self._enough: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    def send(self, packed: bytes) -> None:
        """Hand bytes to the transport. Raises redis' ConnectionError if the connection is lost."""
        if self.lost is not None:
            raise self.lost
        self._transport.write(packed)

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
        enough = self._enough
        if enough is not None and len(found) >= self._wanted and not enough.done():
            enough.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. redis-py opened the connection, so its own protocol must be told of the loss too."""
        self._lose(ConnectionError(str(exc) if exc is not None else "the server closed the connection"))
        self._before.connection_lost(exc)

    def _lose(self, error: Exception) -> None:
        self.lost = self.lost or error
        if self._enough is not None and not self._enough.done():
            self._enough.set_exception(self.lost)

    def _give_up(self, enough: asyncio.Future[None], polls: int = POLLS_WHEN_LATE) -> None:
        """Fail once the event loop has read what came before the deadline: it may be the loop that is late."""
        if enough.done():
            return
        if polls:
            self.loop.call_soon(self._give_up, enough, polls - 1)
        else:
            enough.set_exception(TimeoutError())


def _error(message: str) -> ResponseError:
    return _ERRORS.get(message.partition(" ")[0], ResponseError)(message)
