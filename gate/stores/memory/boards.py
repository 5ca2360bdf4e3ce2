"""The board store in memory: what the port means, without a server. Shipped for tests, tries and replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from gate.core.pause.board import Board
from gate.ports.boards import Acknowledgement
from gate.ports.clock import Clock
from gate.records.pause import decode_board, encode_board


class MemoryBoardStore:
    """A BoardStore in one process; boards pass through the codec, as they do with a server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._document = encode_board(Board())
        self._gates: dict[str, Acknowledgement] = {}
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def read(self) -> Board:
        """See BoardStore."""
        return decode_board(self._document)

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """See BoardStore."""
        if decode_board(self._document).rev != expected_rev:
            return False
        self._document = encode_board(board)
        for listener in self._listeners:
            listener.put_nowait(self._document)
        return True

    async def changes(self) -> AsyncIterator[Board]:
        """See BoardStore. Listens from the first `anext` on."""
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            while True:
                yield decode_board(await heard.get())
        finally:
            self._listeners.discard(heard)

    async def acknowledge(self, seen: Acknowledgement) -> None:
        """See BoardStore."""
        self._gates[seen.gate] = replace(seen, seen_at_us=self._clock.now_us())

    async def gates(self, live_within_us: int) -> list[Acknowledgement]:
        """See BoardStore. In the order of their names."""
        since_us = self._clock.now_us() - live_within_us
        return [self._gates[name] for name in sorted(self._gates) if self._gates[name].seen_at_us >= since_us]
