"""The stores of takes, scores and overrides in one Redis (or Valkey), for programs that need several of them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from gate.core.limits.reservation import Expired, Notice, Settlement
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score
from gate.ports.scores import EncodedScore
from gate.stores.redis import scores as score_store
from gate.stores.redis.cluster_reservations import reservation_store
from gate.stores.redis.connections.line import Stats
from gate.stores.redis.overrides import RedisOverrideStore
from gate.stores.redis.scores import RedisScoreStore
from gate.stores.redis.takes import RedisTakeStore


class RedisAccountStore:
    """A TakeStore, a ReservationStore, a ScoreStore and an OverrideStore. Use it in one event loop, between open() and close().

    `deadline_s` bounds a take, `bulk_deadline_s` a call for scores or overrides. `stats` counts the calls of all.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "ug:",
        deadline_s: float = 0.05,
        *,
        lanes: int = 2,
        max_batch: int = 32,
        max_queue: int = 1024,
        bulk_deadline_s: float = score_store.DEADLINE_S,
    ) -> None:
        self.prefix = prefix
        stats = Stats()
        self._takes = RedisTakeStore(
            url, prefix, deadline_s, lanes=lanes, max_batch=max_batch, max_queue=max_queue, stats=stats
        )
        self._reservations = reservation_store(url, prefix, bulk_deadline_s, stats=stats)
        self._scores = RedisScoreStore(url, prefix, bulk_deadline_s, stats=stats)
        self._overrides = RedisOverrideStore(url, prefix, bulk_deadline_s, stats=stats)

    @property
    def stats(self) -> Stats:
        """Counters; they can be read at any time."""
        return self._takes.stats

    @property
    def down(self) -> str | None:
        """The reason why takes fail at once; None while the server answers."""
        return self._takes.down

    async def open(self) -> None:
        """Connect. Returns even if the server does not answer: takes then fail at once until it does."""
        await self._takes.open()

    async def close(self) -> None:
        """Close every connection; pending takes fail."""
        await self._takes.close()
        await self._reservations.close()
        await self._scores.close()
        await self._overrides.close()

    async def ping(self) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        await self._scores.ping()

    def take(self, request: TakeRequest) -> Coroutine[Any, Any, TakeResult]:
        """See TakeStore."""
        return self._takes.take(request)

    def take_many(self, requests: Sequence[TakeRequest]) -> Coroutine[Any, Any, list[TakeResult | Exception]]:
        """See TakeStore."""
        return self._takes.take_many(requests)

    async def peek(self, request: TakeRequest) -> Peek:
        """See TakeStore."""
        return await self._takes.peek(request)

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """See TakeStore."""
        self._takes.expect(classes)
        self._reservations.expect(classes)

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """See ReservationStore."""
        return await self._reservations.settle(notices, now_us)

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        """See ReservationStore."""
        return await self._reservations.unheard(older_than_s)

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """See ReservationStore."""
        return await self._reservations.due(most, now_us)

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """See ScoreStore."""
        return await self._scores.put_scores(scores)

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """See ScoreStore."""
        return await self._scores.scores(accounts)

    async def put_override(self, account: str, override: Override) -> Override | None:
        """See OverrideStore."""
        return await self._overrides.put_override(account, override)

    async def overrides(self, accounts: Sequence[str]) -> list[Override | None]:
        """See OverrideStore."""
        return await self._overrides.overrides(accounts)

    async def remove_override(self, account: str) -> Override | None:
        """See OverrideStore."""
        return await self._overrides.remove_override(account)

    async def all_overrides(self, most: int) -> dict[str, Override]:
        """See OverrideStore."""
        return await self._overrides.all_overrides(most)
