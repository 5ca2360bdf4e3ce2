"""Reads the board from every channel at once: the store that a command writes to, and the other channel of the kill switch.

A pause that one channel has just received may not have reached the other one, as the gates copy it within a second or two.
Commands that list or change pauses therefore read both and take the union. A channel that does not answer in time is
named, so that nobody takes an incomplete list for a complete one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from gate.core.pause.board import Board, merge
from gate.errors import UploadGateError
from gate.ports.boards import BoardStore

HEARD_WITHIN_S: Final = 1.5
"""How long a reader waits for the other channel. Kafka returns its topic in about 0.2 s, and a frozen server never."""

KEPT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class OtherChannel:
    """A channel that is read and not written: its name for people, and how to open it."""

    name: str
    opened: Callable[[], AbstractAsyncContextManager[BoardStore]]


@dataclass(frozen=True, slots=True)
class KnownBoard:
    """The union of the channels. `unread` has a sentence for each other channel that could not be read."""

    board: Board
    unread: tuple[str, ...] = ()


class BothChannels:
    """Reads `other` beside the store of a command; None where there is one channel only."""

    def __init__(self, other: OtherChannel | None = None, within_s: float = HEARD_WITHIN_S) -> None:
        self._other = other
        self._within_s = within_s
        self._last: tuple[float, KnownBoard] | None = None

    async def read(self) -> KnownBoard:
        """The board of the other channel, empty where there is none or it does not answer. Never raises.

        It is read at most once in KEPT_S seconds, so that the release of many pauses reads it once.
        """
        if self._other is None:
            return KnownBoard(Board())
        now_s = asyncio.get_running_loop().time()
        if self._last is None or now_s - self._last[0] > KEPT_S:
            self._last = now_s, await self._read(self._other)
        return self._last[1]

    async def _read(self, other: OtherChannel) -> KnownBoard:
        try:
            async with asyncio.timeout(self._within_s), other.opened() as store:
                return KnownBoard(await store.read())
        except UploadGateError as error:
            why = error.problem.rstrip(".")
        except (TimeoutError, OSError) as error:
            why = str(error) or f"no answer within {self._within_s:g} s"
        return KnownBoard(
            Board(),
            (f"{other.name} cannot be read ({why}); a change that it received just now may be missing here",),
        )

    async def with_board(self, board: Board) -> KnownBoard:
        """`board` and what the other channel holds."""
        read = await self.read()
        return KnownBoard(merge(board, read.board), read.unread)
