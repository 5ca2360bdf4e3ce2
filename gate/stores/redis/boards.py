"""The kill switch's shared state in Redis (or Valkey), 7.0 or newer.

    {prefix}board                hash of `rev` and `document`, the board as JSON; never expires
    {prefix}board:changes        channel on which every written document is pushed
    {prefix}board:unreadable     the last unreadable board that a gate replaced in a repair
    {prefix}gates:at             sorted set: when each gate process acknowledged a board
    {prefix}gates:documents      hash: the acknowledgement of each process, as JSON
    {prefix}gates:since          the time since which no acknowledgement was lost

On a Cluster `board` and `gates` are hash tags, {prefix}{board} and so on: the keys of each lie in one slot.

The listening connection has a heartbeat, because a half-open connection would go unnoticed for minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gate.core.duration import HOUR_US
from gate.core.pause.board import Board, merge
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import LIVE_WITHIN_US, SUCCEEDED_AFTER_US, Acknowledgement, Gates
from gate.records.board_document import decode_board, document_version, encode_board
from gate.records.gate import encode_gate
from gate.records.pause import VERSION
from gate.stores.gates import gates_of
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import Line, Stats
from gate.stores.redis.connections.script_call import Run, Script

HEARTBEAT_S = 1.0
DEAD_AFTER_S = 3.0
FORGET_GATES_US = HOUR_US
WAIT_MS = 200


class RedisBoardStore:
    """A BoardStore; see ports for what it promises. Use it in one event loop, between open() and close()."""

    def __init__(
        self,
        url: str,
        prefix: str = "ug:",
        deadline_s: float = 1.0,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        dead_after_s: float = DEAD_AFTER_S,
    ) -> None:
        self._deadline_s = deadline_s
        self._heartbeat_s = heartbeat_s
        self._dead_after_s = dead_after_s
        self._has_replied = False
        self._stats = Stats()
        self._line = line_to(url, "upload-gate-board", self._stats)
        board, gates = ("{board}", "{gates}") if self._line.is_clustered else ("board", "gates")
        self._board_key = f"{prefix}{board}"
        self._channel = f"{prefix}board:changes"
        self._aside_key = f"{prefix}{board}:unreadable"
        self._gate_keys = (f"{prefix}{gates}:at", f"{prefix}{gates}:documents", f"{prefix}{gates}:since")
        self._last: tuple[bytes, bytes, Board] | None = None
        self._lock = asyncio.Lock()
        self._replace = Script.named("replace_board")
        self._repair = Script.named("repair_board")
        self._acknowledge = Script.named("acknowledge")
        self._gates = Script.named("gates")
        self._count_gates = Script.named("count_gates")
        self.unreadable = 0

    @property
    def stats(self) -> Stats:
        """Counters; they can be read at any time. `unreadable` of the store counts pushed documents it skipped."""
        return self._stats

    async def open(self) -> None:
        """Connect. Returns even if the server does not answer: the first call then raises."""
        with suppress(StoreUnavailable):
            await self.ping()

    async def close(self) -> None:
        """Close the connection. Each iteration of `changes` has its own, which the end of the iteration closes."""
        await self._line.close()

    async def ping(self) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        await self._command(b"PING", at=self._board_key)

    async def read(self) -> Board:
        """See BoardStore."""
        rev, document = await self._stored()
        if document is None:
            return Board()
        if self._last is None or self._last[:2] != (rev, document):
            self._last = rev, document, _board(rev, document)
        return self._last[2]

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """See BoardStore. Also raises StateUnreadable, before it writes, if `board` could not be read back.

        A write whose reply was lost is not repeated: read the board to learn whether it was written.
        """
        args = (expected_rev, board.rev, encode_board(board), self._channel)
        await self.ping()  # the ping, not the write, meets a connection that the server closed long ago
        async with self._lock:
            (written,) = await self._line.run((Run(self._replace, (self._board_key,), args),), self._deadline_s)
        return bool(written == 1)

    async def durable(self) -> bool | None:
        """Whether a replica has what was just written; None if the server has no replica. Raises StoreUnavailable."""
        role = await self._command(b"ROLE", at=self._board_key)
        if not isinstance(role, list) or role[0] != b"master" or not role[2]:
            return None
        return int(await self._command(b"WAIT", b"1", b"%d" % WAIT_MS, at=self._board_key)) > 0

    async def repair(self, board: Board) -> bool:
        """See BoardStore. If only the revision beside the document is wrong, the document's pauses are kept."""
        found: bytes = await self._command(b"TYPE", self._board_key)
        if found == b"hash":
            rev, document = await self._stored()
            if document is None or _is_sound(rev, document) or (document_version(document) or 0) > VERSION:
                return False
            with suppress(StateUnreadable):
                board = merge(decode_board(document), board)
            found = hashlib.sha1(document, usedforsecurity=False).hexdigest().encode()
        args = (found, board.rev, encode_board(board), self._channel)
        async with self._lock:
            run = Run(self._repair, (self._board_key, self._aside_key), args)
            (written,) = await self._line.run((run,), self._deadline_s)
        return bool(written == 1)

    async def changes(self) -> AsyncIterator[Board]:
        """See BoardStore. Holds a connection of its own until the iteration ends."""
        line = await self._line.line_at(self._board_key, self._deadline_s)
        pulse: asyncio.Task[None] | None = None
        try:
            await line.execute(b"SUBSCRIBE", self._channel, within_s=self._deadline_s)
            pulse = asyncio.create_task(self._beat(line))
            while True:
                message = await line.listen(self._dead_after_s)
                if not isinstance(message, list) or message[0] != b"message":
                    continue
                try:
                    board = decode_board(message[2])
                except StateUnreadable:
                    self.unreadable += 1
                    continue
                yield board
        finally:
            if pulse is not None:
                pulse.cancel()
                await asyncio.gather(pulse, return_exceptions=True)
            await line.close()

    async def acknowledge(self, said: Acknowledgement) -> int:
        """See BoardStore. A gate is forgotten an hour after its last acknowledgement."""
        args = (said.process, encode_gate(said), FORGET_GATES_US, LIVE_WITHIN_US)
        return int(await self._run(Run(self._acknowledge, self._gate_keys, args)))

    async def now_us(self) -> int:
        """See BoardStore."""
        seconds, microseconds = await self._command(b"TIME", at=self._gate_keys[0])
        return int(seconds) * 1_000_000 + int(microseconds)

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        """See BoardStore."""
        reply: list[bytes] = await self._run(Run(self._gates, self._gate_keys, (within_us,)))
        now, since, *told = reply
        names = [each.decode("utf-8", "surrogateescape") for each in told[::3]]
        entries = zip(names, told[1::3], map(int, told[2::3]), strict=True)
        known_since_us = int(since) if since.isdigit() else int(now)
        asked = [entry for entry in entries if process is None or entry[0] == process]
        return await gates_of(sorted(asked), int(now), known_since_us)

    async def count_gates(self, within_us: int) -> int:
        """See BoardStore."""
        return int(await self._run(Run(self._count_gates, self._gate_keys, (within_us, SUCCEEDED_AFTER_US))))

    async def forget(self, process: str) -> None:
        """See BoardStore. Without its time an acknowledgement is not read, so the order of the two does not matter."""
        at, documents, _ = self._gate_keys
        name = process.encode("utf-8", "surrogateescape")
        await self._command(b"ZREM", at, name)
        await self._command(b"HDEL", documents, name)

    async def _stored(self) -> tuple[bytes, bytes | None]:
        try:
            rev, document = await self._command(b"HMGET", self._board_key, b"rev", b"document")
        except StoreUnavailable as error:
            if str(error.__cause__).startswith("WRONGTYPE"):
                raise StateUnreadable("the board's key does not hold a hash") from error
            raise
        return rev or b"0", document

    async def _command(self, *command: bytes | str, at: str | None = None) -> Any:
        async with self._lock:
            with self._heard():
                return await self._line.execute(*command, within_s=self._deadline_s, at=at)

    async def _run(self, run: Run) -> Any:
        async with self._lock:
            with self._heard():
                (reply,) = await self._line.run((run,), self._deadline_s, again=True)
        return reply

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Note whether the server has ever replied. Every change begins with a reading, so that without a reply none was
        sent."""
        try:
            yield
        except StoreUnavailable as error:
            error.was_reached = self._has_replied
            raise
        self._has_replied = True

    async def _beat(self, line: Line) -> None:
        with suppress(StoreUnavailable):  # the reader notices: it gets no message or sees the connection closed
            while True:
                await asyncio.sleep(self._heartbeat_s)
                await line.send(b"PING")


def _is_sound(rev: bytes, document: bytes) -> bool:
    try:
        _board(rev, document)
    except StateUnreadable:
        return False
    return True


def _board(rev: bytes, document: bytes) -> Board:
    board = decode_board(document)
    if rev != b"%d" % board.rev:
        # a writer compares with the revision beside the document: while the two differ, every write fails
        raise StateUnreadable(f"the board's revision is {board.rev}, but the hash states another one")
    return board
