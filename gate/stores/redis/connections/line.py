"""One dedicated connection to Redis. It packs and reads with hiredis, never retries, and gives each call a deadline.

redis-py's own defaults would repeat a lost call up to ten times and wait 5 s for a dead server, and its packing is pure
Python. So a `Line` lets redis-py connect, greet and authenticate, and then sends and reads by itself, one call at a
time. `replies` reads what arrives. A connection whose reply was not read to the end is closed and never used again. The
stores decide which calls may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import hiredis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from gate.errors import AccessRefused, SettingInvalid, StoreUnavailable, redact
from gate.stores.redis.connections.replies import Replies
from gate.stores.redis.connections.script_call import Argument, ScriptCall
from gate.stores.redis.connections.trouble import redis_trouble

CLOSE_WITHIN_S = 1.0
NOT_THIS_USER = "deploy/redis/users.acl shows what each user of Redis may do; staff have the user `oncall`"

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


def refused(where: str, reply: ResponseError) -> StoreUnavailable:
    """The error for an error reply of the server at `where`."""
    problem = f"Redis at {where} refused a call: {reply}"
    return AccessRefused(problem, NOT_THIS_USER) if isinstance(reply, NoPermissionError) else StoreUnavailable(problem)


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

        Raises StoreUnavailable; its subclass ReplyLost if an open connection broke or gave no reply in time. Where the time is
        over already, nothing is sent and the connection stays open.
        """
        opened = self.is_open
        within_s = until_s - self._now_s()
        if opened and within_s <= 0:
            self._stats.errors += 1
            raise StoreUnavailable(f"Redis at {self._where} {_failure(TimeoutError(), within_s)}")
        try:
            replies = self._replies if opened else None
            if replies is None:
                replies = await self._open(within_s)
            replies.send(packed[0] if len(packed) == 1 else b"".join(packed))
            return await replies.next(len(packed), until_s - replies.loop.time())
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            await self._drop()
            self._stats.errors += 1
            kind = ReplyLost if opened else StoreUnavailable
            raise kind(f"Redis at {self._where} {_failure(error, within_s)}") from error
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
        return await self._sound(runs, replies, until_s, again)

    def begin(self, run: ScriptCall, until_s: float, done: Callable[[Any], None]) -> bool:
        """Send an idempotent script, if the connection is open, and have `done` called with its reply as soon as that is read.

        It takes no task. `done` may get an error, also if half the time until `until_s` has passed; `end` then ends the
        call. False means that nothing was sent.
        """
        replies = self._replies
        if replies is None or replies.lost is not None:
            return False
        replies.begin(run.packed(known=True), (replies.loop.time() + until_s) / 2, done)
        return True

    async def end(self, run: ScriptCall, reply: Any, until_s: float) -> Any:
        """The reply to a script for which `begin` got `reply`, sent again if it was lost. Raises StoreUnavailable."""
        if isinstance(reply, Exception) and not isinstance(reply, ResponseError):
            await self._drop()
            self._stats.errors += 1
            (reply,) = await self.call((run.packed(known=True),), until_s)
        (reply,) = await self._sound((run,), [reply], until_s, again=True)
        return reply

    async def _sound(self, runs: Sequence[ScriptCall], replies: list[Any], until_s: float, again: bool) -> list[Any]:
        """The replies without errors: scripts that the server has lost are sent again. Raises StoreUnavailable."""
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
        raise refused(self._where, reply) from reply

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


def _failure(error: Exception, within_s: float) -> str:
    """What became of a call that had so many seconds for its answer; none where this process was held up before it."""
    if not isinstance(error, TimeoutError):
        return f"cannot be reached: {redis_trouble(error)}"
    if within_s <= 0:
        return "was left no time to answer: this process was held up"
    return f"did not answer within {within_s * 1000:.0f} ms"
