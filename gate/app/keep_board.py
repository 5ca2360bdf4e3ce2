"""Keeps the shared board whole: writes back to a channel what it lost, from the other channel and from memory.

Gates obey the pauses that they know, and write lost ones back. Where their user of Redis may only read the board, the
keeper writes in their place, with a user of its own. It takes pauses that a failover or a restore has lost from Kafka,
to which gates copy each pause, from a gate at hand, and from its own memory. It also repairs a board that cannot be
read. A keeper decides nothing, so several may run at once. Pauses stay in force in live gates even if none runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from gate.core.pause.board import Board, forget_ended, merge, without_superseded
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import BoardStore

EVERY_S: Final = 1.0
ANSWER_WITHIN_S: Final = 5.0


class KeepBoard:
    """Keeps `redis` and, where there is one, `kafka`. `run` ends only when it is cancelled.

    `gate` returns the board that a gate obeys: where there is no Kafka, a keeper that starts after Redis has lost pauses
    learns them from it.
    """

    def __init__(
        self, redis: BoardStore, kafka: BoardStore | None, say: Callable[[str], None],
        gate: Callable[[], Awaitable[Board]] | None = None,
    ) -> None:  # fmt: skip
        self._redis = redis
        self._kafka = kafka
        self._say = say
        self._gate = gate
        self._told: dict[str, str] = {}
        self._was_sound = False
        self.board = Board()

    async def run(self) -> None:
        """Listen to Redis, and compare the channels each second, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._for_ever("the push of Redis", self._listen), name="board push")
            tasks.create_task(self._for_ever("Redis", self._keep_redis), name="board in Redis")
            if self._kafka is not None:
                tasks.create_task(self._for_ever("Kafka", self._keep_kafka), name="board in Kafka")
            if self._gate is not None:
                tasks.create_task(self._for_ever("the gate at hand", self._hear_gate), name="board of a gate")

    async def step(self) -> None:
        """Compare both channels once, and write what one of them lacks. Raises StoreUnavailable, TimeoutError."""
        await self._hear_gate()
        await self._keep_kafka()
        await self._keep_redis()
        await self._keep_kafka()

    async def _for_ever(self, what: str, keep: Callable[[], object]) -> None:
        while True:
            try:
                async with asyncio.timeout(None if keep == self._listen else ANSWER_WITHIN_S):
                    await keep()  # type: ignore[misc]
                self._tell(what, "")
            except (StoreUnavailable, StateUnreadable, TimeoutError) as error:
                self._tell(what, str(error) or f"no answer within {ANSWER_WITHIN_S:g} s")
            except Exception as error:
                # the keeper is an edge: it logs an unexpected error, and goes on
                self._tell(what, f"{type(error).__name__}: {error}")
            await asyncio.sleep(EVERY_S)

    async def _listen(self) -> None:
        async with aclosing(self._redis.changes()) as changes:  # type: ignore[type-var]
            async for board in changes:
                self._hear(board)

    async def _hear_gate(self) -> None:
        if self._gate is not None:
            self._hear(await self._gate())

    async def _keep_redis(self) -> None:
        try:
            stored = await self._redis.read()
        except StateUnreadable as error:
            # without any good board, a repair would write an empty one over pauses that somebody may still read
            if (self._was_sound or self.board.rev) and await self._redis.repair(self.board):
                self._say(f"the pauses in Redis could not be read ({error}); revision {self.board.rev} replaces them")
            return
        self._was_sound = True
        ours = self._known_with(stored, await self._redis.now_us())
        if _lacks(stored, ours) and await self._redis.replace(stored.rev, ours):
            self._say(f"Redis had lost pauses; revision {ours.rev} is written back")

    async def _keep_kafka(self) -> None:
        if self._kafka is None:
            return
        known = await self._kafka.read()
        ours = self._known_with(known, await self._kafka.now_us())
        if _lacks(known, ours):
            await self._kafka.replace(known.rev, merge(known, ours))
        await self._kafka.repair(ours)

    def _hear(self, board: Board) -> None:
        self.board = merge(self.board, board)

    def _known_with(self, stored: Board, now_us: int) -> Board:
        """The board as it should be in a channel that holds `stored`; what expired long ago is forgotten here too."""
        self._hear(stored)
        self.board = forget_ended(self.board, now_us)
        return forget_ended(merge(stored, without_superseded(self.board)), now_us)

    def _tell(self, what: str, problem: str) -> None:
        """Log that a channel fails or answers again, once each."""
        if self._told.get(what, "") == problem:
            return
        self._told[what] = problem
        self._say(f"{what} fails: {problem}" if problem else f"{what} answers again")


def _lacks(stored: Board, ours: Board) -> bool:
    """True if a pause of `ours` is not on the stored board as it should be. A pause that is only forgotten is not lacking."""
    return any(stored.pauses.get(id_) != pause for id_, pause in ours.pauses.items())
