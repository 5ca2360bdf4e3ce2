"""The kill switch's shared state in Redis (or Valkey), 7.0 or newer.

    {prefix}board                hash of `rev` and `document`, the board as JSON; never expires
    {prefix}board:changes        channel on which every written document is pushed
    {prefix}gates:{seen|said}    when each gate was heard of, and what it said

A push is proven alive by an own heartbeat: a half-open connection would notice nothing for minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec

from gate.core.duration import HOUR_US
from gate.core.pause.board import Board
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import Acknowledgement
from gate.records.pause import decode_board, encode_board
from gate.stores.redis.line import (
    Line,
    Run,
    Script,
    Stats,
)

HEARTBEAT_S = 1.0
SILENT_AFTER_S = 3.0
FORGET_GATES_US = HOUR_US


class _Said(msgspec.Struct, frozen=True):
    url: str
    rev: int


_encode_said = msgspec.json.Encoder().encode
_decode_said = msgspec.json.Decoder(_Said).decode


class RedisBoardStore:
    """A BoardStore; see ports for what it promises. Use it in one event loop, between open() and close()."""

    def __init__(
        self,
        url: str,
        prefix: str = "ug:",
        deadline_s: float = 1.0,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        silent_after_s: float = SILENT_AFTER_S,
    ) -> None:
        self._url = url
        self._deadline_s = deadline_s
        self._heartbeat_s = heartbeat_s
        self._silent_after_s = silent_after_s
        self._board_key = f"{prefix}board"
        self._channel = f"{prefix}board:changes"
        self._gate_keys = (f"{prefix}gates:seen", f"{prefix}gates:said")
        self._stats = Stats()
        self._line = Line(url, "upload-gate-board", self._stats)
        self._lock = asyncio.Lock()
        self._replace = Script.named("replace_board")
        self._acknowledge = Script.named("acknowledge")
        self._gates = Script.named("gates")
        self.unreadable = 0

    @property
    def stats(self) -> Stats:
        """Counters, read at any time; `unreadable` beside it counts pushed documents that were skipped."""
        return self._stats

    async def open(self) -> None:
        """Connect. Returns also where the server does not answer: the first call will say so."""
        with suppress(StoreUnavailable):
            await self.ping()

    async def close(self) -> None:
        """Close the connection. Whoever iterates `changes` closes that one by ending the iteration."""
        await self._line.close()

    async def ping(self) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        await self._ask(b"PING")

    async def read(self) -> Board:
        """See BoardStore."""
        document: bytes | None = await self._ask(b"HGET", self._board_key, b"document")
        return Board() if document is None else decode_board(document)

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """See BoardStore. Also raises StateUnreadable, before anything is written, where nobody could read `board`.

        A write whose reply was lost is not repeated: read the board to see whether it landed.
        """
        args = (expected_rev, board.rev, encode_board(board), self._channel)
        await self.ping()  # so that a connection the server closed long ago is not found out by the write
        async with self._lock:
            (written,) = await self._line.run((Run(self._replace, (self._board_key,), args),), self._deadline_s)
        return bool(written == 1)

    async def changes(self) -> AsyncIterator[Board]:
        """See BoardStore. Holds a connection of its own until the iteration ends."""
        line = Line(self._url, "upload-gate-push", self._stats)
        pulse: asyncio.Task[None] | None = None
        try:
            await line.execute(b"SUBSCRIBE", self._channel, within_s=self._deadline_s)
            pulse = asyncio.create_task(self._beat(line))
            while True:
                message = await line.listen(self._silent_after_s)
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

    async def acknowledge(self, seen: Acknowledgement) -> None:
        """See BoardStore. A gate not heard of for an hour is forgotten."""
        args = (seen.gate, _encode_said(_Said(seen.url, seen.rev)), FORGET_GATES_US)
        await self._run(Run(self._acknowledge, self._gate_keys, args))

    async def gates(self, live_within_us: int) -> list[Acknowledgement]:
        """See BoardStore. In the order of their names. Also raises StateUnreadable."""
        reply: list[bytes] = await self._run(Run(self._gates, self._gate_keys, (live_within_us,)))
        found = [_seen(*reply[i : i + 3]) for i in range(0, len(reply), 3)]
        return sorted(found, key=lambda seen: seen.gate)

    async def _ask(self, *command: bytes | str) -> Any:
        async with self._lock:
            return await self._line.execute(*command, within_s=self._deadline_s)

    async def _run(self, run: Run) -> Any:
        async with self._lock:
            (reply,) = await self._line.run((run,), self._deadline_s, again=True)
        return reply

    async def _beat(self, line: Line) -> None:
        with suppress(StoreUnavailable):  # the reader will notice, by silence or by the closed connection
            while True:
                await asyncio.sleep(self._heartbeat_s)
                await line.send(b"PING")


def _seen(gate: bytes, said: bytes, at: bytes) -> Acknowledgement:
    try:
        words = _decode_said(said)
        return Acknowledgement(gate.decode(), words.url, words.rev, int(at))
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnreadable(f"what a gate said of itself cannot be read: {error}") from error
