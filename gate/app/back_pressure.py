"""Makes batches wait for their turn instead of filling the store's queue, which sheds checks when it is full.

A service that sends batches sends the next one when the last is answered. While a batch waits, that service slows down
to the pace of the store, and no check is shed. Single checks do not wait here; they have the store's queue beyond
`checks`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from gate.errors import StoreOverloaded

CHECKS: Final = 128
"""Checks of batches that are sent to the store at once: twice what its connections carry, which keeps them busy.

More would wait in the store's queue, where a check is shed after half its deadline.
"""
WAITING: Final = 16_384
"""Checks of batches that may wait; more are shed at once."""
WITHIN_S: Final = 1.0
"""How long a batch waits before it is shed."""


class BackPressure:
    """Room for `checks` checks at once, given in the order of arrival. A batch larger than that is sent alone."""

    def __init__(self, checks: int = CHECKS, waiting: int = WAITING, within_s: float = WITHIN_S) -> None:
        self._checks = checks
        self._most_waiting = waiting
        self._within_s = within_s
        self._under_way = 0
        self._waiting_checks = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def enter(self, checks: int) -> bool:
        """Hold room for a batch if there is some at once. Its holder must call `leave`, as after `wait`."""
        if self._waiting or not self._fits(checks):
            return False
        self._under_way += checks
        return True

    def leave(self, checks: int) -> None:
        """Give the room of a batch back."""
        self._under_way -= checks
        if self._waiting:
            self._admit()

    async def wait(self, checks: int) -> None:
        """Hold room for a batch once there is some.

        Raises StoreOverloaded, at once if too many wait, or after `within_s` seconds; it holds none then.
        """
        if self._waiting_checks + checks > self._most_waiting:
            raise StoreOverloaded(f"{self._waiting_checks} checks of batches wait already")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((checks, turn))
        self._waiting_checks += checks
        late = loop.call_later(self._within_s, _end, turn)
        try:
            await turn
        except (StoreOverloaded, asyncio.CancelledError):
            self._give_up(checks, turn)
            raise
        finally:
            late.cancel()

    def _give_up(self, checks: int, turn: asyncio.Future[None]) -> None:
        """Leave the queue. A turn that was given at the same moment goes to the next batch."""
        if turn.cancelled() or turn.exception() is not None:
            self._waiting_checks -= checks
        else:
            self._under_way -= checks
        self._admit()

    def _fits(self, checks: int) -> bool:
        return self._under_way == 0 or self._under_way + checks <= self._checks

    def _admit(self) -> None:
        """Give waiting batches their turn, as far as there is room."""
        while self._waiting:
            checks, turn = self._waiting[0]
            if not turn.done():
                if not self._fits(checks):
                    return
                self._waiting_checks -= checks
                self._under_way += checks
                turn.set_result(None)
            self._waiting.popleft()


def _end(turn: asyncio.Future[None]) -> None:
    """Let a batch wait no longer."""
    if not turn.done():
        turn.set_exception(StoreOverloaded("the batch waited for too long"))
