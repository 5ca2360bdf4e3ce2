"""The store of the kill switch's shared board, and acknowledgements of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from gate.core.pause.board import Board


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One gate as the board's store knows it: the revision it obeys and when it last said so (µs, store's clock)."""

    gate: str
    url: str
    rev: int
    seen_at_us: int


class BoardStore(Protocol):
    """The kill switch's shared state: one document with all pauses.

    Order: writes are compare-and-set on the revision. Loss: a failover may lose the last write; gates that hold a
    newer revision write it back.
    """

    async def read(self) -> Board:
        """The whole board (empty where there is none). Raises StoreUnavailable, StateUnreadable."""
        ...

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """Write `board` and push it to all listeners, if the stored revision is `expected_rev`; False if it is not.

        Raises StoreUnavailable.
        """
        ...

    def changes(self) -> AsyncIterator[Board]:
        """Boards as they are pushed. Misses what is sent while it reconnects, so a poll beside it is a must.

        Raises StoreUnavailable when the connection is lost; StateUnreadable content is skipped and counted.
        """
        ...

    async def acknowledge(self, seen: Acknowledgement) -> None:
        """Say that a gate obeys `seen.rev`; the store stamps the time. Raises StoreUnavailable."""
        ...

    async def gates(self, live_within_us: int) -> list[Acknowledgement]:
        """Gates heard of within that many µs. Raises StoreUnavailable."""
        ...
