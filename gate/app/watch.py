"""Keeps one gate's board fresh: by push, by poll, from the file on the host, from its own snapshot on disk.

Whatever fails, the gate goes on deciding by what it last knew; that it is stale is shown, never acted on by
forgetting. Two views merge by revision, so the order in which they arrive cannot matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from gate.app.check import Check
from gate.core.pause.board import (
    Board,
    Pause,
    forget_ended,
    merge,
)
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import Acknowledgement, BoardStore
from gate.ports.clock import Clock
from gate.records.pause import (
    MAX_BYTES,
    decode_board,
    decode_break_glass,
    encode_board,
)

POLL_S: Final = 1.0
READ_DEADLINE_S: Final = 2.0
LIVE_WITHIN_US: Final = 10_000_000
COUNT_GATES_EVERY: Final = 5


class Watch:
    """Feeds `check.board`. `run` ends only when it is cancelled; `age_us` tells how old the last good read is."""

    def __init__(
        self,
        check: Check,
        store: BoardStore,
        clock: Clock,
        seen: Acknowledgement,
        snapshot: Path,
        break_glass: Path,
        say: Callable[[str], None],
        poll_s: float = POLL_S,
    ) -> None:
        self._check = check
        self._store = store
        self._clock = clock
        self._seen = seen
        self._snapshot = snapshot
        self._break_glass = break_glass
        self._say = say
        self._poll_s = poll_s
        self._board = Board()
        self._file_stamp: tuple[int, int] | None = None
        self._fresh_us = clock.now_us()
        self._down = False
        self._unreadable = False
        self._polls = 0
        self.ever_read = False

    @property
    def board(self) -> Board:
        """All pauses known, the ended ones included."""
        return self._board

    @property
    def reachable(self) -> bool:
        """True while the board's store answers."""
        return self.ever_read and not self._down

    def age_us(self) -> int:
        """µs since the board was last read or pushed in full; from the start of the process where it never was."""
        return max(0, self._clock.now_us() - self._fresh_us)

    def start_from_disk(self) -> None:
        """Adopt the snapshot of the last run and the break-glass file, before the first check. Never raises."""
        try:
            data = _read_capped(self._snapshot)
            if data is not None:
                self._adopt(merge(self._board, decode_board(data)))
        except (OSError, StateUnreadable) as error:
            self._check.counts.board_unreadable += 1
            self._say(f"the board's snapshot {self._snapshot} is not used: {error}; starting without it")
        self._read_break_glass()

    async def run(self) -> None:
        """Listen and poll until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever(self._follow), name="board push")
            tasks.create_task(self._for_ever(self._poll), name="board poll")

    async def _for_ever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                self._failed(str(error))
            except (TimeoutError, StateUnreadable) as error:
                self._odd(error)
            except Exception as error:
                # the watcher is an edge: a fault of ours is counted and told, and watching goes on
                self._check.counts.faults["watch"] += 1
                self._failed(f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._poll_s)

    async def _follow(self) -> None:
        changes: AsyncIterator[Board] = self._store.changes()
        async for board in changes:
            await self._heard(board)

    async def _poll(self) -> None:
        self._read_break_glass()
        async with asyncio.timeout(READ_DEADLINE_S):
            board = await self._store.read()
        await self._heard(board)
        await self._write_back(board)
        async with asyncio.timeout(READ_DEADLINE_S):
            await self._acknowledge()
            if self._polls % COUNT_GATES_EVERY == 0:
                self._check.instances = max(1, len(await self._store.gates(LIVE_WITHIN_US)))
        self._polls += 1

    async def _heard(self, board: Board) -> None:
        """A full board arrived: merge, obey, say so, keep."""
        self._fresh_us = self._clock.now_us()
        self.ever_read = True
        self._unreadable = False
        if self._down:
            self._down = False
            self._say("the board's store answers again")
        merged = forget_ended(merge(self._board, board), self._fresh_us)
        if merged.pauses == self._board.pauses:
            return
        self._adopt(merged)
        async with asyncio.timeout(READ_DEADLINE_S):
            await self._acknowledge()
        await asyncio.to_thread(self._keep, merged)

    async def _write_back(self, stored: Board) -> None:
        """The store lost what this gate knows, by a failover or a restore: it gets it back."""
        ours = forget_ended(merge(stored, self._board), self._clock.now_us())
        known = {key: pause for key, pause in stored.pauses.items() if key in ours.pauses}
        if ours.pauses == known:
            return
        async with asyncio.timeout(READ_DEADLINE_S):
            if await self._store.replace(stored.rev, ours):
                self._say(f"the board's store had lost pauses; revision {ours.rev} is written back")

    async def _acknowledge(self) -> None:
        await self._store.acknowledge(replace(self._seen, rev=self._board.rev))

    def _adopt(self, board: Board) -> None:
        self._board = board
        self._check.board = board

    def _keep(self, board: Board) -> None:
        try:
            self._snapshot.parent.mkdir(parents=True, exist_ok=True)
            beside = self._snapshot.with_suffix(".tmp")
            beside.write_bytes(encode_board(board))
            beside.replace(self._snapshot)
        except (OSError, StateUnreadable) as error:
            self._check.counts.faults["watch"] += 1
            self._say(f"the board's snapshot cannot be written to {self._snapshot}: {error}")

    def _read_break_glass(self) -> None:
        try:
            stamp = _stamp(self._break_glass)
            if stamp == self._file_stamp:
                return
            self._file_stamp = stamp
            data = _read_capped(self._break_glass)
            pauses: tuple[Pause, ...] = () if data is None else decode_break_glass(data)
        except (OSError, StateUnreadable) as error:
            self._check.counts.board_unreadable += 1
            self._say(f"the break-glass file {self._break_glass} cannot be read, its last good state is kept: {error}")
            return
        self._adopt(Board(self._board.pauses, pauses))
        if pauses:
            self._say(f"break-glass file {self._break_glass}: {len(pauses)} entries are obeyed above all else")

    def _failed(self, why: str) -> None:
        if not self._down:
            self._down = True
            self._say(f"the board's store does not answer ({why}); the gate goes on with what it last knew")

    def _odd(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            self._failed(f"no answer within {READ_DEADLINE_S:g} s")
            return
        self._check.counts.board_unreadable += 1
        if not self._unreadable:
            self._unreadable = True
            self._say(f"the board in the store cannot be read, the last good one is kept: {error}")


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _read_capped(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
