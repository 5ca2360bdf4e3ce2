"""The board store in memory: an implementation of the port without a server, for tests, trials and replays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from gate.core.pause.board import Board
from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement, Gates
from gate.ports.clock import Clock
from gate.records.board_document import decode_board, document_version, encode_board
from gate.records.gate import decode_gate, encode_gate
from gate.records.pause import VERSION


class MemoryBoardStore:
    """A BoardStore in one process; boards and acknowledgements pass through the codec, as they do with a server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._document = encode_board(Board())
        self._gates: dict[str, tuple[bytes, int]] = {}
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self.aside: bytes | None = None

    async def read(self) -> Board:
        """See BoardStore."""
        return decode_board(self._document)

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """See BoardStore."""
        if decode_board(self._document).rev != expected_rev:
            return False
        self._write(board)
        return True

    async def durable(self) -> bool | None:
        """See BoardStore."""
        return None

    async def repair(self, board: Board) -> bool:
        """See BoardStore. `aside` holds the document that could not be read."""
        try:
            decode_board(self._document)
        except StateUnreadable:
            if (document_version(self._document) or 0) > VERSION:
                return False
            self.aside = self._document
            self._write(board)
            return True
        return False

    def put_document(self, document: bytes) -> None:
        """Store the bytes of another writer, such as another release."""
        self._document = document

    async def changes(self) -> AsyncIterator[Board]:
        """See BoardStore. Listens from the first `anext` on."""
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(heard)
        try:
            while True:
                yield decode_board(await heard.get())
        finally:
            self._listeners.discard(heard)

    async def acknowledge(self, said: Acknowledgement) -> int:
        """See BoardStore."""
        now_us = self._clock.now_us()
        self._gates[said.process] = encode_gate(said), now_us
        return now_us

    async def now_us(self) -> int:
        """See BoardStore."""
        return self._clock.now_us()

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        """See BoardStore."""
        return self._heard_within(within_us, process)

    async def count_gates(self, within_us: int) -> int:
        """See BoardStore."""
        return len(self._heard_within(within_us).live(within_us))

    def _heard_within(self, within_us: int, process: str | None = None) -> Gates:
        now_us = self._clock.now_us()
        asked = self._gates if process is None else {key: at for key, at in self._gates.items() if key == process}
        live = {key: at for key, at in asked.items() if at[1] >= now_us - within_us}
        return Gates(now_us, tuple(decode_gate(*live[key]) for key in sorted(live)))

    async def forget(self, process: str) -> None:
        """See BoardStore."""
        self._gates.pop(process, None)

    def _write(self, board: Board) -> None:
        self._document = encode_board(board)
        for listener in self._listeners:
            listener.put_nowait(self._document)
