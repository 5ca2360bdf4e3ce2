"""The store of the kill switch's shared board, and the gates' acknowledgements of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from gate.core.pause.board import Board


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A gate's word that a board is in force there; `acknowledged_at_us` is by the store's clock.

    `gate` and `boot` name one process: `boot` is drawn at random when the process starts. `latest` holds the
    fingerprints of the newest pauses that the gate obeys, `digest` stands for all of them. `clock_us` is the gate's
    clock when it wrote this. `on_disk` is false while the gate obeys the board and cannot keep it. `left` says that
    the process has ended. `unreadable` counts entries of the board that this gate cannot read, and so does not obey.
    """

    gate: str
    url: str
    rev: int
    acknowledged_at_us: int
    boot: str = ""
    digest: str = ""
    latest: tuple[str, ...] = ()
    clock_us: int = 0
    policy: str = ""
    on_disk: bool = True
    left: bool = False
    unreadable: int = 0

    @property
    def process(self) -> str:
        """One name for each process, by which the store keeps acknowledgements apart."""
        return f"{self.gate} {self.boot}".rstrip()


@dataclass(frozen=True, slots=True)
class Gates:
    """The acknowledgements of a span of time, in the order of the gates' names, as of the store's clock.

    `unreadable` tells of each entry that could not be read, so that it can be shown. `known_since_us` is the time from
    which on none was lost: a store that lost them has yet to hear of the other gates.
    """

    now_us: int
    acknowledgements: tuple[Acknowledgement, ...] = ()
    unreadable: tuple[str, ...] = ()
    known_since_us: int = 0


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

    async def repair(self, board: Board) -> bool:
        """Write `board` in place of a document that cannot be read, which is kept aside; False where there is none.

        Nothing is written where the document was changed meanwhile, or where a newer release wrote it.
        Raises StoreUnavailable.
        """
        ...

    def changes(self) -> AsyncIterator[Board]:
        """Boards as they are pushed. Misses what is sent while it reconnects, so a poll beside it is a must.

        Raises StoreUnavailable when the connection is lost; StateUnreadable content is skipped and counted.
        """
        ...

    async def acknowledge(self, said: Acknowledgement) -> int:
        """Say that a gate obeys a board; the store stamps the time and returns it (µs). Raises StoreUnavailable."""
        ...

    async def now_us(self) -> int:
        """The store's clock, by which all gates judge when a pause begins and expires. Raises StoreUnavailable."""
        ...

    async def gates(self, within_us: int) -> Gates:
        """The gates that acknowledged within that many µs, those that left included. Raises StoreUnavailable.

        Growth: a gate is forgotten an hour after its last acknowledgement.
        """
        ...
