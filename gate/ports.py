"""What the acts need of the world: a clock, the account store, the board's store, the log of decisions.

Each is kept by more than one back end; one contract suite per port runs over all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gate.core.decision import Decision
from gate.core.pause import Board
from gate.core.request import CheckRequest
from gate.core.score import Score
from gate.core.standing import Ask, Override, Taken


class Clock(Protocol):
    """The wall clock, read at the edge only."""

    def now_us(self) -> int:
        """µs since 1970, UTC. May step back; nobody may rely on it growing."""
        ...


class Scored(NamedTuple):
    """A score and how `gate.records.score` spells it: spelt once, for every place that keeps it."""

    score: Score
    spelt: bytes


class AccountStore(Protocol):
    """Buckets, scores and overrides of accounts.

    Loss: a failover may lose the last second of charges and scores; scores come again from the stream. Growth: every
    key expires by itself, a bucket once it is full again.
    """

    async def take(self, ask: Ask) -> Taken:
        """Read the standing and take all charges or none, in one atomic step (see `Ask`).

        Raises StoreUnavailable. Whoever gives up waiting may still have been charged; asking again with the same
        upload id does not charge twice.
        """
        ...

    async def take_many(self, asks: Sequence[Ask]) -> list[Taken | Exception]:
        """`take` for each, side by side, in their order; what `take` would raise stands in its place."""
        ...

    async def put_scores(self, scores: Sequence[Scored]) -> int:
        """Store scores; one with an older stamp of the same epoch never replaces a newer. Returns how many were stored.

        Repeating it changes nothing. Raises StoreUnavailable; then any part may have been stored.
        """
        ...

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """The scores of `accounts`, in their order, None where there is none. Raises StoreUnavailable."""
        ...

    async def put_override(self, account: str, override: Override) -> None:
        """Set a staff override that removes itself when it expires. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class GateSeen:
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

    async def acknowledge(self, seen: GateSeen) -> None:
        """Say that a gate obeys `seen.rev`; the store stamps the time. Raises StoreUnavailable."""
        ...

    async def gates(self, live_within_us: int) -> list[GateSeen]:
        """Gates heard of within that many µs. Raises StoreUnavailable."""
        ...


class DecisionLog(Protocol):
    """Where decisions are published. Loss: bounded; what does not fit is dropped and counted, never waited for."""

    def record(self, request: CheckRequest, decision: Decision, now_us: int) -> None:
        """Hand a decision over. Returns at once, never raises."""
        ...
